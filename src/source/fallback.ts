/**
 * One source with another to fall back on: the transcripts of an OpenClaw while its gateway can't be followed. Both tell the
 * same things under different run ids, so that the fallback ends for good when the first can be followed.
 */
import { type LineBatch, type Source, SourceError, type SourceStatus } from '../model/source.js';
import { createReaderSource, type Push } from './reader.js';

export interface FallbackOptions {
  preferred: Source;
  /** Makes the other one, when it is needed for the first time; undefined where there is nothing to fall back on. */
  createFallback(): Promise<Source | undefined>;
  /** Said when the fallback begins and ends. */
  messages: { begins: string; ends: string };
}

type Item = LineBatch | SourceStatus;

/** What is read of a source that has been given up: nothing, but for the end of its streams. */
const muted = (item: Item): Item | undefined =>
  item.kind === 'lines' && item.end ? { ...item, lines: [] } : undefined;

async function readBoth(
  items: AsyncIterable<Item>,
  { createFallback, messages }: FallbackOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  let fallback: Source | undefined;
  let reading: Promise<void> | undefined;
  let is_followed = false;

  async function readFallback(): Promise<void> {
    fallback = await createFallback();
    if (fallback === undefined || is_followed || stop.aborted) return;
    const others = await fallback.open();
    await push({ kind: 'status', state: 'up', message: messages.begins });
    for await (const item of others) {
      const told = is_followed ? muted(item) : item;
      if (told !== undefined) await push(told);
    }
  }

  /** A fallback that can't be read is told; the preferred one is waited for all the same. */
  async function tryFallback(): Promise<void> {
    try {
      await readFallback();
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      await push({ kind: 'status', state: 'down', message: error.message });
    }
  }

  async function endFallback(): Promise<void> {
    if (is_followed) return;
    is_followed = true;
    if (fallback === undefined) return;
    await push({ kind: 'status', state: 'up', message: messages.ends });
    await fallback.close();
  }

  stop.addEventListener('abort', () => void fallback?.close());
  for await (const item of items) {
    if (item.kind === 'status' && item.state === 'up') await endFallback();
    await push(item);
    if (item.kind === 'status' && item.state === 'down' && !is_followed) reading ??= tryFallback();
  }
  await reading;
}

/** A source of the name of the preferred one. */
export function withFallback(options: FallbackOptions): Source {
  const { preferred } = options;
  return createReaderSource(preferred.name, async (push, stop) => {
    const items = await preferred.open();
    stop.addEventListener('abort', () => void preferred.close());
    return () => readBoth(items, options, push, stop);
  });
}
