/**
 * Persists a lane's unanswered items as records of the store. A checkpoint stores items in segments; answers in between go to a
 * log, so that the next process does not send those items again. Does no I/O except for reading back a segment: it returns what
 * has to be written, and its caller reports the result.
 */

import type { Answers, Outgoing } from '../model/delivery.js';
import type { Capture, RecordChange, SavedRecord } from '../model/record.js';
import { createAnsweredBefore } from './answered-before.js';
import { ArrivalList } from './arrival-list.js';
import { createDeadLetters, type DeadLetterOptions, type WriteDeadLetter } from './dead-letter.js';
import type { Id } from './id-log.js';
import { countOf, type LaneItem, type Segment } from './item.js';
import {
  type ItemFormat,
  keyPrefix,
  numberAfter,
  readHeader,
  readItems,
  segmentKey,
  segmentRecord,
} from './segment-record.js';
import { type Changes, createUnwritten } from './unwritten.js';

export interface OutboxOptions<T> extends ItemFormat<T>, DeadLetterOptions<T> {
  /** The most items in one request. */
  max_items: number;
  /** An id that is the same in any process that makes the item of the same events; empty if there is none. */
  identify(item: LaneItem<T>): Id;
  /** Reads a record of the store. */
  read(key: string): Uint8Array | undefined;
}

const SEGMENT_ITEMS = 256;
const SEGMENT_BYTES = 512 * 1024;

/**
 * The index given to parts of a divided item. The whole is alone in its record, at index 0, so answering a part marks nothing
 * there. Only items that are stored alone have parts.
 */
const NO_PLACE = 1;

export class Outbox<T> {
  readonly prefix: string;
  readonly #options: OutboxOptions<T>;
  /** Items that are in no record yet, oldest first. */
  #unsaved = new ArrivalList<T>();
  /** During a capture: items that are not yet turned into records. */
  #captured = new ArrivalList<T>();
  /** Adds a dead letter to the capture. */
  #addToCapture: (letter: RecordChange) => void = () => undefined;
  /** Items whose input is neither in the journal nor readable again. Until a checkpoint stores them they exist in memory only. */
  readonly #unrecoverable = new Set<LaneItem<T>>();
  readonly #segments = new Set<Segment<T>>();
  /** By item that is to be stored again: the key of the record that it was in. */
  readonly #wholes = new WeakMap<LaneItem<T>, string>();
  /** Divided items, and their parts. */
  readonly #parts = new WeakMap<LaneItem<T>, LaneItem<T>[]>();
  /** Segments that are on the disk only, oldest first. */
  readonly #evicted = new Set<Segment<T>>();
  readonly #unwritten = createUnwritten();
  readonly #answered_before = createAnsweredBefore();
  readonly #deadLetter: WriteDeadLetter<T>;
  #bytes = 0;
  #next_segment = 0;
  readonly #segment_items: number;

  constructor(options: OutboxOptions<T>) {
    this.#options = options;
    // An item that is sent alone is stored alone, so that a metrics request stays as it is.
    this.#segment_items = options.max_items === 1 ? 1 : SEGMENT_ITEMS;
    this.#deadLetter = createDeadLetters(options);
    this.prefix = keyPrefix(options.destination, options.signal);
  }

  /** Whether there are items that are on the disk only. */
  get hasEvicted(): boolean {
    return this.#evicted.size > 0;
  }

  /** The total size of its records. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The estimated size of the items that are in no record yet, and in no capture. */
  get unsaved_bytes(): number {
    return this.#unsaved.bytes;
  }

