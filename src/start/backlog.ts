/**
 * How a replay waits for its destinations: a file can be read again, so that reading no faster than they take what comes of
 * it costs nothing, and a destination that takes nothing at all must not hold up the others for ever.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Destination } from '../model/delivery.js';
import { sum } from '../summary.js';

/** Over this many items on their way to one destination, reading waits. */
export const MAX_PENDING = 20_000;
const POLL_INTERVAL_MS = 20;

type Counted = Pick<Destination, 'pending' | 'summary'>;

const answeredOf = (destination: Counted): number =>
  Object.values(destination.summary()).reduce(
    (total, { delivered, rejected }) => total + delivered + sum(rejected),
    0,
  );

/** Tells whether to wait for a destination: it is behind, and has answered for something within the deadline. */
export function createBacklog(destination: Counted, deadline_ms: number, now: () => number): () => boolean {
  let answered = 0;
  let moved_ms = now();
  return () => {
    const is_behind = destination.pending() > MAX_PENDING;
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
  const backlogs = destinations.map((destination) => createBacklog(destination, deadline_ms, Date.now));
  return async () => {
    // Each is asked every time, so that each one's deadline counts from its own last answer.
    while (backlogs.map((isBehind) => isBehind()).includes(true) && !signal.aborted)
      await sleep(POLL_INTERVAL_MS);
  };
}
