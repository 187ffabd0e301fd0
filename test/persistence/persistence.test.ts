/** What is written to the store and when, also if the disk refuses some of it. */
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Destination, DestinationOutbox } from '../../src/model/delivery.js';
import type { RecordChange } from '../../src/model/record.js';
import { createPersistence, type PersistenceOptions } from '../../src/persistence/persistence.js';
import { openSavedState } from '../../src/persistence/saved-state.js';
import type { Store } from '../../src/store/index.js';
import { changesOf } from '../../src/store/store.js';
import { createMemoryStore, gatherFor } from '../store/memory.js';

const NO_ANSWERS = { ids: new Uint8Array(), places: {} };

const MIB = 1024 * 1024;

/** The number of calls in which the state is turned into records. */
const STEPS = 4;

interface Given extends Partial<Pick<PersistenceOptions, 'settled' | 'store_limit_bytes'>> {
  outbox?: Partial<DestinationOutbox>;
  /** What `pending` of the destination returns. */
  pending?: number;
  /** How long it takes to turn the state into records. */
  work_ms?: () => number;
}

/** A persistence with one destination. Its store refuses every write while `is_full` is set. */
function open({ outbox: more, pending = 0, work_ms = () => 0, ...given }: Given = {}) {
  const inner = createMemoryStore();
  const state = { is_full: false, now_ms: 0, collections_ms: [] as number[], looks: 0, answers: 0 };
  const metrics: string[] = [];
  const said = {
    given_up: [] as string[],
    logged: [] as string[],
    writable: [] as boolean[],
    removed: new Set<string>(),
  };
  let outgoing: RecordChange[] = [];
  let collected: RecordChange[] = [];
  let steps = 0;
  const write: Store['write'] = async (changes) => {
    // Like the real store, it computes the changes even if it then refuses them.
    const asked = changesOf(changes);
    for (const { key, value } of asked) if (value === undefined) said.removed.add(key);
    return state.is_full ? { ok: false, message: 'full' } : inner.write(asked);
  };
  const outbox: Partial<DestinationOutbox> = {
    prefixes: [],
    takeAnswers() {
      state.looks++;
      state.answers += outgoing.length;
      return {
        ...(outgoing.length > 0 ? { traces: { changes: outgoing.splice(0), answers: NO_ANSWERS } } : {}),
        ...(collected.length > 0 ? { metrics: { changes: collected.splice(0), answers: NO_ANSWERS } } : {}),
      };
    },
    capture: () => ({ changes: [], take: () => [], advance: () => true, written: () => undefined }),
    bytes: () => 0,
    unsavedBytes: () => 0,
    isPressed: () => false,
    setWritable: (is_writable) => void said.writable.push(is_writable),
    dropUnstored: (message) => void said.given_up.push(message),
    memory_limit_bytes: 1e9,
    ...more,
  };
  const destination: Partial<Destination> = {
    name: 'a',
    outbox: outbox as DestinationOutbox,
    async collectMetrics(is_recoverable) {
      state.collections_ms.push(state.now_ms);
      metrics.push(is_recoverable ? 'collected' : 'collected, kept by nobody');
    },
    // The metrics are answered at once.
    sendMetrics: () => {
      metrics.push('sent');
      collected = [{ key: 'outbox/a/metrics/1' }];
    },
    pending: () => pending,
  };
  const persistence = createPersistence(
    openSavedState({ ...inner, write, gather: () => gatherFor(write) }, 'run'),
    {
      place: 'here',
      destinations: [destination as Destination],
      capture: () => [
        {
          changes: [],
          take: () => [],
          takeAhead: () => [],
          advance() {
            state.now_ms += work_ms() / STEPS;
            return ++steps % STEPS === 0;
          },
        },
      ],
      settled: async () => undefined,
      ledger: (running) =>
        ({
          running,
          collections: state.collections_ms.length,
          answers: state.answers,
          at_ms: state.now_ms,
        }) as never,
      checkpoint_interval_ms: 5_000,
      store_limit_bytes: 2e9,
      logger: pino({}, { write: (line) => void said.logged.push(JSON.parse(line).msg) }),
      now: () => 0,
      clock: () => state.now_ms,
      ...given,
    },
  );
  return {
    persistence,
    state,
    metrics,
    said,
    keys: () => [...inner.entries('')].map(({ key }) => key),
    ledger: () => JSON.parse(String(Buffer.from(inner.get('ledger') ?? '{}'))),
    give(...changes: RecordChange[]): void {
      outgoing = [...outgoing, ...changes];
    },
  };
}

