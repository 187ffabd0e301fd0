/** The limit on disk space: what is dropped first, and what stays. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Destination, DestinationOutbox } from '../../src/model/delivery.js';
import { createRetention } from '../../src/persistence/retention.js';
import type { Store } from '../../src/store/index.js';
import { createMemoryStore } from '../store/memory.js';

const LIMIT_BYTES = 1_000;

/** A destination with `records` records of 100 bytes on the disk. */
function outbox(name: string, records: number) {
  let left = records;
  const part: Partial<DestinationOutbox> = {
    prefixes: [`outbox/${name}/`],
    bytes: () => left * 100,
    dropOldest: () => left-- > 0,
  };
  return { destination: { name, outbox: part } as Destination, left: () => left };
}

/** A store that notes in `read` what is read. Of the records under a prefix, only the latest one returned is usable. */
function createWatchedStore() {
  const inner = createMemoryStore();
  const read: string[] = [];
  function* entries(prefix: string): ReturnType<Store['entries']> {
    read.push(prefix);
    for (const { key, value } of inner.entries(prefix)) {
      const given = new Uint8Array(value);
      yield { key, value: given };
      // Detaches the buffer: a value that the caller still holds is empty now.
      structuredClone(given, { transfer: [given.buffer] });
    }
  }
  function get(key: string): Uint8Array | undefined {
    read.push(key);
    return inner.get(key);
  }
  return { store: { ...inner, entries, get }, read };
}

const record = (key: string) => ({ key, value: Buffer.alloc(100) });

test('over three quarters of the limit, the oldest data of the largest destination is dropped', async () => {
  const small = outbox('small', 3);
  const large = outbox('large', 9);
  await createRetention(createMemoryStore(), [small.destination, large.destination], LIMIT_BYTES).enforce();
  expect([small.left(), large.left()]).toEqual([3, 4]);
});

test('if the largest destination can drop nothing, the next largest drops its oldest data', async () => {
  const busy = outbox('busy', 6);
  const { destination } = busy;
  const other = outbox('other', 4);
  const stays = {
    ...destination,
    outbox: { ...destination.outbox, dropOldest: () => false },
  } as Destination;
  await createRetention(createMemoryStore(), [stays, other.destination], LIMIT_BYTES).enforce();
  expect([busy.left(), other.left()]).toEqual([6, 1]);
});

test('within the limit everything stays', async () => {
  const one = outbox('one', 7);
  const retention = createRetention(createMemoryStore(), [one.destination], LIMIT_BYTES);
  await retention.enforce();
  expect(one.left()).toBe(7);
  expect(retention.takeChanges()).toEqual([]);
});

test.each([
  ['what else is in the store leaves less for pending data', 300, 4],
  ['but never less than a fifth of the limit', 900, 2],
])('%s', async (_what, other_bytes, left) => {
  const one = outbox('one', 7);
  const store = { ...createMemoryStore(), usedBytes: () => 700 + other_bytes };
  await createRetention(store, [one.destination], LIMIT_BYTES).enforce();
  expect(one.left()).toBe(left);
});

test('data that is pending for a destination that no longer exists counts, and is dropped first', async () => {
  const store = createMemoryStore();
  await store.write([
    record('outbox/gone/traces/1'),
    record('outbox/gone/traces/2'),
    record('outbox/one/traces/1'),
  ]);
  const one = outbox('one', 6);
  const retention = createRetention(store, [one.destination], LIMIT_BYTES);
  expect(retention.orphans()).toBe(2);
  await retention.enforce();
  expect(retention.takeChanges()).toEqual([{ key: 'outbox/gone/traces/1' }]);
  expect(one.left()).toBe(6);
});

test('over a tenth of the limit, the oldest dead letters are deleted', async () => {
  const store = createMemoryStore();
  await store.write([record('dead/1'), record('dead/2'), record('dead/3')]);
  const retention = createRetention(store, [], LIMIT_BYTES);
  await retention.enforce();
  expect(retention.takeChanges()).toEqual([{ key: 'dead/1' }, { key: 'dead/2' }]);
  expect(retention.takeChanges()).toEqual([]);
});

test('of the pending data, only that of destinations that no longer exist is read', async () => {
  const { store, read } = createWatchedStore();
  await store.write([record('outbox/gone/traces/1'), record('outbox/one/traces/1')]);
  createRetention(store, [outbox('one', 1).destination], LIMIT_BYTES);
  expect(read).toEqual(['outbox/gone/traces/1']);
});

test('dead letters are never in memory all at once', async () => {
  const { store } = createWatchedStore();
  await store.write([record('dead/1'), record('dead/2'), record('dead/3')]);
  const retention = createRetention(store, [], LIMIT_BYTES);
  await retention.enforce();
  expect(retention.takeChanges()).toEqual([{ key: 'dead/1' }, { key: 'dead/2' }]);
});

test('dead letters are not read again before enough have come to exceed their limit', async () => {
  const { store, read } = createWatchedStore();
  const bury = async (key: string): Promise<void> => {
    retention.note([record(key)]);
    await store.write([record(key)]);
  };
  const keepLong = async (): Promise<void> => {
    for (let checkpoint = 0; checkpoint < 20; checkpoint++) await retention.enforce();
  };
  const retention = createRetention(store, [], LIMIT_BYTES);
  await keepLong();
  const read_first = read.length;
  await bury('dead/1');
  await keepLong();
  expect(read).toHaveLength(read_first);
  expect(retention.takeChanges()).toEqual([]);
  await bury('dead/2');
  const read_second = read.length;
  await keepLong();
  expect(retention.takeChanges()).toEqual([{ key: 'dead/1' }]);
  // Even then not at each checkpoint. Each time they are read twice: for their size, and for those over the limit.
  for (let checkpoint = 0; checkpoint < 24; checkpoint++) {
    retention.note([{ key: 'dead/3', value: Buffer.alloc(1) }]);
    await retention.enforce();
  }
  expect(read.length - read_second).toBeLessThanOrEqual(2 * 3);
});

test('between checkpoints, dead letters are only read and deleted if they are twice what they may be', async () => {
  const { store, read } = createWatchedStore();
  const retention = createRetention(store, [], LIMIT_BYTES);
  await retention.enforceBetween();
  const read_first = read.length;
  const letters = [record('dead/1'), record('dead/2'), record('dead/3')];
  await store.write(letters);
  retention.note(letters.slice(0, 2));
  await retention.enforceBetween();
  expect(read).toHaveLength(read_first);
  retention.note(letters.slice(2));
  await Promise.all([retention.enforceBetween(), retention.enforceBetween()]);
  expect(retention.takeChanges()).toEqual([{ key: 'dead/1' }, { key: 'dead/2' }]);
});

test('reading many dead letters does not hold up everything else', async () => {
  const store = createMemoryStore();
  const letters = Array.from({ length: 8 }, (_, number) => ({
    key: `dead/${number}`,
    value: Buffer.alloc(512 * 1024),
  }));
  await store.write(letters);
  const retention = createRetention(store, [], 10 * 1024 * 1024);
  let turns = 0;
  let is_done = false;
  const saved = retention.enforce().then(() => {
    is_done = true;
  });
  for (; !is_done; turns++) await nextTurn();
  await saved;
  expect(turns).toBeGreaterThan(4);
  expect(retention.takeChanges()).toHaveLength(6);
});
