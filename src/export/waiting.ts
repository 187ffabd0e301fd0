/**
 * Metrics requests that wait because an older request with one of their series is suspect: a backend that adds up points
 * ignores one that is older than an earlier one. Their other series can be sent, which shows whether this is an outage.
 */
import type { LaneItem } from './item.js';
import type { LaneDivision } from './parts.js';

/** How many items are searched for one that can be sent. */
const MOST_WAITING = 16;

/** An item, or a part of one, that shares no series with anything older. */
export interface Free<T> {
  item: LaneItem<T>;
  /** Where it was among the waiting items. */
  place: number;
  /** The two parts of an item of which only one is free. The other one belongs in the place of the item. */
  split?: { free: LaneItem<T>; bound: LaneItem<T> };
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

  insert(place: number, item: LaneItem<T>): void {
    this.#items.splice(place, 0, item);
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
        return bound === undefined ? { item, place } : { item, place, split: { free, bound } };
      }
      for (const series of division.series(item.payload)) blocked.add(series);
    }
    return undefined;
  }
}
