/**
 * One source with another to fall back on: the transcripts of an OpenClaw while its gateway can't be followed. Both tell the
 * same things under different run ids, so that the fallback ends for good when the first can be followed.
 */
import { type LineBatch, type Source, SourceError, type SourceStatus } from '../model/source.js';
import { createReaderSource, lineBatch, type Push } from './reader.js';

export interface FallbackOptions {
  preferred: Source;
  /** Makes the other one, when it is needed for the first time; undefined where there is nothing to fall back on. */
  createFallback(): Promise<Source | undefined>;
  /** Streams of the fallback that an earlier process left open. */
  open_streams: readonly string[];
  /** Said when the fallback begins and ends. */
  messages: { begins: string; ends: string };
}

type Item = LineBatch | SourceStatus;

async function readBoth(
  items: AsyncIterable<Item>,
  { createFallback, open_streams, messages }: FallbackOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  /** The one that is listened to. */
  let fallback: Source | undefined;
  let reading: Promise<void> | undefined;
  let is_followed = false;
  const streams = new Set(open_streams);

  function noteStream({ stream, end }: LineBatch): void {
    if (end) streams.delete(stream);
    else streams.add(stream);
  }

  async function readFallback(): Promise<void> {
    const created = await createFallback();
    if (created === undefined || is_followed || stop.aborted) return;
    const others = await created.open();
    // Opening it takes its time.
    if (is_followed || stop.aborted) return created.close();
    fallback = created;
    await push({ kind: 'status', state: 'up', message: messages.begins });
    for await (const item of others) {
      if (is_followed) continue;
      if (item.kind === 'lines') noteStream(item);
      await push(item);
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

  /** Its streams end with it: were they gone on with after a restart, they would tell what the preferred one has told. */
  async function endFallback(): Promise<void> {
    if (is_followed) return;
    is_followed = true;
    if (fallback !== undefined) {
      await push({ kind: 'status', state: 'up', message: messages.ends });
      await fallback.close();
    }
    for (const stream of streams) await push(lineBatch(stream, [], true));
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
