/** The bound on the disk: what goes first, and what stays. */
import { expect, test } from 'vitest';
import type { Destination, DestinationKeeping } from '../src/model/delivery.js';
import { createRetention } from '../src/retention.js';
import { createMemoryStore } from '../src/store/index.js';

const LIMIT_BYTES = 1_000;

/** A destination that has so many records of 100 bytes on the disk. */
function keeping(name: string, records: number) {
  let left = records;
  const part: Partial<DestinationKeeping> = {
    prefixes: [`outbox/${name}/`],
    bytes: () => left * 100,
    dropOldest: () => left-- > 0,
  };
  return { destination: { name, keeping: part } as Destination, left: () => left };
}

const record = (key: string) => ({ key, value: Buffer.alloc(100) });

test('over four fifths of the bound the oldest of the largest goes', () => {
  const small = keeping('small', 3);
  const large = keeping('large', 9);
  createRetention(createMemoryStore(), [small.destination, large.destination], LIMIT_BYTES).keep();
  expect([small.left(), large.left()]).toEqual([3, 5]);
});

test('where the largest has nothing that can go, the next one gives up its oldest', () => {
  const busy = keeping('busy', 6);
  const { destination } = busy;
  const other = keeping('other', 4);
  const stays = {
    ...destination,
    keeping: { ...destination.keeping, dropOldest: () => false },
  } as Destination;
  createRetention(createMemoryStore(), [stays, other.destination], LIMIT_BYTES).keep();
  expect([busy.left(), other.left()]).toEqual([6, 2]);
});

test('within it everything stays', () => {
  const one = keeping('one', 8);
  const retention = createRetention(createMemoryStore(), [one.destination], LIMIT_BYTES);
  retention.keep();
  expect(one.left()).toBe(8);
  expect(retention.takeChanges()).toEqual([]);
});

test('what is pending for a destination that is no more counts, and is the first to go', async () => {
  const store = createMemoryStore();
  await store.write([
    record('outbox/gone/traces/1'),
    record('outbox/gone/traces/2'),
    record('outbox/one/traces/1'),
  ]);
  const one = keeping('one', 7);
  const retention = createRetention(store, [one.destination], LIMIT_BYTES);
  expect(retention.orphans()).toBe(2);
  retention.keep();
  expect(retention.takeChanges()).toEqual([{ key: 'outbox/gone/traces/1' }]);
  expect(one.left()).toBe(7);
});

test('dead letters over a tenth of the bound: the oldest are thrown away', async () => {
  const store = createMemoryStore();
  await store.write([record('dead/1'), record('dead/2'), record('dead/3')]);
  const retention = createRetention(store, [], LIMIT_BYTES);
  retention.keep();
  expect(retention.takeChanges()).toEqual([{ key: 'dead/1' }, { key: 'dead/2' }]);
});
