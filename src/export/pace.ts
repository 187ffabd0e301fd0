/**
 * How fast a lane goes: how many items a request holds, after the time that answers take, and how long it waits before the
 * next try. Both are plain arithmetic; the lane holds the numbers.
 */

/** How long a backend may work on one batch: longer answers make the batches smaller, shorter ones let them grow. */
const TARGET_WORK_MS = 100;

/** What a batch holds before anything is known of the backend: few, since the first answers pass for the round trip. */
const FIRST_ITEMS = 16;
/** Batches grow by this part of their maximum. */
const GROWTH_STEPS = 32;

const FIRST_BACKOFF_MS = 100;
/** Without a word from the backend, two tries are never further apart than this. */
export const MAX_BACKOFF_MS = 5_000;

export interface Pace {
  /** The most items in the next batch. */
  items: number;
  /** What an answer takes at least, however small the batch: the way there and back. */
  round_trip_ms: number;
}

export const firstPace = (max_items: number): Pace => ({
  items: Math.min(FIRST_ITEMS, max_items),
  round_trip_ms: Number.POSITIVE_INFINITY,
});

/**
 * Additive increase, where a full batch was answered in time; multiplicative decrease, where any was not. The round trip
 * is learned as the shortest answer seen, and anew from a batch of one, where a slow answer can't be the batch's fault: else
 * a far backend would get one item at a time for ever. It may double each time, so that one hiccup does not pass for a long way.
 */
export function nextPace(pace: Pace, max_items: number, sent: number, answer_ms: number): Pace {
  const longest_ms = sent === 1 ? Math.max(1, pace.round_trip_ms) * 2 : pace.round_trip_ms;
  const round_trip_ms = Math.min(answer_ms, longest_ms);
  if (answer_ms > round_trip_ms + TARGET_WORK_MS) return { items: halved(pace.items), round_trip_ms };
  if (sent < pace.items) return { items: pace.items, round_trip_ms };
  const grown = pace.items + Math.ceil(max_items / GROWTH_STEPS);
  return { items: Math.min(max_items, grown), round_trip_ms };
}

export const halved = (items: number): number => Math.max(1, Math.floor(items / 2));

/** Exponential with full jitter, in milliseconds. `failures` counts from 1; `random` gives a number in [0, 1). */
export function backoffMs(failures: number, random: () => number): number {
  return random() * Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1));
}
