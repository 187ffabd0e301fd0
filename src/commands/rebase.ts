/**
 * The shift of `replay --rebase-time`, which makes the recording end when its replay does. It is stored before anything is
 * read: a resumed replay shifts the rest, and what it sends again, by the same amount.
 */
import type { SavedState } from '../persistence/saved-state.js';
import type { Settings } from '../start/settings.js';
import { readThrough } from './read-through.js';

/** The stored record; a different `last_ms` means that the recording was replaced by another. */
interface Rebase {
  last_ms: number;
  by_ms: number;
}

const REBASE = 'rebase';

/** The timestamps of the first event in the files and of the latest. */
interface Extent {
  first_ms: number;
  last_ms: number;
}

async function extentOf(
  files: string[],
  { dialect, limits }: Settings,
  signal: AbortSignal,
): Promise<Extent> {
  let first_ms: number | undefined;
  let last_ms = -Infinity;
  await readThrough(files, {
    dialect,
    max_line_bytes: limits.line_bytes,
    onEvents: (events) => {
      first_ms ??= events[0]?.ts;
      for (const { ts } of events) last_ms = Math.max(last_ms, ts);
    },
    isEnough: () => signal.aborted,
  });
  return { first_ms: first_ms ?? last_ms, last_ms };
}

/** The shift with which the recording ends when it has been played. */
export const shiftToEnd = (
  { first_ms, last_ms }: Extent,
  speed: number | undefined,
  now_ms: number,
): number => Math.round(now_ms + (speed === undefined ? 0 : (last_ms - first_ms) / speed) - last_ms);

function readRebase({ store, scope }: SavedState): Rebase | undefined {
  const value = store.get(scope + REBASE);
  return value === undefined ? undefined : (JSON.parse(Buffer.from(value).toString()) as Rebase);
}

/** `saved`: the records of an earlier replay of the same recordings, if there is a store. After an abort the shift is 0. */
export async function findShift(
  files: string[],
  settings: Settings,
  saved: SavedState | undefined,
  signal: AbortSignal,
): Promise<number> {
  const extent = await extentOf(files, settings, signal);
  if (signal.aborted) return 0;
  const { last_ms } = extent;
  const before = saved && readRebase(saved);
  if (before?.last_ms === last_ms) return before.by_ms;
  const by_ms = shiftToEnd(extent, settings.speed, Date.now());
  // A failed write is reported elsewhere, where more depends on it.
  await saved?.store.write([
    { key: saved.scope + REBASE, value: Buffer.from(JSON.stringify({ last_ms, by_ms } satisfies Rebase)) },
  ]);
  return by_ms;
}
