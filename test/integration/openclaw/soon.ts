/** Waiting with a time limit, and an error that names what did not come. */

const LIMIT_MS = 60_000;

export async function soon<T>(what: string, wanted: Promise<T>, limit_ms = LIMIT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${limit_ms / 1000} s`)), limit_ms);
  });
  try {
    return await Promise.race([wanted, late]);
  } finally {
    clearTimeout(timer);
  }
}
