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

/** A batch that is refused this often, as it is, is suspect. */
export const REFUSALS_BEFORE_SUSPECT = 3;

/** An item is never poison before it was refused alone this often. */
const LEAST_REFUSALS = 3;
/** An item is poison when a backend that refuses as this one does would be that unlucky with it once in a million times. */
const CHANCE = 1e-5;
/** Where nothing else is left to be sent, nothing can witness; then an item must be refused for this long. */
const UNWITNESSED_MS = 10_000;

export class Suspects<T> {
  /** What is still to be tried; never more than the items of the batches that were added. */
  readonly #line: Batch<T>[] = [];
  readonly #suspicions = new WeakMap<Batch<T>, Suspicion>();
  /** Since the line was last empty: the requests that passed, and the refusals of what passed later. */
  #passed = 0;
  #recovered = 0;
  #last_pass_ms = 0;
  /** Something passed after the last batch was added: then more may be. */
  #passing = false;
  /** What is not suspect is refused, too. */
  #outage = false;

  /** Whether a batch may be added: in an outage one is enough, else all the queue would end up in single items. */
  get open(): boolean {
    return this.#passing || this.#line.length === 0;
  }

  isSuspect(batch: Batch<T>): boolean {
    return this.#suspicions.has(batch);
  }

  /** Takes one out at random, so that those refused alone are tried among those still to be tried. */
  next(random: () => number): Batch<T> | undefined {
    const index = Math.floor(random() * this.#line.length);
    const batch = this.#line[index];
    const last = this.#line.pop();
    if (batch !== last && last !== undefined) this.#line[index] = last;
    return batch;
  }

  /** Takes in a batch that was refused as often as it may be. */
  add(batch: Batch<T>): void {
    if (this.#line.length === 0) {
      this.#passed = 0;
      this.#recovered = 0;
    }
    this.#passing = false;
    this.#outage = false;
    this.#takeApart(batch.items);
  }

  putBack(batch: Batch<T>): void {
    this.#line.push(batch);
  }

  /** Any request of the lane passed. */
  pass(batch: Batch<T>, now_ms: number): void {
    this.#passed += 1;
    this.#recovered += batch.refusals;
    this.#last_pass_ms = now_ms;
    this.#passing = true;
    this.#outage = false;
  }

  /** A request that is not suspect was refused, or the backend can't be reached. */
  disturb(): void {
    this.#outage = true;
  }

  /** A suspect was refused: goes on with it, or says that it is poison. */
  refuse(batch: Batch<T>, now_ms: number): 'again' | 'poison' {
    if (batch.items.length > 1) {
      this.#takeApart(batch.items);
      return 'again';
    }
    if (this.#isPoison(batch, now_ms)) return 'poison';
    this.putBack(batch);
    return 'again';
  }

  #isPoison(batch: Batch<T>, now_ms: number): boolean {
    const suspicion = this.#suspicions.get(batch);
    if (suspicion === undefined || this.#outage) return false;
    batch.refusals += 1;
    if (this.#passed > suspicion.passed_before) suspicion.witnessed += 1;
    suspicion.passed_before = this.#passed;
    if (this.#passed === 0) return false;
    if (this.#isBeyondChance(suspicion.witnessed)) return true;
    return this.#isBeyondChance(batch.refusals) && now_ms - this.#last_pass_ms >= UNWITNESSED_MS;
  }

  /** Whether a backend that refuses without regard to the item, as often as this one does, hardly refuses one so often in a row. */
  #isBeyondChance(refusals: number): boolean {
    const rate = (this.#recovered + 0.5) / (this.#recovered + this.#passed + 1);
    return refusals >= LEAST_REFUSALS && rate ** refusals < CHANCE;
  }

  /** The square root as the size of a part: two rounds reach single items, and only the refused parts cost a wait. */
  #takeApart(items: LaneItem<T>[]): void {
    const size = items.length <= 4 ? 1 : Math.ceil(Math.sqrt(items.length));
    for (let start = 0; start < items.length; start += size) {
      const part = { items: items.slice(start, start + size), refusals: 0 };
      this.#suspicions.set(part, { witnessed: 0, passed_before: 0 });
      this.#line.push(part);
    }
  }
}
