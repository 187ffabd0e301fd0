/**
 * Passes records in order to a processor of the program around the bridge. OpenTelemetry's batching processors have a limited
 * queue and silently drop the rest, so the processor is flushed before it can be full. Records that come during the flush wait
 * here, within a limit.
 */
import type { Signal, SignalCounts } from '../model/delivery.js';
import { errorReason } from '../util/errors.js';
import type { LossEvent } from './ledger.js';
import { LaneQueue } from './queue.js';
import { MEMORY_FULL, PROCESSOR_FAILED } from './reasons.js';
import { oneLine } from './verdict.js';

/** Where the records of one signal go. */
export interface Receiver<R> {
  signal: Signal;
  /** Passes a record on. If it throws, the record is counted as rejected. */
  hand(record: R): void;
  /** Resolves when the processor has exported what it holds; never rejects, and has a time limit. */
  flush(): Promise<void>;
  /** The estimated size of a record. */
  bytesOf(record: R): number;
}

export interface HandoverOptions {
  /** The limit on the estimated bytes of waiting records. */
  limit_bytes: number;
  onLoss(event: LossEvent): void;
}

export interface Handover<R> {
  offer(records: readonly R[]): void;
  /** Records that were handed over count as delivered. */
  counts(): SignalCounts;
  /** Resolves when nothing waits and the processor is flushed, or after `close`. */
  idle(): Promise<void>;
  /** Stops handing records over. */
  close(): void;
}

/** Half the default queue of OpenTelemetry's batching processors; the other half may be in use by others. */
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
      return lose('rejected', PROCESSOR_FAILED, `the processor threw: ${oneLine(errorReason(error))}`);
    }
    counts.delivered += 1;
    counts.pending -= 1;
  }

  function makeRoom(): void {
    while (waiting.bytes > options.limit_bytes && waiting.take(1, 0).length > 0)
      lose(
        'dropped',
        MEMORY_FULL,
        'records waiting for the processor have reached the memory limit; raise limits.memory_mb',
      );
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
