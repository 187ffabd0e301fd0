/**
 * A tracked map whose values are changed in place: a value that a capture has still to write is written before it is returned
 * to be changed. Values share records, since handing a record to the store costs more than writing a short value.
 */
import type { RecordChange } from '../model/record.js';
import { encodeText, isOvergrown, isScattered, numberText, toText } from './records.js';
import { type Form, keepNumbersAbove, type Tracked, type Tracker } from './tracked.js';

/** A value of the map. */
export interface Entry {
  /** Unique in the map, and greater than those of earlier values. */
  number: number;
  /** The latest epoch in which it may have changed; 0 in a new value, and `GONE` once it was removed from the map. */
  epoch: number;
}

const GONE = -1;

/** Whether a value that was read before is still in its map. */
export const isThere = ({ epoch }: Pick<Entry, 'epoch'>): boolean => epoch !== GONE;

export interface TrackedMapOptions<V> extends Form<V> {
  tracker: Tracker;
  /** The value's key in the map, which never changes. */
  keyOf(value: V): string;
  /** Prefix of the keys of its records; a number follows. */
  prefix: string;
}

/**
 * Maximum number and total length of the values in a record: handing a record to the store costs more than making a short one.
 */
const VALUES_OF_A_RECORD = 32;
const RECORD_LENGTH = 64 * 1024;

/**
 * A map of values that are changed in place: whoever gets a value may change it. Each record holds the numbers of removed
 * values and the state of changed ones; a later record overrides an earlier one.
 */
export class TrackedMap<V extends Entry> extends Map<string, V> implements Tracked {
  readonly #options: TrackedMapOptions<V>;
  readonly #tracker: Tracker;
  /** Values that may have changed since the last capture. */
  #changed = new Set<V>();
  /** Numbers of removed values that are still in records. */
  #gone: number[] = [];
  /** Values with a smaller number existed at the last capture. */
  #first_new = 0;
  /** Values that the running capture has still to write. */
  #pending = new Set<V>();
  #changes: RecordChange[] = [];
  /** The serialised values of the next record, and their length. */
  #texts: string[] = [];
  #length = 0;
  /** Keys of the records, and the number of values and removals in them. */
  #records: string[] = [];
  #recorded = 0;
  /** Keys of values by their numbers, only during a restore. */
  #keys = new Map<number, string>();

  constructor(options: TrackedMapOptions<V>) {
    super();
    this.#options = options;
    this.#tracker = options.tracker;
  }

  override get(key: string): V | undefined {
    const value = super.get(key);
    if (value !== undefined && value.epoch !== this.#tracker.epoch) this.#mark(value);
    return value;
  }

  /** Gets a value that will not be changed. */
  peek(key: string): Readonly<V> | undefined {
    return super.get(key);
  }

  override set(key: string, value: V): this {
    this.delete(key);
    if (this.#tracker.epoch > 0) this.#mark(value);
    return super.set(key, value);
  }

  /** To be called before a value is changed that was read earlier. */
  touch(value: V): void {
    if (value.epoch !== this.#tracker.epoch) this.#mark(value);
  }

  override delete(key: string): boolean {
    const value = this.get(key);
    if (value === undefined) return false;
    this.#changed.delete(value);
    if (this.#tracker.epoch > 0 && value.number < this.#first_new) this.#gone.push(value.number);
    value.epoch = GONE;
    return super.delete(key);
  }

  /** Values that may have changed since the last capture. */
  changed(): Iterable<Readonly<V>> {
    return this.#changed;
  }

  begin(changes: RecordChange[], everything: boolean): Generator<void> {
    const recorded = this.#recorded + this.#changed.size + this.#gone.length;
    const isWhole =
      everything ||
      this.size === 0 ||
      isOvergrown(recorded, this.size) ||
      isScattered(this.#records, this.size, VALUES_OF_A_RECORD);
    if (isWhole) {
      this.#tracker.obsolete.push(this.#records);
      this.#records = [];
      this.#recorded = 0;
    }
    const gone = isWhole ? [] : this.#gone;
    this.#pending = isWhole ? new Set(this.values()) : this.#changed;
    this.#gone = [];
    this.#changed = new Set();
    this.#first_new = this.#tracker.next_number;
    this.#changes = changes;
    return this.#writePending(gone);
  }

  restore(key: string, content: unknown): boolean {
    const [gone, saved] = content as [number[], unknown[]];
    for (const number of gone) this.#drop(number);
    const values = saved.map((each) => this.#options.load(each));
    for (const value of values) if (value !== undefined) this.#take(value);
    const isUsable = !values.includes(undefined);
    if (isUsable) {
      this.#records.push(key);
      this.#recorded += gone.length + values.length;
    } else for (const value of values) if (value !== undefined) this.#mark(value);
    return isUsable;
  }

  restored(): void {
    const values = [...this.values()].sort((a, b) => a.number - b.number);
    this.clear();
    for (const value of values) super.set(this.#options.keyOf(value), value);
    this.#keys = new Map();
  }

  /** Another value may have the key by now. */
  #drop(number: number): void {
    const key = this.#keys.get(number) ?? '';
    if (super.get(key)?.number === number) super.delete(key);
  }

  /** Sets a restored value, in place of an older state of it from another record. */
  #take(value: V): void {
    value.epoch = 0;
    keepNumbersAbove(this.#tracker, value.number);
    this.#first_new = Math.max(this.#first_new, value.number + 1);
    const key = this.#options.keyOf(value);
    this.#keys.set(value.number, key);
    super.set(key, value);
  }

  #mark(value: V): void {
    value.epoch = this.#tracker.epoch;
    this.#changed.add(value);
    if (this.#pending.delete(value)) this.#write(value);
  }

  *#writePending(gone: number[]): Generator<void> {
    if (gone.length > 0) this.#flush(gone);
    for (const value of this.#pending) {
      this.#pending.delete(value);
      this.#write(value);
      yield;
    }
    if (this.#texts.length > 0) this.#flush([]);
  }

  #write(value: V): void {
    const text = toText(this.#options.save(value));
    if (text === undefined) {
      this.#flush([value.number]);
      return;
    }
    this.#texts.push(text);
    this.#length += text.length;
    if (this.#texts.length >= VALUES_OF_A_RECORD || this.#length >= RECORD_LENGTH) this.#flush([]);
  }

  #flush(gone: number[]): void {
    const key = `${this.#options.prefix}${numberText(this.#tracker.next_number++)}`;
    this.#records.push(key);
    this.#recorded += gone.length + this.#texts.length;
    this.#changes.push({ key, value: encodeText(key, `[[${gone.join()}],[${this.#texts.join()}]]`) });
    this.#texts = [];
    this.#length = 0;
  }
}
