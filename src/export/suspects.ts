/**
 * Finds poison: items that make a backend refuse every request they are in. A batch that is refused repeatedly is taken apart,
 * into parts and then into single items, which are sent between the other batches of the lane. An item is poison when chance
 * can no longer explain its refusals. An item that is a request of its own is divided by its lane. In an outage everything is
 * refused, so nothing is rejected.
 */

import { type Batch, batchOf } from './batch.js';
import { countOf, type LaneItem } from './item.js';

/** The evidence about a suspect batch. */
interface Suspicion {
  /** The batch that it is a part of. */
  whole: Suspicion | undefined;
  /** How many of its spans, log records or data points have not been accepted. */
  left: number;
  /** The refusals that count: only one of several without an accepted request in between, and none in an outage. */
  refusals: number;
}

/** A batch that is refused this often, unchanged, is suspect. If there are suspects already, `CHANCE_OF_SUSPECT` decides. */
export const REFUSALS_BEFORE_SUSPECT = 2;
/**
 * The least refusals of an item, or of batches with it, before it can be poison. Without other requests to compare with: of the
 * item alone.
 */
const LEAST_REFUSALS = 2;
const LEAST_UNWITNESSED_REFUSALS = 3;
/** An item is poison if a backend that refuses at random, as often as this one, would do this once in 100,000 times. */
const CHANCE = 1e-5;
/** The same for a batch to become suspect, if there are suspects already. */
const CHANCE_OF_SUSPECT = 0.1;
/** After this many accepted requests, the least refusals are beyond chance. */
const ENOUGH_PASSES = 0.5 / CHANCE ** (1 / LEAST_REFUSALS);
/**
 * If nothing was accepted for this long, nothing else is left to send that could show whether the backend is up. Then only the
 * refusals of the item alone count.
 */
const UNWITNESSED_MS = 8_000;
/** This many refusals of batches that are not suspect, with nothing accepted in between, mean an outage. */
const REFUSALS_IN_OUTAGE = 2;
/** After this many refusals of suspects in a row another batch is tried, if there is one. */
const MOST_IN_A_ROW = 3;
/** The most parts of a batch, and how long sending all of them should take. */
const MOST_PARTS = 128;
const ROUND_MS = 6_000;
/** The square root of 2 is less than this, and a single part would be the whole again. */
const FEWEST_PARTS = 2;
/** Up to this size a request is split into single data points at once, since each step has to be stored. */
const FEW_PARTS = 16;

/** How many parts to make of `count` items or data points; `answer_ms`: the duration of a request. */
export const partsOf = (count: number, answer_ms: number): number =>
  Math.min(MOST_PARTS, Math.max(FEWEST_PARTS, ROUND_MS / answer_ms, Math.sqrt(count)));

/** The same for a request that is only too large: all its parts may be accepted, and fewer parts are sent sooner. */
export const fewPartsOf = (count: number): number =>
  Math.min(MOST_PARTS, Math.max(FEW_PARTS, Math.sqrt(count)));

export class Suspects<T> {
  /** Parts, and single items that were not refused alone yet. This list and the next never hold more items than were added. */
  readonly #untried: Batch<T>[] = [];
  /** Single items that were refused alone. */
  #refused: Batch<T>[] = [];
  /** Single items that are being divided. */
  readonly #dividing = new Set<Batch<T>>();
  readonly #suspicions = new WeakMap<Batch<T>, Suspicion>();
  /** Since there were no suspects: accepted requests, and the refusals that count and are not explained by known poison. */
  #passed = 0;
  #refusals = 0;
  #last_pass_ms = 0;
  /**
   * Since the last accepted request: the suspects refused, the number of other requests refused, the number of refusals of
   * suspects, and whether this is an outage.
   */
  #refused_since_pass = new Set<Suspicion>();
  #others_refused_since_pass = 0;
  #tries_since_pass = 0;
  #outage = false;
  #refused_in_a_row = 0;
  /** The number of accepted requests when a batch was last added, and when an item was last divided. */
  #passed_at_add = 0;
  #passed_at_division = 0;
  readonly #hasParts: (item: LaneItem<T>) => boolean;

  /** `hasParts`: whether an item is to be divided itself, as soon as a request is accepted between its refusals. */
  constructor(hasParts: (item: LaneItem<T>) => boolean) {
    this.#hasParts = hasParts;
  }

  isSuspect(batch: Batch<T>): boolean {
    return this.#suspicions.has(batch);
  }

  get isEmpty(): boolean {
    return this.#untried.length === 0 && this.#refused.length === 0 && this.#dividing.size === 0;
  }

  /** Whether all suspects were refused since the last accepted request: sending them again tells nothing new. */
  get isStuck(): boolean {
    return this.#dividing.size === 0 && this.#tries_since_pass >= this.#untried.length + this.#refused.length;
  }