test('dead letters and removals that could not be written are written later', async () => {
  const { persistence, state, keys, give } = open();
  give({ key: 'outbox/a/traces/1', value: Buffer.from('a') });
  await persistence.flush();
  state.is_full = true;
  give({ key: 'outbox/a/traces/1' }, { key: 'dead/1', value: Buffer.from('a') });
  await persistence.flush();
  await persistence.flush();
  expect(keys()).toContain('outbox/a/traces/1');
  state.is_full = false;
  await persistence.flush();
  expect(keys()).toContain('dead/1');
  expect(keys()).not.toContain('outbox/a/traces/1');
  // These changes acknowledge no items, so nothing is added to the answer log.
  expect(keys().filter((key) => key.startsWith('run/answers/'))).toEqual([]);
});

test('what may be applied just before a checkpoint is waited for until it has reached the destinations', async () => {
  const order: string[] = [];
  const { persistence } = open({ settled: async () => void order.push('waited') });
  const checkpoint = persistence.checkpoint();
  await persistence.ready();
  order.push('applied');
  await checkpoint;
  expect(order).toEqual(['applied', 'waited']);
});

test('answers that were written before the store failed are removed when it is writable, and none besides', async () => {
  const answered = { changes: [], answers: { ids: Buffer.from('a\u0001'), places: {} } };
  const { persistence, state, keys, said } = open({ outbox: { takeAnswers: () => ({ traces: answered }) } });
  const answers = (all: Iterable<string>) => [...all].filter((key) => key.startsWith('run/answers/'));
  await persistence.flush();
  const written = answers(keys());
  expect(written).toHaveLength(1);
  state.is_full = true;
  await persistence.checkpoint();
  await persistence.flush();
  await persistence.flush();
  state.is_full = false;
  await persistence.checkpoint();
  expect(answers(keys())).toEqual([]);
  expect(answers(said.removed)).toEqual(written);
});

test('dead letters that can not be written are held in memory up to a limit', async () => {
  const { persistence, state, keys, give } = open();
  state.is_full = true;
  for (const number of [1, 2, 3]) {
    give({ key: `dead/${number}`, value: Buffer.alloc(400_000) });
    await persistence.flush();
  }
  state.is_full = false;
  await persistence.flush();
  expect(keys().filter((key) => key.startsWith('dead/'))).toEqual(['dead/1', 'dead/2']);
});

test('the first position of a source is written at once', async () => {
  const { persistence, keys, state } = open();
  state.now_ms = 300;
  persistence.advance(placed);
  await persistence.flush();
  expect(keys()).toContain('run/positions');
});

const batch = { kind: 'lines' as const, stream: '1', end: false, lines: [], arrival_ms: 0 };
const entry = { source: 'listen:tcp:1', batch, now_ms: 0 };

/** An entry with one line of this length. */
const entryOf = (bytes: number) => ({
  ...entry,
  batch: { ...batch, lines: [{ number: 1, bytes: Buffer.alloc(bytes) }] },
});

