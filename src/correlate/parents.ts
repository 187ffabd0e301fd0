/**
 * Under whom a run hangs: the call whose result named it, else the run of its parent session that was active when it
 * started. A run that goes on with a request after a yield hangs under the run that yielded.
 */
import { getEntry } from '../capture/bounded.js';
import { type AnnouncedRun, parseAnnounceRunId } from '../model/announce.js';
import type { AgentEvent, EventOf } from '../model/event.js';
import type { SpanReference } from '../model/telemetry.js';
import { archived } from './archive.js';
import { isKnownCall } from './calls.js';
import { hasEnded } from './emit.js';
import { callSpanId, runKey } from './ids.js';
import { isAboutSubagent } from './seen.js';
import {
  type Context,
  childWait,
  type HeldRun,
  type Run,
  runReference,
  runWait,
  type Spawn,
  type State,
  sessionWait,
} from './state.js';

/** What is known of a run that looks for its parent. */
export interface Child {
  key: string;
  session_key: string;
  run_id: string;
  start_ms: number;
  parent_session_key: string | undefined;
  parent_run_id: string | undefined;
}

export type Parent =
  /** Nothing says that it has one. */
  { kind: 'none' } | UnknownParent | KnownParent;

/** One is named and is not known: what to wait for, and what to take if that does not come. */
export interface UnknownParent {
  kind: 'unknown';
  waits_for: string[];
  /** Of the run that it is, where that is known and not open yet. */
  held_key?: string | undefined;
  fallback?: KnownParent | undefined;
}

export interface KnownParent {
  kind: 'known';
  /** To be looked at: who changes it gets it anew. */
  run: Readonly<Run>;
  span_id: string;
  /** Nothing better can be expected to come. */
  certain: boolean;
  /** The call that it hangs under has not been seen yet. */
  awaited_call_id?: string;
  /** Where it is not certain: what would make it so. */
  waits_for?: string[];
}

/** A run, open or ended, to be looked at. */
export const peek = (state: State, key: string): Readonly<Run> | undefined =>
  state.runs.peek(key) ?? archived(state, key);

/** Ancestors are looked at no further than this; real trees are a handful deep. */
const MAX_ANCESTORS = 1_000;

function isBelow({ state }: Context, run: Run, ancestor_key: string): boolean {
  let at: Readonly<Run> | undefined = run;
  for (let depth = 0; at !== undefined && depth < MAX_ANCESTORS; depth++) {
    if (at.span_id === ancestor_key) return true;
    const above: string | undefined = at.descent?.parent_key;
    at = above === undefined ? undefined : peek(state, above);
  }
  return false;
}

/** Runs of a session that a child could hang under. */
function runsOf(context: Context, session_key: string, child_key: string): Run[] {
  const keys = getEntry(context.state.sessions, session_key)?.runs ?? [];
  return keys
    .map((key) => peek(context.state, key))
    .filter((run): run is Run => run !== undefined && !isBelow(context, run, child_key));
}

/** What tells whether a child could hang under a run. */
interface Candidate {
  span_id: string;
  start_ms: number;
  /** It began before that. */
  partial: boolean;
  ended: { end_ms: number } | undefined;
}

/** The end of a held run, as far as that has been told. */
export function endOfHeld({ events }: Readonly<HeldRun>): EventOf<'agent.finished'> | undefined {
  for (const { event } of events)
    if (event.type === 'agent.finished' && event.settled !== false) return event;
  return undefined;
}

const isNamedIn = (named: AnnouncedRun[] | undefined, child_run_id: string): boolean =>
  named?.some(({ run_id }) => run_id === child_run_id) ?? false;

/** Whether a held run is more than what is said of a sub-agent: events of its own tell of it. */
export const isSeenRun = (context: Context, { span_id, events }: Readonly<HeldRun>): boolean =>
  events.some(({ event }) => !isAboutSubagent(event)) && !hasEnded(context, span_id);

/** Runs of a session that wait to be opened, and that a child could hang under: not those that report on it. */
export function heldRunsOf(
  context: Context,
  session_key: string,
  child: Pick<Child, 'key' | 'run_id'>,
): Readonly<HeldRun>[] {
  const { held, waiting } = context.state;
  if (held.size === 0) return [];
  return [...(waiting.get(childWait(session_key)) ?? [])].flatMap((key) => {
    const run = key === child.key ? undefined : held.peek(key);
    if (run === undefined || !isSeenRun(context, run)) return [];
    return isNamedIn(parseAnnounceRunId(run.run_id, session_key), child.run_id) ? [] : [run];
  });
}

/** When a held run began, as far as that has been told. */
export const startOfHeld = ({ started, first_ms }: Pick<HeldRun, 'started' | 'first_ms'>): number =>
  started?.ts ?? first_ms;

