/**
 * What a lane keeps beyond its process: everything that is not answered for, as records of the store. Items are written down
 * together, in segments, at a checkpoint; what is answered in between is noted in a log, so that the next process sends it no
 * second time. Does no I/O of its own but reading back a segment: it says what is to be written, and is told what was.
 */
import { randomBytes } from 'node:crypto';
import { type Answers, DEAD_LETTERS_PREFIX, OUTBOX_PREFIX, type Outgoing } from '../model/delivery.js';
import {
  type Capture,
  joinRecord,
  keyNumber,
  type RecordChange,
  type SavedRecord,
  splitRecord,
} from '../model/record.js';
import { createIdLog, type Id, idKey, readIds } from './id-log.js';
import { Line } from './line.js';
import { countOf, type LaneItem } from './queue.js';

export interface OutboxOptions<T> {
  destination: string;
  signal: string;
  /** The most items in one request. */
  max_items: number;
  /** Items as bytes, and back. */
  pack(payloads: T[]): Uint8Array;
  unpack(bytes: Uint8Array): T[];
  /** The item that a payload and its count were. */
  toItem(payload: T, count: number): LaneItem<T>;
  /** Tells an item from others, also in another process that makes it of the same events; empty where nothing does. */
  identify(item: LaneItem<T>): Id;
  /** Reads a record of the store. */
  read(key: string): Uint8Array | undefined;
  /** Takes out of a backend's message what is nobody's business. */
  redact(message: string): string;
  /** Epoch milliseconds. */
  now(): number;
}

/** Items that were written down together. */
export interface Segment<T> {
  key: string;
  /** What it counts as: all that was written down, less what an earlier process had answers for. */
  count: number;
  /** On the disk. */
  bytes: number;
  since_ms: number;
  /** Those not answered, with their places in the record; absent where they are on the disk alone. */
  items?: Map<LaneItem<T>, number>;
  is_written: boolean;
  /** An earlier process left it, and may have sent it. */
  is_restored?: boolean;
  /** Some of it has been answered. */
  is_partial: boolean;
}

const SEGMENT_ITEMS = 256;
const SEGMENT_BYTES = 512 * 1024;

/**
 * The place of a part in the record of its whole, where only place 0 is: an answer for a part is an answer for nothing there. Only
 * items that are written down alone have parts.
 */
const NO_PLACE = 1;

/** What stands before the items in a segment's record. */
interface Header {
  since_ms: number;
  count: number;
  /** Of each item, where one does not count as 1. */
  counts?: number[];
}

/** A key's part that is free text. */
const keyPart = (text: string): string => encodeURIComponent(text).slice(0, 200);

const sumOf = (counts: number[]): number => counts.reduce((total, count) => total + count, 0);

export class Outbox<T> {
  readonly prefix: string;
  readonly #options: OutboxOptions<T>;
  /** Items that no record holds yet; oldest first. */
  #unsaved = new Line<T>();
  /** Of a capture that goes on: those that have not been turned into records yet. */
  #captured = new Line<T>();
  /** Of all these: what they came from is nowhere but in memory. */
  readonly #unkept = new Set<LaneItem<T>>();
  readonly #segments = new Set<Segment<T>>();
  /** The keys of the records that items were in which are to be written down anew. */
  readonly #wholes = new WeakMap<LaneItem<T>, string>();
  /** What was taken apart, and its parts. */
  readonly #parts = new WeakMap<LaneItem<T>, LaneItem<T>[]>();
  /** The segments that are on the disk alone, oldest first. */
  readonly #evicted = new Set<Segment<T>>();
  /** Keys of records that are no longer wanted. */
  #stale: string[] = [];
  /** What was answered since the last time: items that no record holds, and places in records, by their keys. */
  readonly #answered_ids = createIdLog();
  #answered_places: Record<string, number[]> = {};
  #letters: RecordChange[] = [];
  #next_letter = 1;
  /** Tells its dead letters from those of any other outbox, also of another process. */
  readonly #id = randomBytes(4).toString('hex');
  /** How often an item with this identity was answered, of those that the journal is about to bring again. */
  #answered_before = new Map<string, number>();
  #bytes = 0;
  #next_segment = 0;
  readonly #segment_items: number;

