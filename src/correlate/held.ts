/**
 * Events of runs that can't be opened yet, because their start has not been seen or their parent is not known. They are held,
 * within limits of time and number, and then applied in the order in which they happened.
 */
import { enqueue, getEntry, takeOldest } from '../capture/bounded.js';
import { isThere } from '../capture/tracked-map.js';
import type { AgentEvent, EventOf } from '../model/event.js';
import { dispatch } from './dispatch.js';
import { hasEnded } from './emit.js';
import { type Child, findParent, type Parent, startOfHeld } from './parents.js';
import type { HeldEvent, HeldRun, Origin, Run } from './run-state.js';
import { archiveIfDone, markGap, openRun, previewRun } from './runs.js';
import { isMakerKnown } from './spawns.js';
import {
  type Context,
  childWait,
  countGivenUp,
  nextNumber,
  ownWait,
  runWait,
  type State,
  sessionWait,
} from './state.js';
import { cancelWake, scheduleWake } from './wake-heap.js';

/** The order of events with equal timestamps: a start comes first, an end last. */
const RANK: Record<AgentEvent['type'], number> = {
  'agent.started': 0,
  'subagent.spawned': 1,
  'agent.step_started': 1,
  // Reasoning that names no call is about the call before it, or the next: these stay in order of arrival.
  'llm.reasoning': 3,
  'llm.tokens': 3,
  'tool.call': 4,
  'tool.output': 5,
  'tool.error': 5,
  'subagent.output': 6,
  'agent.finished': 7,
  'subagent.finished': 8,
};

/** Sorts by timestamp; events with equal timestamps by sequence number if all of them have one, else by `RANK`. */
function sortByTime(events: HeldEvent[]): HeldEvent[] {
  const unnumbered = new Set(
    events.filter(({ event }) => event.seq === undefined).map(({ event }) => event.ts),
  );
  return events.sort(({ event: a }, { event: b }) => {
    if (a.ts !== b.ts) return a.ts - b.ts;
    const by_number = unnumbered.has(a.ts) ? 0 : (a.seq ?? 0) - (b.seq ?? 0);
    return by_number || RANK[a.type] - RANK[b.type];
  });
}

/** Matches the session keys that OpenClaw gives to sub-agents. */
const SUBAGENT_SESSION = /:subagent:/;

function childOf(origin: Origin): Child {
  const { span_id, session_key, run_id, started } = origin;
  return {
    key: span_id,
    session_key,
    run_id,
    start_ms: startOfHeld(origin),
    parent_session_key: started?.parent_session_key,
    parent_run_id: started?.parent_run_id,
  };
}

/** Whether a parent may still be named: the session key is a sub-agent's, or events arrive out of order. */
const mayHaveParent = ({ session_key, events }: HeldRun): boolean =>
  SUBAGENT_SESSION.test(session_key) || events[0]?.event.type !== 'agent.started';

function wait({ state }: Context, held: HeldRun, waits_for: string[]): void {
  stopWaiting(state.waiting, held);
  held.wait_number = nextNumber(state);
  held.waits_for = [childWait(held.session_key), ownWait(held.run_id), ...waits_for];
  addWaiting(state, held);
}

export function addWaiting({ waiting }: State, { span_id, waits_for }: HeldRun): void {
  for (const what of waits_for) waiting.set(what, (waiting.get(what) ?? new Set()).add(span_id));
}

function stopWaiting(waiting: Map<string, Set<string>>, held: HeldRun): void {
  for (const what of held.waits_for) {
    const keys = waiting.get(what);
    keys?.delete(held.span_id);
    if (keys?.size === 0) waiting.delete(what);
  }
}

function newHeldRun(context: Context, identity: Identity): HeldRun {
  const { state, options, now_ms } = context;
  const due_ms = now_ms + options.limits.hold_ms;
  const held: HeldRun = {
    number: nextNumber(state),
    epoch: 0,
    events: [],
    started: undefined,
    first_ms: Infinity,
    due_ms,
    waits_for: [],
    wait_number: 0,
    wake_ms: Infinity,
    heap_place: -1,
    ...identity,
  };
  state.held.set(held.span_id, held);
  enqueue(
    state.held_order,
    { span_id: held.span_id, number: held.number },
    state.held.size,
    ({ span_id, number }) => state.held.peek(span_id)?.number === number,
  );
  wait(context, held, []);
  scheduleWake(state.waking, held, due_ms);
  return held;
}

