/**
 * How reading waits for destinations. A file can be read again, so a replay reads it no faster than they take the results. The
 * writer to a live source can wait too, but not for long, and no destination waits for a slow one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Destination } from '../model/delivery.js';
import { sum } from '../summary.js';

/** Reading waits while more than this many items are pending for one destination. */
export const MAX_PENDING = 20_000;
const POLL_INTERVAL_MS = 20;

/** How long a live source waits at a time, and in total while a destination answers nothing. */
const HOLD_MS = 10;
const HELD_MS = 1_000;

type Counted = Pick<Destination, 'pending' | 'summary' | 'isCrowded'>;

const answeredOf = (destination: Counted): number =>
  Object.values(destination.summary()).reduce(
    (total, { delivered, rejected }) => total + delivered + sum(rejected),
    0,
  );

const hasManyPending = (destination: Counted): boolean => destination.pending() > MAX_PENDING;

/**
 * Creates a function that says whether to wait for a destination: it is behind, and has answered something within the deadline.
 */
export function createBacklog(
  destination: Counted,
  deadline_ms: number,
  now: () => number,
  isBehind: (destination: Counted) => boolean = hasManyPending,
): () => boolean {
  let answered = 0;
  let moved_ms = now();
  return () => {
    const is_behind = isBehind(destination);
    const answered_now = answeredOf(destination);
    if (!is_behind || answered_now !== answered) moved_ms = now();
    answered = answered_now;
    return is_behind && now() - moved_ms < deadline_ms;
  };
}

/**
 * Waits until the destinations have caught up. A destination that answers nothing within the deadline no longer delays the
 * others; its memory limit does the rest.
 */
export function createThrottle(
  destinations: Counted[],
  deadline_ms: number,
  signal: AbortSignal,
): () => Promise<void> {
  const now = (): number => performance.now();
  const backlogs = destinations.map((destination) => createBacklog(destination, deadline_ms, now));
  return async () => {
    // No short-circuit: each destination's deadline counts from its own last answer.
    while (backlogs.map((isBehind) => isBehind()).includes(true) && !signal.aborted)
      await sleep(POLL_INTERVAL_MS);
  };
}

export interface HoldOptions {
  is_persisted: boolean;
  /** True when no source is to be delayed any more. */
  hasStopped(): boolean;
  /** Milliseconds on a monotonic clock; default `performance.now`. */
  now?(): number;
}

/**
 * Delays reading a live source while the memory of a destination fills up although it answers: it may be fast enough and just
 * not have had its turn. With a store (`is_persisted`) the delay is 10 ms a batch, since what does not fit into memory goes to the
 * disk. Without one it lasts until the destination has caught up or has answered nothing for 1 s, or another destination has
 * nothing left to do.
 */
export function createHold(
  destinations: Counted[],
  { is_persisted, hasStopped, now = () => performance.now() }: HoldOptions,
): () => Promise<void> | undefined {
  const isCrowded = (destination: Counted): boolean => destination.isCrowded?.() === true;
  const backlogs = destinations.map((destination) => createBacklog(destination, HELD_MS, now, isCrowded));
  const isAnyBehind = (): boolean => backlogs.map((isBehind) => isBehind()).includes(true) && !hasStopped();
  async function hold(): Promise<void> {
    do await sleep(HOLD_MS);
    while (!is_persisted && destinations.every(({ pending }) => pending() > 0) && isAnyBehind());
  }
  return () => (destinations.some(isCrowded) && isAnyBehind() ? hold() : undefined);
}
