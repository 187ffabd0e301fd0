/**
 * A lane sends one signal to one destination: one request at a time, gathering items while a request is in flight. It retries
 * without a deadline, so an item leaves only with a final answer or for a named reason. Lanes are independent: a slow or broken
 * backend delays only its own data, and that is bounded.
 */

import type { Signal, SignalCounts } from '../model/delivery.js';
import { Backlog } from './backlog.js';
import { type Batch, batchOf, bodyOf, countedItems, halvesOf } from './batch.js';
import { countOf, type LaneItem } from './item.js';
import { createLedger, type Ledger, type LossEvent } from './ledger.js';
import type { Outbox } from './outbox.js';
import { backoffMs, firstPace, halved, nextPace, type Pace } from './pace.js';
import type { Encoding } from './presets.js';
import { MEMORY_FULL, POISON, STORE_DAMAGED, STORE_FULL, STORE_UNWRITABLE } from './reasons.js';
import { fewPartsOf, partsOf, REFUSALS_BEFORE_SUSPECT, Suspects } from './suspects.js';
import type { Transport } from './transport.js';
import { judge, type Verdict } from './verdict.js';
import { type LaneDivision, Waiting } from './waiting.js';

/** What happens on a lane, for logs and metrics. */
export type LaneEvent =
  | { kind: 'answered'; duration_ms: number }
  /** A request was not accepted and will be retried, whole or in parts. */
  | { kind: 'refused'; message: string }
  /** As far as is known, the backend accepts nothing. */
  | { kind: 'down'; message: string }
  /** A request got a final answer. */
  | { kind: 'up' }
  /** The backend does not accept the encoding; this one is used from now on. */
  | { kind: 'encoding'; encoding: Encoding; message: string }
  | LossEvent;

type Refusal = Omit<Extract<Verdict, { kind: 'refused' }>, 'kind'>;

/** Parts that must be stored before they are sent. */
interface Parted {
  send(): void;
}

export interface LaneOptions<T> {
  signal: Signal;
  /** Encodes the body of a request; called once per batch and encoding, however often the batch is sent. */
  encode: (payloads: T[], encoding: Encoding) => Uint8Array;
  post: Transport['post'];
  /** The encoding to try first. Default: JSON, which every backend accepts. */
  encoding?: Encoding;
  /** Persists pending items; if absent, they are in memory only. */
  outbox?: Outbox<T>;
  /** Whether items must be sent in the order in which they were offered. */
  in_order?: boolean;
  /** For a signal of which each item is a request of its own (metrics). */
  division?: LaneDivision<T>;
  /** The most items in one request. */
  max_items: number;
  /** The minimum time between two requests, unless the next one is full; default 0. */
  gather_ms?: number | undefined;
  /** The limit on the estimated bytes on the lane. */
  limit_bytes: number;
  /** Milliseconds of a monotonic clock with any origin, to measure durations. */
  now: () => number;
  /** A number in [0, 1). */
  random: () => number;
  /** Resolves after that time, or as soon as `signal` aborts; never rejects. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  report: (event: LaneEvent) => void;
}

/**
 * The share of requests given to suspects. It is high, since an item is proven to be poison only after the other suspects were
 * sent, and each refusal costs a wait.
 */
const SUSPECTS_SHARE = 0.85;
/** The limit on suspects while memory is short, on a lane with a division. */
const MOST_SUSPECTS = 16;
/** The most items in any other batch while there are suspects, so that taking it apart, if it is refused too, is quick. */
const SUSPICIOUS_ITEMS = 20;

export class Lane<T> {
  readonly #options: LaneOptions<T>;
  readonly #backlog: Backlog<T>;
  readonly #ledger: Ledger<T>;
  /** Batches to send before anything from the queue: retries, and halves of batches that were too large. */
  readonly #prepared: Batch<T>[] = [];
  readonly #suspects: Suspects<T>;
  readonly #closing = new AbortController();
  /** Items and parts that may not be sent before `release`. */
  #held: LaneItem<T>[] = [];
  #held_parts: Parted[] = [];
  /** Parts made since the last `hold`. */
  #new_parts: Parted[] = [];
  readonly #waiting = new Waiting<T>();
  /** Items that the backend may have accepted although no answer arrived; only on a lane with a division. */
  readonly #unanswered = new WeakSet<LaneItem<T>>();
  #encoding: Encoding;
  #pace: Pace;
  /** The duration of a request, as far as is known. */
  #answer_ms = Number.POSITIVE_INFINITY;
  #failures = 0;
  #sent_ms = Number.NEGATIVE_INFINITY;
  #running = false;
  #is_writable = true;
  #idle_waiters: (() => void)[] = [];

