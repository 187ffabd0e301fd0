/**
 * A lane sends one signal to one destination: one request at a time, gathering items while a request is in flight. It retries
 * without a deadline, so an item leaves only with a final answer or for a named reason. Lanes are independent: a slow or broken
 * backend delays only its own data, and that is bounded.
 */

import type { Signal, SignalCounts, SignalLoad } from '../model/delivery.js';
import { Backlog } from './backlog.js';
import { type Batch, bodyOf } from './batch.js';
import { countOf, type LaneItem } from './item.js';
import { createLedger, type Ledger, type LossEvent } from './ledger.js';
import type { Outbox } from './outbox.js';
import { backoffMs, firstPace, halved, nextPace, type Pace } from './pace.js';
import { createParts, type LaneDivision, type Parts } from './parts.js';
import { type Circumstances, createPoisonSearch, type PoisonSearch } from './poison.js';
import type { Encoding } from './presets.js';
import { MEMORY_FULL, STORE_FULL, STORE_UNWRITABLE } from './reasons.js';
import { createSchedule, type Schedule } from './schedule.js';
import { fewPartsOf, Suspects } from './suspects.js';
import type { Transport } from './transport.js';
import { judge, type Verdict } from './verdict.js';

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

type Refusal = Omit<VerdictOf<'refused'>, 'kind'>;
type VerdictOf<K extends Verdict['kind']> = Extract<Verdict, { kind: K }>;

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

export class Lane<T> {
  readonly #options: LaneOptions<T>;
  readonly #backlog: Backlog<T>;
  readonly #ledger: Ledger<T>;
  readonly #parts: Parts<T>;
  readonly #suspects: Suspects<T>;
  readonly #schedule: Schedule<T>;
  readonly #poison_search: PoisonSearch<T>;
  readonly #closing = new AbortController();
  /** Items that may not be sent before `release`. */
  readonly #held: LaneItem<T>[] = [];
  #encoding: Encoding;
  #pace: Pace;
  /** The duration of a request, as far as is known. */
  #answer_ms = Number.POSITIVE_INFINITY;
  /** How many requests in a row have failed. */
  #failures = 0;
  #sent_ms = Number.NEGATIVE_INFINITY;
  #running = false;
  #is_writable = true;
  #idle_waiters: (() => void)[] = [];

