/**
 * Requests of metrics that wait because something older of one of their series is suspect: a backend that adds up takes no point
 * that is older than one before it. What of them is of other series can go on, and shows whether it is an outage.
 */
import type { LaneItem } from './queue.js';

/**
 * How an item that is a request by itself is taken apart. What it counts belongs to series, and of none of these a newer point
 * may be sent before an older one.
 */
export interface LaneDivision<T> {
  /** Of an item that counts as more than one: its parts, two at least, and so many at most, which is two or more. */
  divide(payload: T, most: number): LaneItem<T>[];
  series(payload: T): string[];
  /** What is of none of these series, and what is. */
  split(
    payload: T,
    series: ReadonlySet<string>,
  ): { free: LaneItem<T> | undefined; bound: LaneItem<T> | undefined };
  /** Whether all of it is of what was poison before. */
  isKnown(payload: T): boolean;
  /** It was poison. */
  remember(payload: T): void;
  /** What counts as so many was too large. */
  shrink(count: number): void;
}

/** So many are looked at for something that can go on. */
const MOST_WAITING = 16;

/** Something that shares no series with anything older. */
export interface Free<T> {
  item: LaneItem<T>;
  /** Where only a part of the item is free: its two parts. `leaveBound` has the other one wait on in the place of the item. */
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
   * Takes out the oldest that is free. `blocked`: the series of what is suspect, to which those of what is passed over are added;
   * `more` gives what comes after the items that wait.
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
