/**
 * The order in which a lane sends its batches: retries before the queue, and suspects in between. Where the order of items
 * matters (metrics), the queue waits for older parts and suspects.
 */

import type { Backlog } from './backlog.js';
import { type Batch, batchOf, halvesOf } from './batch.js';
import type { LaneItem } from './item.js';
import type { Ledger } from './ledger.js';
import type { LaneDivision, Parts } from './parts.js';
import { STORE_DAMAGED } from './reasons.js';
import type { Suspects } from './suspects.js';
import { Waiting } from './waiting.js';

/**
 * The share of requests given to suspects. It is high, since an item is proven to be poison only after the other suspects were
 * sent, and each refusal costs a wait.
 */
const SUSPECTS_SHARE = 0.85;
/** The limit on suspects while memory is short, on a lane with a division. */
const MOST_SUSPECTS = 16;
/** The most items in any other batch while there are suspects, so that taking it apart, if it is refused too, is quick. */
const SUSPICIOUS_ITEMS = 20;

export interface Schedule<T> {
  isEmpty(): boolean;
  /** Takes the next batch, of at most `most` items. */
  next(most: number): Batch<T> | undefined;
  /** Sends a batch again, unchanged. */
  retry(batch: Batch<T>): void;
  /** Sends a batch again in halves. */
  halve(batch: Batch<T>): void;
  /** Sends the only item of a batch again in at most `most` parts; false if it has none. */
  divide(whole: Batch<T>, most: number): boolean;
  /** Sends items that were taken from the backlog, after the retries. */
  append(items: LaneItem<T>[]): void;
}

export interface ScheduleOptions<T> {
  backlog: Backlog<T>;
  ledger: Ledger<T>;
  suspects: Suspects<T>;
  parts: Parts<T>;
  division?: LaneDivision<T> | undefined;
  /** A number in [0, 1). */
  random: () => number;
}

export function createSchedule<T>(options: ScheduleOptions<T>): Schedule<T> {
  const { backlog, ledger, suspects, parts, division, random } = options;
  /** Batches to send before anything from the queue. */
  const prepared: Batch<T>[] = [];
  const waiting = new Waiting<T>();

  function nextQueued(most: number): Batch<T> | undefined {
    const items = division === undefined ? take(most) : takeInOrder(division, most);
    return items.length === 0 ? undefined : batchOf(items);
  }

  function take(most: number): LaneItem<T>[] {
    if (backlog.isEmpty) return [];
    const { items, lost } = backlog.take(suspects.isCareful ? Math.min(most, SUSPICIOUS_ITEMS) : most);
    if (lost > 0) ledger.drop(STORE_DAMAGED, lost, "stored data can't be read back; check the disk");
    return items;
  }

  /** Takes nothing while parts wait to be stored: they are sent before everything newer. */
  function takeInOrder(division: LaneDivision<T>, most: number): LaneItem<T>[] {
    if (parts.areAwaited()) return [];
    if (!suspects.isEmpty) return suspects.isStuck ? takeFree(division, most) : [];
    return waiting.size > 0 ? waiting.takeOldest() : take(most);
  }

  /**
   * Takes the oldest item that shares no series with an older one, except with suspects that the backend may already have.
   * Whether it is accepted distinguishes poison from an outage.
   */
  function takeFree(division: LaneDivision<T>, most: number): LaneItem<T>[] {
    const suspicious = [...suspects.items()];
    // Suspects stay in memory; in a long outage everything on the disk might become one.
    if (backlog.isMuchTaken && suspicious.length > MOST_SUSPECTS) return [];
    const bound = suspicious.filter((item) => !parts.mayBeTaken(item));
    const blocked = new Set(bound.flatMap(({ payload }) => division.series(payload)));
    const free = waiting.takeFree(division, blocked, () => take(most));
    if (free === undefined) return [];
    const { item, place, split } = free;
    if (split === undefined) return [item];
    parts.replace(item, [split.free, split.bound], () => {
      prepared.push(batchOf([split.free]));
      waiting.insert(place, split.bound);
    });
    return [];
  }

  return {
    isEmpty: () => suspects.isEmpty && prepared.length + waiting.size === 0 && backlog.isEmpty,
    // At random, so that no batch is in step with a backend that refuses periodically.
    next(most) {
      const suspect = random() < SUSPECTS_SHARE ? suspects.next() : undefined;
      return suspect ?? prepared.shift() ?? nextQueued(most) ?? suspects.next(true);
    },
    retry(batch) {
      if (suspects.isSuspect(batch)) suspects.putBack(batch);
      else prepared.unshift(batch);
    },
    halve(batch) {
      prepared.unshift(...halvesOf(batch));
    },
    divide(whole, most) {
      const [item] = whole.items;
      if (division === undefined || item === undefined || !parts.hasParts(item)) return false;
      const all = division.divide(item.payload, most);
      parts.replace(item, all, () => {
        if (suspects.isSuspect(whole)) suspects.divided(whole, all);
        else prepared.unshift(...all.map((part) => batchOf([part])));
      });
      return true;
    },
    append(items) {
      prepared.push(batchOf(items));
    },
  };
}
