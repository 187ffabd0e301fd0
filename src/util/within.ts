/**
 * Time that is left, and waiting for it.
 */
import { setTimeout as wait } from 'node:timers/promises';

/** The longest that a timer can wait, 2³¹ − 1 ms or 24 days: one that is to wait longer would wake at once. */
export const MAX_TIMER_MS = 2_147_483_647;

/** Begins now; gives how much of this time is left, which is never less than nothing. */
export function countdown(limit_ms: number): () => number {
  const deadline_ms = performance.now() + limit_ms;
  return () => Math.max(0, deadline_ms - performance.now());
}

/** Waits for a promise, but no longer than this. */
export async function within(limit_ms: number, wanted: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(limit_ms, MAX_TIMER_MS));
  });
  try {
    await Promise.race([wanted, limit]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits, however long; resolves early once `signal` aborts, and never rejects. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  for (let left_ms = ms; left_ms > 0 && !signal.aborted; left_ms -= MAX_TIMER_MS) {
    await wait(Math.min(left_ms, MAX_TIMER_MS), undefined, { signal }).catch(() => undefined);
  }
}

/** Rejects with the reason of an abort; for a race with what is wanted. */
export const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
