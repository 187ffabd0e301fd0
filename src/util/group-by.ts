/**
 * Groups items; later versions of Node.js have `Map.groupBy`.
 */

/** The groups are in the order of their first items. */
export function groupBy<T, G>(items: readonly T[], groupOf: (item: T, place: number) => G): Map<G, T[]> {
  const groups = new Map<G, T[]>();
  items.forEach((item, place) => {
    const group = groupOf(item, place);
    const known = groups.get(group);
    if (known === undefined) groups.set(group, [item]);
    else known.push(item);
  });
  return groups;
}
