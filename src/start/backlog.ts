/**
 * How reading waits for destinations. A file can be read again, so a replay reads it no faster than they take the results. The
 * writer to a live source can wait too, but not for long, and no destination waits for a slow one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Destination, SignalLoad } from '../model/delivery.js';
import type { Source } from '../model/source.js';
import { sum } from '../summary.js';

/** Reading waits while more than this many items of one signal are pending for one destination. */
export const MAX_PENDING = 20_000;
/**
 * It also waits while the items of one signal take up more than this share of the store's limit, divided by the number of
 * destinations. All signals together stay below what the store always leaves to pending data, or else the oldest would be lost.
 */
const STORED_SHARE = 0.05;
const POLL_INTERVAL_MS = 20;

/** How long a live source waits at a time, and in total while a signal of a destination gets no answer. */
const HOLD_MS = 10;
const HELD_MS = 1_000;
/** The latter for a file. */
const FILE_HELD_MS = 60_000;

type Counted = Pick<Destination, 'summary' | 'load'>;

/** What waits of one signal of one destination. */
export interface SignalBacklog extends SignalLoad {
  pending: number;
}

/**
 * Creates a function that says whether to wait for a destination: one of its signals is behind, and has had an answer within the
 * deadline. A signal that gets none must not delay the others for as long as they get theirs.
 */
export function createBacklog(
  destination: Counted,
  deadline_ms: number,
  now: () => number,
  isBehind: (backlog: SignalBacklog) => boolean,
): () => boolean {
  const last = new Map<string, { answered: number; moved_ms: number }>();

  function isAwaited(signal: string, backlog: SignalBacklog, answered: number): boolean {
    const is_behind = isBehind(backlog);
    const before = last.get(signal);
    const moved_ms = is_behind && before?.answered === answered ? before.moved_ms : now();
    last.set(signal, { answered, moved_ms });
    return is_behind && now() - moved_ms < deadline_ms;
  }

  return () => {
    const loads: Readonly<Record<string, SignalLoad>> = destination.load?.() ?? {};
    const awaited = Object.entries(destination.summary()).map(([signal, { pending, delivered, rejected }]) =>
      isAwaited(
        signal,
        { pending, is_crowded: false, stored_bytes: 0, ...loads[signal] },
        delivered + sum(rejected),
      ),
    );
    return awaited.includes(true);
  };
}

const maxStoredBytes = (store_limit_bytes: number, { length }: readonly unknown[]): number =>
  (store_limit_bytes * STORED_SHARE) / length;

export interface ThrottleOptions {
  deadline_ms: number;
  /** Ends the waiting. */
  signal: AbortSignal;
  store_limit_bytes: number;
}

/**
 * Waits until the destinations have caught up. What gets no answer within the deadline no longer delays the rest; the limits do
 * what is left to do.
 */
export function createThrottle(
  destinations: readonly Counted[],
  { deadline_ms, signal, store_limit_bytes }: ThrottleOptions,
): () => Promise<void> {
  const now = (): number => performance.now();
  const max_stored_bytes = maxStoredBytes(store_limit_bytes, destinations);
  const isBehind = ({ pending, is_crowded, stored_bytes }: SignalBacklog): boolean =>
    pending > MAX_PENDING || is_crowded || stored_bytes > max_stored_bytes;
  const backlogs = destinations.map((each) => createBacklog(each, deadline_ms, now, isBehind));
  return async () => {
    // No short-circuit: each destination's deadline counts from its own last answer.
    while (backlogs.map((isAwaited) => isAwaited()).includes(true) && !signal.aborted)
      await sleep(POLL_INTERVAL_MS);
  };
}

/** Reads a source no faster than `catchUp` resolves. */
export function paced(source: Source, catchUp: () => Promise<void>): Source {
  async function* read(items: Awaited<ReturnType<Source['open']>>): typeof items {
    for await (const item of items) {
      yield item;
      await catchUp();
    }
  }
  return { ...source, open: async () => read(await source.open()) };
}

export interface HoldOptions {
  is_persisted: boolean;
  /** True when no source is to be delayed any more. */
  hasStopped(): boolean;
  /** Milliseconds on a monotonic clock; default `performance.now`. */
  now?(): number;
}

type Held = Counted & Pick<Destination, 'pending'>;

/** Whether no destination would wait for another one. */
const areAllBusy = (destinations: readonly Held[]): boolean =>
  destinations.every(({ pending }) => pending() > 0);

/**
 * Delays reading a live source while the memory of a destination fills up although it answers: it may be fast enough and just
 * not have had its turn. With a store (`is_persisted`) the delay is 10 ms a batch, since what does not fit into memory goes to the
 * disk. Without one it lasts until the destination has caught up or has answered nothing for 1 s, or another destination has
 * nothing left to do.
 */
export function createHold(
  destinations: readonly Held[],
  { is_persisted, hasStopped, now = () => performance.now() }: HoldOptions,
): () => Promise<void> | undefined {
  const isCrowded = ({ is_crowded }: SignalLoad): boolean => is_crowded;
  const isAnyCrowded = (): boolean =>
    destinations.some(({ load }) => Object.values(load?.() ?? {}).some(isCrowded));
  const backlogs = destinations.map((each) => createBacklog(each, HELD_MS, now, isCrowded));
  const isAnyAwaited = (): boolean =>
    backlogs.map((isAwaited) => isAwaited()).includes(true) && !hasStopped();
  async function hold(): Promise<void> {
    do await sleep(HOLD_MS);
    while (!is_persisted && areAllBusy(destinations) && isAnyAwaited());
  }
  return () => (isAnyCrowded() && isAnyAwaited() ? hold() : undefined);
}

/**
 * Delays reading the files among the sources while a destination that answers needs much of the store: what stays in a file is not
 * lost. It lasts until the destination has caught up or has answered nothing for a minute, or another one has nothing left to do.
 */
export function holdFiles(
  sources: readonly Source[],
  destinations: readonly Held[],
  { store_limit_bytes, hasStopped }: Pick<HoldOptions, 'hasStopped'> & { store_limit_bytes: number },
): Source[] {
  const now = (): number => performance.now();
  const max_stored_bytes = maxStoredBytes(store_limit_bytes, destinations);
  const isBehind = ({ stored_bytes }: SignalLoad): boolean => stored_bytes > max_stored_bytes;
  const backlogs = destinations.map((each) => createBacklog(each, FILE_HELD_MS, now, isBehind));
  const isAnyAwaited = (): boolean => backlogs.map((isAwaited) => isAwaited()).includes(true);
  async function hold(): Promise<void> {
    while (isAnyAwaited() && areAllBusy(destinations) && !hasStopped()) await sleep(POLL_INTERVAL_MS);
  }
  return sources.map((source) => (source.is_rereadable ? paced(source, hold) : source));
}
