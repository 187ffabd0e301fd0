/**
 * What all sources share: a source is a function that opens something and then reads it, pushing batches until the input ends
 * or it is stopped. This file turns such a function into the `Source` of the contract.
 */
import { setMaxListeners } from 'node:events';
import type { LineBatch, Source, SourceStatus } from '../model/source.js';
import type { Line } from './lines.js';
import { createRendezvous } from './rendezvous.js';

/** Hands a batch or a status to the consumer; resolves when it has been pulled. Await it before reading on. */
export type Push = (item: LineBatch | SourceStatus) => Promise<void>;

/** Reads until the input ends or it is stopped; when it resolves, every handle is closed. */
export type Read = () => Promise<void>;

/** Opens a source; rejects with a `SourceError` if it can't be opened, and then holds no handle. */
export type OpenReader = (push: Push, stop: AbortSignal) => Promise<Read>;

/** Creates a source that reads with `openReader`. It can be opened once. */
export function createReaderSource(name: string, openReader: OpenReader): Source {
  const stop = new AbortController();
  // Every connection listens to this signal: many listeners are not a leak, and Node.js would print a warning into the log.
  setMaxListeners(0, stop.signal);
  const rendezvous = createRendezvous<LineBatch | SourceStatus>();
  let finished: Promise<void> = Promise.resolve();
  return {
    name,
    async open() {
      const opening = openReader(rendezvous.push, stop.signal);
      finished = opening.then(
        (read) => rendezvous.endAfter(read()),
        () => undefined,
      );
      await opening;
      return rendezvous.items;
    },
    async close() {
      stop.abort();
      rendezvous.release();
      await finished;
    },
  };
}

/** Creates a batch of lines that have just been read. */
export function lineBatch(stream: string, lines: Line[], end: boolean): LineBatch {
  return { kind: 'lines', stream, end, lines, arrival_ms: Date.now() };
}