  constructor(options: OutboxOptions<T>) {
    this.#options = options;
    // What goes alone is written down alone: a metrics request is as it is.
    this.#segment_items = options.max_items === 1 ? 1 : SEGMENT_ITEMS;
    this.prefix = `${OUTBOX_PREFIX}${keyPart(options.destination)}/${options.signal}/`;
  }

  /** Whether there are items on the disk that are not in memory. */
  get hasEvicted(): boolean {
    return this.#evicted.size > 0;
  }

  /** What its records take up. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Since when the oldest of what is pending has been; undefined where nothing is. */
  get since_ms(): number | undefined {
    let since_ms = Infinity;
    for (const segment of this.#segments) since_ms = Math.min(since_ms, segment.since_ms);
    for (const { first } of [this.#captured, this.#unsaved])
      since_ms = Math.min(since_ms, first?.since_ms ?? Infinity);
    return Number.isFinite(since_ms) ? since_ms : undefined;
  }

  /** Takes an item in; false where an earlier process had an answer for it. `is_kept`: the next process can make it again. */
  add(item: LaneItem<T>, is_kept = true): boolean {
    if (this.#answered_before.size > 0 && this.#wasAnswered(item)) return false;
    item.since_ms = this.#options.now();
    this.#unsaved.add(item);
    if (!is_kept) this.#unkept.add(item);
    return true;
  }

  /** Whether an earlier process had an answer for the end of what has this id, and the journal is about to bring that again. */
  hasEnded(id: string): boolean {
    return this.#answered_before.size > 0 && this.#answered_before.has(idKey([id]));
  }

  /** An item has been answered for, or given up. */
  leave(item: LaneItem<T>): void {
    this.#unkept.delete(item);
    const { segment } = item;
    if (segment !== undefined) this.#leaveSegment(item, segment);
    else if (!this.#captured.delete(item) && this.#unsaved.delete(item)) this.#noteAnswered(item);
  }

  /**
   * An item goes on as its parts, of which each leaves by itself. The next capture has them in its place; what is answered before
   * that one is written does not count, so that the whole comes again after a crash.
   */
  divide(item: LaneItem<T>, parts: LaneItem<T>[]): void {
    const { segment, line, since_ms } = item;
    this.#parts.set(item, parts);
    for (const part of parts) part.since_ms = since_ms;
    if (this.#unkept.delete(item)) for (const part of parts) this.#unkept.add(part);
    if (segment === undefined) {
      line?.replace(item, parts);
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

  /** Keeps what a backend will never take, for somebody to look at. `rejected`: of how many that is true. */
  bury(items: LaneItem<T>[], reason: string, message: string, rejected: number): void {
    const { destination, signal, now, pack, redact } = this.#options;
    const at_ms = now();
    const key = `${DEAD_LETTERS_PREFIX}${keyNumber(at_ms)}-${this.#id}-${this.#next_letter++}`;
    const counts = items.map((item) => item.count);
    const header = { at_ms, destination, signal, reason, message: redact(message), rejected, counts };
    this.#letters.push({ key, value: joinRecord(header, [pack(items.map((item) => item.payload))]) });
  }

  /** Whether anything was answered since the last time, or is to be written for another reason. */
  get hasAnswers(): boolean {
    for (const _key in this.#answered_places) return true;
    return !this.#answered_ids.isEmpty() || this.#letters.length > 0 || this.#stale.length > 0;
  }

  /** What was answered since the last time; not to be asked for while a capture goes on. */
  takeAnswers(): Outgoing {
    const changes = [...this.#takeStale(), ...this.#letters];
    this.#letters = [];
    return { changes, answers: this.#takeAnswered() };
  }

  /** Everything that is pending, and in no record yet or in one that holds more than that. */
  capture(): Capture & { written(ok: boolean): void } {
    const dissolved = [...this.#segments].filter(({ is_partial }) => is_partial);
    for (const segment of dissolved.toReversed()) this.#dissolve(segment);
    this.#captured = this.#unsaved;
    this.#unsaved = new Line();
    const before = { answers: this.#takeAnswered(), letters: this.#letters, stale: this.#stale };
    this.#letters = [];
    this.#stale = [];
    const removed = [...before.stale, ...dissolved.map(({ key }) => key)].map((key) => ({ key }));
    const changes: RecordChange[] = [...removed, ...before.letters];
    const packed: Segment<T>[] = [];
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
        else for (const item of this.#unkept) if (item.segment !== undefined) this.#unkept.delete(item);
      },
    };
  }

  /** The segment that could be on the disk alone from here on. */
  evictable({ segment }: LaneItem<T>): Segment<T> | undefined {
    return segment?.is_written && !segment.is_partial ? segment : undefined;
  }

  evict(segment: Segment<T>): void {
    delete segment.items;
    this.#evicted.add(segment);
  }

  /** Reads the oldest segment that is on the disk alone; `lost` counts what can't be read any more. */
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

  /** Gives up the oldest segment that is on the disk alone; undefined where there is none. */
  dropOldest(): number | undefined {
    const [segment] = this.#evicted;
    if (segment === undefined) return undefined;
    this.#evicted.delete(segment);
    this.#remove(segment);
    return segment.count;
  }

  /** Lets go of what is nowhere but in memory. Gives what that counts as. */
  giveUpUnkept(): number {
    const items = [...this.#unkept];
    this.#unkept.clear();
    for (const item of items) this.#unsaved.delete(item);
    return countOf(items);
  }

  /**
   * Takes over what an earlier process left, and what had been answered since. Gives what that counts as, and the items of
   * segments of which a part had been answered: those are to be queued. What can't be read is left out.
   */
  restore(records: Iterable<SavedRecord>, { ids, places }: Answers): { count: number; items: LaneItem<T>[] } {
    for (const id of readIds(ids)) this.#answered_before.set(id, (this.#answered_before.get(id) ?? 0) + 1);
    const opened: LaneItem<T>[] = [];
    let count = 0;
    for (const { key, value } of records) {
      this.#next_segment = Math.max(
        this.#next_segment,
        ...numbersOf(key.slice(this.prefix.length)).map((number) => number + 1),
      );
      const header = readHeader(value);
      const answered = places[key];
      if (header === undefined) {
        this.#stale.push(key);
        continue;
      }
      const segment: Segment<T> = {
        ...header,
        key,
        bytes: value.length,
        is_written: true,
        is_restored: true,
        is_partial: answered !== undefined,
      };
      this.#segments.add(segment);
      this.#bytes += value.length;
      if (answered === undefined) this.#evicted.add(segment);
      else opened.push(...this.#openRest(segment, new Set(answered)));
      count += segment.count;
    }
    return { count, items: opened };
  }

  /** What was answered before has come again, as far as it does. */
  endRestore(): void {
    this.#answered_before = new Map();
  }

  /** What nothing tells from others does not come again as the same. */
  #noteAnswered(item: LaneItem<T>): void {
    const id = this.#options.identify(item);
    if (id.length > 0) this.#answered_ids.add(id);
  }

  #wasAnswered(item: LaneItem<T>): boolean {
    const id = idKey(this.#options.identify(item));
    const times = this.#answered_before.get(id);
    if (times === undefined) return false;
    if (times > 1) this.#answered_before.set(id, times - 1);
    else this.#answered_before.delete(id);
    return true;
  }

  #leaveSegment(item: LaneItem<T>, segment: Segment<T>): void {
    const place = segment.items?.get(item);
    if (place === undefined) return;
    segment.items?.delete(item);
    segment.is_partial = true;
    if (segment.items?.size === 0) this.#remove(segment);
    else this.#answered(segment, place);
  }

  #answered({ key }: Segment<T>, place: number): void {
    const known = this.#answered_places[key];
    if (known === undefined) this.#answered_places[key] = [place];
    else known.push(place);
  }

  /** Its record is no longer wanted. */
  #remove(segment: Segment<T>): void {
    this.#segments.delete(segment);
    this.#bytes -= segment.bytes;
    delete this.#answered_places[segment.key];
    this.#stale.push(segment.key);
  }

  /** Its items are to be written down anew, as far as they are still pending. */
  #dissolve(segment: Segment<T>): void {
    this.#segments.delete(segment);
    this.#bytes -= segment.bytes;
    const line = new Line<T>();
    for (const item of segment.items?.keys() ?? []) {
      item.segment = undefined;
      item.since_ms = segment.since_ms;
      this.#wholes.set(item, segment.key);
      line.add(item);
    }
    for (const item of this.#unsaved) line.add(item);
    this.#unsaved = line;
  }

  /** A capture was not written: its segments do not exist, and those that it was to replace do. */
  #undo(
    packed: Segment<T>[],
    dissolved: Segment<T>[],
    before: { answers: Answers; letters: RecordChange[]; stale: string[] },
  ): void {
    for (const segment of packed.toReversed()) if (this.#segments.has(segment)) this.#dissolve(segment);
    const gone = new Set(packed.map(({ key }) => key));
    this.#answered_ids.putBack(before.answers.ids);
    this.#answered_places = {
      ...before.answers.places,
      ...Object.fromEntries(Object.entries(this.#answered_places).filter(([key]) => !gone.has(key))),
    };
    this.#letters = [...before.letters, ...this.#letters];
    this.#stale = [...before.stale, ...this.#stale.filter((key) => !gone.has(key))];
    for (const segment of dissolved) {
      this.#segments.add(segment);
      this.#bytes += segment.bytes;
      for (const [item, place] of [...(segment.items ?? [])]) {
        segment.items?.delete(item);
        for (const part of this.#partsOf(item))
          this.#takeBack(part, part === item ? place : NO_PLACE, segment);
      }
      if (segment.items?.size === 0) this.#remove(segment);
    }
  }

  /** An item that was to be written down anew is in its segment as before, unless it was answered for meanwhile. */
  #takeBack(item: LaneItem<T>, place: number, segment: Segment<T>): void {
    if (this.#unsaved.delete(item)) {
      item.segment = segment;
      segment.items?.set(item, place);
      return;
    }
    this.#answered(segment, place);
  }

  /** What an item is now: itself, or the parts into which it was taken apart meanwhile. */
  *#partsOf(item: LaneItem<T>): Generator<LaneItem<T>> {
    const parts = this.#parts.get(item);
    if (parts === undefined) yield item;
    else for (const part of parts) yield* this.#partsOf(part);
  }

  #attach(segment: Segment<T>, items: Iterable<[number, LaneItem<T>]>): void {
    segment.items = new Map();
    for (const [place, item] of items) {
      item.segment = segment;
      segment.items.set(item, place);
    }
  }

  /** What has not been answered of a segment that an earlier process left. */
  #openRest(segment: Segment<T>, answered: ReadonlySet<number>): LaneItem<T>[] {
    const left = [...(this.#read(segment.key) ?? []).entries()].filter(([place]) => !answered.has(place));
    this.#attach(segment, left);
    const items = left.map(([, item]) => item);
    segment.count = sumOf(items.map((item) => item.count));
    if (items.length === 0) this.#remove(segment);
    return items;
  }

  #takeAnswered(): Answers {
    const answers = { ids: this.#answered_ids.take(), places: this.#answered_places };
    this.#answered_places = {};
    return answers;
  }

  #takeStale(): RecordChange[] {
    const changes = this.#stale.map((key) => ({ key }));
    this.#stale = [];
    return changes;
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
    const counts = items.map((item) => item.count);
    const count = sumOf(counts);
    const header: Header = { since_ms, count, ...(counts.some((each) => each !== 1) ? { counts } : {}) };
    const value = joinRecord(header, [this.#options.pack(items.map((item) => item.payload))]);
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

  /** Whether they were in one record before, or in none. */
  #areOfOne(one: LaneItem<T> | undefined, other: LaneItem<T>): boolean {
    return one !== undefined && this.#wholes.get(one) === this.#wholes.get(other);
  }

  /** What was in a record before keeps its place in the order of the keys. */
  #nextKey([first]: LaneItem<T>[]): string {
    const number = keyNumber(this.#next_segment++);
    const whole = first === undefined ? undefined : this.#wholes.get(first);
    if (whole === undefined) return this.prefix + number;
    return `${whole.slice(0, this.prefix.length + number.length)}.${number}`;
  }

  #read(key: string): LaneItem<T>[] | undefined {
    const { read, unpack, toItem } = this.#options;
    const value = read(key);
    if (value === undefined) return undefined;
    try {
      const { header, body } = splitRecord(value);
      const { counts } = header as Header;
      return unpack(body).map((payload, place) => toItem(payload, counts?.[place] ?? 1));
    } catch {
      return undefined;
    }
  }
}

/** Those in a key, behind the prefix. */
const numbersOf = (text: string): number[] => text.split('.').map((part) => Number.parseInt(part, 16));

function readHeader(value: Uint8Array): Header | undefined {
  try {
    const header = splitRecord(value).header as Header;
    return Number.isFinite(header.count) && Number.isFinite(header.since_ms)
      ? { count: header.count, since_ms: header.since_ms }
      : undefined;
  } catch {
    return undefined;
  }
}
