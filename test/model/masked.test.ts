import { describe, expect, test } from 'vitest';
import { isMaskOf } from '../../src/model/masked.js';

describe('a masked run id', () => {
  test.each([
    ['a:561707…4b99:yield-1', 'a:561707452823:f75e5b34-1f7e09b44b99:yield-1', true],
    ['a:111111…4b99,a:222222…0c1d:y', 'a:111111222222:f-4b99,a:222222333333:e-0c1d:y', true],
    ['a:561707…4b99:yield-1', 'a:561707452823:f75e5b34-1f7e09b44b99:yield-2', false],
    ['a:561707…4b99:yield-1', 'b:561707452823:f75e5b34-1f7e09b44b99:yield-1', false],
    ['a:1…2…3', 'a:13', false],
    // The pieces must not overlap.
    ['abc…cde', 'abcde', false],
    // Nothing is masked.
    ['run', 'run', false],
  ])('%s masks %s: %s', (told, id, expected) => {
    expect(isMaskOf(told, id)).toBe(expected);
  });
});
