/**
 * Metrics requests that wait because an older request with one of their series is suspect: a backend that adds up points
 * ignores one that is older than an earlier one. Their other series can be sent, which shows whether this is an outage.
 */
import type { LaneItem } from './item.js';

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

/** How many items are searched for one that can be sent. */
const MOST_WAITING = 16;

/** An item, or a part of one, that shares no series with anything older. */
export interface Free<T> {
  item: LaneItem<T>;
  /** The two parts of an item of which only one is free. `leaveBound` puts the other one in the place of the item. */
  parts?: { free: LaneItem<T>; bound: LaneItem<T>; leaveBound(): void };
}

export class Waiting<T> {
  /** Oldest first. */
  readonly #items: LaneItem<T>[] = [];

  get size(): number {
    return this.#items.length;
  }

  takeOldest(): LaneItem<T>[] {
    return this.#items.splice(0, 1);
  }

  /**
   * Removes the oldest item, or part, that is free. `blocked`: the series of suspects; those of the items passed over are
   * added. `more`: returns the items after the waiting ones.
   */
  takeFree(
    division: LaneDivision<T>,
    blocked: Set<string>,
    more: () => readonly LaneItem<T>[],
  ): Free<T> | undefined {
    for (let place = 0; place < MOST_WAITING; place += 1) {
      if (place === this.#items.length) this.#items.push(...more());
      const item = this.#items[place];
      if (item === undefined) return undefined;
      const { free, bound } = division.split(item.payload, blocked);
      if (free !== undefined) {
        this.#items.splice(place, 1);
        if (bound === undefined) return { item };
        return { item, parts: { free, bound, leaveBound: () => void this.#items.splice(place, 0, bound) } };
      }
      for (const series of division.series(item.payload)) blocked.add(series);
    }
    return undefined;
  }
}
