/**
 * Finds the items that make a backend refuse every request they are in. A batch that is refused again and again is taken
 * apart here, in parts and then one by one, and sent between the other batches of its lane; an item is poison when chance
 * can't explain any more that it alone is refused. In an outage everything is refused, and so nothing is given up.
 */
import type { LaneItem } from './queue.js';

export interface Batch<T> {
  items: LaneItem<T>[];
  /** Encoded once, so that a repeated request is identical. */
  body?: Uint8Array;
  /** Refused this often, as it is. */
  refusals: number;
}

/** What is known of a batch that is suspect. */
interface Suspicion {
  /** Of its refusals, those before which something else had passed since the one before. */
  witnessed: number;
  /** How many requests had passed at its last refusal. */
  passed_before: number;
}

/** A batch that is refused this often, as it is, is suspect; where there are suspects already, the first time. */
const REFUSALS_BEFORE_SUSPECT = 3;
/** An item is never poison before it was refused alone this often. */
const LEAST_REFUSALS = 3;
/** An item is poison when a backend that refuses as this one does would be that unlucky with it once in 100,000 times. */
const CHANCE = 1e-5;
/** Where nothing else is left to be sent, nothing can witness; then nothing may have passed for this long. */
const UNWITNESSED_MS = 8_000;
/** Up to here a batch is taken apart into single items at once. */
const FEW_ITEMS = 4;

export class Suspects<T> {
  /** Parts, and single items that were not refused alone yet. Both lines hold no more than the items of what was added. */
  readonly #untried: Batch<T>[] = [];
  /** Single items that were. */
  #refused: Batch<T>[] = [];
  readonly #suspicions = new WeakMap<Batch<T>, Suspicion>();
  /** Since there were no suspects: the requests that passed, and the refusals of what passed later. */
  #passed = 0;
  #recovered = 0;
  #last_pass_ms = 0;
  /** How many requests had passed when a batch was last added. */
  #passed_at_add = 0;
  /** What is not suspect is refused, too. */
  #outage = false;

  isSuspect(batch: Batch<T>): boolean {
    return this.#suspicions.has(batch);
  }

  /**
   * Whether to add a batch that was refused again. In an outage one is enough, until something passes: else all the queue
   * would end up in single items.
   */
  shouldAdd(batch: Batch<T>): boolean {
    if (this.#isEmpty) return batch.refusals >= REFUSALS_BEFORE_SUSPECT;
    return this.#passed > this.#passed_at_add;
  }

  add(batch: Batch<T>): void {
    if (this.#isEmpty) {
      this.#passed = 0;
      this.#recovered = 0;
    }
    this.#passed_at_add = this.#passed;
    this.#outage = false;
    this.#takeApart(batch.items);
  }

  /** Takes one out. What may pass goes first: it shows how often this backend refuses without a reason. */
  next(): Batch<T> | undefined {
    return this.#untried.shift() ?? this.#refused.shift();
  }

  /** The backend could not be reached with it, or asked for time: it is tried again. */
  putBack(batch: Batch<T>): void {
    (batch.refusals > 0 ? this.#refused : this.#untried).push(batch);
  }

  /** A request of the lane passed, suspect or not. */
  pass(batch: Batch<T>, now_ms: number): void {
    this.#passed += 1;
    this.#recovered += batch.refusals;
    this.#last_pass_ms = now_ms;
    this.#outage = false;
  }

  /** A request that is not suspect was refused, or the backend can't be reached. */
  disturb(): void {
    this.#outage = true;
  }

  /** A suspect was refused. Goes on with it, and gives the single items that are poison by now; those are gone from here. */
  refuse(batch: Batch<T>, now_ms: number): Batch<T>[] {
    const suspicion = this.#suspicions.get(batch);
    if (batch.items.length > 1) this.#takeApart(batch.items);
    else if (this.#outage || suspicion === undefined) this.putBack(batch);
    else {
      batch.refusals += 1;
      if (this.#passed > suspicion.passed_before) suspicion.witnessed += 1;
      suspicion.passed_before = this.#passed;
      this.#refused.push(batch);
      return this.#takePoison(now_ms);
    }
    return [];
  }

  get #isEmpty(): boolean {
    return this.#untried.length === 0 && this.#refused.length === 0;
  }

  #takePoison(now_ms: number): Batch<T>[] {
    if (this.#passed === 0) return [];
    const quiet = now_ms - this.#last_pass_ms >= UNWITNESSED_MS;
    const isPoison = (batch: Batch<T>): boolean =>
      this.#isBeyondChance(quiet ? batch.refusals : (this.#suspicions.get(batch)?.witnessed ?? 0));
    const poison = this.#refused.filter(isPoison);
    if (poison.length > 0) this.#refused = this.#refused.filter((batch) => !poison.includes(batch));
    return poison;
  }

  /** Whether a backend that refuses without regard to the item, as often as this one does, hardly refuses one so often in a row. */
  #isBeyondChance(refusals: number): boolean {
    const rate = (this.#recovered + 0.5) / (this.#recovered + this.#passed + 1);
    return refusals >= LEAST_REFUSALS && rate ** refusals < CHANCE;
  }

  /** The square root as the size of a part: two rounds reach single items, and only the refused parts cost a wait. */
  #takeApart(items: LaneItem<T>[]): void {
    const size = items.length <= FEW_ITEMS ? 1 : Math.ceil(Math.sqrt(items.length));
    for (let start = 0; start < items.length; start += size) {
      const part = { items: items.slice(start, start + size), refusals: 0 };
      this.#suspicions.set(part, { witnessed: 0, passed_before: 0 });
      this.#untried.push(part);
    }
  }
}
