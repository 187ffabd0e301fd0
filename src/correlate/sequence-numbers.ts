/**
 * Which sequence numbers have been seen, as plain data: ranges that do not touch. The numbers of a run's events ascend, with
 * gaps at most, so there is one range or a few.
 */

/** Fields of the object whose numbers they are: an object of its own would take as much memory again. */
export interface Seen {
  /** The highest range; if there is none, its first number is greater than its last. */
  first_seen: number;
  last_seen: number;
  /** The ranges below it in ascending order, each as its first and its last number; undefined if there are none. */
  seen_below: number[] | undefined;
}

/** Maximum number of ranges; over it the lowest is forgotten. */
export const MAX_RANGES = 1_000;

export const noneSeen = (): Seen => ({ first_seen: 0, last_seen: -1, seen_below: undefined });

/** All ranges in ascending order, each as its first and its last number. */
export const rangesOf = ({ first_seen, last_seen, seen_below = [] }: Seen): number[] =>
  first_seen > last_seen ? [] : [...seen_below, first_seen, last_seen];

export function seenOf(ranges: readonly number[]): Seen {
  const [first_seen, last_seen] = ranges.slice(-2);
  if (first_seen === undefined || last_seen === undefined) return noneSeen();
  return { first_seen, last_seen, seen_below: ranges.length > 2 ? ranges.slice(0, -2) : undefined };
}

/** Whether a number is missing between the first one that was seen and this one, which was seen, too. */
export const isGapBefore = ({ seen_below }: Seen, number: number): boolean =>
  seen_below !== undefined && number > (seen_below[1] ?? Infinity);

/** Index of the first range that ends at or after this number. */
function placeOf(ranges: number[], number: number): number {
  let at = ranges.length;
  while (at > 0 && (ranges[at - 1] ?? 0) >= number) at -= 2;
  return at;
}

/** Adds a number to ranges; false if it was there already. */
function addTo(ranges: number[], number: number): boolean {
  const at = placeOf(ranges, number);
  const from = ranges[at] ?? Infinity;
  if (from <= number) return false;
  const follows = at > 0 && ranges[at - 1] === number - 1;
  const precedes = from === number + 1;
  if (follows && precedes) ranges.splice(at - 1, 2);
  else if (follows) ranges[at - 1] = number;
  else if (precedes) ranges[at] = number;
  else ranges.splice(at, 0, number, number);
  if (ranges.length > 2 * MAX_RANGES) ranges.splice(0, 2);
  return true;
}

/** Adds a number; false if it was there already. */
export function addNumber(seen: Seen, number: number): boolean {
  if (number === seen.last_seen + 1 && seen.first_seen <= seen.last_seen) {
    seen.last_seen = number;
    return true;
  }
  if (number >= seen.first_seen && number <= seen.last_seen) return false;
  const ranges = rangesOf(seen);
  const isNew = addTo(ranges, number);
  if (isNew) Object.assign(seen, seenOf(ranges));
  return isNew;
}
