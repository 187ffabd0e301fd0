/**
 * The correlator's initial state, which parts of it are persisted, and how the rest is derived from those. A run's record
 * includes its calls and timers, a held run's its events; collections over all of them are rebuilt on restore.
 */
import { createBoundedMap, createQueue } from '../capture/bounded.js';
import { createIdSet } from '../capture/id-set.js';
import { createTracker, keepNumbersAbove, restoreParts, type Tracked } from '../capture/tracked.js';
import { trackBounded } from '../capture/tracked-bounded.js';
import { trackIds } from '../capture/tracked-ids.js';
import { TrackedMap } from '../capture/tracked-map.js';
import type { SavedRecord } from '../model/record.js';
import { HELD_FORM, RUN_FORM, SESSION_FORM } from './forms.js';
import { addWaiting } from './held.js';
import type { Limits } from './limits.js';
import type { HeldRun, Origin, Run } from './run-state.js';
import { valuesOf } from './small-map.js';
import { addOpen, addOpenCall, STATE_PREFIX, type State } from './state.js';
import { scheduleWake } from './wake-heap.js';

/** Entries per record, chosen so that each record is about as long as one of runs. */
const SPANS_OF_A_RECORD = 5;
const RUNS_OF_A_RECORD = 20;

const keyOf = ({ span_id }: Pick<Origin, 'span_id'>): string => span_id;

export function createState(limits: Limits): State {
  const tracker = createTracker(STATE_PREFIX);
  return {
    tracker,
    runs: new TrackedMap<Run>({ tracker, prefix: `${STATE_PREFIX}runs/`, keyOf, ...RUN_FORM }),
    archive: createBoundedMap(limits.ended_runs),
    ended: createQueue(),
    open: createQueue(),
    open_count: 0,
    open_calls: createQueue(),
    open_call_count: 0,
    held: new TrackedMap<HeldRun>({ tracker, prefix: `${STATE_PREFIX}held/`, keyOf, ...HELD_FORM }),
    held_order: createQueue(),
    held_events: 0,
    waiting: new Map(),
    sessions: createBoundedMap(limits.sessions),
    recent_key: undefined,
    recent_session: undefined,
    spawns: createBoundedMap(limits.spawns),
    by_run_id: createBoundedMap(limits.ended_runs),
    seen_events: createIdSet(limits.seen_ids),
    ended_spans: createIdSet(limits.seen_ids),
    unreasoned: createBoundedMap(limits.unreasoned_chats),
    waking: [],
    counts: { runs_opened: 0, runs_ended: 0, runs_with_gap: 0, duplicates: 0, given_up: {} },
  };
}

/** The persisted parts, by the second segment of their records' keys. */
export type StateParts = Record<string, Tracked>;

export function trackState(state: State): StateParts {
  const { tracker } = state;
  return {
    runs: state.runs,
    held: state.held,
    archive: trackBounded(state.archive, `${STATE_PREFIX}archive/`, tracker, {
      entries_of_a_record: RUNS_OF_A_RECORD,
      form: RUN_FORM,
    }),
    sessions: trackBounded(state.sessions, `${STATE_PREFIX}sessions/`, tracker, { form: SESSION_FORM }),
    spawns: trackBounded(state.spawns, `${STATE_PREFIX}spawns/`, tracker),
    by_run_id: trackBounded(state.by_run_id, `${STATE_PREFIX}by_run_id/`, tracker),
    seen_events: trackIds(state.seen_events, `${STATE_PREFIX}seen_events/`, tracker),
    ended_spans: trackIds(state.ended_spans, `${STATE_PREFIX}ended_spans/`, tracker),
    unreasoned: trackBounded(state.unreasoned, `${STATE_PREFIX}unreasoned/`, tracker, {
      entries_of_a_record: SPANS_OF_A_RECORD,
    }),
  };
}

const byNumber = (a: { number: number }, b: { number: number }): number => a.number - b.number;

/** Schedules the saved wake-up again. */
function restoreWaking({ waking }: State, owner: Run | HeldRun): void {
  const { wake_ms } = owner;
  owner.wake_ms = Infinity;
  scheduleWake(waking, owner, wake_ms);
}

function restoreRuns(state: State, runs: Run[]): void {
  const calls = runs.flatMap((run) => valuesOf(run.calls));
  const ended = runs.flatMap(({ span_id, ended }) =>
    ended === undefined || ended.number === 0 ? [] : { span_id, number: ended.number },
  );
  for (const call of calls.sort(byNumber)) {
    keepNumbersAbove(state.tracker, call.number);
    addOpenCall(state, call);
  }
  for (const { span_id, number } of ended.sort(byNumber)) {
    keepNumbersAbove(state.tracker, number);
    state.ended.items.push({ span_id, number });
  }
  for (const run of runs) {
    if (run.ended === undefined) addOpen(state, run);
    restoreWaking(state, run);
  }
}

function restoreHeld(state: State, held: HeldRun[]): void {
  for (const each of held) {
    const { span_id, number, wait_number, events } = each;
    keepNumbersAbove(state.tracker, wait_number);
    state.held_order.items.push({ span_id, number });
    state.held_events += events.length;
    restoreWaking(state, each);
  }
  for (const each of held.toSorted((a, b) => a.wait_number - b.wait_number)) addWaiting(state, each);
}

/** Restores the saved records; returns how many could not be used. */
export function restoreState(state: State, parts: StateParts, saved: Iterable<SavedRecord>): number {
  const partOf = (key: string): Tracked | undefined => parts[key.split('/')[1] ?? ''];
  const unusable = restoreParts(state.tracker, partOf, saved);
  restoreRuns(state, [...state.runs.values()]);
  restoreHeld(state, [...state.held.values()]);
  // Counts are per process: this one starts with the runs that are still open.
  state.counts.runs_opened = state.open_count;
  return unusable;
}
