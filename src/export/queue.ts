/**
 * The queue of a lane, oldest first. Previews, which are copies of a span that has not ended yet, coalesce here: a newer copy
 * replaces the queued one, and the final copy removes it for good.
 */
import { isCorrection, type LaneItem } from './item.js';

/** How many ended spans are remembered, so that no preview follows the final copy. */
const MAX_ENDED = 16_384;

/** How many free slots at the front make it worth moving the rest. */
const COMPACT_AFTER = 1_024;

export class LaneQueue<T> {
  /** A slot is undefined if a final copy has removed the preview in it. */
  #items: (LaneItem<T> | undefined)[] = [];
  #head = 0;
  /** How many slots have been removed in front of `#items`. */
  #past = 0;
  #size = 0;
  #bytes = 0;
  /** By span id: the slot of the queued preview, counted from the first slot there ever was. */
  readonly #previews = new Map<string, number>();
  readonly #ended = new Set<string>();

  /** The number of queued items, previews included. */
  get size(): number {
    return this.#size;
  }

  /** The estimated bytes of all queued items. */
  get bytes(): number {
    return this.#bytes;
  }

  push(item: LaneItem<T>): void {
    if (item.id === undefined) this.#append(item);
    else if (item.count === 0) this.#pushPreview(item, item.id);
    else this.#pushFinal(item, item.id);
  }

  /** Takes the oldest items up to both limits; at least one if there is any, however large. */
  take(max_items: number, max_bytes: number): LaneItem<T>[] {
    const items: LaneItem<T>[] = [];
    let bytes = 0;
    for (let item = this.peek(); item !== undefined && items.length < max_items; item = this.peek()) {
      bytes += item.bytes;
      if (items.length > 0 && bytes > max_bytes) break;
      items.push(item);
      this.#shift(item);
    }
    return items;
  }

  /** Takes the newest items, returned oldest first, up to both limits or to a correction, which must not overtake its span. */
  takeNewest(max_items: number, max_bytes: number): LaneItem<T>[] {
    const items: LaneItem<T>[] = [];
    let bytes = 0;
    for (let at = this.#items.length - 1; at >= this.#head; at--) {
      const item = this.#items[at];
      if (item !== undefined) {
        bytes += item.bytes;
        if (items.length >= max_items || isCorrection(item) || (items.length > 0 && bytes > max_bytes)) break;
        items.push(item);
        this.#forget(item);
      }
      this.#items.pop();
    }
    return items.reverse();
  }

  /** Takes the oldest items for as long as `isWanted` holds. */
  takeWhile(isWanted: (item: LaneItem<T>) => boolean): LaneItem<T>[] {
    const items: LaneItem<T>[] = [];
    for (let item = this.peek(); item !== undefined && isWanted(item); item = this.peek()) {
      items.push(item);
      this.#shift(item);
    }
    return items;
  }

  #pushPreview(item: LaneItem<T>, id: string): void {
    if (this.#ended.has(id)) return;
    const queued = this.#queuedPreview(id);
    if (queued === undefined) {
      this.#previews.set(id, this.#past + this.#items.length);
      this.#append(item);
      return;
    }
    this.#bytes += item.bytes - queued.bytes;
    queued.payload = item.payload;
    queued.bytes = item.bytes;
  }

  #pushFinal(item: LaneItem<T>, id: string): void {
    this.#removePreview(id);
    this.#remember(id);
    this.#append(item);
  }

  #queuedPreview(id: string): LaneItem<T> | undefined {
    const place = this.#previews.get(id);
    return place === undefined ? undefined : this.#items[place - this.#past];
  }

  #removePreview(id: string): void {
    const place = this.#previews.get(id);
    if (place === undefined) return;
    const queued = this.#items[place - this.#past];
    this.#items[place - this.#past] = undefined;
    if (queued !== undefined) this.#forget(queued);
  }

  #remember(id: string): void {
    if (this.#ended.size >= MAX_ENDED) {
      for (const oldest of this.#ended) {
        this.#ended.delete(oldest);
        break;
      }
    }
    this.#ended.add(id);
  }

  #append(item: LaneItem<T>): void {
    this.#items.push(item);
    this.#size += 1;
    this.#bytes += item.bytes;
  }

  /** The oldest item, which stays queued. */
  peek(): LaneItem<T> | undefined {
    while (this.#head < this.#items.length) {
      const item = this.#items[this.#head];
      if (item !== undefined) return item;
      this.#head += 1;
    }
    this.#compact();
    return undefined;
  }

  /** Removes the item that `peek` has just returned. */
  #shift(item: LaneItem<T>): void {
    this.#head += 1;
    this.#forget(item);
    this.#compact();
  }

  #forget(item: LaneItem<T>): void {
    this.#size -= 1;
    this.#bytes -= item.bytes;
    if (item.id !== undefined && item.count === 0) this.#previews.delete(item.id);
  }

  #compact(): void {
    if (
      this.#head < this.#items.length &&
      (this.#head < COMPACT_AFTER || this.#head * 2 < this.#items.length)
    )
      return;
    this.#items = this.#items.slice(this.#head);
    this.#past += this.#head;
    this.#head = 0;
  }
}