  constructor(options: LaneOptions<T>) {
    this.#options = options;
    const { outbox, limit_bytes, max_items, in_order = false } = options;
    this.#backlog = new Backlog({ outbox, limit_bytes, max_items, in_order });
    this.#ledger = createLedger({ backlog: this.#backlog, outbox, report: options.report });
    this.#encoding = options.encoding ?? 'json';
    this.#pace = firstPace(max_items);
    this.#suspects = new Suspects((item) => this.#mayBeDivided(item));
  }

  /**
   * Adds items, oldest first. Over the memory limit, drops the oldest queued items that can't be stored. `is_recoverable`: their
   * input is in the journal, or can be read again.
   */
  offer(items: readonly LaneItem<T>[], is_recoverable = true): void {
    for (const item of items) if (this.#ledger.admit(item, is_recoverable)) this.#backlog.push(item);
    this.#makeRoom();
    this.#start();
  }

  /** Adds items that must not be sent before `release`. The same then holds for the parts made so far. */
  hold(items: readonly LaneItem<T>[], is_recoverable = true): void {
    this.#held.push(...items.filter((item) => this.#ledger.admit(item, is_recoverable)));
    this.#held_parts.push(...this.#new_parts.splice(0));
  }

  release(): void {
    for (const item of this.#held.splice(0)) this.#backlog.push(item);
    for (const { send } of this.#held_parts.splice(0)) send();
    this.#start();
  }

  /** Takes over the pending items of the previous process. */
  restore(left: { count: number; items: LaneItem<T>[] }): void {
    this.#ledger.takeOver(left.count);
    for (const item of left.items) this.#backlog.push(item);
    this.#start();
  }

  /** Whether more is in memory than a backend that keeps up would leave there. */
  get isCrowded(): boolean {
    return this.#backlog.isCrowded;
  }

  /** Whether a checkpoint is needed: to free memory, or because parts must be stored before they are sent. */
  get isPressed(): boolean {
    return this.#backlog.isShort || this.#new_parts.length > 0;
  }

  /** Sets whether pending items can be stored. If not, they stay in memory, up to its limit. */
  setWritable(is_writable: boolean): void {
    this.#is_writable = is_writable;
    this.#makeRoom();
  }

  /** Frees memory: pending items have been stored. */
  relieve(): void {
    this.#makeRoom();
  }

  /** Drops the oldest stored items that are not in flight; false if there are none. */
  dropOldest(): boolean {
    const count = this.#backlog.dropOldest();
    if (count === undefined) return false;
    this.#ledger.drop(STORE_FULL, count, 'pending data has reached the disk limit; raise limits.store_mb');
    return true;
  }

  /** Drops the items that would be lost with the process. Only for a lane that is closed. */
  dropUnstored(message: string): void {
    const count = this.#outbox?.dropUnstored() ?? 0;
    if (count > 0) this.#ledger.drop(STORE_UNWRITABLE, count, message);
  }

  /** A copy of the current counts. */
  counts(): SignalCounts {
    return this.#ledger.counts();
  }

  /** Resolves when nothing is left to send, previews included, or when the lane is closed. */
  async idle(): Promise<void> {
    if (!this.#running && !this.#awaitsParts) return;
    await new Promise<void>((resolve) => {
      this.#idle_waiters.push(resolve);
    });
  }

  /** Aborts the request in flight; unanswered items stay pending. Resolves when the lane has stopped. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.idle();
    this.#wakeIdle();
  }

  /** Whether there are parts that will be sent once they are stored. */
  get #awaitsParts(): boolean {
    return this.#new_parts.length + this.#held_parts.length > 0 && !this.#closing.signal.aborted;
  }

  #wakeIdle(): void {
    for (const resolve of this.#idle_waiters.splice(0)) resolve();
  }

  get #outbox(): Outbox<T> | undefined {
    return this.#options.outbox;
  }

  #start(): void {
    if (this.#running || this.#closing.signal.aborted || !this.#hasWork) return;
    this.#running = true;
    void this.#run();
  }

  get #hasWork(): boolean {
    const is_open = !this.#suspects.isEmpty || this.#prepared.length + this.#waiting.size > 0;
    return is_open || !this.#backlog.isEmpty;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    // The first batch includes everything offered in the same turn of the event loop.
    await this.#gather();
    for (let batch = this.#next(); batch !== undefined && !signal.aborted; batch = this.#next()) {
      const wait_ms = await this.#send(batch);
      if (wait_ms > 0) await this.#options.sleep(wait_ms, signal);
      else if (this.#backlog.size > 0) await this.#gather();
    }
    this.#running = false;
    if (!this.#awaitsParts) this.#wakeIdle();
  }

  /** Waits for more items, unless a batch is full or `gather_ms` have passed since the last request. */
  async #gather(): Promise<void> {
    const { gather_ms = 0, now, sleep } = this.#options;
    if (gather_ms === 0 || this.#backlog.size >= this.#pace.items) return;
    const wait_ms = this.#sent_ms + gather_ms - now();
    if (wait_ms > 0) await sleep(wait_ms, this.#closing.signal);
  }

  /** Chooses at random between suspects and other batches, so that no batch is in step with a backend that refuses periodically. */
  #next(): Batch<T> | undefined {
    const suspect = this.#options.random() < SUSPECTS_SHARE ? this.#suspects.next() : undefined;
    return suspect ?? this.#nextOther() ?? this.#suspects.next(true);
  }

  #nextOther(): Batch<T> | undefined {
    const prepared = this.#prepared.shift();
    if (prepared !== undefined) return prepared;
    const { division } = this.#options;
    const items = division === undefined ? this.#takeItems() : this.#takeInOrder(division);
    return items.length === 0 ? undefined : batchOf(items);
  }

  /** Takes nothing while parts wait to be stored: they are sent before everything newer. */
  #takeInOrder(division: LaneDivision<T>): LaneItem<T>[] {
    if (this.#awaitsParts) return [];
    if (!this.#suspects.isEmpty) return this.#suspects.isStuck ? this.#takeFree(division) : [];
    return this.#waiting.size > 0 ? this.#waiting.takeOldest() : this.#takeItems();
  }

  /**
   * Takes the oldest item that shares no series with an older one, except with suspects that the backend may already have.
   * Whether it is accepted distinguishes poison from an outage.
   */
  #takeFree(division: LaneDivision<T>): LaneItem<T>[] {
    const suspects = [...this.#suspects.items()];
    // Suspects stay in memory; in a long outage everything on the disk might become one.
    if (this.#backlog.isMuchTaken && suspects.length > MOST_SUSPECTS) return [];
    const blocked = new Set<string>();
    for (const item of suspects)
      if (!this.#mayBeTaken(item)) for (const series of division.series(item.payload)) blocked.add(series);
    const taken = this.#waiting.takeFree(division, blocked, () => this.#takeItems());
    if (taken === undefined) return [];
    const { item, parts } = taken;
    if (parts === undefined) return [item];
    this.#part(item, [parts.free, parts.bound], () => {
      this.#prepared.push(batchOf([parts.free]));
      parts.leaveBound();
    });
    return [];
  }

  #takeItems(): LaneItem<T>[] {
    if (this.#backlog.isEmpty) return [];
    const most = this.#suspects.isCareful ? Math.min(this.#pace.items, SUSPICIOUS_ITEMS) : this.#pace.items;
    const { items, lost } = this.#backlog.take(most);
    if (lost > 0) this.#ledger.drop(STORE_DAMAGED, lost, "stored data can't be read back; check the disk");
    return items;
  }

  /** Sends a batch and acts on the outcome. Returns the milliseconds to wait before the next request. */
  async #send(batch: Batch<T>): Promise<number> {
    const { encode, post, now, report, signal } = this.#options;
    const body = bodyOf(batch, this.#encoding, encode);
    const sent_ms = now();
    this.#sent_ms = sent_ms;
    const outcome = await post(body, this.#closing.signal, this.#encoding);
    if (this.#closing.signal.aborted) return 0;
    const verdict = judge(outcome, signal, this.#encoding);
    if (outcome.kind === 'answered') {
      const duration_ms = Math.max(0, now() - sent_ms);
      this.#answer_ms = Math.min(this.#pace.round_trip_ms, duration_ms);
      report({ kind: 'answered', duration_ms });
      if (verdict.kind === 'taken') {
        this.#pace = nextPace(this.#pace, this.#options.max_items, batch.items.length, duration_ms);
      }
    }
    return this.#settle(batch, verdict);
  }

  #settle(batch: Batch<T>, verdict: Verdict): number {
    if (verdict.kind === 'refused' || verdict.kind === 'unreachable')
      this.#options.report({ kind: 'refused', message: verdict.message });
    switch (verdict.kind) {
      case 'taken':
        this.#ledger.acknowledge(batch, verdict.partial);
        this.#suspects.pass(batch, this.#options.now());
        this.#rejectPoison();
        return this.#answered();
      case 'rejected':
        this.#ledger.reject(batch, verdict.reason, verdict.message);
        return this.#answered();
      case 'too_large':
        this.#makeSmaller(batch, verdict);
        return this.#answered();
      case 'wrong_encoding':
        this.#changeEncoding(batch, verdict.message);
        return 0;
      case 'refused':
        return this.#refused(batch, verdict);
      case 'unreachable':
        return this.#unreachable(batch, verdict);
    }
  }

  #makeSmaller(batch: Batch<T>, { reason, message }: Extract<Verdict, { kind: 'too_large' }>): void {
    const { items } = batch;
    if (items.length > 1) this.#halve(batch);
    else if (items.some((item) => this.#hasParts(item))) {
      // Later collections are cut to fit from the start: a part of a stored collection can't be sent before the next
      // checkpoint.
      this.#options.division?.shrink(countOf(items));
      this.#divide(batch, fewPartsOf(countOf(items)));
    } else this.#ledger.reject(batch, reason, message);
  }

  #answered(): number {
    this.#failures = 0;
    this.#options.report({ kind: 'up' });
    return 0;
  }

  #failed(retry_after_ms: number | undefined): number {
    this.#failures += 1;
    return retry_after_ms ?? backoffMs(this.#failures, this.#options.random);
  }

  #refused(batch: Batch<T>, verdict: Refusal): number {
    if (!this.#provesPoison(batch, verdict)) return this.#failed(verdict.retry_after_ms);
    this.#failures = 0;
    return verdict.retry_after_ms ?? 0;
  }

  /** Whether the refusal showed something to be poison. If so, it is no evidence against the backend, and needs no backoff. */
  #provesPoison(batch: Batch<T>, { message, for_content }: Refusal): boolean {
    if (!for_content) this.#putOff(batch, message);
    else if (this.#suspects.isSuspect(batch)) return this.#refusedSuspect(batch, message);
    else return this.#refusedOther(batch, message);
    return false;
  }

  #refusedSuspect(batch: Batch<T>, message: string): boolean {
    // The previous request got through, so this is no outage.
    if (this.#failures === 0 && this.#isKnown(batch)) {
      this.#suspects.drop(batch);
      this.#ledger.reject(batch, POISON, message);
      return true;
    }
    if (this.#suspects.refuse(batch, message)) this.#divideSuspect(batch);
    return this.#rejectPoison();
  }

  #refusedOther(batch: Batch<T>, message: string): boolean {
    const is_suspect = this.#suspects.refuseOther(batch);
    const is_refused_again = batch.refusals >= REFUSALS_BEFORE_SUSPECT;
    // The request before the first try got through, so this is no outage.
    if (is_refused_again && this.#failures < batch.refusals && this.#isKnown(batch)) {
      this.#ledger.reject(batch, POISON, message);
      return true;
    }
    // On an ordered lane nothing else is sent during a retry, so another refusal would prove nothing.
    if (is_suspect || (is_refused_again && this.#options.division !== undefined)) this.#suspect(batch);
    else this.#retry(batch, message);
    return false;
  }

  /** Returns whether there was any. */
  #rejectPoison(): boolean {
    const poison = this.#suspects.takePoison(this.#options.now());
    for (const batch of poison) {
      if (batch.items.some((item) => this.#hasParts(item))) this.#suspectWhole(batch);
      else {
        this.#ledger.reject(batch, POISON, batch.message ?? '');
        for (const { payload } of batch.items) this.#options.division?.remember(payload);
      }
    }
    return poison.length > 0;
  }

  #isKnown({ items }: Batch<T>): boolean {
    const { division } = this.#options;
    return division !== undefined && items.every(({ payload }) => division.isKnown(payload));
  }

  #hasParts({ count }: LaneItem<T>): boolean {
    return this.#options.division !== undefined && count > 1;
  }

  /** Whether the item may be divided before it is beyond chance that its content is refused. */
  #mayBeDivided(item: LaneItem<T>): boolean {
    return this.#hasParts(item) && !this.#mayBeTaken(item);
  }

  /** Whether the backend may have the item already; its parts would then be counted twice. */
  #mayBeTaken(item: LaneItem<T>): boolean {
    return item.segment?.is_restored === true || this.#unanswered.has(item);
  }

  #suspectWhole(batch: Batch<T>): void {
    this.#suspects.addWhole(batch);
    this.#divideSuspect(batch);
  }

  #divideSuspect(whole: Batch<T>): void {
    this.#divide(whole, partsOf(countOf(whole.items), this.#answer_ms));
  }

