import { fc, test as property } from '@fast-check/vitest';
import { expect } from 'vitest';
import { createIdLog, type Id, idKey, readIds } from '../../src/export/id-log.js';

const text = fc.string({ unit: fc.constantFrom(...'0123456789abcdef +._'), maxLength: 60 });
const id = fc.array(fc.oneof(text, fc.double({ noNaN: true })), { maxLength: 4 });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.array(id, { minLength: 1, maxLength: 100 }) },
  fc.constant('take' as const),
  fc.constant('put back' as const),
);

property.prop([fc.array(step, { maxLength: 40 })])(
  'returns the same ids as a list, in the same order',
  (steps) => {
    const log = createIdLog();
    let expected: Id[] = [];
    let taken: { bytes: Uint8Array; ids: Id[] } = { bytes: new Uint8Array(), ids: [] };
    for (const each of steps) {
      if (each === 'take') {
        taken = { bytes: log.take(), ids: expected };
        expect(readIds(taken.bytes)).toEqual(taken.ids.map(idKey));
        expected = [];
      } else if (each === 'put back') {
        log.putBack(taken.bytes);
        expected = [...taken.ids, ...expected];
      } else {
        for (const added of each) log.add(added);
        expected = [...expected, ...each];
      }
    }
    expect(readIds(log.take())).toEqual(expected.map(idKey));
  },
);

property.prop([text, text, fc.double({ noNaN: true }), fc.double({ noNaN: true })])(
  'different ids have different keys',
  (a, b, c, d) => {
    expect(idKey([a]) === idKey([b])).toBe(a === b);
    expect(idKey([c]) === idKey([d])).toBe(Object.is(c, d));
  },
);
