/**
 * Which numbers have been seen, as plain data: ranges that do not touch. Events of a run are numbered upwards, with gaps at most, so
 * that one range, or few, is all that there is.
 */
export interface Numbers {
  /** The highest range; where there is none its first number is greater than its last. */
  first: number;
  last: number;
  /** The ranges below it in order, each as its first and its last number; absent where there is none. */
  below: number[] | undefined;
}

/** Over it the lowest range is forgotten. */
export const MAX_RANGES = 1_000;

export const noNumbers = (): Numbers => ({ first: 0, last: -1, below: undefined });

/** All ranges in order, each as its first and its last number. */
export const rangesOf = ({ first, last, below = [] }: Numbers): number[] =>
  first > last ? [] : [...below, first, last];

export function numbersOf(ranges: readonly number[]): Numbers {
  const [first, last] = ranges.slice(-2);
  if (first === undefined || last === undefined) return noNumbers();
  return { first, last, below: ranges.length > 2 ? ranges.slice(0, -2) : undefined };
}

/** The place of the first range that ends at this number or behind it. */
function placeOf(ranges: number[], number: number): number {
  let at = ranges.length;
  while (at > 0 && (ranges[at - 1] ?? 0) >= number) at -= 2;
  return at;
}

/** Adds a number to ranges; false where it was there. */
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

/** Adds a number; false where it was there. */
export function addNumber(numbers: Numbers, number: number): boolean {
  if (number === numbers.last + 1 && numbers.first <= numbers.last) {
    numbers.last = number;
    return true;
  }
  if (number >= numbers.first && number <= numbers.last) return false;
  const ranges = rangesOf(numbers);
  const isNew = addTo(ranges, number);
  if (isNew) Object.assign(numbers, numbersOf(ranges));
  return isNew;
}
