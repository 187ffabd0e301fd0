/**
 * Reads sources to their ends, a batch at a time, and yields to the event loop in between. A source that fails affects no
 * other: the batches it gave are processed, and the others are read on.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from './model/logger.js';
import { type LineBatch, type Source, SourceError, type SourceStatus } from './model/source.js';

export interface OpenedSource {
  source: Source;
  items: Awaited<ReturnType<Source['open']>>;
}

export interface ReadingParts {
  /** Applies a batch. Resolves with the number of its events. */
  take(source: Source, batch: LineBatch): Promise<number>;
  takeStatus(source: Source, status: SourceStatus): void;
  /** Whether the bridge has finished: batches read after that are not applied. */
  hasFinished(): boolean;
  afterBatch?: ((bytes: number, events: number) => Promise<void> | void) | undefined;
  onSourceEnd?: ((source: Source, failure: SourceError | undefined) => void) | undefined;
  logger: Logger;
}

/**
 * How long batches are applied before yielding. If there is always more to read, all of it would come before the responses to
 * what was sent, and the heap would fill with data that waits to be sent.
 */
const TURN_MS = 4;

const bytesOf = (batch: LineBatch): number =>
  batch.lines.reduce((total, line) => total + ('bytes' in line ? line.bytes.length + 1 : 0), 0);

/** Creates a function that reads one source to its end. It resolves with the source's failure, which has been logged. */
export function createReading(parts: ReadingParts): (opened: OpenedSource) => Promise<SourceError[]> {
  const { take, afterBatch } = parts;
  /** When the event loop last had a turn between two batches, of any source. */
  let turned_ms = Number.NEGATIVE_INFINITY;

  async function takeTurns(): Promise<void> {
    if (performance.now() - turned_ms < TURN_MS) return;
    await nextTurn();
    turned_ms = performance.now();
  }

  async function takeBatch(source: Source, batch: LineBatch): Promise<void> {
    const events = await take(source, batch);
    await afterBatch?.(bytesOf(batch), events);
    await takeTurns();
  }

  async function readItems({ source, items }: OpenedSource): Promise<void> {
    for await (const item of items) {
      if (parts.hasFinished()) return;
      if (item.kind === 'lines') await takeBatch(source, item);
      else parts.takeStatus(source, item);
    }
  }

  async function readToEnd(opened: OpenedSource): Promise<SourceError | undefined> {
    try {
      await readItems(opened);
      return undefined;
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      parts.logger.error(error.message);
      return error;
    }
  }

  return async (opened) => {
    const failure = await readToEnd(opened);
    parts.onSourceEnd?.(opened.source, failure);
    return failure === undefined ? [] : [failure];
  };
}
