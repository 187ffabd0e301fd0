/**
 * The correlator: events in; spans, measurements and log records out. It is pure and synchronous: no I/O, no clock, no
 * randomness. It is passed the current time, and reports when it must be called next.
 */
import { getEntry } from '../capture/bounded.js';
import { beginCapture, type CaptureOptions } from '../capture/tracked.js';
import { isThere } from '../capture/tracked-map.js';
import type { AgentEvent, EventOf } from '../model/event.js';
import type { SavedRecord, StagedCapture } from '../model/record.js';
import type { Emission } from '../model/telemetry.js';
import { withoutUndefined } from '../util/json.js';
import { findArchived, unarchive } from './archive.js';
import { expireEarlyEnds, expireParked } from './calls.js';
import { expireChats } from './chats.js';
import { dispatch } from './dispatch.js';
import { isAboutSubagent, isFirstSight } from './duplicates.js';
import { hasEnded } from './emit.js';
import {
  expireHold,
  forceOpen,
  forceOpenAll,
  hold,
  type Identity,
  makeRoomForHeld,
  markHeldGap,
  openAtOnce,
  openWaiting,
  releaseSpawnLogs,
  tryOpen,
} from './held.js';
import { runKey } from './ids.js';
import { DEFAULT_LIMITS, type GivenLimits } from './limits.js';
import { endOfHeld, heldRunsOf, isSeenRun, peek, startOfHeld } from './parents.js';
import type { Run } from './run-state.js';
import {
  archiveIfDone,
  closeRun,
  expireLimits,
  expireSettle,
  markGap,
  nextDueMs,
  settleRun,
} from './runs.js';
import { createState, restoreState, trackState } from './saved.js';
import { noneSeen, type Seen } from './sequence-numbers.js';
import { forgetRecent, keepSessionId, latestRun, liveRun, sessionOf, setSession } from './sessions.js';
import { rememberSpawn } from './spawns.js';
import {
  type Context,
  type CorrelatorCounts,
  childWait,
  emptyEmission,
  type Options,
  type State,
} from './state.js';
import { cancelWake, firstDue, scheduleWake } from './wake-heap.js';

/** Options of a correlator: what it emits, and how long it waits. */
export interface CorrelatorOptions {
  /** Record inputs, outputs and reasoning text. Default: false. */
  content?: boolean;
  /** Maximum bytes of content in one attribute. Default: 16 KiB. */
  content_max_bytes?: number;
  /** Emit copies of spans that are not final. Default: true. */
  previews?: boolean;
  /** Emit log records. Default: true. */
  logs?: boolean;
  /** Emit measurements. Default: true. */
  measurements?: boolean;
  /** A limit that is absent or undefined has its value from `DEFAULT_LIMITS`. */
  limits?: GivenLimits;
}

/** Events in; spans, log records and measurements out. No event makes it throw. */
export interface Correlator {
  /** Applies one event at this time (epoch milliseconds). The result is added to `out`. */
  apply(event: AgentEvent, now_ms: number, out?: Emission): Emission;
  /** Applies all timeouts that are due, and emits the results. */
  expire(now_ms: number, out?: Emission): Emission;
  /**
   * No source is left to report what is missing: opens every held run whose end has been seen, without waiting for its parent,
   * and emits what ended runs wait with, and the log records of spawns. Runs without an end stay open or held.
   */
  releaseEnded(now_ms: number): Emission;
  /**
   * When `expire` must be called next, in epoch milliseconds; undefined if nothing waits. Calling it early or late is harmless.
   */
  nextDeadline(): number | undefined;
  /**
   * The source of reasoning tokens can't be asked, or is only just back: until this time (epoch milliseconds) ended model calls
   * wait for their tokens, up to a limit, and no run counts as idle.
   */
  waitForReasoning(until_ms: number): void;
  /** No event could be received before this time (epoch milliseconds), so no run was idle. */
  wake(now_ms: number): void;
  /** No more events will arrive: emits everything held, and closes every open run with `shutdown`. */
  close(now_ms: number): Emission;
  counts(): CorrelatorCounts & { runs_open: number };
  /**
   * The changes since the previous capture as records whose keys begin with `state/`; in the first capture everything. A
   * capture must be complete before the next begins. Changes are tracked from the first capture on.
   */
  capture(options?: CaptureOptions): StagedCapture;
  /** Number of saved records that could not be used. The next capture removes them. */
  unusable_records: number;
}

const DEFAULT_CONTENT_MAX_BYTES = 16 * 1024;

function noteSession(context: Context, event: AgentEvent): void {
  const known = sessionOf(context, event.session_key);
  const { session_id = known.session_id, agent_id = known.agent_id, channel = known.channel } = event;
  const label = (event.type === 'subagent.spawned' ? event.label : undefined) ?? known.label;
  const isKnown =
    session_id === known.session_id &&
    agent_id === known.agent_id &&
    channel === known.channel &&
    label === known.label;
  if (isKnown) return;
  if (known.session_id !== undefined && session_id !== known.session_id) keepSessionId(context, known, event);
  const { runs, spawn, latest } = known;
  setSession(context, event.session_key, { runs, session_id, agent_id, channel, label, spawn, latest });
}

