/**
 * State that is written down while it goes on changing. A capture holds what has changed since the one before, as it was at
 * the instant of the capture, and is turned into records a piece at a time. Values that are changed in place live in a
 * `TrackedMap`, which writes a value down before it hands it out to be changed; bounded maps only have their entries
 * replaced, so that a list of the changes is enough.
 */
import { crc32 } from 'node:zlib';
import { type BoundedMap, beginGeneration, type Generation } from './bounded.js';
import type { RecordChange, SavedRecord, StagedCapture } from './model/record.js';

/** What the parts of one stage's state share. */
export interface Tracker {
  /** The keys of all records of the stage begin so. */
  prefix: string;
  /** Counts captures. Changes are kept from the first one on, or from when the state was restored; 0 until then. */
  epoch: number;
  is_running: boolean;
  /** Gives order to what has no other, and names records. */
  next_number: number;
  /**
   * Records with a smaller number count: the others are ahead of a capture that was not written to its end. A record says so;
   * 0 where there is none.
   */
  bound: number;
  /** Keys of records that the next capture removes. */
  obsolete: string[][];
}

/** A part of a stage's state. */
export interface Tracked {
  /** Takes its changes (or everything) as they are now; each step of the generator writes one of them down. */
  begin(changes: RecordChange[], everything: boolean): Generator<void>;
  /** Takes back what a record of it says, in the order of the keys; false where that can't be used. */
  restore(key: string, content: unknown): boolean;
  /** All of its records have been taken back. */
  restored?(): void;
}

/** A part that can go while the others stay. */
export interface TrackedBounded extends Tracked {
  /** Has its records removed. */
  drop(): void;
}

/** What a capture takes. */
export interface CaptureOptions {
  /** Not only what has changed: of the stage's records those that are not among the changes are to be removed. */
  everything?: boolean;
}

export const createTracker = (prefix: string): Tracker => ({
  prefix,
  epoch: 0,
  is_running: false,
  next_number: 1,
  bound: 0,
  obsolete: [],
});

/** Captures these parts. One capture is to be complete before the next begins. */
export function beginCapture(
  tracker: Tracker,
  parts: Iterable<Tracked>,
  { everything = false }: CaptureOptions = {},
): StagedCapture {
  if (tracker.is_running) throw new Error('the capture before is not complete');
  const all = everything || tracker.epoch === 0;
  tracker.epoch++;
  tracker.is_running = true;
  const rest: RecordChange[] = [];
  // Where everything is written anew, a write has failed before: nobody knows what bound a record tells.
  const ahead: RecordChange[] = everything ? rest : [];
  const first_number = tracker.next_number;
  let is_bounded = tracker.bound > 0;
  const begun = Array.from(parts, (part) => part.begin(ahead, all));
  const obsolete = tracker.obsolete.splice(0).flat();
  if (!all) for (const key of obsolete) rest.push({ key });
  const steps = oneAfterAnother(begun);
  let is_complete = false;

  function complete(): void {
    is_complete = true;
    tracker.is_running = false;
    if (!everything && tracker.next_number <= tracker.bound) return;
    tracker.bound = tracker.next_number;
    rest.push(changeOf(boundKey(tracker), tracker.bound));
  }

  function takeAhead(): RecordChange[] {
    if (ahead === rest || ahead.length === 0) return [];
    // What is there already counts, and what is ahead does not.
    const bound = is_bounded ? [] : [changeOf(boundKey(tracker), first_number)];
    is_bounded = true;
    return [...bound, ...ahead.splice(0)];
  }

  return {
    get changes() {
      return ahead === rest ? rest : [...ahead, ...rest];
    },
    takeAhead,
    take: () => [...takeAhead(), ...rest.splice(0)],
    advance(max_records) {
      for (let left = max_records; left > 0 && !is_complete; left--)
        if (steps.next().done === true) complete();
      return is_complete;
    },
  };
}

const boundKey = ({ prefix }: Tracker): string => `${prefix}bound`;

/** 0 where it can't be used. */
function readBound({ key, value }: SavedRecord): number {
  const bound = decodeRecord(key, value);
  return typeof bound === 'number' && Number.isSafeInteger(bound) ? bound : 0;
}

function* oneAfterAnother(all: Generator<void>[]): Generator<void> {
  for (const each of all) yield* each;
}

