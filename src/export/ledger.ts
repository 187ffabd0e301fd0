/**
 * Accounts for the items of a lane: each is pending until it is acknowledged by the backend, rejected by it or dropped. What is
 * rejected is kept as a dead letter.
 */

import type { SignalCounts } from '../model/delivery.js';
import type { Backlog } from './backlog.js';
import { type Batch, countedItems } from './batch.js';
import { countOf, isPreview, type LaneItem } from './item.js';
import type { PartialSuccess } from './otlp.js';
import type { Outbox } from './outbox.js';
import { PARTIAL_SUCCESS } from './reasons.js';
import { oneLine } from './verdict.js';

/** Items that will never be delivered. */
export interface LossEvent {
  kind: 'lost';
  fate: 'rejected' | 'dropped';
  reason: string;
  count: number;
  message: string;
}

export interface LedgerOptions<T> {
  backlog: Backlog<T>;
  outbox?: Outbox<T> | undefined;
  report: (event: LossEvent) => void;
}

export interface Ledger<T> {
  /** A copy of the current counts. */
  counts(): SignalCounts;
  /**
   * Counts an item as produced and pending. False if the previous process got an answer for it, or, for a preview, for the
   * ended span.
   */
  admit(item: LaneItem<T>, is_recoverable: boolean): boolean;
  /** Counts pending items of the previous process. */
  takeOver(count: number): void;
  /** The backend has acknowledged a batch, except for what it rejected. */
  acknowledge(batch: Batch<T>, partial?: PartialSuccess): void;
  reject(batch: Batch<T>, reason: string, message: string): void;
  /** Counts items as dropped that are no longer on the lane. */
  drop(reason: string, count: number, message: string): void;
  /** Removes items that were taken from the backlog. Returns how many they count as. */
  settle(items: readonly LaneItem<T>[]): number;
}

export function createLedger<T>({ backlog, outbox, report }: LedgerOptions<T>): Ledger<T> {
  const counts: SignalCounts = { produced: 0, delivered: 0, pending: 0, rejected: {}, dropped: {} };

  function takeOver(count: number): void {
    counts.produced += count;
    counts.pending += count;
  }

  function settle(items: readonly LaneItem<T>[]): number {
    let count = 0;
    for (const item of items) {
      count += item.count;
      backlog.settle(item);
    }
    counts.pending -= count;
    return count;
  }

  function lose(fate: LossEvent['fate'], reason: string, count: number, message: string): void {
    if (count > 0) counts[fate][reason] = (counts[fate][reason] ?? 0) + count;
    report({ kind: 'lost', fate, reason, count, message });
  }

  return {
    counts: () => ({ ...counts, rejected: { ...counts.rejected }, dropped: { ...counts.dropped } }),
    takeOver,
    settle,
    admit(item, is_recoverable) {
      const isAnswered = isPreview(item)
        ? outbox?.hasEnded(item.id)
        : outbox?.add(item, is_recoverable) === false;
      if (isAnswered) return false;
      takeOver(item.count);
      return true;
    },
    acknowledge(batch, partial) {
      if (partial === undefined) {
        counts.delivered += settle(batch.items);
        return;
      }
      const message = oneLine(partial.message) || 'the backend gave no reason';
      const items = countedItems(batch);
      // The backend does not say which items it rejected, so previews, which do not count, may be among them.
      const rejected = Math.min(countOf(items), partial.rejected);
      if (rejected > 0) outbox?.addDeadLetter(items, PARTIAL_SUCCESS, message, rejected);
      counts.delivered += settle(batch.items) - rejected;
      lose('rejected', PARTIAL_SUCCESS, rejected, message);
    },
    reject(batch, reason, message) {
      const items = countedItems(batch);
      const count = countOf(items);
      if (count > 0) outbox?.addDeadLetter(items, reason, message, count);
      lose('rejected', reason, settle(batch.items), message);
    },
    drop(reason, count, message) {
      counts.pending -= count;
      lose('dropped', reason, count, message);
    },
  };
}
