/**
 * Finds the items that make a backend refuse every request they are in. A batch that is refused again is taken apart here, in
 * parts and then one by one, and sent between the other batches of its lane; an item is poison when chance can't explain any
 * more that what holds it is refused. An item that is a request by itself goes on as parts, which its lane makes. In an outage
 * everything is refused, and so nothing is given up.
 */
import type { Encoding } from './presets.js';
import { countOf, type LaneItem } from './queue.js';

export interface Batch<T> {
  items: LaneItem<T>[];
  /** As it was sent last. */
  body?: { encoding: Encoding; bytes: Uint8Array };
  /** Refused this often, as it is. */
  refusals: number;
  /** What the backend said to it last, of those that are suspect. */
  message?: string;
}

/** What is known of a batch that is suspect. */
interface Suspicion {
  /** What it is a part of. */
  whole: Suspicion | undefined;
  /** How many of the spans, log records or data points in it have not passed. */
  left: number;
  /** Its refusals that count: of those between which nothing passed, one, and of those in an outage, none. */
  refusals: number;
}

/** A batch that is refused this often, as it is, is suspect; where there are suspects already, `CHANCE_OF_SUSPECT` decides. */
export const REFUSALS_BEFORE_SUSPECT = 2;
/** An item is never poison before what holds it was refused this often; where nothing could witness, it alone. */
const LEAST_REFUSALS = 2;
const LEAST_UNWITNESSED_REFUSALS = 3;
/** An item is poison when a backend that refuses as this one does would be that unlucky with it once in 100,000 times. */
const CHANCE = 1e-5;
/** The same for a batch, to be suspect where there are suspects already. */
const CHANCE_OF_SUSPECT = 0.1;
/** When so many requests have passed, the fewest refusals are beyond chance. */
const ENOUGH_PASSES = 0.5 / CHANCE ** (1 / LEAST_REFUSALS);
/** Where nothing else is left to be sent, nothing can witness; then nothing may have passed for this long. */
const UNWITNESSED_MS = 8_000;
/** What is not suspect is refused this often, and nothing passes: an outage. */
const REFUSALS_IN_OUTAGE = 2;
/** After so many refusals of suspects in a row, something else has to be tried, where there is any. */
const MOST_IN_A_ROW = 3;
/** A batch is taken apart into so many parts at most, and so many that sending them takes no longer than this. */
const MOST_PARTS = 128;
const ROUND_MS = 6_000;
/** Of two the root is less, and one part would be the whole again. */
const FEWEST_PARTS = 2;
/** What is no larger than this is taken apart at once, since each step has to be written down. */
const FEW_PARTS = 16;

/** Into how many parts to take apart what counts as so many, where a request takes so long. */
export const partsOf = (count: number, answer_ms: number): number =>
  Math.min(MOST_PARTS, Math.max(FEWEST_PARTS, ROUND_MS / answer_ms, Math.sqrt(count)));

/** The same where it is only too much at once: all parts may pass, and the fewer there are, the sooner. */
export const fewPartsOf = (count: number): number =>
  Math.min(MOST_PARTS, Math.max(FEW_PARTS, Math.sqrt(count)));

export class Suspects<T> {
  /** Parts, and single items that were not refused alone yet. Both lines hold no more than the items of what was added. */
  readonly #untried: Batch<T>[] = [];
  /** Single items that were. */
  #refused: Batch<T>[] = [];
  /** Single items whose parts are on their way. */
  readonly #dividing = new Set<Batch<T>>();
  readonly #suspicions = new WeakMap<Batch<T>, Suspicion>();
  /** Since there were no suspects: the requests that passed, and the refusals that count and are not explained by a poison found. */
  #passed = 0;
  #refusals = 0;
  #last_pass_ms = 0;
  /** Since the last pass: the suspects refused, the other requests refused, how often a suspect was, and whether this is an outage. */
  #refused_since_pass = new Set<Suspicion>();
  #others_refused_since_pass = 0;
  #tries_since_pass = 0;
  #outage = false;
  #refused_in_a_row = 0;
  /** How many requests had passed when a batch was last added, and when the parts of an item last came. */
  #passed_at_add = 0;
  #passed_at_division = 0;
  readonly #hasParts: (item: LaneItem<T>) => boolean;

  /** `hasParts`: whether an item is to be taken apart itself, as soon as something passes between its refusals. */
  constructor(hasParts: (item: LaneItem<T>) => boolean = () => false) {
    this.#hasParts = hasParts;
  }

  isSuspect(batch: Batch<T>): boolean {
    return this.#suspicions.has(batch);
  }

  get isEmpty(): boolean {
    return this.#untried.length === 0 && this.#refused.length === 0 && this.#dividing.size === 0;
  }

  /** All have been refused since something passed: they tell nothing more by themselves. */
  get isStuck(): boolean {
    return this.#dividing.size === 0 && this.#tries_since_pass >= this.#untried.length + this.#refused.length;
  }

