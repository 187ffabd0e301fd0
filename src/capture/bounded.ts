/**
 * Sets and maps that forget what has not been used for long, as plain data. Each has a young and an old generation: when
 * the young one is full it becomes the old one, and what was in that is forgotten. So no entry has to be looked for to be
 * thrown out, which in a set that is always full costs more than everything else that is done with it.
 *
 * Their values are never changed, only replaced: so whoever tracks a map (see `tracked-bounded.ts`) can write an entry down later.
 */

export interface Generation<V> {
  /** In the order in which they were set last. */
  entries: Map<string, V>;
  /** Counts up from one generation to the next. */
  number: number;
  /** Where the map is tracked: key, value, key, value, … as they were set since the last capture; undefined is removed. */
  changed: unknown[];
  /** Keys of the records that it is written down in, and how many changes these hold. */
  records: string[];
  recorded: number;
}

/** What may be tracked. */
export interface Tracking {
  tracker?: { epoch: number; obsolete: string[][] };
}

export interface BoundedMap<V> extends Tracking {
  young: Generation<V>;
  old: Generation<V>;
}

export type BoundedSet = BoundedMap<true>;

const createGeneration = <V>(number: number): Generation<V> => ({
  entries: new Map(),
  number,
  changed: [],
  records: [],
  recorded: 0,
});

export const createBoundedMap = <V>(): BoundedMap<V> => ({
  young: createGeneration(1),
  old: createGeneration(0),
});

export const isTracked = ({ tracker }: Tracking): boolean => tracker !== undefined && tracker.epoch > 0;

/** Begins a generation; the one before the last is forgotten. */
export const beginGeneration = (map: BoundedMap<unknown>, number: number): void =>
  turn(map, createGeneration(number));

/** Makes a generation the young one of whatever has two of them. */
export function turn<G extends { records: string[] }>(of: Tracking & { young: G; old: G }, next: G): void {
  // A capture that is under way may still add records to it.
  if (isTracked(of)) of.tracker?.obsolete.push(of.old.records);
  of.old = of.young;
  of.young = next;
}

/** A key that is set twice in a row leaves one change, with the later value. */
function noteChange(changed: unknown[], key: string, value: unknown): void {
  if (changed.at(-2) === key) changed[changed.length - 1] = value;
  else changed.push(key, value);
}

/** Sets an entry; at least the `max / 2` latest ones and at most `max` are remembered. */
export function setEntry<V>(map: BoundedMap<V>, key: string, value: V, max: number): void {
  if (map.young.entries.size >= max / 2 && !map.young.entries.has(key))
    beginGeneration(map, map.young.number + 1);
  const { entries } = map.young;
  const before = entries.size;
  entries.set(key, value);
  // One that was there goes to the end of the order.
  if (entries.size === before) {
    entries.delete(key);
    entries.set(key, value);
  }
  if (isTracked(map)) noteChange(map.young.changed, key, value);
}

export const getEntry = <V>({ young, old }: BoundedMap<V>, key: string): V | undefined =>
  young.entries.get(key) ?? old.entries.get(key);

/** Gets an entry, and counts that as a use of it. */
export function useEntry<V>(map: BoundedMap<V>, key: string, max: number): V | undefined {
  const young = map.young.entries.get(key);
  if (young !== undefined) return young;
  const old = map.old.entries.get(key);
  if (old !== undefined) setEntry(map, key, old, max);
  return old;
}

export function deleteEntry<V>(map: BoundedMap<V>, key: string): void {
  for (const generation of [map.young, map.old]) {
    if (generation.entries.delete(key) && isTracked(map)) generation.changed.push(key, undefined);
  }
}

/** All entries; those that have not been used for longest come first. */
export const entriesOf = <V>({ young, old }: BoundedMap<V>): [string, V][] => [
  ...new Map([...old.entries, ...young.entries]),
];

export const createBoundedSet = (): BoundedSet => createBoundedMap();

export const addMember = (set: BoundedSet, member: string, max: number): void =>
  setEntry(set, member, true, max);

export const hasMember = ({ young, old }: BoundedSet, member: string): boolean =>
  young.entries.has(member) || old.entries.has(member);

/** A queue: the oldest item first. */
export interface Queue<T> {
  items: T[];
  head: number;
}

export const createQueue = <T>(): Queue<T> => ({ items: [], head: 0 });

const queueLength = ({ items, head }: Queue<unknown>): number => items.length - head;

export function takeOldest<T>(queue: Queue<T>): T | undefined {
  const oldest = queue.items[queue.head];
  if (oldest === undefined) return undefined;
  queue.head++;
  // What has been taken is let go of now and then, not each time.
  if (queue.head > 1_000 && queue.head * 2 > queue.items.length) {
    queue.items = queue.items.slice(queue.head);
    queue.head = 0;
  }
  return oldest;
}

/** Items that have left may keep their places: as many as there are wanted ones, and so many more. */
const SPARE_PLACES = 1_000;

/**
 * Adds an item to a queue whose items leave it from anywhere, by no longer being wanted: each of these keeps its place until it is
 * taken, or until there are too many of them. `wanted`: how many items are wanted now.
 */
export function enqueue<T>(queue: Queue<T>, item: T, wanted: number, isWanted: (item: T) => boolean): void {
  queue.items.push(item);
  if (queueLength(queue) <= 2 * wanted + SPARE_PLACES) return;
  queue.items = queue.items.slice(queue.head).filter(isWanted);
  queue.head = 0;
}
