/**
 * State that is persisted while it keeps changing. A capture holds the changes since the previous one, as of one point in time,
 * and is turned into records piece by piece. Values that are changed in place live in a `TrackedMap`, which writes a value
 * before it returns it to be changed; the entries of bounded maps are only replaced, so a list of the changes is enough. This
 * file has what all captures share.
 */
import type { RecordChange, SavedRecord, StagedCapture } from '../model/record.js';
import { changeOf, decodeRecord, numberIn } from './records.js';

/** Shared by the parts of one stage's state. */
export interface Tracker {
  /** Prefix of the keys of all records of the stage. */
  prefix: string;
  /** Counts captures. Changes are tracked from the first capture, or from a restore; 0 until then. */
  epoch: number;
  is_running: boolean;
  /** Numbers records, and values that have no other order. */
  next_number: number;
  /**
   * Records numbered from here on are invalid: they were written early for a checkpoint that never committed. The number has a
   * record of its own; 0 is none.
   */
  bound: number;
  /** Keys of records that the next capture removes. */
  obsolete: string[][];
}

/** A part of a stage's state. */
export interface Tracked {
  /** Begins to capture its changes (or everything) as of now; each step of the generator writes one of them. */
  begin(changes: RecordChange[], everything: boolean): Generator<void>;
  /** Restores a record of the part; called in the order of the keys. False if the record can't be used. */
  restore(key: string, content: unknown): boolean;
  /** Called when all of its records have been restored. */
  restored?(): void;
}

/** A part that can be removed while the others stay. */
export interface TrackedBounded extends Tracked {
  /** Marks its records for removal. */
  drop(): void;
}

/** How a value is serialised. */
export interface Form<V> {
  /** In a form that JSON can represent: all numbers finite, and in a list null in place of undefined. */
  save(value: V): unknown;
  /** The value that was saved; undefined if it can't be used. */
  load(content: unknown): V | undefined;
}

/** Options of a capture. */
export interface CaptureOptions {
  /** Capture everything, not only the changes: the caller removes the stage's records that are not among the changes. */
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

/** Begins a capture of these parts. It must be complete before the next begins. */
export function beginCapture(
  tracker: Tracker,
  parts: Iterable<Tracked>,
  { everything = false }: CaptureOptions = {},
): StagedCapture {
  if (tracker.is_running) throw new Error('the previous capture is not complete');
  const all = everything || tracker.epoch === 0;
  tracker.epoch++;
  tracker.is_running = true;
  const rest: RecordChange[] = [];
  // A full rewrite follows a failed write, so the stored bound is unknown: nothing may be written early.
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
    // Writes the bound first: stored records stay valid, early ones are not valid yet.
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

/** 0 if it can't be used. */
function readBound({ key, value }: SavedRecord): number {
  const bound = decodeRecord(key, value);
  return typeof bound === 'number' && Number.isSafeInteger(bound) ? bound : 0;
}

export function* oneAfterAnother(all: Generator<void>[]): Generator<void> {
  for (const each of all) yield* each;
}

/** Restores saved records, and tracks changes from there on. Returns the number of records that could not be used. */
export function restoreParts(
  tracker: Tracker,
  partOf: (key: string) => Tracked | undefined,
  saved: Iterable<SavedRecord>,
): number {
  tracker.epoch = 1;
  let unusable = 0;
  const taken = new Set<Tracked>();
  const records = [...saved].sort(byPlace);
  const bound_record = records.find(({ key }) => key === boundKey(tracker));
  tracker.bound = bound_record === undefined ? 0 : readBound(bound_record);
  if (bound_record !== undefined && tracker.bound === 0) unusable++;
  keepNumbersAbove(tracker, tracker.bound - 1);
  for (const record of records) {
    if (record === bound_record) continue;
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
    // The record is intact but has another form: it was written by another version.
    return false;
  }
}

const depthOf = (key: string): number => key.split('/').length;

/** Shorter paths first: values are restored before what belongs to them. */
const byPlace = ({ key: a }: SavedRecord, { key: b }: SavedRecord): number =>
  depthOf(a) - depthOf(b) || (a < b ? -1 : 1);

/** Makes all numbers that are assigned from here on greater than this one. */
export function keepNumbersAbove(tracker: Tracker, number: number): void {
  tracker.next_number = Math.max(tracker.next_number, number + 1);
}
