/** What is written down and when, also where the disk refuses some of it. */
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { createKeeper } from '../../src/keep/keeper.js';
import { openKept } from '../../src/keep/kept.js';
import type { Destination, DestinationKeeping } from '../../src/model/delivery.js';
import type { RecordChange } from '../../src/model/record.js';
import type { Store } from '../../src/store/index.js';
import { createMemoryStore, gatherFor } from '../store/memory.js';

const NO_ANSWERS = { ids: new Uint8Array(), places: {} };

/** A keeper of one destination, whose store refuses what is written while it is full. */
function open() {
  const inner = createMemoryStore();
  const state = { is_full: false, now_ms: 0, collections_ms: [] as number[] };
  const said: { given_up: string[]; logged: string[] } = { given_up: [], logged: [] };
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
    giveUpUnkept: (message) => void said.given_up.push(message),
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
    logger: pino({ level: 'error' }, { write: (line) => void said.logged.push(JSON.parse(line).msg) }),
    now: () => 0,
    clock: () => state.now_ms,
  });
  return {
    keeper,
    state,
    said,
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

describe('what could not be written when it ends', () => {
  const batch = { kind: 'lines' as const, stream: '1', end: false, lines: [], arrival_ms: 0 };
  const entry = { source: 'listen:tcp:1', batch, now_ms: 0 };
  const AT_THE_END = /^here could not be written to the end/;

  test('is given up, and that is said', async () => {
    const { keeper, state, said } = open();
    expect(await keeper.journal(entry)).toBe('written');
    expect(keeper.isKept()).toBe(true);
    state.is_full = true;
    expect([await keeper.journal(entry), await keeper.journal(entry)]).toEqual(['unkept', 'unkept']);
    await keeper.checkpoint();
    expect(keeper.isKept()).toBe(false);
    await keeper.close({ forget: false });
    expect(said.given_up).toEqual(['here could not be written']);
    expect(said.logged).toEqual([
      expect.stringMatching(/^can't write to here/),
      expect.stringMatching(AT_THE_END),
    ]);
  });

  test('is not given up once a checkpoint holds what came of it', async () => {
    const { keeper, state, said } = open();
    state.is_full = true;
    await keeper.journal(entry);
    state.is_full = false;
    const checkpoint = keeper.checkpoint();
    expect(keeper.isKept()).toBe(false);
    await checkpoint;
    expect(keeper.isKept()).toBe(true);
    await keeper.close({ forget: false });
    expect(said.given_up).toEqual([]);
    expect(said.logged).not.toContainEqual(expect.stringMatching(AT_THE_END));
  });

  test.each([
    [
      'its sender waits for word',
      { ...batch, receipt: { reject: () => undefined, settle: () => undefined } },
    ],
    ['a gateway can be asked for it', { ...batch, stream: entry.source, position: {} }],
  ])('is not where %s', async (_why, from) => {
    const { keeper, state, said } = open();
    state.is_full = true;
    expect(await keeper.journal({ ...entry, batch: from })).toBe('comes_again');
    await keeper.close({ forget: false });
    expect(said.given_up).toEqual([]);
    expect(said.logged.at(-1)).toMatch(AT_THE_END);
  });
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
