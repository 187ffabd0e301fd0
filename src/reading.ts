/**
 * Reads sources to their ends, a batch at a time, and lets everything else have its turn in between. A source that fails takes
 * nothing with it: what was read of it goes its way, and the others are read on.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from './model/logger.js';
import { type LineBatch, type Source, SourceError, type SourceStatus } from './model/source.js';

export interface OpenedSource {
  source: Source;
  items: Awaited<ReturnType<Source['open']>>;
}

export interface ReadingParts {
  /** Applies a batch. Gives the number of events that it held. */
  take(source: Source, batch: LineBatch): Promise<number>;
  takeStatus(source: Source, status: SourceStatus): void;
  /** Whether the end has come: what is read after it is not applied. */
  hasFinished(): boolean;
  afterBatch?: ((bytes: number, events: number) => Promise<void> | void) | undefined;
  onSourceEnd?: ((source: Source, failure: SourceError | undefined) => void) | undefined;
  logger: Logger;
}

/**
 * What is read is applied for so long at a time. Where there is always more, all of it would come before the answers to what
 * was sent, and the heap would fill with what only waits for its turn.
 */
const TURN_MS = 4;

const bytesOf = (batch: LineBatch): number =>
  batch.lines.reduce((total, line) => total + ('bytes' in line ? line.bytes.length + 1 : 0), 0);

/** What reads one of the sources to its end. It gives what it failed of, which the log has told then. */
export function createReading(parts: ReadingParts): (opened: OpenedSource) => Promise<SourceError[]> {
  const { take, afterBatch } = parts;
  /** When the event loop last went round between two batches, of whichever source. */
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