  *items(): Generator<LaneItem<T>> {
    for (const batches of [this.#untried, this.#refused, this.#dividing])
      for (const { items } of batches) yield* items;
  }

  /** Whether to send little at once: there is poison, as it seems, rather than a backend that refuses at random. */
  get isCareful(): boolean {
    const too_few_to_tell = this.#passed * CHANCE_OF_SUSPECT < 0.5;
    return !this.isEmpty && (too_few_to_tell || this.#isUnlikely(1));
  }

  /**
   * A batch that is not suspect was refused. Gives whether to add it; in an outage one is enough until something passes, else all
   * the queue would end up in single items. But single items that are refused again and again may all be poison, as may be
   * something in this batch: then nothing passes before it is taken apart.
   */
  refuseOther(batch: Batch<T>): boolean {
    batch.refusals += 1;
    if (this.isEmpty) return batch.refusals >= REFUSALS_BEFORE_SUSPECT;
    if (this.#passed > this.#passed_at_add) {
      return this.#isUnlikely(batch.refusals);
    }
    this.#others_refused_since_pass += 1;
    if (this.#others_refused_since_pass >= REFUSALS_IN_OUTAGE) this.disturb();
    return this.#outage && this.isStuck && this.#untried.every(({ items }) => items.length === 1);
  }

  /** Takes a batch apart that was refused. `answer_ms`: how long a request takes, as far as is known. */
  add({ items }: Batch<T>, answer_ms: number): void {
    const is_careful = this.isEmpty || this.isCareful;
    const suspicion = this.#suspect(items);
    const parts = is_careful ? partsOf(items.length, answer_ms) : Math.sqrt(items.length);
    this.#takeApart(items, suspicion, Math.ceil(items.length / parts));
  }

  /** Takes in one item that was refused, and has parts of its own: they are to come by `divided`. */
  addWhole(batch: Batch<T>): void {
    this.#suspicions.set(batch, this.#suspect(batch.items));
    this.#dividing.add(batch);
  }

  /** The parts of an item are there, each as an item. */
  divided(batch: Batch<T>, parts: LaneItem<T>[]): void {
    const suspicion = this.#suspicions.get(batch);
    if (suspicion === undefined) return;
    this.#dividing.delete(batch);
    this.#passed_at_division = this.#passed;
    this.#takeApart(parts, suspicion, 1);
  }

  /**
   * Takes one out. What may pass goes first: it shows how often this backend refuses without a reason. Nothing comes where
   * something else is to be sent and would tell more.
   */
  next(nothing_else = false): Batch<T> | undefined {
    const tells_little = this.#refused_in_a_row >= MOST_IN_A_ROW || (this.#outage && this.isStuck);
    if (!nothing_else && tells_little) return undefined;
    const untried = this.#untried.shift();
    if (untried !== undefined) return untried;
    return nothing_else || this.#passed >= ENOUGH_PASSES ? this.#nextRefused() : undefined;
  }

  /** The backend could not be reached with it, or asked for time: it is tried again. */
  putBack(batch: Batch<T>): void {
    (batch.refusals > 0 && !batch.items.some(this.#hasParts) ? this.#refused : this.#untried).push(batch);
  }

  /** A request of the lane passed, suspect or not. */
  pass(batch: Batch<T>, now_ms: number): void {
    this.#passed += 1;
    this.#tries_since_pass = 0;
    this.#last_pass_ms = now_ms;
    this.#clearRun();
    for (const suspicion of this.#lineOf(batch)) suspicion.left -= countOf(batch.items);
  }

  /** The backend is not there for anybody: what was refused since the last pass says nothing of what was in it. */
  disturb(): void {
    for (const suspicion of this.#refused_since_pass) suspicion.refusals -= 1;
    this.#refusals -= this.#refused_since_pass.size;
    this.#clearRun();
    this.#outage = true;
  }

  /** A suspect was refused. Gives whether it is one item whose parts have to come, by `divided`. */
  refuse(batch: Batch<T>, message: string): boolean {
    this.#tries_since_pass += 1;
    const suspicion = this.#suspicions.get(batch);
    const has_parts = batch.items.some(this.#hasParts);
    if (suspicion === undefined || (this.#outage && !has_parts)) {
      this.putBack(batch);
      return false;
    }
    this.#refused_in_a_row += 1;
    if (!this.#outage) this.#count(suspicion);
    if (batch.items.length > 1) {
      this.#takeApart(batch.items, suspicion, 1);
      return false;
    }
    batch.refusals += 1;
    batch.message = message;
    if (has_parts) return this.#divides(batch);
    this.#refused.push(batch);
    return false;
  }

  /** It is known to be poison. */
  giveUp(batch: Batch<T>): void {
    this.#takeOut([batch]);
  }

  /** Takes out the single items that are poison by now. */
  takePoison(now_ms: number): Batch<T>[] {
    if (this.#refused.length === 0 || this.#passed === 0 || this.#outage) return [];
    const quiet = now_ms - this.#last_pass_ms >= UNWITNESSED_MS;
    const refusals = new Map(
      this.#refused.map((batch) => [batch, quiet ? batch.refusals : this.#refusalsFor(batch)]),
    );
    const least = quiet ? LEAST_UNWITNESSED_REFUSALS : LEAST_REFUSALS;
    const most = Math.max(...refusals.values());
    for (let count = least; count <= most; count += 1) {
      const candidates = this.#refused.filter((batch) => (refusals.get(batch) ?? 0) >= count);
      if (this.#areBeyondChance(candidates, count, CHANCE)) return this.#takeOut(candidates);
    }
    return [];
  }

  /**
   * Where nothing has passed since the last time, this may be an outage: then it has to be refused again, and all else with it. As
   * nothing that shares a series with it is sent meanwhile, something of each may be poison, and no more than this is taken apart.
   */
  #divides(batch: Batch<T>): boolean {
    const passes = !this.#outage && this.#passed > this.#passed_at_division;
    const is_time = passes || (batch.refusals >= REFUSALS_BEFORE_SUSPECT && this.isStuck);
    if (is_time) this.#dividing.add(batch);
    else this.#untried.push(batch);
    return is_time;
  }

  /** Whether chance hardly refuses a request so often, if what is suspect explains its own refusals. */
  #isUnlikely(refusals: number): boolean {
    return this.#areBeyondChance([...this.#untried, ...this.#refused], refusals, CHANCE_OF_SUSPECT);
  }

  /** What is refused first begins all counts anew. */
  #suspect(items: LaneItem<T>[]): Suspicion {
    const suspicion = { whole: undefined, left: countOf(items), refusals: 0 };
    if (this.isEmpty) {
      this.#passed = 0;
      this.#refusals = 0;
      this.#passed_at_division = 0;
      this.#tries_since_pass = 0;
      this.#clearRun();
    } else if (!this.#outage) this.#count(suspicion);
    this.#passed_at_add = this.#passed;
    return suspicion;
  }

  #clearRun(): void {
    this.#refused_since_pass.clear();
    this.#others_refused_since_pass = 0;
    this.#refused_in_a_row = 0;
    this.#outage = false;
  }

  #count(suspicion: Suspicion): void {
    if (this.#refused_since_pass.has(suspicion)) return;
    this.#refused_since_pass.add(suspicion);
    suspicion.refusals += 1;
    this.#refusals += 1;
  }

  /** What is known of a batch, and of all that it was a part of. */
  *#lineOf(batch: Batch<T>): Generator<Suspicion> {
    for (let at = this.#suspicions.get(batch); at !== undefined; at = at.whole) yield at;
  }

  /** The refusals that nothing but this item can explain: its own, and those of what it was in when all the rest has passed. */
  #refusalsFor(batch: Batch<T>): number {
    const own = countOf(batch.items);
    let refusals = 0;
    for (const suspicion of this.#lineOf(batch)) if (suspicion.left === own) refusals += suspicion.refusals;
    return refusals;
  }

  /**
   * Whether a backend that refuses without regard to the items, as often as this one refuses what holds none of these, hardly
   * refuses one so often in a row.
   */
  #areBeyondChance(candidates: Batch<T>[], refusals: number, chance: number): boolean {
    const explained = new Set(candidates.flatMap((batch) => [...this.#lineOf(batch)]));
    let unexplained = this.#refusals;
    for (const suspicion of explained) unexplained -= suspicion.refusals;
    const rate = (unexplained + 0.5) / (unexplained + this.#passed + 1);
    return rate ** refusals < chance;
  }

  /** Those first that were refused least: as long as they are unexplained, all others have to be refused more often. */
  #nextRefused(): Batch<T> | undefined {
    const least = Math.min(...this.#refused.map(({ refusals }) => refusals));
    const place = this.#refused.findIndex(({ refusals }) => refusals === least);
    return this.#refused.splice(Math.max(0, place), 1)[0];
  }

  /** What poison explains speaks against nothing else. */
  #takeOut(poison: Batch<T>[]): Batch<T>[] {
    for (const suspicion of poison.flatMap((batch) => [...this.#lineOf(batch)])) {
      this.#refusals -= suspicion.refusals;
      suspicion.refusals = 0;
      this.#refused_since_pass.delete(suspicion);
    }
    this.#refused = this.#refused.filter((batch) => !poison.includes(batch));
    return poison;
  }

  #takeApart(items: LaneItem<T>[], whole: Suspicion, size: number): void {
    for (let start = 0; start < items.length; start += size) {
      const part = { items: items.slice(start, start + size), refusals: 0 };
      this.#suspicions.set(part, { whole, left: countOf(part.items), refusals: 0 });
      this.#untried.push(part);
    }
  }
}
