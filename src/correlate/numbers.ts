/**
 * Which numbers have been seen, as plain data: ranges that do not touch, in order, each as its first and its last number. Events
 * of a run are numbered upwards, with gaps at most, so that one range, or few, is all that there is.
 */
export type Numbers = number[];

/** Over it the lowest range is forgotten. */
export const MAX_RANGES = 1_000;

/** The place of the first range that ends at this number or behind it. */
function placeOf(numbers: Numbers, number: number): number {
  let at = numbers.length;
  while (at > 0 && (numbers[at - 1] ?? 0) >= number) at -= 2;
  return at;
}

/** Adds a number; false where it was there. */
export function addNumber(numbers: Numbers, number: number): boolean {
  const at = placeOf(numbers, number);
  const from = numbers[at] ?? Infinity;
  if (from <= number) return false;
  const follows = at > 0 && numbers[at - 1] === number - 1;
  const precedes = from === number + 1;
  if (follows && precedes) numbers.splice(at - 1, 2);
  else if (follows) numbers[at - 1] = number;
  else if (precedes) numbers[at] = number;
  else numbers.splice(at, 0, number, number);
  if (numbers.length > 2 * MAX_RANGES) numbers.splice(0, 2);
  return true;
}
