/**
 * Ended runs that wait for nothing. Late children and late events still find them, and meanwhile they need no record of their
 * own. An archived run is never changed in place: `unarchive` takes it out first.
 */
import { deleteEntry, enqueue, getEntry, setEntry, takeOldest } from '../capture/bounded.js';
import { isThere } from '../capture/tracked-map.js';
import { expireChats } from './chats.js';
import { forgetCalls, NO_RARE_FIELDS, type Run, rareFieldsOf } from './run-state.js';
import { emptyMap, sizeOf } from './small-map.js';
import { type Context, nextNumber, type State } from './state.js';
import { hasUnmatchedStep } from './steps.js';
import { cancelWake, scheduleWake } from './wake-heap.js';

function waitsForNothing(run: Run): boolean {
  const { reasoning, early_ends, parked } = run.rare;
  return (
    sizeOf(run.calls) + sizeOf(run.chats) + sizeOf(reasoning) + sizeOf(early_ends) + parked.length === 0 &&
    !hasUnmatchedStep(run)
  );
}

/** Whether the run's sequence numbers are contiguous from its start: then no event of it is missing. */
const isWhole = ({ first_seen, last_seen, seen_below }: Run): boolean =>
  seen_below === undefined && first_seen <= 1 && first_seen <= last_seen;

function archive({ state }: Context, run: Run): void {
  if (run.ended !== undefined) run.ended.number = 0;
  const session = getEntry(state.sessions, run.session_key);
  if (session?.latest === run) session.latest = undefined;
  const { cancelled_at_ms, yielded_at_ms } = run.rare;
  if (cancelled_at_ms === undefined && yielded_at_ms === undefined) run.rare = NO_RARE_FIELDS;
  // No call is pending, so no cycle of parent calls can still form.
  else rareFieldsOf(run).wrapped = emptyMap();
  if (isWhole(run)) forgetCalls(run);
  cancelWake(state.waking, run);
  state.runs.delete(run.span_id);
  setEntry(state.archive, run.span_id, run);
}

const countWaiting = ({ runs, open_count }: State): number => runs.size - open_count;

/** Ended runs that still wait for something are limited, too: over the limit the one that has waited longest is settled. */
function makeRoomForWaiting(context: Context, settle: (context: Context, run: Run) => void): void {
  const { state, options } = context;
  while (countWaiting(state) > options.limits.ended_runs) {
    const oldest = takeOldest(state.ended);
    const run = oldest && state.runs.peek(oldest.span_id);
    if (oldest === undefined) return;
    if (run?.ended?.number !== oldest.number) continue;
    state.runs.touch(run);
    settle(context, run);
    if (isThere(run)) archive(context, run);
  }
}

/** Archives a run that has ended, once it waits for nothing. `settle` emits everything that a run still holds. */
export function archiveEnded(context: Context, run: Run, settle: (context: Context, run: Run) => void): void {
  const { state } = context;
  if (run.ended === undefined || !isThere(run)) return;
  if (waitsForNothing(run)) return archive(context, run);
  if (run.ended.number > 0) return;
  run.ended.number = nextNumber(state);
  enqueue(
    state.ended,
    { span_id: run.span_id, number: run.ended.number },
    countWaiting(state),
    ({ span_id, number }) => state.runs.peek(span_id)?.ended?.number === number,
  );
  makeRoomForWaiting(context, settle);
}

/** An archived run, to be read only. */
export const findArchived = (state: State, key: string): Readonly<Run> | undefined =>
  getEntry(state.archive, key);

/** Applies the timeouts that passed while the run was archived, and schedules the others. */
function resume(context: Context, run: Run): void {
  expireChats(context, run, context.now_ms);
  for (const { due_ms = Infinity } of run.steps)
    if (due_ms > context.now_ms) scheduleWake(context.state.waking, run, due_ms);
}

/** A mutable copy. Immutable values are shared; so are the empty collections, which are never mutated in place. */
function copyOf(known: Readonly<Run>): Run {
  const run = { ...known };
  run.epoch = 0;
  run.seen_below = known.seen_below?.slice();
  run.ended = known.ended && { ...known.ended };
  run.ended_calls = known.ended_calls.slice();
  run.steps = known.steps.map((step) => ({ ...step }));
  if (known.rare === NO_RARE_FIELDS) return run;
  const rare = { ...known.rare };
  rare.events = known.rare.events.slice();
  run.rare = rare;
  return run;
}

/** Takes a run out of the archive so that it can be changed. */
export function unarchive(context: Context, key: string): Run | undefined {
  const { state } = context;
  const known = findArchived(state, key);
  if (known === undefined) return undefined;
  // A copy, since the archived state may not have been persisted yet.
  const run = copyOf(known);
  deleteEntry(state.archive, key);
  // A new number, since the record under its old one may be about to be removed.
  run.number = nextNumber(state);
  state.runs.set(key, run);
  resume(context, run);
  return run;
}