/** Links a child's run to its parent, and opens the child if it waited for that. */
function applySpawn(context: Context, event: EventOf<'subagent.spawned'>, key: string): void {
  const isLogged = rememberSpawn(context, event);
  context.arrived.push(childWait(event.session_key));
  if (isLogged) return;
  // Neither the parent nor the child is known yet: the log record waits for the child.
  const held = hold(context, event, identityOf(context, event, key));
  tryOpen(context, held);
  makeRoomForHeld(context);
}

/** Duplicates count too: an event may be repeated only to report the gap. */
function applyGap(context: Context, run: Run, event: AgentEvent): void {
  if (event.gap === true) markGap(context, run);
}

function applyToRun(context: Context, run: Run, event: AgentEvent): void {
  applyGap(context, run, event);
  dispatch(context, run, event);
  if (run.ended !== undefined) archiveIfDone(context, run);
}

/** Applies an event of a run that is neither live nor archived. */
function applyUnknown(context: Context, event: AgentEvent, identity: Identity): void {
  // The run ended so long ago that it was forgotten, and its sequence numbers with it: treat the event as a duplicate.
  if (hasEnded(context, identity.span_id)) {
    context.state.counts.duplicates++;
    return;
  }
  if (event.type === 'agent.started' && openAtOnce(context, event, identity)) return;
  const held = hold(context, event, identity);
  tryOpen(context, held);
  makeRoomForHeld(context);
}

/** Whether the event is new. If it is, its session's fields are updated from it. */
function isNew(context: Context, event: AgentEvent, seen: Seen): boolean {
  const isFirst = isFirstSight(context, event, seen);
  if (isFirst) noteSession(context, event);
  else context.state.counts.duplicates++;
  return isFirst;
}

/** The identity of a held run, or a new one. */
function identityOf({ state }: Context, { session_key, run_id = '' }: AgentEvent, key: string): Identity {
  return state.held.get(key) ?? { session_key, run_id, span_id: key, ...noneSeen() };
}

/** Whether a run that is not live is known: by events of its own, or by a spawn that names it. */
function isKnownRun(context: Context, key: string): boolean {
  const { archive, held, spawns } = context.state;
  if (getEntry(archive, key) !== undefined || getEntry(spawns, key) !== undefined) return true;
  const waiting = held.peek(key);
  return (waiting !== undefined && isSeenRun(context, waiting)) || hasEnded(context, key);
}

/** Stands for any child of a session. */
const ANY = { key: '', run_id: '' };

/** Key of the latest run of a session, including held runs. */
function latestOf(context: Context, session_key: string): string | undefined {
  const { sessions } = context.state;
  const key = getEntry(sessions, session_key)?.runs.at(-1);
  const opened = key === undefined ? undefined : peek(context.state, key);
  let latest = opened && { key: opened.span_id, start_ms: opened.start_ms };
  for (const held of heldRunsOf(context, session_key, ANY)) {
    const start_ms = startOfHeld(held);
    if (latest === undefined || latest.start_ms <= start_ms) latest = { key: held.span_id, start_ms };
  }
  return latest?.key;
}

/**
 * An event about a sub-agent may name only its session: then it applies to the latest run there. An archived run is only
 * changed to mark a gap; otherwise the event just gets its log record.
 */
function applyToSubagent(context: Context, event: AgentEvent, own: string): void {
  const { state } = context;
  const key = isKnownRun(context, own) ? own : (latestOf(context, event.session_key) ?? own);
  const run = state.runs.get(key);
  if (run !== undefined) return applyToRun(context, run, event);
  const ended = findArchived(state, key);
  if (ended === undefined) return applyUnknown(context, event, identityOf(context, event, key));
  const changed = event.gap === true ? unarchive(context, key) : undefined;
  if (changed !== undefined) applyToRun(context, changed, event);
  else dispatch(context, { ...ended }, event);
}

/** Applies an event of a run that is not live: archived, not opened yet, or mentioned only by a spawn or a result. */
function applyToAbsent(context: Context, event: AgentEvent, key: string): void {
  if (isAboutSubagent(event)) {
    if (!isNew(context, event, noneSeen())) return;
    if (event.type === 'subagent.spawned') applySpawn(context, event, key);
    else applyToSubagent(context, event, key);
    return;
  }
  const run = unarchive(context, key);
  if (run === undefined) {
    const identity = identityOf(context, event, key);
    if (isNew(context, event, identity)) applyUnknown(context, event, identity);
    else if (event.gap === true) markHeldGap(context, key);
  } else if (isNew(context, event, run)) applyToRun(context, run, event);
  else {
    applyGap(context, run, event);
    archiveIfDone(context, run);
  }
}

function applyToLive(context: Context, run: Run, event: AgentEvent): void {
  if (!isNew(context, event, run)) return applyGap(context, run, event);
  if (event.type === 'subagent.spawned') applySpawn(context, event, run.span_id);
  else applyToRun(context, run, event);
}

