/**
 * State that is written down while it goes on changing. A capture holds what has changed since the one before, as it was at
 * the instant of the capture, and is turned into records a piece at a time. Values that are changed in place live in a
 * `TrackedMap`, which writes a value down before it hands it out to be changed; bounded maps only have their entries
 * replaced, so that a list of the changes is enough. Here is what the captures of all of them have in common.
 */
import type { RecordChange, SavedRecord, StagedCapture } from '../model/record.js';
import { changeOf, decodeRecord, numberIn } from './records.js';

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
   * Records numbered from here on do not count: they were written ahead of a capture whose last transaction never came. It has a
   * record of its own; 0 where there is none.
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

/** How a value is written down. */
export interface Form<V> {
  /** As what JSON can tell: no number but a finite one, and null for what is undefined in a list. */
  save(value: V): unknown;
  /** The value that was saved; undefined where it can't be used. */
  load(content: unknown): V | undefined;
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

export function* oneAfterAnother(all: Generator<void>[]): Generator<void> {
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
