/**
 * Sets and maps that forget what has not been used for long, as plain data that can be copied. Each has a young and an old
 * generation: when the young one is full it becomes the old one, and what was in that is forgotten. So no entry has to be
 * looked for to be thrown out, which in a set that is always full costs more than everything else that is done with it.
 */

export interface BoundedSet {
  young: Set<string>;
  old: Set<string>;
}

export interface BoundedMap<V> {
  young: Map<string, V>;
  old: Map<string, V>;
}

export const createBoundedSet = (): BoundedSet => ({ young: new Set(), old: new Set() });
export const createBoundedMap = <V>(): BoundedMap<V> => ({ young: new Map(), old: new Map() });

/** Adds a member; at least the `max / 2` latest ones and at most `max` are remembered. */
export function addMember(set: BoundedSet, member: string, max: number): void {
  if (set.young.size >= max / 2) {
    set.old = set.young;
    set.young = new Set();
  }
  set.young.add(member);
}

export const hasMember = ({ young, old }: BoundedSet, member: string): boolean =>
  young.has(member) || old.has(member);

/** True where it was there. */
export function deleteMember({ young, old }: BoundedSet, member: string): boolean {
  const wasYoung = young.delete(member);
  return old.delete(member) || wasYoung;
}

export function setEntry<V>(map: BoundedMap<V>, key: string, value: V, max: number): void {
  if (map.young.size >= max / 2 && !map.young.has(key)) {
    map.old = map.young;
    map.young = new Map();
  }
  map.young.set(key, value);
}

export const getEntry = <V>({ young, old }: BoundedMap<V>, key: string): V | undefined =>
  young.get(key) ?? old.get(key);

/** Gets an entry, and counts that as a use of it. */
export function useEntry<V>(map: BoundedMap<V>, key: string, max: number): V | undefined {
  const value = getEntry(map, key);
  if (value !== undefined && !map.young.has(key)) setEntry(map, key, value, max);
  return value;
}

export function deleteEntry<V>({ young, old }: BoundedMap<V>, key: string): void {
  young.delete(key);
  old.delete(key);
}

/** A queue of keys: the oldest first. */
export interface KeyQueue {
  keys: string[];
  head: number;
}

export const createKeyQueue = (): KeyQueue => ({ keys: [], head: 0 });

export const queueLength = ({ keys, head }: KeyQueue): number => keys.length - head;

export function takeOldest(queue: KeyQueue): string | undefined {
  const oldest = queue.keys[queue.head];
  if (oldest === undefined) return undefined;
  queue.head++;
  // What has been taken is let go of now and then, not each time.
  if (queue.head > 1_000 && queue.head * 2 > queue.keys.length) {
    queue.keys = queue.keys.slice(queue.head);
    queue.head = 0;
  }
  return oldest;
}
