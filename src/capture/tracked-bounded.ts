/**
 * Bounded maps, tracked: their entries are only replaced, so that a record is a list of the changes of one of the two generations.
 * What holds for any two generations is also how a set of ids is written down (`tracked-ids.ts`).
 */
import type { RecordChange } from '../model/record.js';
import { type BoundedMap, beginGeneration, type Generation } from './bounded.js';
import { changeOf, isOvergrown, isScattered, numberText, readNumber } from './records.js';
import { type Form, oneAfterAnother, type TrackedBounded, type Tracker } from './tracked.js';

/** Entries that share a record where they are short; so many that a record costs as much as that of a run. */
const SHORT_ENTRIES = 100;

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
    const isWhole =
      everything ||
      isOvergrown(recorded + changed.length / 2, entries.size) ||
      isScattered(records, entries.size, entries_of_a_record);
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
