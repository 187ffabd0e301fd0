/** The longest that a timer can wait, 24 days: one that is to wait longer would wake at once. */
const MAX_TIMER_MS = 2_147_483_647;

/** Waits for a promise, but no longer than this. */
export async function within(limit_ms: number, wanted: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(limit_ms, MAX_TIMER_MS));
  });
  await Promise.race([wanted, limit]);
  clearTimeout(timer);
}