const placed = { ...entry, batch: { ...batch, position: 7 } };

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a disk that was full', () => {
  const journaled = (keys: string[]): string[] => keys.filter((key) => key.startsWith('run/journal/'));

  test('gets no new journal entries before a checkpoint has stored what came while it was full', async () => {
    const { persistence, state, keys, said } = open();
    state.is_full = true;
    expect(await persistence.journal(entryOf(20_000))).toBe('lost');
    state.is_full = false;
    expect(await persistence.journal(entryOf(20_000))).toBe('lost');
    expect(journaled(keys())).toEqual([]);
    // Destinations are notified once, and meanwhile drop what exceeds the memory limit.
    expect(said.writable).toEqual([false]);
    await persistence.checkpoint();
    expect(said.writable).toEqual([false, true]);
    expect(said.logged.slice(1)).toEqual(['here is writable again; data is kept on disk again']);
    expect(await persistence.journal(entry)).toBe('written');
    expect(journaled(keys())).toHaveLength(1);
  });

  test('has an empty journal after a checkpoint that follows one that could not be written', async () => {
    const { persistence, state, keys } = open();
    expect(await persistence.journal(entry)).toBe('written');
    state.is_full = true;
    await persistence.checkpoint();
    expect(journaled(keys())).toHaveLength(1);
    state.is_full = false;
    await persistence.checkpoint();
    expect(journaled(keys())).toEqual([]);
  });

  test('gets only with the next checkpoint what came while a checkpoint was written', async () => {
    const { persistence, state } = open();
    const checkpoint = persistence.checkpoint();
    await turn();
    // Resolves when everything is captured.
    await persistence.ready();
    state.is_full = true;
    expect(await persistence.journal(entry)).toBe('lost');
    state.is_full = false;
    await checkpoint;
    expect(persistence.isRecoverable()).toBe(false);
    await persistence.checkpoint();
    expect(persistence.isRecoverable()).toBe(true);
  });

  test('does not hold metrics back: they are collected as often, and sent at once', async () => {
    const { persistence, state, metrics } = open();
    state.is_full = true;
    await persistence.journal(entry);
    for (; state.now_ms < 20_000; state.now_ms += 250) await persistence.flush();
    expect(metrics.length).toBeGreaterThan(2);
    expect(metrics.length).toBeLessThan(10);
    expect(metrics.slice(0, 2)).toEqual(['collected, kept by nobody', 'sent']);
  });
});

