/**
 * By how much `replay --rebase-time` moves times, so that the recording ends when its replay does. It is written down before
 * anything is read: a replay that is gone on with moves what is left, and what it sends again, as it did before.
 */
import type { Kept } from '../keep/kept.js';
import type { Settings } from '../start/settings.js';
import { readThrough } from './read-through.js';

/** What is kept of it; `last_ms` tells the recording from one that has taken its place. */
interface Rebase {
  last_ms: number;
  by_ms: number;
}

const REBASE = 'rebase';

/** From the event that comes first to the latest. */
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

/** So that it ends when it has been played. */
export const shiftToEnd = (
  { first_ms, last_ms }: Extent,
  speed: number | undefined,
  now_ms: number,
): number => Math.round(now_ms + (speed === undefined ? 0 : (last_ms - first_ms) / speed) - last_ms);

function readRebase({ store, scope }: Kept): Rebase | undefined {
  const value = store.get(scope + REBASE);
  return value === undefined ? undefined : (JSON.parse(Buffer.from(value).toString()) as Rebase);
}

/** `kept`: what an earlier replay of the same recordings left, where it is kept. Once it is aborted nothing is moved any more. */
export async function findShift(
  files: string[],
  settings: Settings,
  kept: Kept | undefined,
  signal: AbortSignal,
): Promise<number> {
  const extent = await extentOf(files, settings, signal);
  if (signal.aborted) return 0;
  const { last_ms } = extent;
  const before = kept && readRebase(kept);
  if (before?.last_ms === last_ms) return before.by_ms;
  const by_ms = shiftToEnd(extent, settings.speed, Date.now());
  // That a store can't be written is said where more is lost by it.
  await kept?.store.write([
    { key: kept.scope + REBASE, value: Buffer.from(JSON.stringify({ last_ms, by_ms } satisfies Rebase)) },
  ]);
  return by_ms;
}
