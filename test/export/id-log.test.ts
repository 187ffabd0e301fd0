import { fc, test as property } from '@fast-check/vitest';
import { expect } from 'vitest';
import { createIdLog, readIds } from '../../src/export/id-log.js';

const id = fc.string({ unit: fc.constantFrom(...'0123456789abcdef +._'), minLength: 1, maxLength: 60 });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.array(id, { minLength: 1, maxLength: 100 }) },
  fc.constant('take' as const),
  fc.constant('put back' as const),
);

property.prop([fc.array(step, { maxLength: 40 })])('gives out what a list would, in its order', (steps) => {
  const log = createIdLog();
  let expected: string[] = [];
  let taken: { bytes: Uint8Array; ids: string[] } = { bytes: new Uint8Array(), ids: [] };
  for (const each of steps) {
    if (each === 'take') {
      taken = { bytes: log.take(), ids: expected };
      expect(readIds(taken.bytes)).toEqual(taken.ids);
      expected = [];
    } else if (each === 'put back') {
      log.putBack(taken.bytes);
      expected = [...taken.ids, ...expected];
    } else {
      for (const added of each) log.add(added);
      expected = [...expected, ...each];
    }
  }
  expect(readIds(log.take())).toEqual(expected);
});
