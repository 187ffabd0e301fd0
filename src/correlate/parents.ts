/**
 * Under whom a run hangs: the call whose result named it, else the run of its parent session that was active when it
 * started. A run that goes on with a request after a yield hangs under the run that yielded.
 */
import { getEntry } from '../bounded.js';
import { type AnnouncedRun, parseAnnounceRunId } from '../model/announce.js';
import type { SpanReference } from '../model/telemetry.js';
import { archived } from './archive.js';
import { callSpanId, isKnownCall } from './calls.js';
import { runKey } from './ids.js';
import { type Run, runReference, type Spawn, type State, type Step } from './state.js';

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
  | { kind: 'none' }
  /** One is named and is not known: what to wait for, and what to take if that does not come. */
  | { kind: 'unknown'; waits_for: string[]; fallback?: KnownParent }
  | KnownParent;

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

export const sessionWait = (session_key: string): string => `s:${session_key}`;
export const runWait = (run_id: string): string => `r:${run_id}`;

/** A run, open or ended, to be looked at. */
export const peek = (state: State, key: string): Readonly<Run> | undefined =>
  state.runs.peek(key) ?? archived(state, key);

/** Ancestors are looked at no further than this; real trees are a handful deep. */
const MAX_ANCESTORS = 1_000;

function isBelow({ state }: Step, run: Run, ancestor_key: string): boolean {
  let at: Readonly<Run> | undefined = run;
  for (let depth = 0; at !== undefined && depth < MAX_ANCESTORS; depth++) {
    if (at.span_id === ancestor_key) return true;
    const above: string | undefined = at.descent?.parent_key;
    at = above === undefined ? undefined : peek(state, above);
  }
  return false;
}

/** Runs of a session that a child could hang under. */
function runsOf(step: Step, session_key: string, child_key: string): Run[] {
  const keys = getEntry(step.state.sessions, session_key)?.runs ?? [];
  return keys
    .map((key) => peek(step.state, key))
    .filter((run): run is Run => run !== undefined && !isBelow(step, run, child_key));
}

const latest = (runs: Run[]): Run | undefined =>
  runs.reduce<Run | undefined>(
    (found, run) => (found && found.start_ms > run.start_ms ? found : run),
    undefined,
  );

const isActiveAt = (run: Run, at_ms: number): boolean => run.ended === undefined || run.ended.end_ms >= at_ms;

/** The run that was active when the child started, else the latest one before it, else any. */
function runAt(runs: Run[], start_ms: number): Run | undefined {
  const before = runs.filter((run) => run.start_ms <= start_ms);
  return latest(before.filter((run) => isActiveAt(run, start_ms))) ?? latest(before) ?? runs[0];
}

function known(step: Step, run: Run, call_id: string | undefined, certain: boolean): KnownParent {
  if (call_id === undefined) return { kind: 'known', run, span_id: run.span_id, certain };
  return isKnownCall(step, run, call_id)
    ? { kind: 'known', run, span_id: callSpanId(run, call_id), certain }
    : { kind: 'known', run, span_id: run.span_id, certain, awaited_call_id: call_id };
}

/** The run that a spawn names: by its id, else by the call, else by time. */
export function spawningRun(
  step: Step,
  spawn: Spawn,
  child: Pick<Child, 'key' | 'start_ms'>,
): Run | undefined {
  const { parent_session_key, parent_run_id, call_id } = spawn;
  if (parent_run_id !== undefined) {
    const run = peek(step.state, runKey(parent_session_key, parent_run_id));
    return run === undefined || isBelow(step, run, child.key) ? undefined : run;
  }
  const runs = runsOf(step, parent_session_key, child.key);
  const caller = call_id === undefined ? undefined : runs.findLast((run) => isKnownCall(step, run, call_id));
  return caller ?? runAt(runs, child.start_ms);
}

function spawnParent(step: Step, child: Child, spawn: Spawn, certain: boolean): Parent {
  const run = spawningRun(step, spawn, child);
  return run === undefined
    ? { kind: 'unknown', waits_for: [sessionWait(spawn.parent_session_key)] }
    : known(step, run, spawn.call_id, certain);
}

/** A parent's run id alone: its session is that of the run by that id. */
function parentByRunId(step: Step, child: Child, parent_run_id: string): Parent {
  const key = getEntry(step.state.by_run_id, parent_run_id);
  const run = key === undefined || key === child.key ? undefined : peek(step.state, key);
  return run === undefined || isBelow(step, run, child.key)
    ? { kind: 'unknown', waits_for: [runWait(parent_run_id)] }
    : known(step, run, undefined, true);
}

/** The runs that an announce run reports on, as far as they are known. */
function announcedRuns({ state }: Step, named: AnnouncedRun[], own_key: string): Run[] {
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

function announceParent(step: Step, child: Child, named: AnnouncedRun[]): Parent {
  const reported = announcedRuns(step, named, child.key);
  const before = runsOf(step, child.session_key, child.key).filter((run) => run.start_ms <= child.start_ms);
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
function spawnOf({ state }: Step, child: Child): Spawn | undefined {
  const ofRun = getEntry(state.spawns, child.key);
  const ofSession = getEntry(state.sessions, child.session_key)?.spawn;
  if (ofRun === undefined || ofSession?.parent_session_key !== ofRun.parent_session_key)
    return ofRun ?? ofSession;
  return { ...ofSession, ...ofRun };
}

export function findParent(step: Step, child: Child): Parent {
  const named = parseAnnounceRunId(child.run_id, child.session_key);
  if (named !== undefined) return announceParent(step, child, named);
  const spawn = spawnOf(step, child);
  if (spawn !== undefined) {
    const { parent_run_id } = child;
    const told = parent_run_id === undefined ? spawn : { parent_run_id, ...spawn };
    // Who names neither the run nor the call only repeats what the child knows: who spawned it may tell more.
    const isTold = spawn.parent_run_id !== undefined || spawn.call_id !== undefined;
    return spawnParent(step, child, told, isTold);
  }
  const { parent_session_key, parent_run_id } = child;
  if (parent_session_key !== undefined && parent_session_key !== child.session_key) {
    const told: Spawn = { parent_session_key, ...(parent_run_id === undefined ? {} : { parent_run_id }) };
    return spawnParent(step, child, told, false);
  }
  return parent_run_id === undefined ? { kind: 'none' } : parentByRunId(step, child, parent_run_id);
}

/** Links of an announce run to each run that its id names and that is known. */
export function announceLinks(step: Step, run: Run): SpanReference[] {
  const named = parseAnnounceRunId(run.run_id, run.session_key);
  return named === undefined ? [] : announcedRuns(step, named, run.span_id).map(runReference);
}
