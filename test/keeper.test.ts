/** What is written down and when, also where the disk refuses some of it. */
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createKeeper } from '../src/keeper.js';
import { openKept } from '../src/kept.js';
import type { Destination, DestinationKeeping } from '../src/model/delivery.js';
import type { RecordChange } from '../src/model/record.js';
import { createMemoryStore } from '../src/store/index.js';
import { gatherFor, type Store } from '../src/store/store.js';

const NO_ANSWERS = { ids: new Uint8Array(), places: {} };

/** A keeper of one destination, whose store refuses what is written while it is full. */
function open() {
  const inner = createMemoryStore();
  const state = { is_full: false, now_ms: 0, collections_ms: [] as number[] };
  let outgoing: RecordChange[] = [];
  let collected: RecordChange[] = [];
  const write: Store['write'] = async (changes) =>
    state.is_full ? { ok: false, message: 'full' } : inner.write(changes);
  const keeping: Partial<DestinationKeeping> = {
    prefixes: [],
    takeAnswers: () => ({
      ...(outgoing.length > 0 ? { traces: { changes: outgoing.splice(0), answers: NO_ANSWERS } } : {}),
      ...(collected.length > 0 ? { metrics: { changes: collected.splice(0), answers: NO_ANSWERS } } : {}),
    }),
    capture: () => ({ changes: [], take: () => [], advance: () => true, written: () => undefined }),
    bytes: () => 0,
    isPressed: () => false,
    setWritable: () => undefined,
    memory_limit_bytes: 1e9,
  };
  const destination: Partial<Destination> = {
    name: 'a',
    keeping: keeping as DestinationKeeping,
    collectMetrics: async () => void state.collections_ms.push(state.now_ms),
    // It is answered at once.
    sendMetrics: () => {
      collected = [{ key: 'outbox/a/metrics/1' }];
    },
  };
  const keeper = createKeeper(openKept({ ...inner, write, gather: () => gatherFor(write) }, 'run'), {
    place: 'here',
    destinations: [destination as Destination],
    capture: () => [],
    settled: async () => undefined,
    ledger: () => ({}) as never,
    checkpoint_interval_ms: 5_000,
    store_limit_bytes: 1e9,
    logger: pino({ level: 'silent' }),
    now: () => 0,
    clock: () => state.now_ms,
  });
  return {
    keeper,
    state,
    keys: () => [...inner.entries('')].map(({ key }) => key),
    give(...changes: RecordChange[]): void {
      outgoing = [...outgoing, ...changes];
    },
  };
}

test('dead letters and removals that could not be written are written later', async () => {
  const { keeper, state, keys, give } = open();
  give({ key: 'outbox/a/traces/1', value: Buffer.from('a') });
  await keeper.keepUp();
  state.is_full = true;
  give({ key: 'outbox/a/traces/1' }, { key: 'dead/1', value: Buffer.from('a') });
  await keeper.keepUp();
  await keeper.keepUp();
  expect(keys()).toContain('outbox/a/traces/1');
  state.is_full = false;
  await keeper.keepUp();
  expect(keys()).toContain('dead/1');
  expect(keys()).not.toContain('outbox/a/traces/1');
});

test('dead letters that can not be written are held up to a bound', async () => {
  const { keeper, state, keys, give } = open();
  state.is_full = true;
  for (const number of [1, 2, 3]) {
    give({ key: `dead/${number}`, value: Buffer.alloc(400_000) });
    await keeper.keepUp();
  }
  state.is_full = false;
  await keeper.keepUp();
  expect(keys().filter((key) => key.startsWith('dead/'))).toEqual(['dead/1', 'dead/2']);
});

test('where a source was read to for the first time is written down at once', async () => {
  const { keeper, keys, state } = open();
  const batch = { kind: 'lines' as const, stream: '/log', end: false, lines: [], arrival_ms: 0, position: 7 };
  state.now_ms = 300;
  keeper.advance({ source: 'file:/log', batch, now_ms: 0 });
  await keeper.keepUp();
  expect(keys()).toContain('run/positions');
});

test('at rest metrics are collected less often, and what happens hastens it again', async () => {
  const { keeper, state, give } = open();
  const passTo = async (until_ms: number): Promise<void> => {
    for (; state.now_ms < until_ms; state.now_ms += 500) await keeper.keepUp();
  };
  give({ key: 'outbox/a/traces/1', value: Buffer.from('a') });
  await passTo(200_000);
  give({ key: 'outbox/a/traces/2', value: Buffer.from('a') });
  await passTo(230_000);
  const seconds = state.collections_ms.map((at_ms) => at_ms / 1_000);
  expect(seconds).toEqual([5, 15, 35, 65, 95, 125, 155, 185, 200, 210]);
});
