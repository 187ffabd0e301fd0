/**
 * Tracks bounded maps: their entries are only replaced, so a record is a list of changes of one of the two generations. The
 * code for generations in general also serves sets of ids (`tracked-ids.ts`).
 */
import type { RecordChange } from '../model/record.js';
import { type BoundedMap, beginGeneration, type Generation } from './bounded.js';
import { changeOf, isOvergrown, isScattered, numberText, readNumber } from './records.js';
import { type Form, oneAfterAnother, type TrackedBounded, type Tracker } from './tracked.js';

/** Entries per record if they are short: such a record costs as much as one of runs. */
const SHORT_ENTRIES = 100;

function changesFrom(entries: ReadonlyMap<string, unknown>): unknown[] {
  const changes: unknown[] = [];
  for (const [key, value] of entries) changes.push(key, value);
  return changes;
}

/** The generation that a record belongs to; 0 if its key names none. */
export const generationNumber = (key: string, prefix: string): number =>
  readNumber(key.slice(prefix.length).split('/')[0]);

/** Fields of every generation: its number, and the keys of the records that hold it. */
interface Recorded {
  number: number;
  records: string[];
}

/** Makes the generation with this number the young one, since a record of it is restored next. */
export function reachGeneration(
  of: { young: Recorded },
  number: number,
  begin: (number: number) => void,
): void {
  if (of.young.records.length === 0) of.young.number = number;
  else if (number > of.young.number + 1) begin(number - 1);
  if (number > of.young.number) begin(number);
}

/** How the two generations of a map or a set are persisted. */
export interface Generations<G extends Recorded, P> {
  of: { young: G; old: G };
  prefix: string;
  tracker: Tracker;
  /** Items per record. */
  part_length: number;
  isEmpty(generation: G): boolean;
  /** The items of the generation to write: what has changed, or everything. */
  take(generation: G, everything: boolean): P[];
  /** In a form that JSON can represent. */
  save(part: P[]): unknown;
}

/** Discards the records of a generation that is written anew; this capture removes them. */
export function dropRecords({ obsolete }: Tracker, generation: Recorded): void {
  obsolete.push(generation.records);
  generation.records = [];
}

/** Begins a capture; see `Tracked`. */
export function beginGenerations<G extends Recorded, P>(
  { of, prefix, tracker, part_length, isEmpty, take, save }: Generations<G, P>,
  changes: RecordChange[],
  everything: boolean,
): Generator<void> {
  function* write({ number, records }: G, all: P[]): Generator<void> {
    for (let at = 0; at < all.length || records.length === 0; at += part_length) {
      const key = `${prefix}${numberText(number)}/${numberText(tracker.next_number++)}`;
      records.push(key);
      changes.push(changeOf(key, save(all.slice(at, at + part_length))));
      yield;
    }
  }
  const taken = [of.old, of.young].map((generation) => ({
    generation,
    changed: take(generation, everything),
  }));
  // Even an empty young generation needs a record if there is an old one: only that shows that the other one is old.
  const isUnmarked = of.young.records.length === 0 && !isEmpty(of.old);
  const wanted = taken.filter(
    ({ generation, changed }) => changed.length > 0 || (isUnmarked && generation === of.young),
  );
  return oneAfterAnother(wanted.map(({ generation, changed }) => write(generation, changed)));
}

export interface BoundedOptions<V> {
  entries_of_a_record?: number;
  /** Absent if JSON can represent the values as they are. */
  form?: Form<V>;
}

/** Tracks a bounded map, which may have entries already. Its records are the changes of a generation, in order. */
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
    const taken = isWhole ? changesFrom(entries) : changed;
    generation.recorded = (isWhole ? 0 : recorded) + taken.length / 2;
    return taken;
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
        const saved: unknown = content[at + 1] ?? undefined;
        const value = saved === undefined || form === undefined ? saved : form.load(saved);
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
