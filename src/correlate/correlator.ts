/**
 * The correlator: events in, spans, measurements and log records out. It is pure and synchronous: no I/O, no clock, no
 * randomness. It is told what time it is, and says when it wants to be asked again.
 */
import { getEntry } from '../capture/bounded.js';
import { beginCapture, type CaptureOptions } from '../capture/tracked.js';
import { isThere } from '../capture/tracked-map.js';
import { withoutUndefined } from '../json.js';
import type { AgentEvent, EventOf } from '../model/event.js';
import type { SavedRecord, StagedCapture } from '../model/record.js';
import type { Emission } from '../model/telemetry.js';
import { archived, recall } from './archive.js';
import { expireEarlyEnds, expireParked, onToolCall, onToolEnd } from './calls.js';
import { expireChats, onReasoning, onStepStarted, onTokens } from './chats.js';
import { hasEnded } from './emit.js';
import { firstDue, letSleep, wakeBy } from './heap.js';
import {
  expireHold,
  forceOpen,
  hold,
  type Identity,
  makeRoomForHeld,
  markHeldGap,
  openAtOnce,
  openWaiting,
  tryOpen,
} from './held.js';
import { runKey } from './ids.js';
import { noneSeen, type Seen } from './numbers.js';
import { endOfHeld, heldRunsOf, isSeenRun, peek, startOfHeld } from './parents.js';
import {
  closeRun,
  expireLimits,
  expireSettle,
  markGap,
  nextDueMs,
  onFinished,
  onStarted,
  onSubagentFinished,
  onSubagentOutput,
  putAway,
  settleRun,
  touch,
} from './runs.js';
import { restoreState, trackState } from './saved.js';
import { isAboutSubagent, isFirstSight } from './seen.js';
import { logSpawn, rememberSpawn } from './spawns.js';
import {
  type CorrelatorCounts,
  childWait,
  createState,
  DEFAULT_LIMITS,
  emptyEmission,
  forgetRecent,
  type GivenLimits,
  latestRun,
  liveRun,
  type Options,
  type Run,
  type State,
  type Step,
  sessionOf,
  setSession,
} from './state.js';

export interface CorrelatorOptions {
  /** Record inputs, outputs and reasoning text. Default: false. */
  content?: boolean;
  /** Bytes of content that one attribute holds. Default: 16 KiB. */
  content_max_bytes?: number;
  /** Give out copies of spans that are not final. Default: true. */
  previews?: boolean;
  /** Give out log records. Default: true. */
  logs?: boolean;
  /** Give out measurements. Default: true. */
  measurements?: boolean;
  /** What is absent, or undefined, is as `DEFAULT_LIMITS` has it. */
  limits?: GivenLimits;
}

export interface Correlator {
  /** Takes one event, at this time (epoch milliseconds). What comes of it is added to `out`. */
  apply(event: AgentEvent, now_ms: number, out?: Emission): Emission;
  /** Gives out what has waited long enough. */
  expire(now_ms: number, out?: Emission): Emission;
  /**
   * Nobody is there any more to tell what is missing: gives out the held runs that have ended, as `expire` would give out all of
   * them. Those that go on stay held.
   */
  releaseEnded(now_ms: number): Emission;
  /** When `expire` has something to do; undefined where nothing waits. Asking early or late is harmless. */
  nextDeadline(): number | undefined;
  /**
   * Who tells reasoning tokens can't be asked, or has only just become able to be: until this instant (epoch milliseconds)
   * ended model calls wait for them, up to a bound.
   */
  waitForReasoning(until_ms: number): void;
  /** No more events come: everything held is given out, and every open run is closed with `shutdown`. */
  close(now_ms: number): Emission;
  counts(): CorrelatorCounts & { runs_open: number };
  /**
   * What has changed since the capture before, as records whose keys begin with `state/`; in the first one everything. A
   * capture is to be complete before the next is taken. It keeps no changes before the first one.
   */
  capture(options?: CaptureOptions): StagedCapture;
  /** Of the records that it was restored from, the number that could not be used. The next capture removes them. */
  unusable_records: number;
}

const DEFAULT_CONTENT_MAX_BYTES = 16 * 1024;

function learn(step: Step, event: AgentEvent): void {
  const known = sessionOf(step, event.session_key);
  const { session_id = known.session_id, agent_id = known.agent_id, channel = known.channel } = event;
  const label = (event.type === 'subagent.spawned' ? event.label : undefined) ?? known.label;
  const isKnown =
    session_id === known.session_id &&
    agent_id === known.agent_id &&
    channel === known.channel &&
    label === known.label;
  if (isKnown) return;
  const { runs, spawn, latest } = known;
  setSession(step, event.session_key, { runs, session_id, agent_id, channel, label, spawn, latest });
}