export type Identity = Omit<Origin, 'started' | 'first_ms'>;

/** Stores an event until its run can be opened. */
export function hold(context: Context, event: AgentEvent, identity: Identity): HeldRun {
  const held = context.state.held.get(identity.span_id) ?? newHeldRun(context, identity);
  held.events.push({ event, arrival_ms: context.now_ms });
  // A spawn is the parent's event and comes before the run: it does not set the run's start.
  if (event.type !== 'subagent.spawned') held.first_ms = Math.min(held.first_ms, event.ts);
  if (event.type === 'agent.started' && event.ts < (held.started?.ts ?? Infinity)) held.started = event;
  context.state.held_events++;
  return held;
}

/** Marks a held run of which part was missed. For a duplicate event, which is not itself held. */
export function markHeldGap({ state }: Context, key: string): void {
  const held = state.held.get(key);
  if (held !== undefined) held.gap = true;
}

/** Opens the runs that have been held longest, as they are, while there are too many held events. */
export function makeRoomForHeld(context: Context): void {
  const { state, options } = context;
  while (state.held_events > options.limits.held_events) {
    const oldest = takeOldest(state.held_order);
    if (oldest === undefined) return;
    if (state.held.peek(oldest.span_id)?.number !== oldest.number) continue;
    countGivenUp(context, 'held_events');
    forceOpen(context, oldest.span_id);
  }
}

function takeOut({ state }: Context, held: HeldRun): void {
  state.held.delete(held.span_id);
  state.held_events -= held.events.length;
  stopWaiting(state.waiting, held);
  cancelWake(state.waking, held);
}

function release(context: Context, held: HeldRun, parent: Parent): void {
  takeOut(context, held);
  const events = sortByTime(held.events);
  const run = openRun(context, held, parent);
  if (held.gap === true || events.some(({ event }) => event.gap === true)) markGap(context, run);
  previewRun(context, run);
  for (const { event, arrival_ms } of events) dispatch({ ...context, now_ms: arrival_ms }, run, event);
  announce(context, run);
  archiveIfDone(context, run);
}

/** Notifies held runs that may wait for this one. */
function announce({ state, arrived }: Context, run: Run): void {
  if (state.waiting.size > 0) arrived.push(sessionWait(run.session_key), runWait(run.run_id));
}

/** Opens a run with its start, as most runs are: nothing of it is held, and its parent is certain. False if it must be held. */
export function openAtOnce(context: Context, event: EventOf<'agent.started'>, identity: Identity): boolean {
  if (context.state.held.has(identity.span_id)) return false;
  const origin: Origin = { started: event, first_ms: event.ts, ...identity };
  const parent = findParent(context, childOf(origin));
  if (parent.kind === 'unknown') return false;
  const is_certain = parent.kind === 'none' ? !SUBAGENT_SESSION.test(identity.session_key) : parent.certain;
  if (!is_certain) return false;
  const run = openRun(context, origin, parent);
  if (event.gap === true) markGap(context, run);
  previewRun(context, run);
  dispatch(context, run, event);
  announce(context, run);
  return true;
}

/**
 * Whether this is the first run of a sub-agent, so that a spawn will name its parent. A later run of the session may have none.
 */
const isSpawned = ({ state }: Context, { session_key }: HeldRun): boolean =>
  SUBAGENT_SESSION.test(session_key) && (getEntry(state.sessions, session_key)?.runs.length ?? 0) === 0;

/** Opens a held run if its start has been seen and its parent is known, or it has none. */
export function tryOpen(context: Context, held: HeldRun): void {
  if (held.started === undefined) return;
  const parent = findParent(context, childOf(held));
  if (parent.kind === 'unknown') return wait(context, held, parent.waits_for);
  const isSettled = parent.kind === 'none' ? !mayHaveParent(held) : parent.certain;
  if (isSettled) return release(context, held, parent);
  if (parent.kind === 'none' && isSpawned(context, held)) return;
  // The spawn that names the parent, or the call that it names, may still be under way.
  if (held.soft_due_ms === undefined) {
    held.soft_due_ms = context.now_ms + context.options.limits.link_ms;
    return scheduleWake(context.state.waking, held, held.soft_due_ms);
  }
  if (held.soft_due_ms <= context.now_ms) release(context, held, parent);
}