  /** When the oldest pending item was added, in epoch milliseconds; undefined if nothing is pending. */
  get since_ms(): number | undefined {
    let since_ms = Infinity;
    for (const segment of this.#segments) since_ms = Math.min(since_ms, segment.since_ms);
    for (const { first } of [this.#captured, this.#unsaved])
      since_ms = Math.min(since_ms, first?.since_ms ?? Infinity);
    return Number.isFinite(since_ms) ? since_ms : undefined;
  }

  /** Adds an item; false if the previous process got an answer for it. `is_recoverable`: the next process can make it again. */
  add(item: LaneItem<T>, is_recoverable = true): boolean {
    if (!this.#answered_before.isEmpty() && this.#answered_before.take(this.#options.identify(item)))
      return false;
    item.since_ms = this.#options.now();
    this.#unsaved.add(item);
    if (!is_recoverable) this.#unrecoverable.add(item);
    return true;
  }

  /** Whether the previous process got an answer for the ended span with this id, which replaying the journal makes again. */
  hasEnded(id: string): boolean {
    return !this.#answered_before.isEmpty() && this.#answered_before.has([id]);
  }

  /** Settles an item: it has its final answer, or was dropped. */
  settle(item: LaneItem<T>): void {
    this.#unrecoverable.delete(item);
    const { segment } = item;
    if (segment !== undefined) this.#settleInSegment(item, segment);
    else if (!this.#captured.delete(item) && this.#unsaved.delete(item)) this.#noteAnswered(item);
  }

  /**
   * Replaces an item by its parts, each of which is settled on its own. The next capture stores the parts in place of the
   * whole. Answers from before it is written have no effect, so after a crash the whole is sent again.
   */
  divide(item: LaneItem<T>, parts: LaneItem<T>[]): void {
    const { segment, since_ms } = item;
    this.#parts.set(item, parts);
    for (const part of parts) part.since_ms = since_ms;
    if (this.#unrecoverable.delete(item)) for (const part of parts) this.#unrecoverable.add(part);
    if (segment === undefined) {
      for (const list of [this.#captured, this.#unsaved]) list.replace(item, parts);
      const whole = this.#wholes.get(item);
      if (whole !== undefined) for (const part of parts) this.#wholes.set(part, whole);
      return;
    }
    segment.items?.delete(item);
    segment.is_partial = true;
    for (const part of parts) {
      part.segment = segment;
      segment.items?.set(part, NO_PLACE);
    }
  }

  /** Adds a dead letter for items that the backend will never accept. `rejected`: how many of them it rejected. */
  addDeadLetter(items: LaneItem<T>[], reason: string, message: string, rejected: number): void {
    const letter = this.#deadLetter(items, reason, message, rejected);
    // The capture then leaves out its items, so after a crash they are known from the dead letter only.
    if (items.some((item) => this.#captured.has(item))) this.#addToCapture(letter);
    else this.#unwritten.addDeadLetter(letter);
  }

  /** Whether `takeAnswers` has anything to write. */
  get hasAnswers(): boolean {
    return !this.#unwritten.isEmpty();
  }

  /** Takes what has to be written between checkpoints: answers, dead letters and removals. Not to be called during a capture. */
  takeAnswers(): Outgoing {
    const { stale, dead_letters, answers } = this.#unwritten.take();
    return { changes: [...removalsOf(stale), ...dead_letters], answers };
  }

  /** Captures the pending items that are in no record, or in one that also holds answered or divided items. */
  capture(): Capture & { written(ok: boolean): void } {
    const dissolved = [...this.#segments].filter(({ is_partial }) => is_partial);
    for (const segment of dissolved.toReversed()) this.#reopen(segment);
    this.#captured = this.#unsaved;
    this.#unsaved = new ArrivalList();
    const before = this.#unwritten.take();
    const stale = [...before.stale, ...dissolved.map(({ key }) => key)];
    const changes: RecordChange[] = [...removalsOf(stale), ...before.dead_letters];
    const packed: Segment<T>[] = [];
    this.#addToCapture = (letter) => {
      changes.push(letter);
      before.dead_letters.push(letter);
    };
    return {
      changes,
      take: () => changes.splice(0),
      advance: (max_entries) => {
        for (let left = max_entries; left > 0 && this.#captured.size > 0; ) {
          const segment = this.#pack(changes);
          left -= segment.items?.size ?? 0;
          packed.push(segment);
        }
        return this.#captured.size === 0;
      },
      written: (ok) => {
        for (const segment of packed) segment.is_written = true;
        if (!ok) this.#undo(packed, dissolved, before);
        else
          for (const item of this.#unrecoverable)
            if (item.segment !== undefined) this.#unrecoverable.delete(item);
      },
    };
  }

  /** The item's segment, if it can be evicted from memory. */
  evictable({ segment }: LaneItem<T>): Segment<T> | undefined {
    return segment?.is_written && !segment.is_partial ? segment : undefined;
  }

  evict(segment: Segment<T>): void {
    delete segment.items;
    this.#evicted.add(segment);
  }

  /** Reads the oldest segment that is on the disk only; `lost`: how much can't be read. */
  load(): { items: LaneItem<T>[]; lost: number } {
    const [segment] = this.#evicted;
    if (segment === undefined) return { items: [], lost: 0 };
    this.#evicted.delete(segment);
    const items = this.#read(segment.key);
    if (items === undefined) {
      this.#remove(segment);
      return { items: [], lost: segment.count };
    }
    this.#attach(segment, items.entries());
    return { items, lost: 0 };
  }

  /** Drops the oldest segment that is on the disk only, and returns its count; undefined if there is none. */
  dropOldest(): number | undefined {
    const [segment] = this.#evicted;
    if (segment === undefined) return undefined;
    this.#evicted.delete(segment);
    this.#remove(segment);
    return segment.count;
  }

  /** Drops the items that exist in memory only. Returns what they count as. */
  dropUnstored(): number {
    const items = [...this.#unrecoverable];
    this.#unrecoverable.clear();
    for (const item of items) this.#unsaved.delete(item);
    return countOf(items);
  }

  /**
   * Takes over the previous process's records and the answers that came after its last checkpoint. Returns their count, and the
   * items of partly answered segments, which have to be queued. Unreadable records are skipped.
   */
  restore(records: Iterable<SavedRecord>, { ids, places }: Answers): { count: number; items: LaneItem<T>[] } {
    this.#answered_before.add(ids);
    const opened: LaneItem<T>[] = [];
    let count = 0;
    for (const { key, value } of records) {
      this.#next_segment = Math.max(this.#next_segment, numberAfter(key.slice(this.prefix.length)));
      const header = readHeader(value);
      const answered = places[key];
      if (header === undefined) {
        this.#unwritten.remove(key);
        continue;
      }
      const items = answered && this.#read(key);
      const segment: Segment<T> = {
        ...header,
        key,
        bytes: value.length,
        is_written: true,
        is_restored: true,
        is_partial: items !== undefined,
      };
      this.#segments.add(segment);
      this.#bytes += value.length;
      // A partly answered segment that can't be read is counted as lost when it is loaded.
      if (items === undefined) this.#evicted.add(segment);
      else opened.push(...this.#openRest(segment, items, new Set(answered)));
      count += segment.count;
    }
    return { count, items: opened };
  }

  /** Replay is over: ids of answered items that did not come again are forgotten. */
  endRestore(): void {
    this.#answered_before.clear();
  }

  /** An item without an id can't be recognised after a restart, so its answer is not recorded. */
  #noteAnswered(item: LaneItem<T>): void {
    const id = this.#options.identify(item);
    if (id.length > 0) this.#unwritten.addId(id);
  }

  #settleInSegment(item: LaneItem<T>, segment: Segment<T>): void {
    const place = segment.items?.get(item);
    if (place === undefined) return;
    segment.items?.delete(item);
    segment.is_partial = true;
    if (segment.items?.size === 0) this.#remove(segment);
    else this.#unwritten.addPlace(segment.key, place);
  }

  /** Takes a segment apart: its pending items are to be stored again. */
  #reopen(segment: Segment<T>): void {
    this.#segments.delete(segment);
    this.#bytes -= segment.bytes;
    const list = new ArrivalList<T>();
    for (const item of segment.items?.keys() ?? []) {
      item.segment = undefined;
      item.since_ms = segment.since_ms;
      this.#wholes.set(item, segment.key);
      list.add(item);
    }
    for (const item of this.#unsaved) list.add(item);
    this.#unsaved = list;
  }

  #pack(changes: RecordChange[]): Segment<T> {
    const items: LaneItem<T>[] = [];
    let since_ms = Infinity;
    let estimated_bytes = 0;
    for (let item = this.#captured.first; item !== undefined; item = this.#captured.first) {
      estimated_bytes += item.bytes;
      const is_full = items.length >= this.#segment_items || estimated_bytes > SEGMENT_BYTES;
      if (items.length > 0 && (is_full || !this.#areOfOne(items[0], item))) break;
      this.#captured.delete(item);
      items.push(item);
      since_ms = Math.min(since_ms, item.since_ms ?? Infinity);
    }
    const count = countOf(items);
    const value = segmentRecord(items, { since_ms, count }, this.#options.pack);
    const key = this.#nextKey(items);
    const segment: Segment<T> = {
      key,
      count,
      since_ms,
      bytes: value.length,
      is_written: false,
      is_partial: false,
    };
    this.#attach(segment, items.entries());
    this.#segments.add(segment);
    this.#bytes += value.length;
    changes.push({ key, value });
    return segment;
  }

  /** Whether two items were in the same record before, or in none. */
  #areOfOne(one: LaneItem<T> | undefined, other: LaneItem<T>): boolean {
    return one !== undefined && this.#wholes.get(one) === this.#wholes.get(other);
  }

  /** The key of a new segment. For items that were in a record before, it sorts in the place of that record. */
  #nextKey([first]: LaneItem<T>[]): string {
    return segmentKey(this.prefix, this.#next_segment++, first && this.#wholes.get(first));
  }

  /** Reverts a capture that was not written: the new segments are taken apart, and the ones that they replace are back. */
  #undo(packed: Segment<T>[], dissolved: Segment<T>[], before: Changes): void {
    for (const segment of packed.toReversed()) if (this.#segments.has(segment)) this.#reopen(segment);
    this.#unwritten.putBack(before, new Set(packed.map(({ key }) => key)));
    for (const segment of dissolved) {
      this.#segments.add(segment);
      this.#bytes += segment.bytes;
      for (const [item, place] of [...(segment.items ?? [])]) {
        segment.items?.delete(item);
        for (const part of this.#partsOf(item))
          this.#putBack(part, part === item ? place : NO_PLACE, segment);
      }
      if (segment.items?.size === 0) this.#remove(segment);
    }
  }

  /** Returns an item that was to be stored again to its segment, unless it was answered in the meantime. */
  #putBack(item: LaneItem<T>, place: number, segment: Segment<T>): void {
    if (this.#unsaved.delete(item)) {
      item.segment = segment;
      segment.items?.set(item, place);
      return;
    }
    this.#unwritten.addPlace(segment.key, place);
  }

  /** The item itself, or the parts that it was divided into in the meantime. */
  *#partsOf(item: LaneItem<T>): Generator<LaneItem<T>> {
    const parts = this.#parts.get(item);
    if (parts === undefined) yield item;
    else for (const part of parts) yield* this.#partsOf(part);
  }

  #read(key: string): LaneItem<T>[] | undefined {
    return readItems(this.#options.read(key), this.#options);
  }

  /** Keeps in memory the unanswered items of a segment from the previous process. */
  #openRest(segment: Segment<T>, items: LaneItem<T>[], answered: ReadonlySet<number>): LaneItem<T>[] {
    const left = [...items.entries()].filter(([place]) => !answered.has(place));
    this.#attach(segment, left);
    const unanswered = left.map(([, item]) => item);
    segment.count = countOf(unanswered);
    if (unanswered.length === 0) this.#remove(segment);
    return unanswered;
  }

  #attach(segment: Segment<T>, items: Iterable<[number, LaneItem<T>]>): void {
    segment.items = new Map();
    for (const [place, item] of items) {
      item.segment = segment;
      segment.items.set(item, place);
    }
  }

  /** Deletes a segment and marks its record for removal. */
  #remove(segment: Segment<T>): void {
    this.#segments.delete(segment);
    this.#bytes -= segment.bytes;
    this.#unwritten.remove(segment.key);
  }
}

const removalsOf = (keys: string[]): RecordChange[] => keys.map((key) => ({ key }));