/** Applies an event to its open or remembered run; a spawn may have none. */
function dispatch(step: Step, run: Run | undefined, event: AgentEvent): void {
  if (event.type === 'subagent.spawned') return logSpawn(step, event, run);
  if (run === undefined) return;
  // A start of a run that is open changes nothing: not even when it showed life last.
  if (event.type === 'agent.started') return onStarted(step, run, event);
  touch(step, run, event.ts);
  switch (event.type) {
    case 'agent.step_started':
      return onStepStarted(step, run, event);
    case 'agent.finished':
      return onFinished(step, run, event);
    case 'tool.call':
      return onToolCall(step, run, event);
    case 'tool.output':
    case 'tool.error':
      return onToolEnd(step, run, event);
    case 'subagent.output':
      return onSubagentOutput(step, run, event);
    case 'subagent.finished':
      return onSubagentFinished(step, run, event);
    case 'llm.tokens':
      return onTokens(step, run, event);
    case 'llm.reasoning':
      return onReasoning(step, run, event);
  }
}

/** A spawn ties a child's run under its parent, and opens the child if it waits for that. */
function applySpawn(step: Step, event: EventOf<'subagent.spawned'>, key: string): void {
  const isLogged = rememberSpawn(step, event);
  step.arrived.push(childWait(event.session_key));
  if (isLogged) return;
  // Neither the parent nor the child is known yet: the record waits for the child.
  const held = hold(step, event, identityOf(step, event, key));
  tryOpen(step, held, dispatch);
  makeRoomForHeld(step, dispatch);
}

/** Also of an event that has been seen before: it may come again to say this. */
function sayGap(step: Step, run: Run, event: AgentEvent): void {
  if (event.gap === true) markGap(step, run);
}

function applyToRun(step: Step, run: Run, event: AgentEvent): void {
  sayGap(step, run, event);
  dispatch(step, run, event);
  if (run.ended !== undefined) putAway(step, run);
}

/** An event of a run that is not known. */
function applyUnknown(step: Step, event: AgentEvent, identity: Identity): void {
  // It has ended, so long ago that it is forgotten, and with it which of its events have been seen.
  if (hasEnded(step, identity.span_id)) {
    step.state.counts.duplicates++;
    return;
  }
  if (event.type === 'agent.started' && openAtOnce(step, event, identity, dispatch)) return;
  const held = hold(step, event, identity);
  tryOpen(step, held, dispatch);
  makeRoomForHeld(step, dispatch);
}

/** Whether it is a new one; then what it tells of its session is known from here on. */
function isNew(step: Step, event: AgentEvent, seen: Seen): boolean {
  const isFirst = isFirstSight(step, event, seen);
  if (isFirst) learn(step, event);
  else step.state.counts.duplicates++;
  return isFirst;
}

/** Of a run that is held, or not known at all. */
function identityOf({ state }: Step, { session_key, run_id = '' }: AgentEvent, key: string): Identity {
  return state.held.get(key) ?? { session_key, run_id, span_id: key, ...noneSeen() };
}

/** Whether a run that is not open is known: by events of its own, or by a spawn that names it. */
function isKnownRun(step: Step, key: string): boolean {
  const { archive, held, spawns } = step.state;
  if (getEntry(archive, key) !== undefined || getEntry(spawns, key) !== undefined) return true;
  const waiting = held.peek(key);
  return (waiting !== undefined && isSeenRun(step, waiting)) || hasEnded(step, key);
}

/** Of a session any run is meant. */
const ANY = { key: '', run_id: '' };

/** The latest run of a session, also of those that are not open yet. */
function latestOf(step: Step, session_key: string): string | undefined {
  const { sessions } = step.state;
  const key = getEntry(sessions, session_key)?.runs.at(-1);
  const opened = key === undefined ? undefined : peek(step.state, key);
  let latest = opened && { key: opened.span_id, start_ms: opened.start_ms };
  for (const held of heldRunsOf(step, session_key, ANY)) {
    const start_ms = startOfHeld(held);
    if (latest === undefined || latest.start_ms <= start_ms) latest = { key: held.span_id, start_ms };
  }
  return latest?.key;
}

/** What is said of a sub-agent may name its session alone: it is about its latest run. Once that has ended, nothing of it changes. */
function applyToSubagent(step: Step, event: AgentEvent, own: string): void {
  const { state } = step;
  const key = isKnownRun(step, own) ? own : (latestOf(step, event.session_key) ?? own);
  const run = state.runs.get(key);
  if (run !== undefined) return applyToRun(step, run, event);
  const ended = archived(state, key);
  if (ended === undefined) return applyUnknown(step, event, identityOf(step, event, key));
  const changed = event.gap === true ? recall(step, key) : undefined;
  if (changed !== undefined) applyToRun(step, changed, event);
  else dispatch(step, { ...ended }, event);
}

