import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { addNumber, MAX_RANGES, type Numbers } from '../../src/correlate/numbers.js';

test.prop([fc.array(fc.nat(40), { maxLength: 60 })])(
  'a number is new once, in whatever order they come',
  (all) => {
    const numbers: Numbers = [];
    const seen = new Set<number>();
    for (const number of all) {
      expect(addNumber(numbers, number)).toBe(!seen.has(number));
      seen.add(number);
    }
    const held = [];
    for (let at = 0; at < numbers.length; at += 2)
      for (let number = numbers[at]!; number <= numbers[at + 1]!; number++) held.push(number);
    expect(held).toEqual([...seen].sort((a, b) => a - b));
    // Ranges that touch are one.
    for (let at = 2; at < numbers.length; at += 2) expect(numbers[at]).toBeGreaterThan(numbers[at - 1]! + 1);
  },
);

test('over the bound the lowest are forgotten', () => {
  const numbers: Numbers = [];
  for (let number = 0; number <= 2 * MAX_RANGES; number += 2) addNumber(numbers, number);
  expect(numbers).toHaveLength(2 * MAX_RANGES);
  expect(addNumber(numbers, 2 * MAX_RANGES)).toBe(false);
  expect(addNumber(numbers, 0)).toBe(true);
});
