import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { addNumber, MAX_RANGES, noneSeen, rangesOf, seenOf } from '../../src/correlate/sequence-numbers.js';

test.prop([fc.array(fc.nat(40), { maxLength: 60 })])('each number is new once, in any order', (all) => {
  let numbers = noneSeen();
  const seen = new Set<number>();
  for (const number of all) {
    expect(addNumber(numbers, number)).toBe(!seen.has(number));
    seen.add(number);
    // Converting to ranges and back changes nothing.
    numbers = seenOf(rangesOf(numbers));
  }
  const held = [];
  const ranges = rangesOf(numbers);
  for (let at = 0; at < ranges.length; at += 2)
    for (let number = ranges[at]!; number <= ranges[at + 1]!; number++) held.push(number);
  expect(held).toEqual([...seen].sort((a, b) => a - b));
  // Adjacent ranges are merged.
  for (let at = 2; at < ranges.length; at += 2) expect(ranges[at]).toBeGreaterThan(ranges[at - 1]! + 1);
});

test('over the limit the lowest ranges are forgotten', () => {
  const numbers = noneSeen();
  for (let number = 0; number <= 2 * MAX_RANGES; number += 2) addNumber(numbers, number);
  expect(rangesOf(numbers)).toHaveLength(2 * MAX_RANGES);
  expect(addNumber(numbers, 2 * MAX_RANGES)).toBe(false);
  expect(addNumber(numbers, 0)).toBe(true);
});