/** An event of a run that is not at hand: of one that has ended, or is not open yet, or of which only a spawn or a result tells. */
function applyToAbsent(step: Step, event: AgentEvent, key: string): void {
  if (isAboutSubagent(event)) {
    if (!isNew(step, event, noneSeen())) return;
    if (event.type === 'subagent.spawned') applySpawn(step, event, key);
    else applyToSubagent(step, event, key);
    return;
  }
  const run = recall(step, key);
  if (run === undefined) {
    const identity = identityOf(step, event, key);
    if (isNew(step, event, identity)) applyUnknown(step, event, identity);
    else if (event.gap === true) markHeldGap(step, key);
  } else if (isNew(step, event, run)) applyToRun(step, run, event);
  else {
    sayGap(step, run, event);
    putAway(step, run);
  }
}

function applyToLive(step: Step, run: Run, event: AgentEvent): void {
  if (!isNew(step, event, run)) return sayGap(step, run, event);
  if (event.type === 'subagent.spawned') applySpawn(step, event, run.span_id);
  else applyToRun(step, run, event);
}

function applyEvent(step: Step, event: AgentEvent): void {
  const { session_key, run_id = '' } = event;
  const latest = latestRun(step, session_key, run_id);
  if (latest !== undefined) return applyToLive(step, latest, event);
  const key = runKey(session_key, run_id);
  const run = liveRun(step, key);
  if (run === undefined) applyToAbsent(step, event, key);
  else applyToLive(step, run, event);
}

/** Sees to all of a run that is due. */
function expireRun(step: Step, run: Run): void {
  expireLimits(step, run);
  expireSettle(step, run);
  expireChats(step, run, step.now_ms);
  expireEarlyEnds(step, run, step.now_ms);
  expireParked(step, run, step.now_ms);
  putAway(step, run);
  if (isThere(run)) wakeBy(step.state.waking, run, nextDueMs(step, run));
}

function expireDue(step: Step): void {
  const { held, runs, waking } = step.state;
  for (let due = firstDue(waking, step.now_ms); due !== undefined; due = firstDue(waking, step.now_ms)) {
    if ('waits_for' in due) {
      held.touch(due);
      letSleep(waking, due);
      expireHold(step, due, dispatch);
    } else {
      runs.touch(due);
      letSleep(waking, due);
      expireRun(step, due);
    }
  }
}

function forceOpenEnded(step: Step): void {
  const ended = [...step.state.held].filter(([, held]) => endOfHeld(held) !== undefined);
  for (const [key] of ended) forceOpen(step, key, dispatch);
}

const runsToChange = ({ runs }: State): Run[] => [...runs.keys()].flatMap((key) => runs.get(key) ?? []);

function closeAll(step: Step): void {
  const { state } = step;
  for (const key of [...state.held.keys()]) forceOpen(step, key, dispatch);
  for (const run of runsToChange(state)) {
    if (run.aside.finishing !== undefined) expireSettle({ ...step, now_ms: Infinity }, run);
    if (run.ended === undefined) closeRun(step, run, 'shutdown', 'still open when the bridge stopped');
  }
  // A run that was closed just now may have left its span with a run that was closed before it.
  for (const run of runsToChange(state)) {
    settleRun(step, run);
    putAway(step, run);
  }
  state.waking.length = 0;
}

/** A correlator; with what another one's captures gave it goes on where that one was captured last. */
export function createCorrelator(options: CorrelatorOptions = {}, saved?: Iterable<SavedRecord>): Correlator {
  const settings: Options = {
    content: options.content ?? false,
    content_max_bytes: options.content_max_bytes ?? DEFAULT_CONTENT_MAX_BYTES,
    previews: options.previews ?? true,
    logs: options.logs ?? true,
    measurements: options.measurements ?? true,
    limits: { ...DEFAULT_LIMITS, ...withoutUndefined(options.limits ?? {}) },
  };
  const state = createState();
  const parts = trackState(state);
  const unusable_records = saved === undefined ? 0 : restoreState(state, parts, saved);
  let patient_until_ms = 0;
  const begin = (now_ms: number, out = emptyEmission()): Step => {
    forgetRecent(state);
    return { state, options: settings, now_ms, out, arrived: [], patient_until_ms };
  };
  const end = (step: Step): Emission => {
    if (step.arrived.length > 0) openWaiting(step, dispatch);
    return step.out;
  };
  return {
    apply(event, now_ms, out) {
      const step = begin(now_ms, out);
      applyEvent(step, event);
      return end(step);
    },
    expire(now_ms, out) {
      const step = begin(now_ms, out);
      expireDue(step);
      return end(step);
    },
    releaseEnded(now_ms) {
      const step = begin(now_ms);
      forceOpenEnded(step);
      return end(step);
    },
    waitForReasoning(until_ms) {
      patient_until_ms = until_ms;
    },
    close(now_ms) {
      const step = begin(now_ms);
      closeAll(step);
      return end(step);
    },
    nextDeadline: () => state.waking[0]?.wake_ms,
    counts: () => ({ ...state.counts, given_up: { ...state.counts.given_up }, runs_open: state.open_count }),
    capture: (captureOptions) => beginCapture(state.tracker, Object.values(parts), captureOptions),
    unusable_records,
  };
}
