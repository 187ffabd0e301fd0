/**
 * The items that a lane has yet to send, within its memory limit: in the queue, or on the disk, where the oldest go when memory
 * is short and are read back from. An item that has been taken out counts towards the limit until it leaves the lane.
 */

import { countOf, isPreview, type LaneItem } from './item.js';
import type { Outbox } from './outbox.js';
import { LaneQueue } from './queue.js';

/** The most estimated bytes in one request. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** With more than this many full batches queued, a lane is behind and sends the newest items in turn with the oldest. */
const BATCHES_BEHIND = 4;

/** Shares of the memory limit. Above `PRESSED` a lane needs a checkpoint and evicts stored items, down to `RELIEVED`. */
const PRESSED = 1 / 2;
const RELIEVED = 1 / 4;

/** About ten full batches. */
const CROWDED_BYTES = 8 * 1024 * 1024;

export interface BacklogOptions<T> {
  /** If absent, items are in memory only. */
  outbox?: Outbox<T> | undefined;
  /** The limit on estimated bytes in memory, items taken out included. */
  limit_bytes: number;
  /** The size of a full batch. */
  max_items: number;
  /** Whether items must be taken in the order in which they were pushed. */
  in_order: boolean;
}

export class Backlog<T> {
  readonly #options: BacklogOptions<T>;
  readonly #queue = new LaneQueue<T>();
  /** Items read back from the disk, oldest first. */
  #read_back: LaneItem<T>[] = [];
  /** The estimated bytes of pending items outside the queue. */
  #taken_bytes = 0;
  #takes_newest = false;

  constructor(options: BacklogOptions<T>) {
    this.#options = options;
  }

  /** How many items are queued. */
  get size(): number {
    return this.#queue.size;
  }

  get isEmpty(): boolean {
    return this.#queue.size + this.#read_back.length === 0 && !this.#hasEvicted;
  }

  /** Whether more is in memory than a backend that keeps up would leave there. */
  get isCrowded(): boolean {
    return this.#bytes > Math.min(CROWDED_BYTES, this.#options.limit_bytes * PRESSED);
  }

  /** Whether items have to be stored, so that memory can be freed. */
  get isShort(): boolean {
    return this.#options.outbox !== undefined && this.#bytes > this.#options.limit_bytes * PRESSED;
  }

  /** Whether items taken out use so much memory that no more should stay there. */
  get isMuchTaken(): boolean {
    return this.#taken_bytes > this.#options.limit_bytes * RELIEVED;
  }

  get #bytes(): number {
    return this.#queue.bytes + this.#taken_bytes;
  }

  get #hasEvicted(): boolean {
    return this.#options.outbox?.hasEvicted === true;
  }

  push(item: LaneItem<T>): void {
    this.#queue.push(item);
  }

  /**
   * Takes the oldest items; if the lane is behind, the newest every second time. `lost`: how much of the evicted could not be
   * read back.
   */
  take(most: number): { items: LaneItem<T>[]; lost: number } {
    const lost = this.#readMore();
    this.#takes_newest = this.#isBehind && !this.#options.in_order && !this.#takes_newest;
    const newest = this.#takes_newest ? this.#queue.takeNewest(most, MAX_BODY_BYTES) : [];
    if (newest.length > 0) return { items: this.#countTaken(newest), lost };
    if (this.#read_back.length > 0) return { items: this.#read_back.splice(0, most), lost };
    return { items: this.#countTaken(this.#queue.take(most, MAX_BODY_BYTES)), lost };
  }

  /** Replaces an item that has been taken out by its parts. */
  replace(item: LaneItem<T>, parts: LaneItem<T>[]): void {
    this.#taken_bytes -= item.bytes;
    this.#countTaken(parts);
  }

  /** Settles an item that has been taken out. */
  settle(item: LaneItem<T>): void {
    this.#taken_bytes -= item.bytes;
    this.#options.outbox?.settle(item);
  }

  /**
   * Evicts what is on the disk. Over the limit, drops the oldest of the rest, unless a checkpoint is about to store them; no
   * more is read before that. `taken`: the rest of segments that are partly in flight, which must not be read back.
   */
  makeRoom(is_writable: boolean): { taken: LaneItem<T>[][]; dropped: number } {
    const { limit_bytes, outbox } = this.#options;
    const taken = this.isShort ? this.#evict(limit_bytes * RELIEVED) : [];
    const isKept = outbox !== undefined && is_writable;
    let dropped = 0;
    while (!isKept && this.#queue.size > 0 && this.#bytes > limit_bytes)
      dropped += this.#drop(this.#queue.take(1, 0));
    return { taken, dropped };
  }

  /** Drops the oldest items that are on the disk and have not been taken out. Returns their count; undefined if there are none. */
  dropOldest(): number | undefined {
    const count = this.#options.outbox?.dropOldest();
    if (count !== undefined) return count;
    this.#queue.takeWhile(isPreview);
    const segment = this.#queue.peek()?.segment;
    if (segment === undefined) return undefined;
    return this.#drop(this.#queue.takeWhile((item) => item.segment === segment));
  }

  get #isBehind(): boolean {
    return this.#read_back.length > 0 || this.#queue.size > BATCHES_BEHIND * this.#options.max_items;
  }

  #drop(items: LaneItem<T>[]): number {
    for (const item of items) this.#options.outbox?.settle(item);
    return countOf(items);
  }

  #countTaken(items: LaneItem<T>[]): LaneItem<T>[] {
    for (const item of items) this.#taken_bytes += item.bytes;
    return items;
  }

  /** Reads evicted items back. Returns how much could not be read. */
  #readMore(): number {
    const { outbox } = this.#options;
    let lost = 0;
    while (this.#read_back.length === 0 && outbox?.hasEvicted) {
      const read = outbox.load();
      this.#read_back = this.#countTaken(read.items);
      lost += read.lost;
    }
    return lost;
  }

  #evict(target_bytes: number): LaneItem<T>[][] {
    const { outbox } = this.#options;
    const taken: LaneItem<T>[][] = [];
    for (
      let item = this.#queue.peek();
      item !== undefined && this.#bytes > target_bytes;
      item = this.#queue.peek()
    ) {
      if (isPreview(item)) {
        this.#queue.take(1, 0);
        continue;
      }
      const segment = outbox?.evictable(item);
      if (segment === undefined) break;
      const items = this.#queue.takeWhile((other) => other.segment === segment || isPreview(other));
      const kept = items.filter((other) => !isPreview(other));
      if (kept.length === segment.items?.size) outbox?.evict(segment);
      else taken.push(this.#countTaken(kept));
    }
    return taken;
  }
}
