/**
 * The parts of items that are requests of their own (metrics). With a store, parts are stored before they are sent, so that a
 * retry is the same request, even by the next process.
 */

import type { Backlog } from './backlog.js';
import type { Batch } from './batch.js';
import type { LaneItem } from './item.js';
import type { Outbox } from './outbox.js';

/**
 * How an item that is a request of its own is divided. Its points belong to series, and no point of a series may be sent before
 * an older one.
 */
export interface LaneDivision<T> {
  /** Divides an item with a count above 1 into at least two and at most `most` parts; `most` is at least 2. */
  divide(payload: T, most: number): LaneItem<T>[];
  series(payload: T): string[];
  /** Splits an item into points of other series (`free`) and points of these series (`bound`). */
  split(
    payload: T,
    series: ReadonlySet<string>,
  ): { free: LaneItem<T> | undefined; bound: LaneItem<T> | undefined };
  /** Whether all its points are of known poison series. */
  isKnown(payload: T): boolean;
  /** Remembers that the item was poison. */
  remember(payload: T): void;
  /** Notes that an item with this count was too large. */
  shrink(count: number): void;
}

export interface Parts<T> {
  hasParts(item: LaneItem<T>): boolean;
  /** Whether the item may be divided before it is beyond chance that its content is refused. */
  mayBeDivided(item: LaneItem<T>): boolean;
  /** Whether the backend may have the item already; its parts would then be counted twice. */
  mayBeTaken(item: LaneItem<T>): boolean;
  /** Notes that the backend may have accepted a batch although no answer arrived. */
  noteUnanswered(batch: Batch<T>): void;
  /** Replaces an item by parts; calls `send` when they may be sent. */
  replace(item: LaneItem<T>, parts: LaneItem<T>[], send: () => void): void;
  /** Whether parts were made since the last `hold`, so that a checkpoint is needed. */
  hasNew(): boolean;
  /** Whether there are parts that will be sent once they are stored. */
  areAwaited(): boolean;
  /** The parts made so far are about to be stored; `release` sends them. */
  hold(): void;
  release(): void;
}

export interface PartsOptions<T> {
  backlog: Backlog<T>;
  outbox?: Outbox<T> | undefined;
  /** If absent, no item has parts. */
  division?: LaneDivision<T> | undefined;
  /** Aborts when the lane is closed. */
  closing: AbortSignal;
}

export function createParts<T>({ backlog, outbox, division, closing }: PartsOptions<T>): Parts<T> {
  /** Items that the backend may have accepted although no answer arrived. */
  const unanswered = new WeakSet<LaneItem<T>>();
  /** What sends the parts made since the last `hold`, and those that may not be sent before `release`. */
  const sends_new: (() => void)[] = [];
  const sends_held: (() => void)[] = [];

  const hasParts = ({ count }: LaneItem<T>): boolean => division !== undefined && count > 1;
  const mayBeTaken = (item: LaneItem<T>): boolean =>
    item.segment?.is_restored === true || unanswered.has(item);

  return {
    hasParts,
    mayBeTaken,
    mayBeDivided: (item) => hasParts(item) && !mayBeTaken(item),
    noteUnanswered({ items }) {
      if (division !== undefined) for (const item of items) unanswered.add(item);
    },
    replace(item, parts, send) {
      backlog.replace(item, parts);
      if (outbox === undefined) return send();
      outbox.divide(item, parts);
      sends_new.push(send);
    },
    hasNew: () => sends_new.length > 0,
    areAwaited: () => sends_new.length + sends_held.length > 0 && !closing.aborted,
    hold() {
      sends_held.push(...sends_new.splice(0));
    },
    release() {
      for (const send of sends_held.splice(0)) send();
    },
  };
}