describe('data that could not be written when the persistence is closed', () => {
  const AT_THE_END = /^here was still not writable when the bridge stopped/;

  test('is dropped, and that is logged', async () => {
    const { persistence, state, said } = open();
    expect(await persistence.journal(entry)).toBe('written');
    expect(persistence.isRecoverable()).toBe(true);
    state.is_full = true;
    expect([await persistence.journal(entry), await persistence.journal(entry)]).toEqual(['lost', 'lost']);
    await persistence.checkpoint();
    expect(persistence.isRecoverable()).toBe(false);
    await persistence.close({ forget: false });
    expect(said.given_up).toEqual(['here was not writable; make it writable before you stop the bridge']);
    expect(said.logged).toEqual([
      expect.stringMatching(/^can't write to here/),
      expect.stringMatching(AT_THE_END),
    ]);
  });

  test('is not dropped once a checkpoint holds what came of it', async () => {
    const { persistence, state, said } = open();
    state.is_full = true;
    await persistence.journal(entry);
    state.is_full = false;
    const checkpoint = persistence.checkpoint();
    expect(persistence.isRecoverable()).toBe(false);
    await checkpoint;
    expect(persistence.isRecoverable()).toBe(true);
    await persistence.close({ forget: false });
    expect(said.given_up).toEqual([]);
    expect(said.logged).not.toContainEqual(expect.stringMatching(AT_THE_END));
  });

  test.each([
    [
      'its sender waits for an answer',
      { ...batch, receipt: { reject: () => undefined, settle: () => undefined } },
    ],
    ['a gateway can be asked for it again', { ...batch, stream: entry.source, position: {} }],
  ])('is not dropped if %s', async (_why, from) => {
    const { persistence, state, said } = open();
    state.is_full = true;
    expect(await persistence.journal({ ...entry, batch: from })).toBe('comes_again');
    await persistence.close({ forget: false });
    expect(said.given_up).toEqual([]);
    expect(said.logged.at(-1)).toMatch(AT_THE_END);
  });
});

test('metrics are collected less often at rest, and sooner again on activity', async () => {
  const { persistence, state, give } = open();
  const passTo = async (until_ms: number): Promise<void> => {
    for (; state.now_ms < until_ms; state.now_ms += 500) await persistence.flush();
  };
  give({ key: 'outbox/a/traces/1', value: Buffer.from('a') });
  await passTo(200_000);
  give({ key: 'outbox/a/traces/2', value: Buffer.from('a') });
  await passTo(230_000);
  const seconds = state.collections_ms.map((at_ms) => at_ms / 1_000);
  expect(seconds).toEqual([5, 15, 35, 65, 95, 125, 155, 185, 200, 210]);
});

test('at the end metrics are collected only with a checkpoint that a limit demands', async () => {
  let is_pressed = false;
  const { persistence, state } = open({ outbox: { isPressed: () => is_pressed } });
  const lookAt = async (now_ms: number): Promise<void> => {
    state.now_ms = now_ms;
    await persistence.flush();
  };
  await lookAt(20_000);
  persistence.stopCollecting();
  await lookAt(200_000);
  expect(state.collections_ms).toEqual([20_000]);
  is_pressed = true;
  await lookAt(201_000);
  expect(state.collections_ms).toEqual([20_000, 201_000]);
});

test('a state that takes long to write is written less often, and as often as before once it takes no time', async () => {
  let work_ms = 400;
  const { persistence, state, give } = open({ work_ms: () => work_ms });
  const passTo = async (until_ms: number): Promise<number[]> => {
    state.collections_ms = [];
    for (; state.now_ms < until_ms; state.now_ms += 100) {
      give({ key: 'outbox/a/traces/1', value: Buffer.from('a') });
      await persistence.flush();
    }
    return state.collections_ms.map((at_ms, nth, all) => at_ms - (all[nth - 1] ?? at_ms)).slice(1);
  };
  const between_ms = await passTo(200_000);
  expect(between_ms.length).toBeGreaterThan(5);
  // A fiftieth of the time is spent on it.
  for (const each of between_ms) expect(each).toBeGreaterThanOrEqual(20_000);
  work_ms = 0;
  expect((await passTo(300_000)).slice(1)).toContain(5_000);
});

test('while a bridge runs, the oldest dead letters are deleted to stay within their limit on the disk', async () => {
  const { persistence, state, keys, give } = open({ store_limit_bytes: 10_000 });
  for (let number = 100; number < 200; number++) {
    give({ key: `dead/${number}`, value: Buffer.alloc(100) });
    state.now_ms += 5_000;
    await persistence.flush();
  }
  const left = keys().filter((key) => key.startsWith('dead/'));
  // They are not measured at each checkpoint.
  expect(left.length).toBeLessThan(30);
  expect(left).toEqual(Array.from(left, (_, nth) => `dead/${200 - left.length + nth}`));
});

describe('a chunk that is about to be applied waits', () => {
  async function isReady({ persistence }: ReturnType<typeof open>): Promise<boolean> {
    let is_ready = false;
    void persistence.ready().then(() => {
      is_ready = true;
    });
    await turn();
    return is_ready;
  }

  test.each([
    ['2 MiB are on their way to the disk', 1_000 * MIB, 2 * MIB],
    ['a thirty-second of the memory limit of a destination is on its way to the disk', 32 * MIB, MIB],
  ])('while more than %s', async (_what, memory_limit_bytes, bound_bytes) => {
    let written = (): void => undefined;
    const settled = new Promise<void>((resolve) => {
      written = resolve;
    });
    const opened = open({ settled: () => settled, outbox: { memory_limit_bytes } });
    void opened.persistence.journal(entryOf(bound_bytes - 4_096));
    expect(await isReady(opened)).toBe(true);
    void opened.persistence.journal(entryOf(bound_bytes - 4_096));
    void opened.persistence.journal(entryOf(8_192));
    expect(await isReady(opened)).toBe(false);
    written();
    await opened.persistence.ready();
  });

  test('for a checkpoint if 32 MiB are in the journal or a destination needs one', async () => {
    const opened = open();
    for (let mebibytes = 0; mebibytes < 32; mebibytes++) {
      await opened.persistence.ready();
      await opened.persistence.journal(entryOf(MIB));
    }
    expect(opened.state.collections_ms).toEqual([]);
    await opened.persistence.ready();
    expect(opened.state.collections_ms).toHaveLength(1);
    expect(opened.keys().filter((key) => key.startsWith('run/journal/'))).toEqual([]);
    await opened.persistence.ready();
    expect(opened.state.collections_ms).toHaveLength(1);
    const pressed = open({ outbox: { isPressed: () => true } });
    await pressed.persistence.ready();
    expect(pressed.state.collections_ms).toHaveLength(1);
    // A checkpoint is also taken if nothing more comes.
    await pressed.persistence.flush();
    expect(pressed.state.collections_ms).toHaveLength(2);
  });

  test('for a checkpoint if there is much in the journal, or to be saved, for a small store', async () => {
    const journaled = open({ store_limit_bytes: 32 * MIB });
    await journaled.persistence.journal(entryOf(MIB - 4_096));
    await journaled.persistence.ready();
    expect(journaled.state.collections_ms).toEqual([]);
    await journaled.persistence.journal(entryOf(8_192));
    await journaled.persistence.ready();
    expect(journaled.state.collections_ms).toHaveLength(1);
    let unsaved_bytes = 2 * MIB;
    const unsaved = open({ store_limit_bytes: 32 * MIB, outbox: { unsavedBytes: () => unsaved_bytes } });
    await unsaved.persistence.ready();
    expect(unsaved.state.collections_ms).toEqual([]);
    unsaved_bytes += 1;
    await unsaved.persistence.ready();
    expect(unsaved.state.collections_ms).toHaveLength(1);
  });

  test('for nothing if nothing can be written', async () => {
    const { persistence, state } = open({ outbox: { isPressed: () => true } });
    state.is_full = true;
    await persistence.journal(entryOf(1));
    await persistence.ready();
    expect(state.collections_ms).toEqual([]);
  });
});

describe('the persistence polls for something to write', () => {
  /** Returns how often it polls within `ms`. `between` is called every 50 ms. */
  async function looksIn(
    ms: number,
    { state }: ReturnType<typeof open>,
    between = (): void => undefined,
  ): Promise<number> {
    const before = state.looks;
    for (let left_ms = ms; left_ms > 0; left_ms -= 50) {
      state.now_ms += 50;
      await vi.advanceTimersByTimeAsync(50);
      between();
    }
    return state.looks - before;
  }

  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('rarely at rest, soon after activity, and no longer once it is stopped', async () => {
    const opened = open();
    opened.persistence.start();
    await looksIn(60_000, opened);
    // The status record shows every 5 s that the bridge is running.
    const isAtWork = (): void => expect(opened.state.now_ms - opened.ledger().at_ms).toBeLessThan(5_500);
    expect(await looksIn(60_000, opened, isAtWork)).toBeLessThan(20);
    for (const happen of [opened.persistence.wake, () => opened.persistence.advance(entry)]) {
      happen();
      expect(await looksIn(300, opened)).toBe(1);
      await looksIn(60_000, opened);
    }
    // In the middle of a poll.
    opened.state.now_ms += 10_000;
    vi.advanceTimersByTime(10_000);
    await opened.persistence.stop();
    opened.persistence.wake();
    expect(await looksIn(60_000, opened)).toBe(0);
  });

  test('within a second of any activity, even just after other activity', async () => {
    const opened = open();
    opened.persistence.start();
    await looksIn(60_000, opened);
    opened.persistence.wake();
    await looksIn(300, opened);
    const { now_ms } = opened.state;
    opened.persistence.wake();
    await looksIn(1_300, opened);
    expect(opened.ledger().at_ms).toBeGreaterThan(now_ms);
    await opened.persistence.stop();
  });

  test('several times a second while answers are pending or there is constant activity', async () => {
    const waiting = open({ pending: 1 });
    waiting.persistence.start();
    expect(await looksIn(60_000, waiting)).toBeGreaterThan(200);
    await waiting.persistence.stop();
    const busy = open();
    busy.persistence.start();
    expect(await looksIn(60_000, busy, busy.persistence.wake)).toBeGreaterThan(200);
    await busy.persistence.stop();
  });
});

test.each<[string, (opened: ReturnType<typeof open>) => Promise<void> | void, object]>([
  ['a checkpoint has collected', ({ persistence }) => persistence.checkpoint(), { collections: 1 }],
  ['has been answered', ({ give }) => give({ key: 'outbox/a/traces/1' }), { answers: 1 }],
])('what %s is in the status record within a second', async (_what, happen, told) => {
  const opened = open();
  const { persistence, state, ledger } = opened;
  await persistence.flush();
  await happen(opened);
  await persistence.flush();
  state.now_ms += 1_000;
  await persistence.flush();
  expect(ledger()).toMatchObject(told);
});

test('at the end the last answers are written, with all that the next start needs, or none of that if it starts from nothing', async () => {
  const own = ['run/instance', 'run/positions'];
  for (const forget of [false, true]) {
    const { persistence, keys, give } = open();
    give({ key: 'replay/positions', value: Buffer.from('{}') });
    await persistence.flush();
    await persistence.checkpoint();
    give({ key: 'dead/1', value: Buffer.from('a') });
    await persistence.close({ forget });
    expect(keys().sort()).toEqual(['dead/1', 'ledger', 'replay/positions', ...(forget ? [] : own)]);
  }
});

test('once the persistence has stopped no write is under way, and its end is the last thing written', async () => {
  const { persistence, keys, ledger } = open();
  await persistence.flush();
  void persistence.checkpoint();
  await turn();
  await persistence.stop();
  expect(keys()).toContain('run/positions');
  expect(ledger()).toMatchObject({ running: true });
  await persistence.close({ forget: false });
  expect(ledger()).toMatchObject({ running: false });
});

test.each<[string, (persistence: ReturnType<typeof open>['persistence']) => unknown]>([
  ['is written to the journal', (persistence) => persistence.journal(placed)],
  ['can be read again from its source', (persistence) => persistence.advance(placed)],
])('a checkpoint is due soon after a chunk that %s', async (_what, take) => {
  const { persistence, state } = open();
  const passTo = async (until_ms: number): Promise<void> => {
    for (; state.now_ms < until_ms; state.now_ms += 500) await persistence.flush();
  };
  // The first position of a source makes a checkpoint due at once.
  await take(persistence);
  await passTo(100_000);
  state.collections_ms = [];
  await persistence.checkpoint();
  await take(persistence);
  await passTo(106_000);
  expect(state.collections_ms.at(-1)).toBe(105_000);
});

test('a process that makes the next one start from nothing leaves no acknowledgements', async () => {
  const answers = { ids: Buffer.from('id'), places: {} };
  const takeAnswers = () => ({ traces: { changes: [{ key: 'dead/1', value: Buffer.from('a') }], answers } });
  const resumed = open({ outbox: { takeAnswers } });
  await resumed.persistence.close({ forget: false });
  expect(resumed.keys()).toContainEqual(expect.stringMatching(/^run\/answers\//));
  const forgotten = open({ outbox: { takeAnswers } });
  await forgotten.persistence.close({ forget: true });
  expect(forgotten.keys()).toEqual(['dead/1', 'ledger']);
});
