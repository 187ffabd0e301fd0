/**
 * Finds the parent span of a run: the call whose result named the run, else the run of the parent session that was active when
 * it started. A run that continues a request after a yield becomes a child of the run that yielded.
 */
import { getEntry } from '../capture/bounded.js';
import { type AnnouncedRun, parseAnnounceRunId } from '../model/announce.js';
import type { AgentEvent, EventOf } from '../model/event.js';
import type { SpanReference } from '../model/telemetry.js';
import { findArchived } from './archive.js';
import { isKnownCall } from './calls.js';
import { isAboutSubagent } from './duplicates.js';
import { hasEnded } from './emit.js';
import { callSpanId, runKey } from './ids.js';
import { type HeldRun, NO_RARE_FIELDS, possibleEndMs, type Run, runReference } from './run-state.js';
import { type Context, childWait, runWait, type Spawn, type State, sessionWait } from './state.js';

/** A run that looks for its parent. */
export interface Child {
  key: string;
  session_key: string;
  run_id: string;
  start_ms: number;
  parent_session_key: string | undefined;
  parent_run_id: string | undefined;
}

export type Parent =
  /** Nothing names a parent. */
  { kind: 'none' } | UnknownParent | KnownParent;

/** A parent is named but not known: what to wait for, and what to use if that does not arrive. */
export interface UnknownParent {
  kind: 'unknown';
  waits_for: string[];
  session_key?: string;
  /** The key of the parent, if that is a held run. */
  held_key?: string | undefined;
  fallback?: KnownParent | undefined;
}

export interface KnownParent {
  kind: 'known';
  /** Read-only: to change the run, look it up again. */
  run: Readonly<Run>;
  span_id: string;
  /** No better parent can be expected. */
  certain: boolean;
  /** The call that is the parent, if it has not been seen yet. */
  awaited_call_id?: string;
  /** If not certain: what would make it certain. */
  waits_for?: string[];
}

/** A run, live or archived, to be read only. */
export const peek = (state: State, key: string): Readonly<Run> | undefined =>
  state.runs.peek(key) ?? findArchived(state, key);

/** Maximum number of ancestors that are followed; real trees are a handful deep. */
const MAX_ANCESTORS = 1_000;

/** Whether a run descends from the child, and so can't be its parent. */
function isBelow({ state }: Context, run: Run, child_key: string): boolean {
  const child = peek(state, child_key);
  // What is not open yet has no descendants, and the parent that a run has now is none of them.
  if (child === undefined || child.descent?.parent_key === run.span_id) return false;
  let at: Readonly<Run> | undefined = run;
  for (let depth = 0; at !== undefined && depth < MAX_ANCESTORS; depth++) {
    if (at.span_id === child_key) return true;
    const above: string | undefined = at.descent?.parent_key;
    at = above === undefined ? undefined : peek(state, above);
  }
  return false;
}

/** The runs of a session that may be the parent of a child. */
function runsOf(context: Context, session_key: string, child_key: string): Run[] {
  const keys = getEntry(context.state.sessions, session_key)?.runs ?? [];
  return keys
    .map((key) => peek(context.state, key))
    .filter((run): run is Run => run !== undefined && !isBelow(context, run, child_key));
}

/** Decides whether a run can be the parent of a child. */
interface Candidate {
  span_id: string;
  start_ms: number;
  /** Its start was not seen: it began before `start_ms`. */
  is_partial: boolean;
  ended: { end_ms: number } | undefined;
  rare: Run['rare'];
}

/** The end of a held run, if it has arrived. */
export function endOfHeld({ events }: Readonly<HeldRun>): EventOf<'agent.finished'> | undefined {
  for (const { event } of events)
    if (event.type === 'agent.finished' && event.settled !== false && !event.may_continue) return event;
  return undefined;
}

const isNamedIn = (named: AnnouncedRun[] | undefined, child_run_id: string): boolean =>
  named?.some(({ run_id }) => run_id === child_run_id) ?? false;

/** Whether a held run has events of its own, not only events about a sub-agent, and has not ended. */
export const isSeenRun = (context: Context, { span_id, events }: Readonly<HeldRun>): boolean =>
  events.some(({ event }) => !isAboutSubagent(event)) && !hasEnded(context, span_id);

/** Held runs of a session that may be the parent of a child. Runs that report on the child are left out. */
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

/** The start of a held run, as far as it is known. */
export const startOfHeld = ({ started, first_ms }: Pick<HeldRun, 'started' | 'first_ms'>): number =>
  started?.ts ?? first_ms;

