/** Waits for a promise, but no longer than this. */
export async function within(limit_ms: number, wanted: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limit_ms);
  });
  await Promise.race([wanted, limit]);
  clearTimeout(timer);
}
