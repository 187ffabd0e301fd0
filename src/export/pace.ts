/**
 * The pace of a lane: the size of the next batch, derived from response times, and the wait before a retry. Both are pure
 * functions; the lane holds the state.
 */

/** How long a backend may work on one batch: slower responses make batches smaller, faster ones let them grow. */
const TARGET_WORK_MS = 100;

/** The size of the first batch. It is small, since the first response times are taken for the round trip. */
const FIRST_ITEMS = 16;
/** Batches grow by this fraction of their maximum. */
const GROWTH_STEPS = 32;

const FIRST_BACKOFF_MS = 100;
/** The longest wait between two tries, unless the backend asks for a longer one. */
export const MAX_BACKOFF_MS = 5_000;

export interface Pace {
  /** The most items in the next batch. */
  items: number;
  /** The least time that a response takes, however small the batch. */
  round_trip_ms: number;
}

export const firstPace = (max_items: number): Pace => ({
  items: Math.min(FIRST_ITEMS, max_items),
  round_trip_ms: Number.POSITIVE_INFINITY,
});

/**
 * Additive increase after a full batch that was answered in time; multiplicative decrease after a slow response. The round trip
 * is the shortest response time seen. It is measured again with each batch of one, where the batch can't be the reason for a
 * slow response: otherwise a distant backend would get one item at a time for ever. It at most doubles each time, so that a
 * single hiccup is not taken for distance.
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

/** Exponential backoff with full jitter, in milliseconds. `failures` counts from 1; `random` returns a number in [0, 1). */
export function backoffMs(failures: number, random: () => number): number {
  return random() * Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (failures - 1));
}
