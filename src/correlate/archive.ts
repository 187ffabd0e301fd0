/**
 * Runs that have ended and wait for nothing: late children and late events still find them, and meanwhile they cost no record of
 * their own. An archived run is never changed: who has to change it takes it out.
 */
import { deleteEntry, enqueue, getEntry, setEntry, takeOldest } from '../capture/bounded.js';
import { isThere } from '../capture/tracked-map.js';
import { expireChats } from './chats.js';
import { countOf, none } from './few.js';
import { letSleep, wakeBy } from './heap.js';
import {
  asideOf,
  type Context,
  forgetCalls,
  NOTHING_ASIDE,
  nextNumber,
  type Run,
  type State,
} from './state.js';
import { hasUnmatchedStep } from './steps.js';

function waitsForNothing(run: Run): boolean {
  const { reasoning, early_ends, parked } = run.aside;
  return (
    countOf(run.calls) + countOf(run.chats) + countOf(reasoning) + countOf(early_ends) + parked.length ===
      0 && !hasUnmatchedStep(run)
  );
}

/** Nothing of it is missing that could still come and be matched. */
const isWhole = ({ first_seen, last_seen, seen_below }: Run): boolean =>
  seen_below === undefined && first_seen <= 1 && first_seen <= last_seen;

function archive({ state, options }: Context, run: Run): void {
  if (run.ended !== undefined) run.ended.number = 0;
  const session = getEntry(state.sessions, run.session_key);
  if (session?.latest === run) session.latest = undefined;
  const { cancelled_at_ms, yielded_at_ms } = run.aside;
  if (cancelled_at_ms === undefined && yielded_at_ms === undefined) run.aside = NOTHING_ASIDE;
  // Nothing waits under a call that is still to come: none can close a circle.
  else asideOf(run).wrapped = none();
  if (isWhole(run)) forgetCalls(run);
  letSleep(state.waking, run);
  state.runs.delete(run.span_id);
  setEntry(state.archive, run.span_id, run, options.limits.ended_runs);
}

const countWaiting = ({ runs, open_count }: State): number => runs.size - open_count;

/** Ended runs that wait for something are bounded, too: the one that has waited longest waits no more. */
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

/** Puts a run away that has ended, once it waits for nothing. `settle` gives out what a run waits with. */
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

/** A run that was put away, to be looked at. */
export const archived = (state: State, key: string): Readonly<Run> | undefined =>
  getEntry(state.archive, key);

/** Catches up on what waking would have done while the run was put away: it wakes again for what is still waited for. */
function resume(context: Context, run: Run): void {
  expireChats(context, run, context.now_ms);
  for (const { due_ms = Infinity } of run.steps)
    if (due_ms > context.now_ms) wakeBy(context.state.waking, run, due_ms);
}

/**
 * A copy to be changed. What is replaced as a whole is shared. So are the collections of what a run waits with: none of them had
 * anything in it when the run was put away, and what is empty is never changed in place.
 */
function copyOf(known: Readonly<Run>): Run {
  const run = { ...known };
  run.epoch = 0;
  run.seen_below = known.seen_below?.slice();
  run.ended = known.ended && { ...known.ended };
  run.ended_calls = known.ended_calls.slice();
  run.steps = known.steps.map((step) => ({ ...step }));
  if (known.aside === NOTHING_ASIDE) return run;
  const aside = { ...known.aside };
  aside.events = known.aside.events.slice();
  run.aside = aside;
  return run;
}

/** Takes a run out again that was put away: it is to be changed. */
export function recall(context: Context, key: string): Run | undefined {
  const { state } = context;
  const known = archived(state, key);
  if (known === undefined) return undefined;
  // It may not have been written down yet as it was when it was put away.
  const run = copyOf(known);
  deleteEntry(state.archive, key);
  // The record that it had under its number may be on its way out.
  run.number = nextNumber(state);
  state.runs.set(key, run);
  resume(context, run);
  return run;
}
