/**
 * The law of a store: after any crash it has the state after some first number of calls, which include all that were
 * reported as written. Here in memory for every possible crash; on LMDB in `processes.test.ts`.
 */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import type { RecordChange } from '../../src/model/record.js';
import type { Store } from '../../src/store/store.js';
import { createFaultyStore } from './faults.js';

const changeArbitrary = fc
  .record({
    key: fc.constantFrom('a', 'b/1', 'b/2', 'c', 'é'),
    value: fc.option(fc.uint8Array({ maxLength: 4 }), { nil: undefined }),
  })
  .map(({ key, value }): RecordChange => (value === undefined ? { key } : { key, value }));

const stateOf = (store: Store): [string, number[]][] =>
  [...store.entries('')].map(({ key, value }) => [key, [...value]]);

function stateAfter(calls: RecordChange[][]): [string, number[]][] {
  const state = new Map<string, number[]>();
  for (const { key, value } of calls.flat()) {
    if (value === undefined) state.delete(key);
    else state.set(key, [...value]);
  }
  return [...state].sort(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
}

test.prop({
  calls: fc.array(fc.array(changeArbitrary, { maxLength: 5 }), { minLength: 1, maxLength: 12 }),
  failing: fc.uniqueArray(fc.integer({ min: 1, max: 12 }), { maxLength: 3 }),
  flushed: fc.nat(12),
})(
  'a crash at any point keeps a prefix of the calls, with all that were reported as written',
  async (script) => {
    const { calls, failing, flushed } = script;
    const store = createFaultyStore((n) => failing.includes(n));
    const told = new Set<number>();
    calls.forEach((changes, i) => {
      void store.write(changes).then(({ ok }) => {
        expect(ok).toBe(!failing.includes(i + 1));
        told.add(i + 1);
      });
    });
    store.flush(flushed);
    await new Promise(setImmediate);
    expect(told.size).toBe(Math.min(flushed, calls.length));
    const { made, durable } = store.calls();
    for (let kept = durable; kept <= made; kept += 1) {
      const found = await store.reopen(kept);
      const succeeded = calls.filter((_, i) => i < kept && !failing.includes(i + 1));
      expect(stateOf(found)).toEqual(stateAfter(succeeded));
    }
  },
);