  #divide(whole: Batch<T>, most: number): void {
    const [item] = whole.items;
    const parts = item === undefined ? [] : this.#options.division?.divide(item.payload, most);
    if (item === undefined || parts === undefined) return;
    this.#part(item, parts, () => {
      if (this.#suspects.isSuspect(whole)) this.#suspects.divided(whole, parts);
      else this.#prepared.unshift(...parts.map((part) => batchOf([part])));
    });
  }

  /**
   * Replaces an item by parts. With a store, parts are stored before they are sent, so that a retry is the same request, even
   * by the next process.
   */
  #part(item: LaneItem<T>, parts: LaneItem<T>[], send: () => void): void {
    this.#backlog.replace(item, parts);
    if (this.#outbox === undefined) return send();
    this.#outbox.divide(item, parts);
    this.#new_parts.push({ send });
  }

  /**
   * Makes a batch suspect. Suspects may be sent after newer items, and a preview must not follow a newer copy, so previews and
   * corrections are dropped.
   */
  #suspect(batch: Batch<T>): void {
    if (batch.items.some((item) => this.#mayBeDivided(item))) {
      this.#suspectWhole(batch);
      return;
    }
    const kept = countedItems(batch);
    this.#ledger.settle(batch.items.filter((item) => item.count === 0));
    if (kept.length > 0) this.#suspects.add(batchOf(kept), this.#answer_ms);
  }

  #unreachable(batch: Batch<T>, verdict: Extract<Verdict, { kind: 'unreachable' }>): number {
    const { message, timed_out, may_be_taken } = verdict;
    if (may_be_taken && this.#options.division !== undefined)
      for (const item of batch.items) this.#unanswered.add(item);
    // A batch that times out may be too large.
    if (timed_out && !this.#suspects.isSuspect(batch) && batch.items.length > 1) this.#halve(batch);
    // Something in the batch may make the backend close the connection or hang.
    else if (may_be_taken) return this.#refused(batch, { message, for_content: true });
    else this.#putOff(batch, message);
    return this.#failed(undefined);
  }

  /** The backend is unavailable for every request: the batch is retried unchanged. */
  #putOff(batch: Batch<T>, message: string): void {
    this.#suspects.disturb();
    this.#retry(batch, message);
  }

  #retry(batch: Batch<T>, message: string): void {
    this.#options.report({ kind: 'down', message });
    this.#sendAgain(batch);
  }

  #sendAgain(batch: Batch<T>): void {
    if (this.#suspects.isSuspect(batch)) this.#suspects.putBack(batch);
    else this.#prepared.unshift(batch);
  }

  /** Nothing of the batch was accepted, so all of it is sent again at once. */
  #changeEncoding(batch: Batch<T>, message: string): void {
    this.#encoding = 'json';
    this.#options.report({ kind: 'encoding', encoding: this.#encoding, message });
    this.#sendAgain(batch);
  }

  #halve(batch: Batch<T>): void {
    this.#prepared.unshift(...halvesOf(batch));
    this.#pace = { ...this.#pace, items: halved(this.#pace.items) };
  }

  #makeRoom(): void {
    const { taken, dropped } = this.#backlog.makeRoom(this.#is_writable);
    for (const items of taken) this.#prepared.push(batchOf(items));
    if (dropped > 0)
      this.#ledger.drop(
        MEMORY_FULL,
        dropped,
        'pending data has reached the memory limit; raise limits.memory_mb',
      );
  }
}