/** Opens held runs whose wait keys have arrived, and those that wait for these in turn, however long the chain. */
export function openWaiting(context: Context): void {
  const { state, arrived } = context;
  for (let what = arrived.pop(); what !== undefined; what = arrived.pop()) {
    for (const key of [...(state.waiting.get(what) ?? [])]) {
      const held = state.held.get(key);
      if (held !== undefined) tryOpen(context, held);
    }
  }
}

/**
 * Held runs to open before this one, so that the tree is as complete as possible: its parent if known, else the candidates,
 * earliest first, since a later run of the session may be waiting for this one.
 */
function heldParents({ state }: Context, parent: Parent): string[] {
  if (parent.kind === 'none') return [];
  if (parent.kind === 'unknown' && parent.held_key !== undefined) return [parent.held_key];
  const { waits_for = [] } = parent;
  const own = waits_for.map((what) =>
    what.startsWith('s:') ? childWait(what.slice(2)) : ownWait(what.slice(2)),
  );
  const firstMs = (key: string): number => state.held.peek(key)?.first_ms ?? Infinity;
  return own.flatMap((what) => [...(state.waiting.get(what) ?? [])]).sort((a, b) => firstMs(a) - firstMs(b));
}

/**
 * For a held run that never existed (only spawns name it), or that has ended and been forgotten: spawns get their log records,
 * other events count as duplicates.
 */
function dropHeld(context: Context, held: HeldRun): void {
  takeOut(context, held);
  for (const { event, arrival_ms } of held.events) {
    if (event.type === 'subagent.spawned') dispatch({ ...context, now_ms: arrival_ms }, undefined, event);
    else context.state.counts.duplicates++;
  }
}

const orFallback = (parent: Parent): Parent =>
  parent.kind === 'unknown' ? (parent.fallback ?? parent) : parent;

function wasRun(context: Context, held: HeldRun): boolean {
  const isMoreThanSpawn = held.events.some(({ event }) => event.type !== 'subagent.spawned');
  return isMoreThanSpawn && !hasEnded(context, held.span_id);
}

/**
 * Opens a held run now: as a root if its parent is still unknown, as partial if its start was never seen. The held runs that it
 * waits for are opened before it, and those that they wait for before them.
 */
export function forceOpen(context: Context, key: string): void {
  const path = [key];
  const seen = new Set(path);
  for (let at = path.at(-1); at !== undefined; at = path.at(-1)) {
    const held = context.state.held.get(at);
    const parent = held && wasRun(context, held) ? findParent(context, childOf(held)) : undefined;
    const before = parent === undefined ? [] : heldParents(context, parent);
    const next = before.find((each) => !seen.has(each));
    if (next !== undefined) {
      seen.add(next);
      path.push(next);
      continue;
    }
    path.pop();
    if (held !== undefined && parent !== undefined) release(context, held, orFallback(parent));
    else if (held !== undefined) dropHeld(context, held);
  }
}

/** Whether the held run is only named by spawns, all of whose makers are open: nothing but their log records is held. */
const isSpawnLog = (context: Context, { events }: Readonly<HeldRun>): boolean =>
  events.every(({ event }) => event.type === 'subagent.spawned' && isMakerKnown(context, event));

/** Emits the log records of spawns whose child has not been seen, without waiting for it. */
export function releaseSpawnLogs(context: Context): void {
  const logs = [...context.state.held].filter(([, held]) => isSpawnLog(context, held));
  for (const [key] of logs) forceOpen(context, key);
}

/** Opens all held runs. What only spawns name comes last, since a spawn's log record is on the span of the run that made it. */
export function forceOpenAll(context: Context): void {
  const { held } = context.state;
  const runs = [...held].filter(([, each]) => wasRun(context, each));
  for (const [key] of runs) forceOpen(context, key);
  for (const key of [...held.keys()]) forceOpen(context, key);
}

export function expireHold(context: Context, held: HeldRun): void {
  const { state, now_ms } = context;
  if (held.due_ms <= now_ms) return forceOpen(context, held.span_id);
  if (held.soft_due_ms !== undefined && held.soft_due_ms <= now_ms) tryOpen(context, held);
  if (isThere(held)) scheduleWake(state.waking, held, held.due_ms);
}
