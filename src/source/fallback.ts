/**
 * A source with a fallback: the transcripts of an OpenClaw while its gateway can't be followed. Both report the same events
 * under different run ids, so the fallback ends for good when the preferred source can be followed.
 */
import { type LineBatch, type Source, SourceError, type SourceStatus } from '../model/source.js';
import { createNotifier } from './notifier.js';
import { createReaderSource, lineBatch, type Push } from './reader.js';

export interface FallbackOptions {
  preferred: Source;
  /** Creates the fallback when it is needed; undefined if there is nothing to fall back on yet. */
  createFallback(): Promise<Source | undefined>;
  /** Streams of the fallback that an earlier process left open. */
  open_streams: readonly string[];
  /** Reported when the fallback begins and ends. */
  messages: { begins: string; ends: string };
}

type Item = LineBatch | SourceStatus;

/** How often to check whether there is something to fall back on. */
const LOOK_INTERVAL_MS = 10_000;

async function readBoth(
  items: AsyncIterable<Item>,
  { createFallback, open_streams, messages }: FallbackOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  /** The fallback that is being read. */
  let fallback: Source | undefined;
  let reading: Promise<void> | undefined;
  let is_followed = false;
  let problem: string | undefined;
  const streams = new Set(open_streams);
  const looking = createNotifier();

  function noteStream({ stream, end }: LineBatch): void {
    if (end) streams.delete(stream);
    else streams.add(stream);
  }

  const isWanted = (): boolean => !is_followed && !stop.aborted;

  /** Reads the fallback to its end and resolves with true; with false if there is none, or it is no longer wanted. */
  async function readFallback(): Promise<boolean> {
    const created = await createFallback();
    if (created === undefined || !isWanted()) return false;
    const others = await created.open();
    // Opening takes time: the fallback may no longer be wanted.
    if (!isWanted()) {
      await created.close();
      return false;
    }
    fallback = created;
    await push({ kind: 'status', state: 'up', message: messages.begins });
    for await (const item of others) {
      if (is_followed) continue;
      if (item.kind === 'lines') noteStream(item);
      await push(item);
    }
    return true;
  }

  /** Reports once that the fallback can't be read; the preferred source is waited for all the same. */
  async function tryFallback(): Promise<boolean> {
    try {
      return await readFallback();
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      if (error.message !== problem) await push({ kind: 'status', state: 'down', message: error.message });
      problem = error.message;
      return false;
    }
  }

  /** An OpenClaw may come to this machine later than the bridge. */
  async function findFallback(): Promise<void> {
    while (isWanted() && !(await tryFallback())) await looking.wait(LOOK_INTERVAL_MS);
  }

  /**
   * Also ends the fallback's streams: if they were resumed after a restart, they would repeat what the preferred source
   * reported.
   */
  async function endFallback(): Promise<void> {
    if (is_followed) return;
    is_followed = true;
    looking.notify();
    if (fallback !== undefined) {
      await push({ kind: 'status', state: 'up', message: messages.ends });
      await fallback.close();
    }
    for (const stream of streams) await push(lineBatch(stream, [], true));
  }

  stop.addEventListener('abort', () => {
    looking.notify();
    void fallback?.close();
  });
  for await (const item of items) {
    if (item.kind === 'status' && item.state === 'up') await endFallback();
    await push(item);
    if (item.kind === 'status' && item.state === 'down') reading ??= findFallback();
  }
  await reading;
}

/** Creates a source with the name of the preferred one. */
export function withFallback(options: FallbackOptions): Source {
  const { preferred } = options;
  return createReaderSource(preferred.name, async (push, stop) => {
    const items = await preferred.open();
    stop.addEventListener('abort', () => void preferred.close());
    return () => readBoth(items, options, push, stop);
  });
}
