/**
 * Items in order of arrival, any of which can be removed at any time. An item stores its own index, so no lookup table is
 * needed: nearly all pending items are answered soon, and never looked up.
 */
import type { LaneItem } from './item.js';

/** How many slots make it worth removing the free ones. */
const COMPACT_AFTER = 1_024;

export class ArrivalList<T> implements Iterable<LaneItem<T>> {
  #places: (LaneItem<T> | undefined)[] = [];
  #head = 0;
  #size = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  /** The estimated size of all items. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The oldest item, which stays. */
  get first(): LaneItem<T> | undefined {
    while (this.#head < this.#places.length) {
      const item = this.#places[this.#head];
      if (item !== undefined) return item;
      this.#head += 1;
    }
    return undefined;
  }

  has(item: LaneItem<T>): boolean {
    return item.list === this;
  }

  /** Appends an item, which may be in one list only. */
  add(item: LaneItem<T>): void {
    item.list = this;
    item.place = this.#places.length;
    this.#places.push(item);
    this.#size += 1;
    this.#bytes += item.bytes;
  }

  /** Removes an item; false if it is not in this list. */
  delete(item: LaneItem<T>): boolean {
    if (!this.has(item) || item.place === undefined) return false;
    this.#places[item.place] = undefined;
    item.list = undefined;
    this.#size -= 1;
    this.#bytes -= item.bytes;
    if (this.#places.length >= COMPACT_AFTER && this.#size * 2 < this.#places.length) this.#compact();
    return true;
  }

  /** Puts others in the place of an item of this list. */
  replace(item: LaneItem<T>, others: readonly LaneItem<T>[]): void {
    if (!this.has(item) || item.place === undefined) return;
    this.#places.splice(item.place, 1, ...others);
    item.list = undefined;
    this.#bytes -= item.bytes;
    for (const other of others) {
      other.list = this;
      this.#bytes += other.bytes;
    }
    this.#size += others.length - 1;
    this.#compact();
  }

  *[Symbol.iterator](): Iterator<LaneItem<T>> {
    for (const item of this.#places) if (item !== undefined) yield item;
  }

  #compact(): void {
    const left = this.#places.filter((item) => item !== undefined);
    this.#places = left;
    this.#head = 0;
    left.forEach((item, place) => {
      item.place = place;
    });
  }
}
