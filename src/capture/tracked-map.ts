/**
 * A map whose values are changed in place, tracked: a value that a capture has still to write down is written down before it is
 * handed out to be changed. Values share records, since a record costs more to hand over than a short value to write.
 */
import type { RecordChange } from '../model/record.js';
import { encodeText, isOvergrown, isScattered, numberText, toText } from './records.js';
import { type Form, keepNumbersAbove, type Tracked, type Tracker } from './tracked.js';

/** A value of a map. */
export interface Entry {
  /** Its own among all, and greater than those before it. */
  number: number;
  /** The latest one in which it may have changed; 0 in a new one, and `GONE` once it has been taken out of the map. */
  epoch: number;
}

const GONE = -1;

/** Whether a value that was got before is still in its map. */
export const isThere = ({ epoch }: Pick<Entry, 'epoch'>): boolean => epoch !== GONE;

export interface TrackedMapOptions<V> extends Form<V> {
  tracker: Tracker;
  /** The value's key in the map, which never changes. */
  keyOf(value: V): string;
  /** What the keys of its records begin with; a number follows. */
  prefix: string;
}

/** Values that share a record, up to a number and a length: to hand a record to the store costs more than to make a short one. */
const VALUES_OF_A_RECORD = 32;
const RECORD_LENGTH = 64 * 1024;

/**
 * A map of values that are changed in place: to get one is to be about to change it. Its records tell, in their order, the numbers
 * of values that are gone, and values as they are from then on.
 */
export class TrackedMap<V extends Entry> extends Map<string, V> implements Tracked {
  readonly #options: TrackedMapOptions<V>;
  readonly #tracker: Tracker;
  /** What may have changed since the last capture. */
  #changed = new Set<V>();
  /** Numbers of values that records may tell of and that are gone since. */
  #gone: number[] = [];
  /** Those with a smaller number were there when the last capture was taken. */
  #first_new = 0;
  /** What the running capture has still to write down. */
  #pending = new Set<V>();
  #changes: RecordChange[] = [];
  /** What the next record will have in it. */
  #texts: string[] = [];
  #length = 0;
  /** Keys of the records, and how much they tell. */
  #records: string[] = [];
  #recorded = 0;
  /** While it is restored. */
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

  /** Only to be looked at. */
  peek(key: string): Readonly<V> | undefined {
    return super.get(key);
  }

  override set(key: string, value: V): this {
    this.delete(key);
    if (this.#tracker.epoch > 0) this.#mark(value);
    return super.set(key, value);
  }

  /** To be called before a value is changed that was got before. */
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

  /** What may have changed since the last capture. */
  changed(): Iterable<Readonly<V>> {
    return this.#changed;
  }

  begin(changes: RecordChange[], everything: boolean): Generator<void> {
    const told = this.#recorded + this.#changed.size + this.#gone.length;
    const isWhole =
      everything ||
      this.size === 0 ||
      isOvergrown(told, this.size) ||
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

  /** Its key may be another value's by now. */
  #drop(number: number): void {
    const key = this.#keys.get(number) ?? '';
    if (super.get(key)?.number === number) super.delete(key);
  }

  /** Another record may have told an older state of the same value. */
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