function candidateOf(held: Readonly<HeldRun>): Candidate {
  const end = endOfHeld(held);
  return {
    span_id: held.span_id,
    start_ms: startOfHeld(held),
    partial: held.started === undefined,
    ended: end && { end_ms: end.ts },
  };
}

const latest = <T extends Pick<Candidate, 'start_ms'>>(runs: T[]): T | undefined =>
  runs.reduce<T | undefined>(
    (found, run) => (found && found.start_ms > run.start_ms ? found : run),
    undefined,
  );

const earliest = <T extends Pick<Candidate, 'start_ms'>>(runs: T[]): T | undefined =>
  runs.reduce<T | undefined>(
    (found, run) => (found && found.start_ms <= run.start_ms ? found : run),
    undefined,
  );

const isActiveAt = ({ ended }: Candidate, at_ms: number): boolean =>
  ended === undefined || ended.end_ms >= at_ms;

/** A child's clock may be behind its parent's by this much. */
const CLOCKS_DIFFER_MS = 1_000;

/** Whether a run that is seen later than the child may have begun before it all the same. */
const mayBeBefore = (run: Candidate, start_ms: number): boolean =>
  run.partial || run.start_ms <= start_ms + CLOCKS_DIFFER_MS;

/** The run that was active when the child started, else the latest one before it, else the first that may have been. */
function runAt<T extends Candidate>(runs: T[], start_ms: number): T | undefined {
  const before = runs.filter((run) => run.start_ms <= start_ms);
  return (
    latest(before.filter((run) => isActiveAt(run, start_ms))) ??
    latest(before) ??
    earliest(runs.filter((run) => mayBeBefore(run, start_ms)))
  );
}

function known(context: Context, run: Run, call_id: string | undefined, certain: boolean): KnownParent {
  if (call_id === undefined) return { kind: 'known', run, span_id: run.span_id, certain };
  return isKnownCall(context, run, call_id)
    ? { kind: 'known', run, span_id: callSpanId(run, call_id), certain }
    : { kind: 'known', run, span_id: run.span_id, certain, awaited_call_id: call_id };
}

/** Who spawned a child, as far as that is known. */
export interface Spawner {
  /** To be looked at. Where another one is held, or more is to come: what to take if that does not open, or come. */
  run: Readonly<Run> | undefined;
  /** Of the run, where that is known and not open yet. */
  held_key?: string | undefined;
  /** It is told, by its id or by the call that it made; else it is found by time. */
  is_told: boolean;
  /** A better one may be to come, for as long as events may change places. */
  is_guess: boolean;
}

function spawnerById(context: Context, key: string, child_key: string): Spawner {
  const run = peek(context.state, key);
  const held_key = run === undefined && context.state.held.peek(key) !== undefined ? key : undefined;
  const is_known = run !== undefined && !isBelow(context, run, child_key);
  return { run: is_known ? run : undefined, held_key, is_told: true, is_guess: !is_known };
}

const isOfCall = (event: AgentEvent, call_id: string): boolean =>
  (event.type === 'tool.call' || event.type === 'tool.output' || event.type === 'tool.error') &&
  event.call_id === call_id;

/** By the call that it made. One that is held may be opened soon. */
function spawnerByCall(
  context: Context,
  call_id: string,
  runs: Run[],
  held: Readonly<HeldRun>[],
): Pick<Spawner, 'run' | 'held_key'> | undefined {
  const run = runs.findLast((each) => isKnownCall(context, each, call_id));
  if (run !== undefined) return { run };
  const caller = held.find(({ events }) => events.some(({ event }) => isOfCall(event, call_id)));
  return caller && { run: undefined, held_key: caller.span_id };
}

/** The run that a spawn names: by its id, else by the call, else by time. */
export function spawnerOf(
  context: Context,
  { parent_session_key, parent_run_id, call_id }: Spawn,
  child: Pick<Child, 'key' | 'run_id' | 'start_ms'>,
): Spawner {
  if (parent_run_id !== undefined)
    return spawnerById(context, runKey(parent_session_key, parent_run_id), child.key);
  const runs = runsOf(context, parent_session_key, child.key);
  const held = heldRunsOf(context, parent_session_key, child);
  const caller = call_id === undefined ? undefined : spawnerByCall(context, call_id, runs, held);
  const run = caller?.run ?? runAt(runs, child.start_ms);
  if (caller !== undefined)
    return { run, held_key: caller.held_key, is_told: true, is_guess: caller.run === undefined };
  const best =
    held.length === 0 ? run : runAt<Candidate>([...held.map(candidateOf), ...runs], child.start_ms);
  const held_key = best === undefined || best.span_id === run?.span_id ? undefined : best.span_id;
  // A call that nobody has made yet is rather another run's than that of one which had ended.
  const is_missing = call_id !== undefined && run !== undefined && !isActiveAt(run, child.start_ms);
  return {
    run,
    held_key,
    is_told: false,
    is_guess: run === undefined || held_key !== undefined || is_missing,
  };
}

