/**
 * A lane: one signal of one destination. It sends when it is idle and gathers while a request is in flight, one at a time,
 * and tries again without a deadline, so that nothing leaves it but by an answer or for a named reason. A lane knows no
 * other lane: a slow or broken backend holds nothing but its own data, and that is bounded.
 */

import type { Signal, SignalCounts } from '../model/delivery.js';
import { backoffMs, firstPace, halved, nextPace, type Pace } from './pace.js';
import { type LaneItem, LaneQueue } from './queue.js';
import { MEMORY_FULL, PARTIAL_SUCCESS, POISON } from './reasons.js';
import { type Batch, Suspects } from './suspects.js';
import { judge, type Outcome, oneLine, type Verdict } from './verdict.js';

/** What happens on a lane, for logs and metrics. */
export type LaneEvent =
  | { kind: 'answered'; duration_ms: number }
  /** Each request that is to be tried again. */
  | { kind: 'down'; message: string }
  /** Each request that got a final answer. */
  | { kind: 'up' }
  | { kind: 'lost'; fate: 'rejected' | 'dropped'; reason: string; count: number; message: string };

export interface LaneOptions<T> {
  signal: Signal;
  /** The body of a request with these items; called once for each batch, however often it is sent. */
  encode: (payloads: T[]) => Uint8Array;
  /** Sends one request; never rejects. Once `signal` aborts, its outcome does not matter. */
  post: (body: Uint8Array, signal: AbortSignal) => Promise<Outcome>;
  /** The most items in one request. */
  max_items: number;
  /** The most estimated bytes on the lane. */
  limit_bytes: number;
  /** Milliseconds of a clock that only goes forward, from any start: it measures durations, and no one sets it. */
  now: () => number;
  /** A number in [0, 1). */
  random: () => number;
  /** Resolves after that time, or earlier once `signal` aborts; never rejects. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  report: (event: LaneEvent) => void;
}

/** The most estimated bytes in one request. */
const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** The turns of suspects. Most: what waits for all of them is only the last step, and every refusal costs a wait. */
const SUSPECTS_SHARE = 0.85;
/** While there are suspects, the most items in any other batch: one that is refused, too, is soon taken apart. */
const SUSPICIOUS_ITEMS = 20;

export class Lane<T> {
  readonly #options: LaneOptions<T>;
  readonly #counts: SignalCounts = { produced: 0, delivered: 0, pending: 0, rejected: {}, dropped: {} };
  readonly #queue = new LaneQueue<T>();
  /** Batches to be sent before anything from the queue: those to be tried again, and the halves of those too large. */
  readonly #prepared: Batch<T>[] = [];
  readonly #suspects = new Suspects<T>();
  readonly #closing = new AbortController();
  /** The estimated bytes of all batches: what is pending and not in the queue. */
  #batch_bytes = 0;
  #pace: Pace;
  #failures = 0;
  #running = false;
  #idle_waiters: (() => void)[] = [];

  constructor(options: LaneOptions<T>) {
    this.#options = options;
    this.#pace = firstPace(options.max_items);
  }

  /** Takes items in, oldest first. Over the bound on memory, the oldest that are queued are dropped. */
  offer(items: readonly LaneItem<T>[]): void {
    for (const item of items) {
      this.#counts.produced += item.count;
      this.#counts.pending += item.count;
      this.#queue.push(item);
    }
    this.#dropOverLimit();
    if (!this.#running && !this.#closing.signal.aborted && this.#queue.size > 0) {
      this.#running = true;
      void this.#run();
    }
  }