  constructor(options: LaneOptions<T>) {
    const { outbox, division, limit_bytes, max_items, in_order = false, random, report } = options;
    const backlog = new Backlog({ outbox, limit_bytes, max_items, in_order });
    const ledger = createLedger({ backlog, outbox, report });
    const parts = createParts({ backlog, outbox, division, closing: this.#closing.signal });
    const suspects = new Suspects(parts.mayBeDivided);
    const schedule = createSchedule({ backlog, ledger, suspects, parts, division, random });
    this.#options = options;
    this.#backlog = backlog;
    this.#ledger = ledger;
    this.#parts = parts;
    this.#suspects = suspects;
    this.#schedule = schedule;
    this.#poison_search = createPoisonSearch({ suspects, schedule, ledger, parts, division });
    this.#encoding = options.encoding ?? 'json';
    this.#pace = firstPace(max_items);
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
    this.#parts.hold();
  }

  release(): void {
    for (const item of this.#held.splice(0)) this.#backlog.push(item);
    this.#parts.release();
    this.#start();
  }

  /** Takes over the pending items of the previous process. */
  restore(left: { count: number; items: LaneItem<T>[] }): void {
    this.#ledger.takeOver(left.count);
    for (const item of left.items) this.#backlog.push(item);
    this.#start();
  }

  load(): SignalLoad {
    const { outbox } = this.#options;
    const stored_bytes = outbox === undefined ? 0 : outbox.bytes + outbox.unsaved_bytes;
    return { is_crowded: this.#backlog.isCrowded, stored_bytes };
  }

  /** Whether a checkpoint is needed: to free memory, or because parts must be stored before they are sent. */
  get isPressed(): boolean {
    return this.#backlog.isShort || this.#parts.hasNew();
  }

  /** Whether pending items can be stored, as far as is known. */
  get isWritable(): boolean {
    return this.#is_writable;
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
    const count = this.#options.outbox?.dropUnstored() ?? 0;
    if (count > 0) this.#ledger.drop(STORE_UNWRITABLE, count, message);
  }

  /** A copy of the current counts. */
  counts(): SignalCounts {
    return this.#ledger.counts();
  }

  /** Resolves when nothing is left to send, previews included, or when the lane is closed. */
  async idle(): Promise<void> {
    if (!this.#running && !this.#parts.areAwaited()) return;
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

  #wakeIdle(): void {
    for (const resolve of this.#idle_waiters.splice(0)) resolve();
  }

  #makeRoom(): void {
    const { taken, dropped } = this.#backlog.makeRoom(this.#is_writable);
    for (const items of taken) this.#schedule.append(items);
    if (dropped > 0)
      this.#ledger.drop(
        MEMORY_FULL,
        dropped,
        'pending data has reached the memory limit; raise limits.memory_mb',
      );
  }

  #start(): void {
    if (this.#running || this.#closing.signal.aborted || this.#schedule.isEmpty()) return;
    this.#running = true;
    void this.#run();
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
    if (!this.#parts.areAwaited()) this.#wakeIdle();
  }

  #next(): Batch<T> | undefined {
    return this.#schedule.next(this.#pace.items);
  }

  /** Waits for more items, unless a batch is full or `gather_ms` have passed since the last request. */
  async #gather(): Promise<void> {
    const { gather_ms = 0, now, sleep } = this.#options;
    if (gather_ms === 0 || this.#backlog.size >= this.#pace.items) return;
    const wait_ms = this.#sent_ms + gather_ms - now();
    if (wait_ms > 0) await sleep(wait_ms, this.#closing.signal);
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
    switch (verdict.kind) {
      case 'taken':
        this.#ledger.acknowledge(batch, verdict.partial);
        this.#poison_search.accepted(batch, this.#circumstances);
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
        this.#options.report({ kind: 'refused', message: verdict.message });
        return this.#refused(batch, verdict);
      case 'unreachable':
        this.#options.report({ kind: 'refused', message: verdict.message });
        return this.#unreachable(batch, verdict);
    }
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

  #makeSmaller(batch: Batch<T>, { reason, message }: VerdictOf<'too_large'>): void {
    const count = countOf(batch.items);
    if (batch.items.length > 1) this.#halve(batch);
    else if (this.#schedule.divide(batch, fewPartsOf(count))) {
      // Later collections are cut to fit from the start: a part of a stored collection can't be sent before the next
      // checkpoint.
      this.#options.division?.shrink(count);
    } else this.#ledger.reject(batch, reason, message);
  }

  /** Nothing of the batch was accepted, so all of it is sent again at once. */
  #changeEncoding(batch: Batch<T>, message: string): void {
    this.#encoding = 'json';
    this.#options.report({ kind: 'encoding', encoding: this.#encoding, message });
    this.#schedule.retry(batch);
  }

  #refused(batch: Batch<T>, { message, for_content, retry_after_ms }: Refusal): number {
    if (!for_content) {
      this.#putOff(batch, message);
      return this.#failed(retry_after_ms);
    }
    const finding = this.#poison_search.refused(batch, message, this.#circumstances);
    if (finding === 'poison') {
      this.#failures = 0;
      return retry_after_ms ?? 0;
    }
    if (finding === 'nothing') this.#retry(batch, message);
    return this.#failed(retry_after_ms);
  }

  #unreachable(batch: Batch<T>, { message, timed_out, may_be_taken }: VerdictOf<'unreachable'>): number {
    if (may_be_taken) this.#parts.noteUnanswered(batch);
    // A batch that times out may be too large.
    if (timed_out && !this.#suspects.isSuspect(batch) && batch.items.length > 1) this.#halve(batch);
    // Something in the batch may make the backend close the connection or hang.
    else if (may_be_taken) return this.#refused(batch, { message, for_content: true });
    else this.#putOff(batch, message);
    return this.#failed(undefined);
  }

  get #circumstances(): Circumstances {
    return { now_ms: this.#options.now(), answer_ms: this.#answer_ms, failures: this.#failures };
  }

  /** The backend is unavailable for every request: the batch is retried unchanged. */
  #putOff(batch: Batch<T>, message: string): void {
    this.#suspects.disturb();
    this.#retry(batch, message);
  }

  #retry(batch: Batch<T>, message: string): void {
    this.#options.report({ kind: 'down', message });
    this.#schedule.retry(batch);
  }

  #halve(batch: Batch<T>): void {
    this.#schedule.halve(batch);
    this.#pace = { ...this.#pace, items: halved(this.#pace.items) };
  }
}