function spawnParent(context: Context, child: Child, spawn: Spawn, certain: boolean): Parent {
  const { run, held_key, is_told, is_guess } = spawnerOf(context, spawn, child);
  const parent = run && known(context, run, spawn.call_id, certain && is_told);
  if (parent !== undefined && !is_guess) return parent;
  return {
    kind: 'unknown',
    waits_for: [sessionWait(spawn.parent_session_key)],
    held_key,
    fallback: parent,
  };
}

/** A parent's run id alone: its session is that of the run by that id. */
function parentByRunId(context: Context, child: Child, parent_run_id: string): Parent {
  const key = getEntry(context.state.by_run_id, parent_run_id);
  const run = key === undefined ? undefined : peek(context.state, key);
  return run === undefined || isBelow(context, run, child.key)
    ? { kind: 'unknown', waits_for: [runWait(parent_run_id)] }
    : known(context, run, undefined, true);
}

/** The runs that an announce run reports on, as far as they are known. */
function announcedRuns({ state }: Context, named: AnnouncedRun[], own_key: string): Run[] {
  return named
    .map(({ session_key, run_id }) => {
      const key = session_key === undefined ? getEntry(state.by_run_id, run_id) : runKey(session_key, run_id);
      const exact = key === undefined ? undefined : peek(state, key);
      if (exact !== undefined || session_key === undefined) return exact;
      return latest(
        (getEntry(state.sessions, session_key)?.runs ?? []).flatMap((each) => peek(state, each) ?? []),
      );
    })
    .filter((run): run is Run => run !== undefined && run.span_id !== own_key);
}

function announceParent(context: Context, child: Child, named: AnnouncedRun[]): Parent {
  const reported = announcedRuns(context, named, child.key);
  const before = runsOf(context, child.session_key, child.key).filter(
    (run) => run.start_ms <= child.start_ms,
  );
  const traces = new Set(reported.map((run) => run.trace_id));
  const ofRequest = traces.size === 0 ? before : before.filter((run) => traces.has(run.trace_id));
  const hasYielded = (run: Run): boolean =>
    run.ended?.yielded === true || run.aside.yielded_at_ms !== undefined;
  const run = latest(ofRequest.filter(hasYielded)) ?? latest(ofRequest);
  const waits_for = named.flatMap(({ run_id, session_key }) => [
    runWait(run_id),
    ...(session_key === undefined ? [] : [sessionWait(session_key)]),
  ]);
  // It links to each of those: one that is not open may be about to be.
  const certain = reported.length === named.length;
  const parent: KnownParent | undefined = run && {
    kind: 'known',
    run,
    span_id: run.span_id,
    certain,
    waits_for,
  };
  // Only the runs that it reports on tell which request it goes on with.
  if (parent !== undefined && reported.length > 0) return parent;
  return {
    kind: 'unknown',
    waits_for: [sessionWait(child.session_key), ...waits_for],
    ...(parent === undefined ? {} : { fallback: parent }),
  };
}

/** What spawns told of this run, and of its session where they named no run. */
function spawnOf({ state }: Context, child: Child): Spawn | undefined {
  const ofRun = getEntry(state.spawns, child.key);
  const ofSession = getEntry(state.sessions, child.session_key)?.spawn;
  if (ofRun === undefined || ofSession?.parent_session_key !== ofRun.parent_session_key)
    return ofRun ?? ofSession;
  return { ...ofSession, ...ofRun };
}

export function findParent(context: Context, child: Child): Parent {
  const named = parseAnnounceRunId(child.run_id, child.session_key);
  if (named !== undefined) return announceParent(context, child, named);
  const spawn = spawnOf(context, child);
  if (spawn !== undefined) {
    const { parent_run_id } = child;
    const told = parent_run_id === undefined ? spawn : { parent_run_id, ...spawn };
    // Who names neither the run nor the call only repeats what the child knows: who spawned it may tell more.
    const isTold = spawn.parent_run_id !== undefined || spawn.call_id !== undefined;
    return spawnParent(context, child, told, isTold);
  }
  const { parent_session_key, parent_run_id } = child;
  if (parent_session_key !== undefined && parent_session_key !== child.session_key) {
    const told: Spawn = { parent_session_key, ...(parent_run_id === undefined ? {} : { parent_run_id }) };
    return spawnParent(context, child, told, false);
  }
  return parent_run_id === undefined ? { kind: 'none' } : parentByRunId(context, child, parent_run_id);
}

/** Links of an announce run to each run that its id names and that is known. */
export function announceLinks(context: Context, run: Run): SpanReference[] {
  const named = parseAnnounceRunId(run.run_id, run.session_key);
  return named === undefined ? [] : announcedRuns(context, named, run.span_id).map(runReference);
}