function candidateOf(held: Readonly<HeldRun>): Candidate {
  const end = endOfHeld(held);
  return {
    span_id: held.span_id,
    start_ms: startOfHeld(held),
    is_partial: held.started === undefined,
    ended: end && { end_ms: end.ts },
    rare: NO_RARE_FIELDS,
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

function isActiveAt({ ended, rare }: Candidate, at_ms: number): boolean {
  const end_ms = ended?.end_ms ?? possibleEndMs(rare);
  return end_ms === undefined || end_ms >= at_ms;
}

/** A child's clock may be behind its parent's by this much. */
const CLOCKS_DIFFER_MS = 1_000;

/** Whether a run that is reported to start later than the child may have begun before it nevertheless. */
const mayBeBefore = (run: Candidate, start_ms: number): boolean =>
  run.is_partial || run.start_ms <= start_ms + CLOCKS_DIFFER_MS;

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

/** The run that spawned a child, as far as it is known. */
export interface Spawner {
  /** Read-only. If `held_key` is set, or this is a guess: the run to use if no better one appears. */
  run: Readonly<Run> | undefined;
  /** Key of the spawning run, if it is held. */
  held_key?: string | undefined;
  /** It is identified by its id or by its call, not found by time. */
  is_identified: boolean;
  /** A better one may still arrive, while events can be out of order. */
  is_guess: boolean;
}

function spawnerById(context: Context, key: string, child_key: string): Spawner {
  const run = peek(context.state, key);
  const held_key = run === undefined && context.state.held.peek(key) !== undefined ? key : undefined;
  const is_known = run !== undefined && !isBelow(context, run, child_key);
  return { run: is_known ? run : undefined, held_key, is_identified: true, is_guess: !is_known };
}

const isOfCall = (event: AgentEvent, call_id: string): boolean =>
  (event.type === 'tool.call' || event.type === 'tool.output' || event.type === 'tool.error') &&
  event.call_id === call_id;

/** Finds the run that made the call: of several with such a call the one by time. A held run may be opened soon. */
function spawnerByCall(
  context: Context,
  call_id: string,
  start_ms: number,
  runs: Run[],
  held: Readonly<HeldRun>[],
): Pick<Spawner, 'run' | 'held_key'> | undefined {
  const callers = runs.filter((each) => isKnownCall(context, each, call_id));
  const run = runAt(callers, start_ms) ?? callers.at(-1);
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
  const caller =
    call_id === undefined ? undefined : spawnerByCall(context, call_id, child.start_ms, runs, held);
  const run = caller?.run ?? runAt(runs, child.start_ms);
  if (caller !== undefined)
    return { run, held_key: caller.held_key, is_identified: true, is_guess: caller.run === undefined };
  const best =
    held.length === 0 ? run : runAt<Candidate>([...held.map(candidateOf), ...runs], child.start_ms);
  const held_key = best === undefined || best.span_id === run?.span_id ? undefined : best.span_id;
  // A call that has not been seen is more likely another run's than that of a run which had ended.
  const is_missing = call_id !== undefined && run !== undefined && !isActiveAt(run, child.start_ms);
  return {
    run,
    held_key,
    is_identified: false,
    is_guess: run === undefined || held_key !== undefined || is_missing,
  };
}

function spawnParent(context: Context, child: Child, spawn: Spawn, certain: boolean): Parent {
  const { run, held_key, is_identified, is_guess } = spawnerOf(context, spawn, child);
  const parent = run && known(context, run, spawn.call_id, certain && is_identified);
  if (parent !== undefined && !is_guess) return parent;
  return {
    kind: 'unknown',
    waits_for: [sessionWait(spawn.parent_session_key)],
    session_key: spawn.parent_session_key,
    held_key,
    fallback: parent,
  };
}

/** For a parent run id without a session: the run that was opened last with that id. */
function parentByRunId(context: Context, child: Child, parent_run_id: string): Parent {
  const key = getEntry(context.state.by_run_id, parent_run_id);
  const run = key === undefined ? undefined : peek(context.state, key);
  return run === undefined || isBelow(context, run, child.key)
    ? { kind: 'unknown', waits_for: [runWait(parent_run_id)] }
    : known(context, run, undefined, true);
}

/** The runs that an announce run reports on, as far as they are known. */
function announcedRuns(
  { state }: Context,
  named: AnnouncedRun[],
  { key: own_key, start_ms }: Pick<Child, 'key' | 'start_ms'>,
): Run[] {
  return named
    .map(({ session_key, run_id }) => {
      const key = session_key === undefined ? getEntry(state.by_run_id, run_id) : runKey(session_key, run_id);
      const exact = key === undefined ? undefined : peek(state, key);
      if (exact !== undefined || session_key === undefined) return exact;
      const runs = (getEntry(state.sessions, session_key)?.runs ?? []).flatMap(
        (each) => peek(state, each) ?? [],
      );
      return latest(runs.filter((each) => each.start_ms <= start_ms));
    })
    .filter((run): run is Run => run !== undefined && run.span_id !== own_key);
}

/** The sessions of which an announce run's id, as in transcripts, names no known run: it reports on the latest run there. */
const sessionsOnly = ({ state }: Context, named: AnnouncedRun[]): string[] =>
  named.flatMap(({ session_key, run_id }) =>
    session_key === undefined || peek(state, runKey(session_key, run_id)) !== undefined ? [] : [session_key],
  );

const hasYielded = (run: Run): boolean => run.ended?.yielded === true || run.rare.yielded_at_ms !== undefined;

/**
 * The latest held run that an announce run has to wait for, if its id names only sessions: one of such a session, on which it
 * may report, or one of its own session, which it may continue.
 */
function heldBefore(
  context: Context,
  child: Child,
  sessions: string[],
  continued: Run | undefined,
): string | undefined {
  if (sessions.length === 0) return undefined;
  // A yielded run is only superseded by a later one that has yielded.
  const yielded = continued !== undefined && hasYielded(continued) ? continued : undefined;
  const held = [
    ...sessions.flatMap((session_key) => heldRunsOf(context, session_key, child)),
    ...heldRunsOf(context, child.session_key, child).filter(
      (run) =>
        yielded === undefined || (endOfHeld(run)?.yielded === true && startOfHeld(run) > yielded.start_ms),
    ),
  ];
  return latest(held.map(candidateOf).filter(({ start_ms }) => start_ms < child.start_ms))?.span_id;
}

function announceParent(context: Context, child: Child, named: AnnouncedRun[]): Parent {
  const reported = announcedRuns(context, named, child);
  const before = runsOf(context, child.session_key, child.key).filter(
    (run) => run.start_ms <= child.start_ms,
  );
  const traces = new Set(reported.map((run) => run.trace_id));
  const ofRequest = traces.size === 0 ? before : before.filter((run) => traces.has(run.trace_id));
  // A run of its own session that the id names is the one that it continues.
  const continued = reported.find((run) => run.session_key === child.session_key);
  // Not the latest of all: the runs before it may not be open yet.
  const spawners = ofRequest.filter(({ span_id }) =>
    reported.some(({ descent }) => descent?.parent_key === span_id),
  );
  const run = continued ?? latest(ofRequest.filter(hasYielded)) ?? latest(spawners) ?? latest(ofRequest);
  const waits_for = named.flatMap(({ run_id, session_key }) => [
    runWait(run_id),
    ...(session_key === undefined ? [] : [sessionWait(session_key)]),
  ]);
  const sessions = sessionsOnly(context, named);
  const held_key = heldBefore(context, child, sessions, run);
  // A report is about a run that has ended without yielding.
  const isOver = (key: string): boolean =>
    reported.some(({ session_key, ended }) => session_key === key && ended?.yielded === false);
  // The run links to each of those; one that is not open may be about to open.
  const certain = reported.length === named.length && sessions.every(isOver);
  const parent: KnownParent | undefined = run && {
    kind: 'known',
    run,
    span_id: run.span_id,
    certain,
    waits_for,
  };
  // Only the runs that it reports on show which request it continues.
  if (parent !== undefined && reported.length > 0 && held_key === undefined) return parent;
  return {
    kind: 'unknown',
    waits_for: [sessionWait(child.session_key), ...waits_for],
    held_key,
    ...(parent === undefined ? {} : { fallback: parent }),
  };
}

/** The spawn that names this run, completed by the one for its session if both name the same parent session. */
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
    const named = parent_run_id === undefined ? spawn : { parent_run_id, ...spawn };
    // A spawn that names neither run nor call adds nothing to the child's own fields; a later one may add more.
    const isIdentified = spawn.parent_run_id !== undefined || spawn.call_id !== undefined;
    return spawnParent(context, child, named, isIdentified);
  }
  const { parent_session_key, parent_run_id } = child;
  if (parent_session_key !== undefined && parent_session_key !== child.session_key) {
    const named: Spawn = { parent_session_key, ...(parent_run_id === undefined ? {} : { parent_run_id }) };
    return spawnParent(context, child, named, false);
  }
  return parent_run_id === undefined ? { kind: 'none' } : parentByRunId(context, child, parent_run_id);
}

/** Links from an announce run to each known run that its id names. */
export function announceLinks(context: Context, run: Run): SpanReference[] {
  const named = parseAnnounceRunId(run.run_id, run.session_key);
  return named === undefined
    ? []
    : announcedRuns(context, named, { key: run.span_id, start_ms: run.start_ms }).map(runReference);
}
