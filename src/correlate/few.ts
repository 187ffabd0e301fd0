/**
 * What a run has a few of, and now and then thousands, by their ids: a list that is searched while it is short, and a map once it
 * is long. A map alone takes four times the memory of the one entry that most have.
 */

/** In the order of their coming. */
export type Few<V> = readonly V[] | ReadonlyMap<string, V>;

/** What is looked for costs as much in a list of so many as in a map. */
const MAX_LIST = 16;

/** Never changed in place: all collections that are empty are this one. */
const NONE: readonly never[] = [];

/** What every run begins with. */
export const none = <V>(): Few<V> => NONE;

/** How the entries of one kind are told apart. */
export interface FewOf<V> {
  find(few: Few<V>, id: string): V | undefined;
  /** The collection with this entry, in place of another of its id. It may change what it is given: assign what it returns. */
  add(few: Few<V>, value: V): Few<V>;
  /** The collection without that entry. It may change what it is given: assign what it returns. */
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
      // A list that is pushed to has room for sixteen more.
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
