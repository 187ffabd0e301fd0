/**
 * Collections of a run that mostly have few entries and occasionally thousands, by id: a list that is searched while it is
 * short, a map once it is long. A map by itself takes four times the memory of the single entry that most collections have.
 */

/** In order of insertion. */
export type SmallMap<V> = readonly V[] | ReadonlyMap<string, V>;

/** Up to this length, searching a list costs no more than a map. */
const MAX_LIST = 16;

/** The one empty collection, shared by all and never changed in place. */
const NONE: readonly never[] = [];

/** The initial value of every collection. */
export const emptyMap = <V>(): SmallMap<V> => NONE;

/** Operations on collections of one kind of entry. */
export interface SmallMapOperations<V> {
  find(map: SmallMap<V>, id: string): V | undefined;
  /** Adds an entry, in place of one with the same id. It may change the given collection: assign the result. */
  add(map: SmallMap<V>, value: V): SmallMap<V>;
  /** Removes the entry with that id. It may change the given collection: assign the result. */
  remove(map: SmallMap<V>, id: string): SmallMap<V>;
}

export const sizeOf = (map: SmallMap<unknown>): number =>
  map instanceof Map ? map.size : (map as []).length;

export const valuesOf = <V>(map: SmallMap<V>): readonly V[] =>
  map instanceof Map ? [...map.values()] : (map as readonly V[]);

export function smallMapOf<V>(idOf: (value: V) => string): SmallMapOperations<V> {
  const placeOf = (list: readonly V[], id: string): number => list.findIndex((value) => idOf(value) === id);
  const toMap = (list: readonly V[]): Map<string, V> => new Map(list.map((value) => [idOf(value), value]));
  return {
    find: (map, id) =>
      map instanceof Map ? map.get(id) : (map as readonly V[]).find((value) => idOf(value) === id),
    add(map, value) {
      if (map instanceof Map) return map.set(idOf(value), value);
      const list = map as readonly V[];
      const at = placeOf(list, idOf(value));
      if (at !== -1) return list.with(at, value);
      // `push` would reserve room for sixteen more entries.
      const longer = list.length === 0 ? [value] : list.concat([value]);
      return longer.length <= MAX_LIST ? longer : toMap(longer);
    },
    remove(map, id) {
      if (map instanceof Map) {
        map.delete(id);
        return map.size > 0 ? map : NONE;
      }
      const list = map as readonly V[];
      if (list.length === 1 && idOf(list[0] as V) === id) return NONE;
      const at = placeOf(list, id);
      return at === -1 ? list : list.toSpliced(at, 1);
    },
  };
}
