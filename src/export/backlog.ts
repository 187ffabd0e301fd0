/**
 * What a lane has still to send, within its bound on memory: in the queue, or read back from the disk, where the oldest goes when
 * memory is short. The bytes of what has been taken out count until it leaves the lane.
 */
import type { Outbox } from './outbox.js';
import { countOf, isPreview, type LaneItem, LaneQueue } from './queue.js';

/** The most estimated bytes in one request. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** With so many full batches queued a lane is behind: what is new takes turns with what is old. */
const BATCHES_BEHIND = 4;

/** The parts of the bound on memory over which a lane wants its items written down, and under which it then keeps them. */
const PRESSED = 1 / 2;
const RELIEVED = 1 / 4;

/** Some ten full batches. */
const CROWDED_BYTES = 8 * 1024 * 1024;

export interface BacklogOptions<T> {
  /** In memory only where it is absent. */
  outbox?: Outbox<T> | undefined;
  /** The most estimated bytes in memory, what has been taken out included. */
  limit_bytes: number;
  /** Of a full batch. */
  max_items: number;
  /** Nothing may overtake what came before it. */
  in_order: boolean;
}

export class Backlog<T> {
  readonly #options: BacklogOptions<T>;
  readonly #queue = new LaneQueue<T>();
  /** What has been read back from the disk, oldest first. */
  #read_back: LaneItem<T>[] = [];
  /** The estimated bytes of all that is pending and not in the queue. */
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

  /** More waits in memory than a backend that keeps up leaves there. */
  get isCrowded(): boolean {
    return this.#bytes > Math.min(CROWDED_BYTES, this.#options.limit_bytes * PRESSED);
  }

  /** Something has to be written down, so that it can leave memory. */
  get isShort(): boolean {
    return this.#options.outbox !== undefined && this.#bytes > this.#options.limit_bytes * PRESSED;
  }

  /** So much has been taken out that no more should stay in memory. */
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

  /** The oldest come first; where much waits they take turns with the newest. `lost`: of those read back, who can't be read any more. */
  take(most: number): { items: LaneItem<T>[]; lost: number } {
    const lost = this.#readMore();
    this.#takes_newest = this.#isBehind && !this.#options.in_order && !this.#takes_newest;
    const newest = this.#takes_newest ? this.#queue.takeNewest(most, MAX_BODY_BYTES) : [];
    if (newest.length > 0) return { items: this.#countTaken(newest), lost };
    if (this.#read_back.length > 0) return { items: this.#read_back.splice(0, most), lost };
    return { items: this.#countTaken(this.#queue.take(most, MAX_BODY_BYTES)), lost };
  }

  /** Of what has been taken out, an item is replaced by its parts. */
  replace(item: LaneItem<T>, parts: LaneItem<T>[]): void {
    this.#taken_bytes -= item.bytes;
    this.#countTaken(parts);
  }

  /** What has been taken out is pending no more. */
  leave(item: LaneItem<T>): void {
    this.#taken_bytes -= item.bytes;
    this.#options.outbox?.leave(item);
  }

  /**
   * What is written down is only gone from memory. Over the bound the oldest of the rest is dropped, unless it is about to be written
   * down: nothing more is read before that. `taken`: of what is on its way in part, the rest, since it is not to be read back.
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

  /** Gives up the oldest that is on the disk, and has not been taken out. Gives what it counts as; undefined where there is none. */
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
    for (const item of items) this.#options.outbox?.leave(item);
    return countOf(items);
  }

  #countTaken(items: LaneItem<T>[]): LaneItem<T>[] {
    for (const item of items) this.#taken_bytes += item.bytes;
    return items;
  }

  /** Gives what those count as that can't be read any more. */
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