  *items(): Generator<LaneItem<T>> {
    for (const batches of [this.#untried, this.#refused, this.#dividing])
      for (const { items } of batches) yield* items;
  }

  /** Whether to send small batches: the refusals look like poison, not like a backend that refuses at random. */
  get isCareful(): boolean {
    const too_few = this.#passed * CHANCE_OF_SUSPECT < 0.5;
    return !this.isEmpty && (too_few || this.#isUnlikely(1));
  }

  /**
   * Notes the refusal of a batch that is not suspect. Returns whether to add it. In an outage only one batch is added until a
   * request is accepted, or else the whole queue would end up in single items. The exception: if all suspects are single items
   * that are refused again and again, all may be poison, and this batch may contain some; then nothing is accepted before it is
   * taken apart.
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

  /** Takes a refused batch apart. `answer_ms`: the duration of a request, as far as is known. */
  add({ items }: Batch<T>, answer_ms: number): void {
    const is_careful = this.isEmpty || this.isCareful;
    const suspicion = this.#suspect(items);
    const parts = is_careful ? partsOf(items.length, answer_ms) : Math.sqrt(items.length);
    this.#takeApart(items, suspicion, Math.ceil(items.length / parts));
  }

  /** Adds a refused item that can be divided. Its parts follow with `divided`. */
  addWhole(batch: Batch<T>): void {
    this.#suspicions.set(batch, this.#suspect(batch.items));
    this.#dividing.add(batch);
  }

  /** Adds the parts of an item, each as an item. */
  divided(batch: Batch<T>, parts: LaneItem<T>[]): void {
    const suspicion = this.#suspicions.get(batch);
    if (suspicion === undefined) return;
    this.#dividing.delete(batch);
    this.#passed_at_division = this.#passed;
    this.#takeApart(parts, suspicion, 1);
  }

  /**
   * Removes and returns the next suspect. Those that may be accepted go first: they show how often this backend refuses at
   * random. Returns nothing if another request would tell more; `nothing_else`: there is none.
   */
  next(nothing_else = false): Batch<T> | undefined {
    const is_inconclusive = this.#refused_in_a_row >= MOST_IN_A_ROW || (this.#outage && this.isStuck);
    if (!nothing_else && is_inconclusive) return undefined;
    const untried = this.#untried.shift();
    if (untried !== undefined) return untried;
    return nothing_else || this.#passed >= ENOUGH_PASSES ? this.#nextRefused() : undefined;
  }

  /** Returns a suspect to be sent again, if the backend could not be reached or asked for time. */
  putBack(batch: Batch<T>): void {
    (batch.refusals > 0 && !batch.items.some(this.#hasParts) ? this.#refused : this.#untried).push(batch);
  }

  /** Notes that a request of the lane was accepted, suspect or not. */
  pass(batch: Batch<T>, now_ms: number): void {
    this.#passed += 1;
    this.#tries_since_pass = 0;
    this.#last_pass_ms = now_ms;
    this.#clearRun();
    for (const suspicion of this.#lineOf(batch)) suspicion.left -= countOf(batch.items);
  }

  /** Notes that the backend is unavailable: refusals since the last accepted request are no evidence about content. */
  disturb(): void {
    for (const suspicion of this.#refused_since_pass) suspicion.refusals -= 1;
    this.#refusals -= this.#refused_since_pass.size;
    this.#clearRun();
    this.#outage = true;
  }

  /** Notes the refusal of a suspect. Returns whether it is an item that has to be divided now; its parts follow with `divided`. */
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

  /** Removes a batch of known poison. */
  drop(batch: Batch<T>): void {
    this.#takeOut([batch]);
  }

  /** Removes and returns the single items that have proved to be poison. */
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
   * Whether to divide now. If no request was accepted since the last division this may be an outage: then only once this batch
   * and every other suspect has been refused again. Nothing that shares a series with a suspect is sent meanwhile, so each may
   * contain poison, and only suspects are divided.
   */
  #divides(batch: Batch<T>): boolean {
    const passes = !this.#outage && this.#passed > this.#passed_at_division;
    const is_time = passes || (batch.refusals >= REFUSALS_BEFORE_SUSPECT && this.isStuck);
    if (is_time) this.#dividing.add(batch);
    else this.#untried.push(batch);
    return is_time;
  }

  /** Whether chance is unlikely to refuse a request this often, if the suspects explain their own refusals. */
  #isUnlikely(refusals: number): boolean {
    return this.#areBeyondChance([...this.#untried, ...this.#refused], refusals, CHANCE_OF_SUSPECT);
  }

  /** Creates the evidence about a batch. The first suspect resets all counts. */
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

  /** The evidence about a batch, and about all batches that it was a part of. */
  *#lineOf(batch: Batch<T>): Generator<Suspicion> {
    for (let at = this.#suspicions.get(batch); at !== undefined; at = at.whole) yield at;
  }

  /**
   * The refusals that only this item explains: its own, and those of batches that contained it once all the rest of them was
   * accepted.
   */
  #refusalsFor(batch: Batch<T>): number {
    const own = countOf(batch.items);
    let refusals = 0;
    for (const suspicion of this.#lineOf(batch)) if (suspicion.left === own) refusals += suspicion.refusals;
    return refusals;
  }

  /**
   * Whether chance explains the refusals no more: a backend that refuses regardless of content, as often as this one refuses
   * requests without the candidates, would hardly refuse one this often in a row.
   */
  #areBeyondChance(candidates: Batch<T>[], refusals: number, chance: number): boolean {
    const explained = new Set(candidates.flatMap((batch) => [...this.#lineOf(batch)]));
    let unexplained = this.#refusals;
    for (const suspicion of explained) unexplained -= suspicion.refusals;
    const rate = (unexplained + 0.5) / (unexplained + this.#passed + 1);
    return rate ** refusals < chance;
  }

  /** Takes the item refused least often first: while its refusals are unexplained, every other needs more of them to be poison. */
  #nextRefused(): Batch<T> | undefined {
    const least = Math.min(...this.#refused.map(({ refusals }) => refusals));
    const place = this.#refused.findIndex(({ refusals }) => refusals === least);
    return this.#refused.splice(Math.max(0, place), 1)[0];
  }

  /** Removes poison. The refusals that it explains no longer count against anything else. */
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
      const part = batchOf(items.slice(start, start + size));
      this.#suspicions.set(part, { whole, left: countOf(part.items), refusals: 0 });
      this.#untried.push(part);
    }
  }
}
