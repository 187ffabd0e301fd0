/**
 * Hands records to a processor of the program that the bridge is a part of, in their order. OpenTelemetry's batching
 * processors hold a bounded number and drop the rest without a word, so that one is flushed before it can be full; what comes
 * meanwhile waits here, within a bound.
 */
import type { Signal, SignalCounts } from '../model/delivery.js';
import { errorReason } from '../util/errors.js';
import { LaneQueue } from './queue.js';
import { MEMORY_FULL, PROCESSOR_FAILED } from './reasons.js';
import type { LossEvent } from './report.js';
import { oneLine } from './verdict.js';

/** What is done with the records of one signal. */
export interface Receiver<R> {
  signal: Signal;
  /** May throw: the record is then counted as rejected. */
  hand(record: R): void;
  /** Resolves when the processor has passed on what it holds; never rejects, and takes a bounded time. */
  flush(): Promise<void>;
  /** Estimated. */
  bytesOf(record: R): number;
}

export interface HandoverOptions {
  /** The most estimated bytes that wait. */
  limit_bytes: number;
  onLoss(event: LossEvent): void;
}

export interface Handover<R> {
  offer(records: readonly R[]): void;
  /** What was handed over counts as delivered. */
  counts(): SignalCounts;
  /** Resolves when nothing waits and the processor is flushed, or after `close`. */
  idle(): Promise<void>;
  /** Nothing more is handed over. */
  close(): void;
}

/** Half of what OpenTelemetry's batching processors hold by default: the other half may be another's. */
export const MAX_UNFLUSHED = 1_024;

export function createHandover<R>(receiver: Receiver<R>, options: HandoverOptions): Handover<R> {
  const counts: SignalCounts = { produced: 0, delivered: 0, pending: 0, rejected: {}, dropped: {} };
  const waiting = new LaneQueue<R>();
  let unflushed = 0;
  let flushing: Promise<void> | undefined;
  let is_closed = false;

  function lose(fate: 'rejected' | 'dropped', reason: string, message: string): void {
    counts.pending -= 1;
    counts[fate][reason] = (counts[fate][reason] ?? 0) + 1;
    options.onLoss({ kind: 'lost', fate, reason, count: 1, message });
  }

  function hand(record: R): void {
    try {
      receiver.hand(record);
    } catch (error) {
      return lose('rejected', PROCESSOR_FAILED, `it threw: ${oneLine(errorReason(error))}`);
    }
    counts.delivered += 1;
    counts.pending -= 1;
  }

  function makeRoom(): void {
    while (waiting.bytes > options.limit_bytes && waiting.take(1, 0).length > 0)
      lose('dropped', MEMORY_FULL, 'the memory for what waits for the processor is full');
  }

  async function flush(): Promise<void> {
    await receiver.flush();
    unflushed = 0;
    flushing = undefined;
    handOver();
  }

  function handOver(): void {
    while (flushing === undefined && !is_closed) {
      const [item] = waiting.take(1, 0);
      if (item === undefined) return;
      unflushed += 1;
      hand(item.payload);
      if (unflushed >= MAX_UNFLUSHED) flushing = flush();
    }
  }

  return {
    offer(records) {
      for (const record of records) {
        counts.produced += 1;
        counts.pending += 1;
        waiting.push({ payload: record, bytes: receiver.bytesOf(record), count: 1 });
      }
      handOver();
      makeRoom();
    },
    counts: () => ({ ...counts, rejected: { ...counts.rejected }, dropped: { ...counts.dropped } }),
    async idle() {
      while (flushing !== undefined && !is_closed) await flushing;
      if (!is_closed) await receiver.flush();
    },
    close() {
      is_closed = true;
    },
  };
}
