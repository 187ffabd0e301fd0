/**
 * Collections of a run that mostly have few entries and occasionally thousands, by id: a list that is searched while it is
 * short, a map once it is long. A map by itself takes four times the memory of the single entry that most collections have.
 */

/** In order of insertion. */
export type Few<V> = readonly V[] | ReadonlyMap<string, V>;

/** Up to this length, searching a list costs no more than a map. */
const MAX_LIST = 16;

/** The one empty collection, shared by all and never changed in place. */
const NONE: readonly never[] = [];

/** The initial value of every collection. */
export const none = <V>(): Few<V> => NONE;

/** Operations on collections of one kind of entry. */
export interface FewOf<V> {
  find(few: Few<V>, id: string): V | undefined;
  /** Adds an entry, in place of one with the same id. It may change the given collection: assign the result. */
  add(few: Few<V>, value: V): Few<V>;
  /** Removes the entry with that id. It may change the given collection: assign the result. */
  remove(few: Few<V>, id: string): Few<V>;
}

export const countOf = (few: Few<unknown>): number => (few instanceof Map ? few.size : (few as []).length);

export const listOf = <V>(few: Few<V>): readonly V[] =>
  few instanceof Map ? [...few.values()] : (few as readonly V[]);

export function fewOf<V>(idOf: (value: V) => string): FewOf<V> {
  const placeOf = (list: readonly V[], id: string): number => list.findIndex((value) => idOf(value) === id);
  const toMap = (list: readonly V[]): Map<string, V> => new Map(list.map((value) => [idOf(value), value]));
  return {
    find: (few, id) =>
      few instanceof Map ? few.get(id) : (few as readonly V[]).find((value) => idOf(value) === id),
    add(few, value) {
      if (few instanceof Map) return few.set(idOf(value), value);
      const list = few as readonly V[];
      const at = placeOf(list, idOf(value));
      if (at !== -1) return list.with(at, value);
      // `push` would reserve room for sixteen more entries.
      const longer = list.length === 0 ? [value] : list.concat([value]);
      return longer.length <= MAX_LIST ? longer : toMap(longer);
    },
    remove(few, id) {
      if (few instanceof Map) {
        few.delete(id);
        return few.size > 0 ? few : NONE;
      }
      const list = few as readonly V[];
      if (list.length === 1 && idOf(list[0] as V) === id) return NONE;
      const at = placeOf(list, id);
      return at === -1 ? list : list.toSpliced(at, 1);
    },
  };
}