/** Takes back what was saved, and tracks from there on. Gives the number of records that could not be used. */
export function restoreParts(
  tracker: Tracker,
  partOf: (key: string) => Tracked | undefined,
  saved: Iterable<SavedRecord>,
): number {
  tracker.epoch = 1;
  let unusable = 0;
  const taken = new Set<Tracked>();
  const records = [...saved].sort(byPlace);
  const told = records.find(({ key }) => key === boundKey(tracker));
  tracker.bound = told === undefined ? 0 : readBound(told);
  if (told !== undefined && tracker.bound === 0) unusable++;
  keepNumbersAbove(tracker, tracker.bound - 1);
  for (const record of records) {
    if (record === told) continue;
    const { key, value } = record;
    const number = numberIn(key);
    keepNumbersAbove(tracker, number);
    if (tracker.bound > 0 && number >= tracker.bound) {
      tracker.obsolete.push([key]);
      continue;
    }
    const content = decodeRecord(key, value);
    const part = content === undefined ? undefined : partOf(key);
    if (part !== undefined) taken.add(part);
    if (part !== undefined && isRestored(part, key, content)) continue;
    tracker.obsolete.push([key]);
    unusable++;
  }
  for (const part of taken) part.restored?.();
  return unusable;
}

function isRestored(part: Tracked, key: string, content: unknown): boolean {
  try {
    return part.restore(key, content);
  } catch {
    // It is sound, and says something else than is written down there: it is of another version.
    return false;
  }
}

const depthOf = (key: string): number => key.split('/').length;

/** Values come before what belongs to them. */
const byPlace = ({ key: a }: SavedRecord, { key: b }: SavedRecord): number =>
  depthOf(a) - depthOf(b) || (a < b ? -1 : 1);

/** Numbers that are given from here on are greater. */
export function keepNumbersAbove(tracker: Tracker, number: number): void {
  tracker.next_number = Math.max(tracker.next_number, number + 1);
}

/** As text, numbers have the order that they have as numbers. */
const NUMBER_LENGTH = Number.MAX_SAFE_INTEGER.toString(36).length;
export const numberText = (number: number): string => number.toString(36).padStart(NUMBER_LENGTH, '0');

const readNumber = (text: string | undefined): number => {
  const number = text?.length === NUMBER_LENGTH ? Number.parseInt(text, 36) : 0;
  return Number.isSafeInteger(number) ? number : 0;
};

/** The number that a key ends in, else 0. */
const numberIn = (key: string): number => readNumber(key.split('/').at(-1));

/** Each record begins with it: the record of another version is of no use. */
const FORMAT_VERSION = 6;
const HEADER_BYTES = 5;
/** A text of this many characters may need three times as many bytes. */
const SHORT_TEXT = 4_096;
const scratch = Buffer.allocUnsafeSlow(HEADER_BYTES + 3 * SHORT_TEXT);

const checksum = (key: string, body: Uint8Array): number => crc32(body, crc32(key));

function textBytes(text: string): Buffer {
  if (text.length > SHORT_TEXT) return Buffer.from(`${' '.repeat(HEADER_BYTES)}${text}`);
  return Buffer.from(scratch.subarray(0, HEADER_BYTES + scratch.write(text, HEADER_BYTES)));
}

/** A header, then the content as JSON. */
function encodeText(key: string, text: string): Uint8Array {
  const record = textBytes(text);
  record[0] = FORMAT_VERSION;
  record.writeUInt32BE(checksum(key, record.subarray(HEADER_BYTES)), 1);
  return record;
}

