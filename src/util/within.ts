/**
 * Time limits, and waiting.
 */
import { setTimeout as wait } from 'node:timers/promises';

/** The longest timeout of a timer, 2³¹ − 1 ms or 24 days: a longer one would fire at once. */
export const MAX_TIMER_MS = 2_147_483_647;

/** Starts a countdown. The function returns the remaining time, never less than 0. */
export function countdown(limit_ms: number): () => number {
  const deadline_ms = performance.now() + limit_ms;
  return () => Math.max(0, deadline_ms - performance.now());
}

/** Waits for a promise, for `limit_ms` at most. `keeps_alive`: whether the process stays alive for as long. */
export async function within(
  limit_ms: number,
  wanted: Promise<unknown>,
  { keeps_alive = true } = {},
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(limit_ms, MAX_TIMER_MS));
    if (!keeps_alive) timer.unref();
  });
  try {
    await Promise.race([wanted, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits for any length of time; resolves early once `signal` aborts, and never rejects. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  for (let left_ms = ms; left_ms > 0 && !signal.aborted; left_ms -= MAX_TIMER_MS) {
    await wait(Math.min(left_ms, MAX_TIMER_MS), undefined, { signal }).catch(() => undefined);
  }
}

/** Rejects with the abort reason; for use in a race. */
export const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
