/**
 * Maps and sets with a size limit, as plain data. Each has a young and an old generation; when the young one is full it becomes
 * the old one, and the previous old one is discarded. Eviction costs one pointer swap, not a search per insertion.
 *
 * Values are never changed, only replaced, so a tracker (see `tracked-bounded.ts`) can write an entry later.
 */

export interface Generation<V> {
  /** In the order in which they were last set. */
  entries: Map<string, V>;
  /** Counts up from one generation to the next. */
  number: number;
  /**
   * If the map is tracked: the changes since the last capture, as key, value, key, value, …; an undefined value is a removal.
   */
  changed: unknown[];
  /** Keys of the records that hold this generation, and the number of changes in them. */
  records: string[];
  recorded: number;
}

/** A collection that can be tracked. */
export interface Tracking {
  tracker?: { epoch: number; obsolete: string[][] };
}

export interface BoundedMap<V> extends Tracking {
  /** At least the latest `max / 2` entries and at most `max` are remembered. */
  max: number;
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

export const createBoundedMap = <V>(max: number): BoundedMap<V> => ({
  max,
  young: createGeneration(1),
  old: createGeneration(0),
});

export const isTracked = ({ tracker }: Tracking): boolean => tracker !== undefined && tracker.epoch > 0;

/** Begins a generation; the one before the last is discarded. */
export const beginGeneration = (map: BoundedMap<unknown>, number: number): void =>
  turn(map, createGeneration(number));

/** Makes `next` the young generation of a map or a set, and the young one the old. */
export function turn<G extends { records: string[] }>(of: Tracking & { young: G; old: G }, next: G): void {
  // The list itself is handed over, since a capture in progress may still add records to it.
  if (isTracked(of)) of.tracker?.obsolete.push(of.old.records);
  of.old = of.young;
  of.young = next;
}

/** Setting the same key twice in a row leaves one change, with the later value. */
function noteChange(changed: unknown[], key: string, value: unknown): void {
  if (changed.at(-2) === key) changed[changed.length - 1] = value;
  else changed.push(key, value);
}

export function setEntry<V>(map: BoundedMap<V>, key: string, value: V): void {
  if (map.young.entries.size >= map.max / 2 && !map.young.entries.has(key))
    beginGeneration(map, map.young.number + 1);
  const { entries } = map.young;
  const before = entries.size;
  entries.set(key, value);
  // Moves a key that was there to the end of the order.
  if (entries.size === before) {
    entries.delete(key);
    entries.set(key, value);
  }
  if (isTracked(map)) noteChange(map.young.changed, key, value);
}

export const getEntry = <V>({ young, old }: BoundedMap<V>, key: string): V | undefined =>
  young.entries.get(key) ?? old.entries.get(key);

/** Gets an entry, and counts that as a use: an entry of the old generation moves to the young one. */
export function useEntry<V>(map: BoundedMap<V>, key: string): V | undefined {
  const young = map.young.entries.get(key);
  if (young !== undefined) return young;
  const old = map.old.entries.get(key);
  if (old !== undefined) setEntry(map, key, old);
  return old;
}

export function deleteEntry<V>(map: BoundedMap<V>, key: string): void {
  for (const generation of [map.young, map.old]) {
    if (generation.entries.delete(key) && isTracked(map)) generation.changed.push(key, undefined);
  }
}

/** All entries, those of the old generation first. */
export const entriesOf = <V>({ young, old }: BoundedMap<V>): [string, V][] => [
  ...new Map([...old.entries, ...young.entries]),
];

export const createBoundedSet = (max: number): BoundedSet => createBoundedMap(max);

export const addMember = (set: BoundedSet, member: string): void => setEntry(set, member, true);

export const hasMember = ({ young, old }: BoundedSet, member: string): boolean =>
  young.entries.has(member) || old.entries.has(member);

/** A queue, oldest item first. */
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
  // The list is shortened now and then, not each time.
  if (queue.head > 1_000 && queue.head * 2 > queue.items.length) {
    queue.items = queue.items.slice(queue.head);
    queue.head = 0;
  }
  return oldest;
}

/** Unwanted items that may stay in a queue beyond the number of wanted ones. */
const SPARE_PLACES = 1_000;

/**
 * Appends an item. Items that are no longer wanted are removed lazily, when the queue is longer than 2 × `wanted` + 1,000.
 * `wanted`: how many items are wanted now.
 */
export function enqueue<T>(queue: Queue<T>, item: T, wanted: number, isWanted: (item: T) => boolean): void {
  queue.items.push(item);
  if (queueLength(queue) <= 2 * wanted + SPARE_PLACES) return;
  queue.items = queue.items.slice(queue.head).filter(isWanted);
  queue.head = 0;
}