function decodeRecord(key: string, record: Uint8Array): unknown {
  const { buffer, byteOffset, length } = record;
  const bytes = Buffer.from(buffer, byteOffset, length);
  const body = bytes.subarray(HEADER_BYTES);
  if (length < HEADER_BYTES || bytes[0] !== FORMAT_VERSION || bytes.readUInt32BE(1) !== checksum(key, body))
    return undefined;
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

/** Removes the record where its content can't be written down. */
function changeOf(key: string, content: unknown): RecordChange {
  const text = toText(content);
  return text === undefined ? { key } : { key, value: encodeText(key, text) };
}

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

/** How a value is written down. */
export interface Form<V> {
  /** As what JSON can tell: no number but a finite one, and null for what is undefined in a list. */
  save(value: V): unknown;
  /** The value that was saved; undefined where it can't be used. */
  load(content: unknown): V | undefined;
}

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

/** Records beyond twice of what would do that are left as they are. */
const SPARE_RECORDS = 16;

export const isScattered = (records: readonly string[], size: number, of_a_record: number): boolean =>
  records.length > (2 * size) / of_a_record + SPARE_RECORDS;

/** As JSON; undefined where it can't be written down: nested too deep, or no data. */
function toText(content: unknown): string | undefined {
  try {
    return JSON.stringify(content);
  } catch {
    return undefined;
  }
}

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
    const isOvergrown =
      told > 2 * this.size + SPARE_CHANGES || isScattered(this.#records, this.size, VALUES_OF_A_RECORD);
    const isWhole = everything || this.size === 0 || isOvergrown;
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

/** Entries that share a record where they are short; so many that a record costs as much as that of a run. */
const SHORT_ENTRIES = 100;

/** A generation whose records hold this many changes more than twice its entries is written anew. */
const SPARE_CHANGES = 1_000;

function changesFrom(entries: ReadonlyMap<string, unknown>): unknown[] {
  const changes: unknown[] = [];
  for (const [key, value] of entries) changes.push(key, value);
  return changes;
}

/** The generation that a record is of; 0 where its key tells none. */
export const generationNumber = (key: string, prefix: string): number =>
  readNumber(key.slice(prefix.length).split('/')[0]);

/** What any generation has: its number, and the keys of the records that it is written down in. */
interface Recorded {
  number: number;
  records: string[];
}

/** Makes this generation the young one: what is restored of it comes next. */
export function reachGeneration(
  of: { young: Recorded },
  number: number,
  begin: (number: number) => void,
): void {
  if (of.young.records.length === 0) of.young.number = number;
  else if (number > of.young.number + 1) begin(number - 1);
  if (number > of.young.number) begin(number);
}

/** How the two generations of a map or a set are written down. */
export interface Generations<G extends Recorded, P> {
  of: { young: G; old: G };
  prefix: string;
  tracker: Tracker;
  /** Of what is told of a generation, so much goes into one record. */
  part_length: number;
  isEmpty(generation: G): boolean;
  /** What is to be told of it: what has changed, or everything. */
  take(generation: G, everything: boolean): P[];
  /** As JSON can tell it. */
  save(part: P[]): unknown;
}

/** For a generation whose records are of no use: they go with this capture, and it begins anew. */
export function dropRecords({ obsolete }: Tracker, generation: Recorded): void {
  obsolete.push(generation.records);
  generation.records = [];
}

/** The beginning of a capture; see `Tracked`. */
export function beginGenerations<G extends Recorded, P>(
  { of, prefix, tracker, part_length, isEmpty, take, save }: Generations<G, P>,
  changes: RecordChange[],
  everything: boolean,
): Generator<void> {
  function* write({ number, records }: G, told: P[]): Generator<void> {
    for (let at = 0; at < told.length || records.length === 0; at += part_length) {
      const key = `${prefix}${numberText(number)}/${numberText(tracker.next_number++)}`;
      records.push(key);
      changes.push(changeOf(key, save(told.slice(at, at + part_length))));
      yield;
    }
  }
  const taken = [of.old, of.young].map((generation) => ({ generation, told: take(generation, everything) }));
  // A young generation that has nothing in it needs a record all the same, to tell that the old one is old.
  const isUntold = of.young.records.length === 0 && !isEmpty(of.old);
  const wanted = taken.filter(
    ({ generation, told }) => told.length > 0 || (isUntold && generation === of.young),
  );
  return oneAfterAnother(wanted.map(({ generation, told }) => write(generation, told)));
}

export interface BoundedOptions<V> {
  entries_of_a_record?: number;
  /** Absent where the values are data as JSON can tell it. */
  form?: Form<V>;
}

/** Tracks a bounded map, which may have a first few entries. Its records are the changes of a generation, in their order. */
export function trackBounded<V>(
  map: BoundedMap<V>,
  prefix: string,
  tracker: Tracker,
  { entries_of_a_record = SHORT_ENTRIES, form }: BoundedOptions<V> = {},
): TrackedBounded {
  map.tracker = tracker;
  if (tracker.epoch > 0) map.young.changed = changesFrom(map.young.entries);

  function take(generation: Generation<V>, everything: boolean): unknown[] {
    const { entries, changed, recorded, records } = generation;
    generation.changed = [];
    const isOvergrown =
      recorded + changed.length / 2 > 2 * entries.size + SPARE_CHANGES ||
      isScattered(records, entries.size, entries_of_a_record);
    const isWhole = everything || isOvergrown;
    if (isWhole) dropRecords(tracker, generation);
    const told = isWhole ? changesFrom(entries) : changed;
    generation.recorded = (isWhole ? 0 : recorded) + told.length / 2;
    return told;
  }

  function save(changed: unknown[]): unknown[] {
    if (form === undefined) return changed;
    return changed.map((each, at) => (at % 2 === 0 || each === undefined ? each : form.save(each as V)));
  }

  const generations: Generations<Generation<V>, unknown> = {
    of: map,
    prefix,
    tracker,
    part_length: 2 * entries_of_a_record,
    isEmpty: ({ entries }) => entries.size === 0,
    take,
    save,
  };

  return {
    begin: (changes, everything) => beginGenerations(generations, changes, everything),
    restore(key, content) {
      const number = generationNumber(key, prefix);
      if (!Array.isArray(content) || number === 0) return false;
      reachGeneration(map, number, (next) => beginGeneration(map, next));
      const { entries, records } = map.young;
      for (let at = 0; at < content.length; at += 2) {
        const key: string = content[at];
        entries.delete(key);
        const told: unknown = content[at + 1] ?? undefined;
        const value = told === undefined || form === undefined ? told : form.load(told);
        if (value !== undefined) entries.set(key, value as V);
      }
      records.push(key);
      map.young.recorded += content.length / 2;
      return true;
    },
    drop() {
      if (tracker.epoch > 0) tracker.obsolete.push(map.old.records, map.young.records);
    },
  };
}