function applyEvent(context: Context, event: AgentEvent): void {
  const { session_key, run_id = '' } = event;
  const latest = latestRun(context, session_key, run_id);
  if (latest !== undefined) return applyToLive(context, latest, event);
  const key = runKey(session_key, run_id);
  const run = liveRun(context, key);
  if (run === undefined) applyToAbsent(context, event, key);
  else applyToLive(context, run, event);
}

/** Applies everything of a run that is due. */
function expireRun(context: Context, run: Run): void {
  expireLimits(context, run);
  expireSettle(context, run, context.now_ms);
  expireChats(context, run, context.now_ms);
  expireEarlyEnds(context, run, context.now_ms);
  expireParked(context, run, context.now_ms);
  archiveIfDone(context, run);
  if (isThere(run)) scheduleWake(context.state.waking, run, nextDueMs(context, run));
}

function expireDue(context: Context): void {
  const { held, runs, waking } = context.state;
  for (
    let due = firstDue(waking, context.now_ms);
    due !== undefined;
    due = firstDue(waking, context.now_ms)
  ) {
    if ('waits_for' in due) {
      held.touch(due);
      cancelWake(waking, due);
      expireHold(context, due);
    } else {
      runs.touch(due);
      cancelWake(waking, due);
      expireRun(context, due);
    }
  }
}

function forceOpenEnded(context: Context): void {
  const ended = [...context.state.held].filter(([, held]) => endOfHeld(held) !== undefined);
  for (const [key] of ended) forceOpen(context, key);
}

/** Emits what ended runs wait with. Calls that began after the end of their run stay open: they are waited for longer. */
function settleEnded(context: Context): void {
  const { runs } = context.state;
  const until_ms = context.now_ms + context.options.limits.settle_ms;
  const isEnding = (run: Readonly<Run> | undefined): boolean =>
    run !== undefined && (run.ended ?? run.rare.finishing) !== undefined;
  const keys = [...runs.keys()].filter((key) => isEnding(runs.peek(key)));
  for (const key of keys) {
    const run = runs.get(key);
    if (run === undefined) continue;
    expireSettle(context, run, until_ms);
    expireEarlyEnds(context, run, Infinity);
    expireParked(context, run, Infinity);
    archiveIfDone(context, run);
  }
}

const runsToChange = ({ runs }: State): Run[] => [...runs.keys()].flatMap((key) => runs.get(key) ?? []);

function closeAll(context: Context): void {
  const { state } = context;
  forceOpenAll(context);
  for (const run of runsToChange(state)) {
    if (run.rare.finishing !== undefined) expireSettle(context, run, Infinity);
    if (run.ended === undefined) closeRun(context, run, 'shutdown', 'still open when the bridge stopped');
  }
  // A run that was just closed may have parked its span with a run that was closed before it.
  for (const run of runsToChange(state)) {
    settleRun(context, run);
    archiveIfDone(context, run);
  }
  state.waking.length = 0;
}

/**
 * Creates a correlator. With `saved` it resumes from another one's last capture: the records that remain after all of its
 * captures, in any order. Records that can't be used are counted and skipped.
 */
export function createCorrelator(options: CorrelatorOptions = {}, saved?: Iterable<SavedRecord>): Correlator {
  const settings: Options = {
    content: options.content ?? false,
    content_max_bytes: options.content_max_bytes ?? DEFAULT_CONTENT_MAX_BYTES,
    previews: options.previews ?? true,
    logs: options.logs ?? true,
    measurements: options.measurements ?? true,
    limits: { ...DEFAULT_LIMITS, ...withoutUndefined(options.limits ?? {}) },
  };
  const state = createState(settings.limits);
  const parts = trackState(state);
  const unusable_records = saved === undefined ? 0 : restoreState(state, parts, saved);
  let patient_until_ms = 0;
  const begin = (now_ms: number, out = emptyEmission()): Context => {
    forgetRecent(state);
    return { state, options: settings, now_ms, out, arrived: [], patient_until_ms };
  };
  const end = (context: Context): Emission => {
    if (context.arrived.length > 0) openWaiting(context);
    return context.out;
  };
  return {
    apply(event, now_ms, out) {
      const context = begin(now_ms, out);
      applyEvent(context, event);
      return end(context);
    },
    expire(now_ms, out) {
      const context = begin(now_ms, out);
      expireDue(context);
      return end(context);
    },
    releaseEnded(now_ms) {
      const context = begin(now_ms);
      forceOpenEnded(context);
      settleEnded(context);
      releaseSpawnLogs(context);
      return end(context);
    },
    waitForReasoning(until_ms) {
      patient_until_ms = until_ms;
    },
    wake(now_ms) {
      patient_until_ms = Math.max(patient_until_ms, now_ms);
    },
    close(now_ms) {
      const context = begin(now_ms);
      closeAll(context);
      return end(context);
    },
    nextDeadline: () => state.waking[0]?.wake_ms,
    counts: () => ({ ...state.counts, given_up: { ...state.counts.given_up }, runs_open: state.open_count }),
    capture: (captureOptions) => beginCapture(state.tracker, Object.values(parts), captureOptions),
    unusable_records,
  };
}
