import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { createAttributeCache } from '../../src/export/attribute-cache.js';
import type { Attributes, AttributeValue } from '../../src/model/telemetry.js';

const value: fc.Arbitrary<AttributeValue | undefined> = fc.constantFrom(
  '',
  'a',
  'b',
  '1',
  1,
  true,
  ['a'],
  undefined,
);
const attributes: fc.Arbitrary<Attributes> = fc.dictionary(fc.constantFrom('', 'a', 'b', '1', 'c'), value);

property.prop([fc.array(attributes, { maxLength: 60 })])(
  'a cached value was made from the same attributes',
  (asked) => {
    const remembered = createAttributeCache((of) => ({ made: JSON.stringify(of) }));
    for (const of of asked) expect(remembered(of).made).toBe(JSON.stringify(of));
  },
);

function counting() {
  let made = 0;
  return { find: createAttributeCache(() => ({ made: ++made })), made: () => made };
}

test('a value is made once for each set of attributes', () => {
  const { find, made } = counting();
  for (let round = 0; round < 3; round++) {
    find({ a: 'x', b: undefined, c: 1 });
    find({ a: 'x', c: 1 });
    find({ a: 'x' });
  }
  expect(made()).toBe(2);
});

test('the cache holds neither too many sets nor long ones', () => {
  const { find, made } = counting();
  const SETS = 20_000;
  for (let round = 0; round < 2; round++) for (let set = 0; set < SETS; set++) find({ a: `${set}` });
  expect(made()).toBeGreaterThan(SETS * 1.5);
  const before = made();
  for (let round = 0; round < 2; round++) find({ a: 'x'.repeat(10_000) });
  expect(made() - before).toBe(2);
});
