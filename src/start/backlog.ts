/**
 * How reading waits for destinations. A file can be read again, so that a replay reads it no faster than they take what comes
 * of it; who writes to a live source can wait, too, but not for long, and no destination waits for a slow one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Destination } from '../model/delivery.js';
import { sum } from '../summary.js';

/** Over this many items on their way to one destination, reading waits. */
export const MAX_PENDING = 20_000;
const POLL_INTERVAL_MS = 20;

/** A live source waits this long at a time, and in all while a destination answers for nothing. */
const HOLD_MS = 10;
const HELD_MS = 1_000;

type Counted = Pick<Destination, 'pending' | 'summary' | 'isCrowded'>;

const answeredOf = (destination: Counted): number =>
  Object.values(destination.summary()).reduce(
    (total, { delivered, rejected }) => total + delivered + sum(rejected),
    0,
  );

const hasManyPending = (destination: Counted): boolean => destination.pending() > MAX_PENDING;

/** Tells whether to wait for a destination: it is behind, and has answered for something within the deadline. */
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
 * Waits until the destinations have caught up. One that answers for nothing within the deadline holds up the others no
 * longer: its memory bound does the rest.
 */
export function createThrottle(
  destinations: Counted[],
  deadline_ms: number,
  signal: AbortSignal,
): () => Promise<void> {
  const now = (): number => performance.now();
  const backlogs = destinations.map((destination) => createBacklog(destination, deadline_ms, now));
  return async () => {
    // Each is asked every time, so that each one's deadline counts from its own last answer.
    while (backlogs.map((isBehind) => isBehind()).includes(true) && !signal.aborted)
      await sleep(POLL_INTERVAL_MS);
  };
}

export interface HoldOptions {
  is_kept: boolean;
  /** Nobody is held up any more. */
  hasStopped(): boolean;
  /** Milliseconds of a clock that only goes forward; default `performance.now`. */
  now?(): number;
}

/**
 * Delays reading a live source while the memory of a destination fills that goes on answering: it may be as quick as can be,
 * and only have had no turn yet. With a store (`is_kept`) the delay is 10 ms a batch, since what does not fit into memory goes
 * to the disk. Without one it lasts until the destination has caught up, has answered for nothing for 1 s, or another one has
 * nothing left to do.
 */
export function createHold(
  destinations: Counted[],
  { is_kept, hasStopped, now = () => performance.now() }: HoldOptions,
): () => Promise<void> | undefined {
  const isCrowded = (destination: Counted): boolean => destination.isCrowded?.() === true;
  const backlogs = destinations.map((destination) => createBacklog(destination, HELD_MS, now, isCrowded));
  const isAnyBehind = (): boolean => backlogs.map((isBehind) => isBehind()).includes(true) && !hasStopped();
  async function hold(): Promise<void> {
    do await sleep(HOLD_MS);
    while (!is_kept && destinations.every(({ pending }) => pending() > 0) && isAnyBehind());
  }
  return () => (destinations.some(isCrowded) && isAnyBehind() ? hold() : undefined);
}
