/**
 * Recognises the items that the previous process got answers for. Replaying the journal makes them again, and they must not be
 * sent twice.
 */
import { type Id, idKey, readIds } from './id-log.js';

export interface AnsweredBefore {
  isEmpty(): boolean;
  /** Adds the ids in a log. */
  add(ids: Uint8Array): void;
  has(id: Id): boolean;
  /** Removes one item with this id; false if there is none. */
  take(id: Id): boolean;
  clear(): void;
}

export function createAnsweredBefore(): AnsweredBefore {
  /** By id: how many such items there are. */
  const times = new Map<string, number>();
  return {
    isEmpty: () => times.size === 0,
    add(ids) {
      for (const key of readIds(ids)) times.set(key, (times.get(key) ?? 0) + 1);
    },
    has: (id) => times.has(idKey(id)),
    take(id) {
      const key = idKey(id);
      const left = times.get(key);
      if (left === undefined) return false;
      if (left > 1) times.set(key, left - 1);
      else times.delete(key);
      return true;
    },
    clear() {
      times.clear();
    },
  };
}