  /** A copy of the counts as they are now. */
  counts(): SignalCounts {
    const { rejected, dropped } = this.#counts;
    return { ...this.#counts, rejected: { ...rejected }, dropped: { ...dropped } };
  }

  /** Resolves when nothing is left to send, previews included, or the lane is closed. */
  async idle(): Promise<void> {
    if (!this.#running) return;
    await new Promise<void>((resolve) => {
      this.#idle_waiters.push(resolve);
    });
  }

  /** Aborts the request in flight; what is not answered stays pending. Resolves when nothing moves any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.idle();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    // What the same turn of the event loop still offers goes into the first batch.
    await Promise.resolve();
    for (let batch = this.#next(); batch !== undefined && !signal.aborted; batch = this.#next()) {
      const wait_ms = await this.#send(batch);
      if (wait_ms > 0) await this.#options.sleep(wait_ms, signal);
    }
    this.#running = false;
    for (const resolve of this.#idle_waiters.splice(0)) resolve();
  }

  /** Suspects take turns with everything else, at random: a backend that refuses in a rhythm meets no batch each time. */
  #next(): Batch<T> | undefined {
    const suspect = this.#options.random() < SUSPECTS_SHARE ? this.#suspects.next() : undefined;
    return suspect ?? this.#nextOther() ?? this.#suspects.next(true);
  }

  #nextOther(): Batch<T> | undefined {
    const prepared = this.#prepared.shift();
    if (prepared !== undefined) return prepared;
    if (this.#queue.size === 0) return undefined;
    const most = Math.min(
      this.#pace.items,
      this.#suspects.isCareful ? SUSPICIOUS_ITEMS : this.#options.max_items,
    );
    const items = this.#queue.take(most, MAX_BODY_BYTES);
    for (const item of items) this.#batch_bytes += item.bytes;
    return { items, refusals: 0 };
  }

  /** Sends a batch and acts on the outcome. Gives the milliseconds to wait before the next request. */
  async #send(batch: Batch<T>): Promise<number> {
    const { encode, post, now, report, signal } = this.#options;
    batch.body ??= encode(batch.items.map((item) => item.payload));
    const sent_ms = now();
    const outcome = await post(batch.body, this.#closing.signal);
    if (this.#closing.signal.aborted) return 0;
    const verdict = judge(outcome, signal);
    if (outcome.kind === 'answered') {
      const duration_ms = Math.max(0, now() - sent_ms);
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
        this.#suspects.pass(batch, this.#options.now());
        this.#taken(batch, verdict);
        this.#rejectPoison();
        return this.#answered();
      case 'rejected':
        this.#reject(batch, verdict.reason, verdict.message);
        return this.#answered();
      case 'too_large':
        if (batch.items.length > 1) this.#halve(batch);
        else this.#reject(batch, verdict.reason, verdict.message);
        return this.#answered();
      case 'refused':
        this.#refused(batch, verdict);
        return this.#failed(verdict.retry_after_ms);
      case 'unreachable':
        this.#unreachable(batch, verdict);
        return this.#failed(undefined);
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

  #taken(batch: Batch<T>, { partial }: Extract<Verdict, { kind: 'taken' }>): void {
    const count = this.#leave(batch);
    // Which ones were rejected is not said, so previews, which do not count, can't be told from the rest.
    const rejected = Math.min(count, Math.trunc(partial?.rejected ?? 0));
    this.#counts.delivered += count - rejected;
    if (partial !== undefined) this.#lose('rejected', PARTIAL_SUCCESS, rejected, oneLine(partial.message));
  }

  #reject(batch: Batch<T>, reason: string, message: string): void {
    this.#lose('rejected', reason, this.#leave(batch), message);
  }

  #refused(batch: Batch<T>, { message, for_content }: Extract<Verdict, { kind: 'refused' }>): void {
    if (!for_content) {
      this.#putOff(batch, message);
      return;
    }
    if (this.#suspects.isSuspect(batch)) {
      this.#suspects.refuse(batch, message);
      this.#rejectPoison();
      return;
    }
    if (this.#suspects.refuseOther(batch)) this.#suspect(batch);
    else this.#retry(batch, message);
  }

  #rejectPoison(): void {
    for (const batch of this.#suspects.takePoison(this.#options.now()))
      this.#reject(batch, POISON, batch.message ?? '');
  }

  /** Suspects may be sent after what comes later, and a preview must not follow a newer copy: those are given up. */
  #suspect({ items, refusals }: Batch<T>): void {
    const previews = items.filter((item) => item.count === 0);
    const counted = items.filter((item) => item.count > 0);
    this.#leave({ items: previews, refusals });
    if (counted.length > 0) this.#suspects.add({ items: counted, refusals }, this.#pace.round_trip_ms);
  }

  #unreachable(batch: Batch<T>, { message, timed_out }: Extract<Verdict, { kind: 'unreachable' }>): void {
    // What could not be answered in time may be too much at once.
    if (timed_out && !this.#suspects.isSuspect(batch) && batch.items.length > 1) this.#halve(batch);
    else this.#putOff(batch, message);
  }

  /** The backend is not there for anybody: the batch is tried again as it is. */
  #putOff(batch: Batch<T>, message: string): void {
    this.#suspects.disturb();
    this.#retry(batch, message);
  }

  #retry(batch: Batch<T>, message: string): void {
    this.#options.report({ kind: 'down', message });
    if (this.#suspects.isSuspect(batch)) this.#suspects.putBack(batch);
    else this.#prepared.unshift(batch);
  }

  #halve({ items }: Batch<T>): void {
    const middle = Math.ceil(items.length / 2);
    const halves = [items.slice(0, middle), items.slice(middle)];
    this.#prepared.unshift(...halves.map((half) => ({ items: half, refusals: 0 })));
    this.#pace = { ...this.#pace, items: halved(this.#pace.items) };
  }

  /** Takes a batch off the lane. Gives how many it counts as. */
  #leave({ items }: Batch<T>): number {
    let count = 0;
    for (const item of items) {
      count += item.count;
      this.#batch_bytes -= item.bytes;
    }
    this.#counts.pending -= count;
    return count;
  }

  #lose(fate: 'rejected' | 'dropped', reason: string, count: number, message: string): void {
    if (count > 0) this.#counts[fate][reason] = (this.#counts[fate][reason] ?? 0) + count;
    this.#options.report({ kind: 'lost', fate, reason, count, message });
  }

  #dropOverLimit(): void {
    let dropped = 0;
    while (this.#queue.size > 0 && this.#queue.bytes + this.#batch_bytes > this.#options.limit_bytes) {
      for (const item of this.#queue.take(1, 0)) dropped += item.count;
    }
    if (dropped === 0) return;
    this.#counts.pending -= dropped;
    this.#lose('dropped', MEMORY_FULL, dropped, 'the memory for what is pending is full');
  }
}
