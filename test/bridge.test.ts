/** What a bridge saves for the next one, in which order it is written, and what happens if it can't be written. */
import { pino } from 'pino';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type BridgeParts, composeBridge } from '../src/bridge.js';
import { MACHINE, openDestination } from '../src/export/destination.js';
import type { Transport } from '../src/export/transport.js';
import type { Destination } from '../src/model/delivery.js';
import { type LineBatch, type Source, SourceError } from '../src/model/source.js';
import type { Emission } from '../src/model/telemetry.js';
import type { Ledger } from '../src/persistence/ledger.js';
import { openSavedState } from '../src/persistence/saved-state.js';
import type { Store, Written } from '../src/store/index.js';
import { deferred, fakeLogger, OK, scriptedPost, UNREACHABLE } from './export/fakes.js';
import { createSink, merge } from './helpers.js';
import { createMemoryStore, gatherFor } from './store/memory.js';

const EVENT = { ts: 1_000, session_key: 'agent:main:s', run_id: 'r' };

/** A source of one batch, with a position. */
const sourceOf = (events: object[], position: unknown): Source => ({
  name: 'ws://test',
  async open() {
    const batch: LineBatch = {
      kind: 'lines',
      stream: 'ws://test',
      end: false,
      lines: events.map((event, index) => ({
        number: index + 1,
        bytes: Buffer.from(JSON.stringify({ ...EVENT, ...event })),
      })),
      arrival_ms: 0,
      position,
    };
    return (async function* () {
      yield batch;
    })();
  },
  async close() {},
});

/** What a source gives that has the same batch twice. */
async function twice(events: object[]) {
  const [first, second] = [await sourceOf(events, 1).open(), await sourceOf(events, 2).open()];
  return (async function* () {
    yield* first;
    yield* second;
  })();
}

type Options = Partial<BridgeParts>;

const MAX_BATCHES = 100_000;

/** Always has another batch, until the event loop gets a turn or MAX_BATCHES have been read. Counts its batches. */
function endlessSource() {
  let batches = 0;
  let is_over = false;
  const source: Source = {
    name: 'endless',
    async open() {
      const line = { number: 1, bytes: Buffer.from(JSON.stringify({ ...EVENT, type: 'agent.started' })) };
      setImmediate(() => {
        is_over = true;
      });
      return (async function* (): AsyncGenerator<LineBatch> {
        for (; !is_over && batches < MAX_BATCHES; batches++)
          yield { kind: 'lines', stream: 'endless', end: false, lines: [line], arrival_ms: 0 };
      })();
    },
    async close() {},
  };
  return { source, batches: () => batches };
}

/** Opens the saved state in the store, as a start does. */
const keepIn = (store: Store): Options => ({
  persist: {
    saved: openSavedState(store, 'run'),
    place: 'here',
    checkpoint_interval_ms: 1_000_000,
    store_limit_bytes: 1e9,
  },
});

function openBridge(events: object[], position: unknown, options: Options = {}) {
  const { destination, emitted } = createSink();
  const bridge = composeBridge({
    sources: [sourceOf(events, position)],
    destinations: [destination],
    dialect: 'catalog',
    max_line_bytes: 1_000_000,
    logger: pino({ level: 'silent' }),
    now: () => 1_000,
    ...options,
  });
  return { bridge, emitted };
}

async function runBridge(events: object[], position: unknown, options: Options = {}) {
  const { bridge, emitted } = openBridge(events, position, options);
  await bridge.open();
  await bridge.read();
  await bridge.finish(0);
  return merge(emitted);
}

/** Reads everything, and then stops without finishing. */
async function killBridge(events: object[], position: unknown, options: Options): Promise<Emission> {
  const { bridge, emitted } = openBridge(events, position, options);
  await bridge.open();
  await bridge.read();
  await vi.waitUntil(() => merge(emitted).logs.length > 0, { timeout: 10_000 });
  return merge(emitted);
}

const BEGIN = [{ type: 'agent.started' }, { type: 'tool.call', call_id: '1', tool: 'exec' }];
const END = [
  { type: 'tool.output', call_id: '1', ts: 2_000 },
  { type: 'agent.finished', status: 'ok', ts: 3_000 },
];
const ENDED = [
  { name: 'execute_tool exec', start_ms: 1_000, end_ms: 2_000 },
  { name: 'invoke_agent main', start_ms: 1_000, end_ms: 3_000 },
];

/** A store whose writes wait until the test answers them. */
function heldStore(inner: Store) {
  const waiting: ((written: Written) => void)[] = [];
  const store: Store = {
    ...inner,
    async write(changes) {
      const { promise, resolve } = deferred<Written>();
      waiting.push(resolve);
      const wanted = await promise;
      return wanted.ok ? inner.write(changes) : wanted;
    },
    gather: () => gatherFor(store.write),
  };
  return { store, answer: (written: Written): void => waiting.shift()?.(written), waiting };
}

const HOURS_MS = 5 * 3_600_000;

// The first test, since a timer that another one's bridge sets meanwhile would count, too.
test('after the end no timer is left', async () => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const sources: Source[] = [{ ...sourceOf(BEGIN, undefined), is_rereadable: true }];
  for (const kept of [keepIn(createMemoryStore()), {}]) {
    const { bridge } = openBridge([], {}, { ...kept, sources, now: Date.now });
    await bridge.open();
    await bridge.read();
    await bridge.finish(60_000);
    expect(vi.getTimerCount()).toBe(0);
  }
});

test('a run was not idle while the machine was asleep', async () => {
  let now_ms = EVENT.ts;
  const [begin, end] = [sourceOf(BEGIN, undefined), sourceOf(END, undefined)];
  const source: Source = {
    ...begin,
    async open() {
      return (async function* () {
        yield* await begin.open();
        now_ms += HOURS_MS;
        yield* await end.open();
      })();
    },
  };
  const options = { ...keepIn(createMemoryStore()), sources: [source], now: () => now_ms };
  const { spans } = await runBridge([], undefined, options);
  expect(spans).toMatchObject(ENDED);
  expect(spans.some((span) => span.error)).toBe(false);
});

describe('the saved state', () => {
  test('lets the next bridge continue with the open runs', async () => {
    const store = createMemoryStore();
    const before = await runBridge(BEGIN, { at: 7 }, keepIn(store));
    expect(before.spans).toEqual([]);
    expect(openSavedState(store, 'run').positions).toEqual({ 'ws://test': { 'ws://test': { at: 7 } } });
    const after = await runBridge(END, { at: 8 }, keepIn(store));
    expect(after.spans).toMatchObject(ENDED);
    expect(after.spans.some((span) => span.error)).toBe(false);
  });

  test.each([
    ['asked for what was missed', { at: 7 }],
    ['only read', undefined],
  ])('lets the next bridge continue even after hours, with a source that is %s', async (_, position) => {
    const store = createMemoryStore();
    await runBridge(BEGIN, position, keepIn(store));
    const after = await runBridge(END, position, { ...keepIn(store), now: () => 1_000 + HOURS_MS });
    expect(after.spans).toMatchObject(ENDED);
    expect(after.spans.some((span) => span.error)).toBe(false);
  });

  test('lets the next bridge continue after a kill: what had been read is applied again', async () => {
    const store = createMemoryStore();
    const before = await killBridge([...BEGIN, ...END], { at: 7 }, keepIn(store));
    const { bridge, emitted } = openBridge([], { at: 8 }, keepIn(store));
    await bridge.open();
    expect([...store.keys('run/journal/')]).toEqual([]);
    await bridge.finish(0);
    expect(merge(emitted)).toEqual(before);
    // Only once: now the checkpoint has all of it.
    expect((await runBridge([], { at: 8 }, keepIn(store))).logs).toEqual([]);
  });

  test('is ignored and removed if it is of another version', async () => {
    const store = createMemoryStore();
    const left = ['run/positions', 'run/journal/000000000001', 'run/answers/1-000000000000'];
    await store.write(left.map((key) => ({ key, value: Buffer.from('another version') })));
    const { spans } = await runBridge([...BEGIN, ...END], { at: 7 }, keepIn(store));
    expect(spans).toMatchObject(ENDED);
    expect(openSavedState(store, 'run').positions).toEqual({ 'ws://test': { 'ws://test': { at: 7 } } });
    expect([...store.keys('run/journal/'), ...store.keys('run/answers/')]).toEqual([]);
  });

  test('has the last position of each stream until the stream ends', async () => {
    const batch = (stream: string, position: unknown, end = false): LineBatch => ({
      kind: 'lines',
      stream,
      end,
      lines: [],
      arrival_ms: 0,
      ...(end ? {} : { position }),
    });
    const source: Source = {
      name: 'file:a',
      async open() {
        return (async function* () {
          yield* [
            batch('a', 1),
            batch('a#2', 2),
            batch('a', undefined, true),
            batch('a#2', 3),
            // Not each batch tells one.
            batch('a#2', undefined),
          ];
        })();
      },
      async close() {},
    };
    const store = createMemoryStore();
    await store.write([
      {
        key: 'run/positions',
        value: Buffer.from(JSON.stringify({ 'file:a': { a: 0 }, 'file:b': { b: 4 } })),
      },
    ]);
    const bridge = composeBridge({
      sources: [source],
      destinations: [createSink().destination],
      dialect: 'catalog',
      max_line_bytes: 1_000_000,
      logger: pino({ level: 'silent' }),
      ...keepIn(store),
    });
    await bridge.open();
    await bridge.read();
    // The positions are the same after a crash and after an orderly end.
    expect(openSavedState(store, 'run').positions).toEqual({ 'file:a': { 'a#2': 3 }, 'file:b': { b: 4 } });
    await bridge.finish(0);
    expect(openSavedState(store, 'run').positions).toEqual({ 'file:a': { 'a#2': 3 }, 'file:b': { b: 4 } });
  });
});

/** A store in which an earlier start has written everything that is written once. */
function startedStore(): Store {
  const store = createMemoryStore();
  keepIn(store);
  return store;
}

const endpoint = {
  encoding: 'json',
  compression: 'none',
  headers: {},
  tls: {},
  timeout_ms: 1_000,
} as const;

/** A destination, for which this is what its backend says. */
const openBackend = ({ persist }: Options, post: Transport['post']) =>
  openDestination(
    {
      name: 'otlp',
      preset: 'otlp',
      endpoints: {
        traces: { url: 'http://127.0.0.1:1/v1/traces', ...endpoint },
        logs: { url: 'http://127.0.0.1:1/v1/logs', ...endpoint },
      },
      temporality: 'delta',
      profile: 'latest',
      open_spans: 'none',
    },
    {
      ...MACHINE,
      logger: fakeLogger(),
      memory_limit_bytes: 1e9,
      saved: persist?.saved.deliveries,
      transport: () => ({ post, close: async () => undefined }),
    },
  );

function openWithBackend(
  store: Store,
  post: Transport['post'],
  sources: Source[],
  now: BridgeParts['now'] = () => 1_000,
) {
  const kept = keepIn(store);
  const destinations = [openBackend(kept, post)];
  return openBridge([], undefined, { ...kept, destinations, sources, now }).bridge;
}

describe('of what was answered', () => {
  const answersIn = (store: Store): number => [...store.keys('run/answers/')].length;

  /** What the next start sends. */
  async function sentByNext(store: Store): Promise<string[]> {
    const { bodies, post } = scriptedPost([]);
    const next = openWithBackend(store, post, [sourceOf([], undefined)]);
    await next.open();
    await next.read();
    await next.finish(1_000);
    return bodies;
  }

  test('nothing is sent a second time after a kill', async () => {
    const store = createMemoryStore();
    const killed = openWithBackend(store, async () => OK, [sourceOf([...BEGIN, ...END], {})]);
    await killed.open();
    await killed.read();
    // Spans and records go in requests of their own.
    await vi.waitUntil(
      () => {
        const { traces, logs } = killed.summary().destinations.otlp ?? {};
        return traces?.delivered === 2 && logs?.delivered === 4;
      },
      { timeout: 10_000 },
    );
    const before = answersIn(store);
    await vi.waitUntil(() => answersIn(store) > before, { timeout: 10_000 });
    expect(await sentByNext(store)).toEqual([]);
    expect(answersIn(store)).toBe(0);
  });

  test('nor is what came due between the last chunk and the kill; its answer is written down within a second', async () => {
    vi.useFakeTimers({ now: EVENT.ts, toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const store = createMemoryStore();
    const tokens = { type: 'llm.tokens', model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1 };
    const events = [...BEGIN, tokens, { type: 'agent.finished', status: 'ok' }];
    const source = { ...sourceOf(events, {}), name: 'listen:tcp:1' };
    const killed = openWithBackend(store, async () => OK, [source], Date.now);
    await killed.open();
    await killed.read();
    const pass = async (ms: number): Promise<void> => {
      for (let passed_ms = 0; passed_ms < ms; passed_ms += 50) {
        await vi.advanceTimersByTimeAsync(50);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const delivered = () => killed.summary().destinations.otlp?.traces?.delivered;
    // The call waits for its own end, and the model call longer for its reasoning tokens.
    await pass(4_900);
    expect(delivered()).toBe(2);
    const before = answersIn(store);
    await pass(1_000);
    expect(delivered()).toBe(3);
    expect(answersIn(store)).toBeGreaterThan(before);
    vi.useRealTimers();
    expect(await sentByNext(store)).toEqual([]);
  });

  test('a checkpoint has all, and takes the records of it away', async () => {
    const store = createMemoryStore();
    const bridge = openWithBackend(store, async () => OK, [sourceOf([...BEGIN, ...END], {})]);
    await bridge.open();
    await bridge.read();
    await vi.waitUntil(() => answersIn(store) > 0, { timeout: 10_000 });
    await bridge.drain(1_000);
    expect(answersIn(store)).toBe(0);
    await bridge.finish(0);
  });
});

describe('a start that fails', () => {
  test('has saved the acknowledgements, and closed the sources that were open', async () => {
    const store = createMemoryStore();
    const before = openWithBackend(store, async () => UNREACHABLE, [sourceOf([...BEGIN, ...END], {})]);
    await before.open();
    await before.read();
    await before.finish(0);
    const told = deferred<void>();
    const close = vi.fn(async () => undefined);
    const failing = openWithBackend(store, async () => {
      setImmediate(told.resolve);
      return OK;
    }, [
      { ...sourceOf([], undefined), close },
      {
        ...sourceOf([], undefined),
        async open() {
          await told.promise;
          throw new SourceError('it is not there');
        },
      },
    ]);
    await expect(failing.open()).rejects.toThrow('it is not there');
    expect(close).toHaveBeenCalled();
    const { bodies, post } = scriptedPost([]);
    const next = openWithBackend(store, post, [sourceOf([], undefined)]);
    await next.open();
    await next.read();
    await next.finish(1_000);
    expect(bodies).toEqual([]);
  });
});

describe('the order of writing and sending', () => {
  test('nothing that is made from a chunk is sent before the chunk is written', async () => {
    const { store, answer, waiting } = heldStore(startedStore());
    const { bridge, emitted } = openBridge([...BEGIN, ...END], {}, keepIn(store));
    await bridge.open();
    await bridge.read();
    expect(waiting).toHaveLength(1);
    expect(emitted).toEqual([]);
    answer({ ok: true });
    await vi.waitUntil(() => emitted.length > 0, { timeout: 10_000 });
    expect(merge(emitted).spans).toMatchObject(ENDED);
  });

  test('a batch that can be read again waits for those read before it', async () => {
    const { store, answer } = heldStore(startedStore());
    const listened = { ...sourceOf(BEGIN, undefined), name: 'listen:tcp:1' };
    const followed: Source = { ...sourceOf(END, undefined), name: 'file:/log', is_rereadable: true };
    const sources = [listened, followed];
    const { bridge, emitted } = openBridge([], {}, { ...keepIn(store), sources });
    await bridge.open();
    await bridge.read();
    expect(emitted).toEqual([]);
    answer({ ok: true });
    await vi.waitUntil(() => emitted.length > 1, { timeout: 10_000 });
    expect(emitted[0]?.spans).toEqual([]);
    expect(merge(emitted).spans).toMatchObject(ENDED);
  });

  test('metrics are sent when the checkpoint that collected them is written', async () => {
    const { store, answer, waiting } = heldStore(startedStore());
    const said: string[] = [];
    const { destination } = createSink();
    const { bridge } = openBridge(
      [],
      {},
      {
        ...keepIn(store),
        destinations: [
          {
            ...destination,
            collectMetrics: async () => void said.push('collected'),
            sendMetrics: () => void said.push('sent'),
          },
        ],
      },
    );
    await bridge.open();
    await bridge.read();
    answer({ ok: true });
    const finished = bridge.finish(0);
    await vi.waitUntil(() => waiting.length > 0, { timeout: 10_000 });
    expect(said).toEqual(['collected']);
    answer({ ok: true });
    await vi.waitUntil(() => waiting.length > 0, { timeout: 10_000 });
    expect(said).toEqual(['collected', 'sent']);
    answer({ ok: true });
    await finished;
  });
});

test('a drain collects the metrics after what is still to be written has been sent and answered', async () => {
  const { store, answer } = heldStore(startedStore());
  const { destination, emitted } = createSink();
  const steps: string[] = [];
  const observed: Destination = {
    ...destination,
    pending: () => emitted.length,
    idle: async () => void steps.push(`${emitted.length} answered`),
    collectMetrics: async () => void steps.push('collected'),
  };
  const { bridge } = openBridge(BEGIN, {}, { ...keepIn(store), destinations: [observed] });
  await bridge.open();
  await bridge.read();
  const over = vi.fn();
  void bridge.drain(60_000).then(over);
  await vi.waitUntil(
    () => {
      answer({ ok: true });
      return over.mock.calls.length > 0;
    },
    { timeout: 10_000 },
  );
  expect(steps).toEqual(['1 answered', 'collected', '1 answered']);
});

describe('a store that can not be written', () => {
  test('is reported once and holds nothing up, and everything is saved when it can be written again', async () => {
    const inner = createMemoryStore();
    let is_full = true;
    const store: Store = {
      ...inner,
      write: (changes) =>
        is_full ? Promise.resolve({ ok: false, message: 'no space left on device' }) : inner.write(changes),
    };
    const lines: string[] = [];
    const logger = pino({}, { write: (line: string) => void lines.push(line) });
    const { bridge, emitted } = openBridge(
      [...BEGIN, ...END.slice(0, 1)],
      { at: 7 },
      { ...keepIn(store), logger },
    );
    await bridge.open();
    await bridge.read();
    await vi.waitUntil(() => emitted.length > 0, { timeout: 10_000 });
    expect(merge(emitted).spans).toMatchObject(ENDED.slice(0, 1));
    expect(lines.filter((line) => line.includes('no space left on device'))).toHaveLength(1);
    is_full = false;
    await bridge.finish(0);
    const after = await runBridge(END.slice(1), { at: 8 }, keepIn(inner));
    expect(after.spans).toMatchObject(ENDED.slice(1));
  });
});

test('what ended while nothing could be written is not open at the next start', async () => {
  const inner = createMemoryStore();
  let is_full = false;
  const write: Store['write'] = async (changes) =>
    is_full ? { ok: false, message: 'no space left on device' } : inner.write(changes);
  const store = { ...inner, write, gather: () => gatherFor(write) };
  const ended = deferred<void>();
  const [begun, over] = [sourceOf(BEGIN, { at: 1 }), sourceOf(END, { at: 2 })];
  const source: Source = {
    ...begun,
    async open() {
      const [before, after] = [await begun.open(), await over.open()];
      return (async function* () {
        yield* before;
        await ended.promise;
        yield* after;
      })();
    },
  };
  const { bridge } = openBridge([], undefined, { ...keepIn(store), sources: [source] });
  await bridge.open();
  const reading = bridge.read();
  await vi.waitUntil(() => bridge.summary().runs.open === 1, { timeout: 10_000 });
  await bridge.drain(0);
  is_full = true;
  ended.resolve();
  await reading;
  is_full = false;
  await bridge.finish(0);
  const { bridge: next } = openBridge([], undefined, keepIn(inner));
  await next.open();
  expect(next.summary().runs.open).toBe(0);
  await next.finish(0);
});

/** A store that refuses one of its writes, counted from when it is told to: whether it came to that. */
function onceFullStore(inner: Store) {
  let refused_in = Number.POSITIVE_INFINITY;
  const write: Store['write'] = async (changes) =>
    refused_in-- === 0 ? { ok: false, message: 'no space left on device' } : inner.write(changes);
  return {
    store: { ...inner, write, gather: () => gatherFor(write) },
    refuseAfter(writes: number): void {
      refused_in = writes;
    },
    hasRefused: () => refused_in < 0,
  };
}

test('a checkpoint of which any one write is refused counts for nothing: the next start still knows every run', async () => {
  const runs = Array.from({ length: 400 }, (_, run) => ({
    run_id: `r${run}`,
    session_key: `agent:main:s${run}`,
  }));
  const starts = runs.map((run) => ({ type: 'agent.started', trigger: 'x'.repeat(1_000), ...run }));
  const ends = runs.map((run) => ({ type: 'agent.finished', status: 'ok', ts: 2_000, ...run }));
  let writes = 0;
  for (let isOver = false; !isOver; writes++) {
    const inner = createMemoryStore();
    const { store, refuseAfter, hasRefused } = onceFullStore(inner);
    const { bridge } = openBridge(starts, { at: 7 }, keepIn(store));
    await bridge.open();
    await bridge.read();
    refuseAfter(writes);
    await bridge.drain(0);
    isOver = !hasRefused();
    refuseAfter(Number.POSITIVE_INFINITY);
    const { spans } = await runBridge(ends, { at: 8 }, keepIn(inner));
    expect(spans).toHaveLength(runs.length);
    expect(spans.filter(({ attributes }) => attributes['openclaw.partial'])).toEqual([]);
  }
  // The state is written ahead of the rest in portions, each of many records.
  expect(writes).toBeGreaterThan(4);
  expect(writes).toBeLessThan(9);
}, 30_000);

test.each([
  ['to the end', false],
  ['when the bridge is abandoned', true],
])(
  'what could not be written %s is given up, but for what its source can be asked for again',
  async (_, is_abandoned) => {
    const inner = startedStore();
    const write: Store['write'] = async () => ({ ok: false, message: 'no space left on device' });
    const store = { ...inner, write, gather: () => gatherFor(write) };
    const asked = sourceOf([...BEGIN, ...END], {});
    const others = [...BEGIN, ...END].map((event) => ({ ...event, run_id: 'other' }));
    const listened = { ...sourceOf(others, {}), name: 'listen:tcp:1' };
    const bridge = openWithBackend(store, async () => UNREACHABLE, [asked, listened]);
    await bridge.open();
    await bridge.read();
    await vi.waitUntil(() => bridge.summary().destinations.otlp?.traces?.produced === 4, { timeout: 10_000 });
    if (is_abandoned) bridge.dropUnstored();
    else await bridge.finish(0);
    expect(bridge.summary().destinations.otlp?.traces).toMatchObject({
      produced: 4,
      pending: 2,
      dropped: { store_unwritable: 2 },
    });
  },
);

describe('runs that are open at the stop, and were not written', () => {
  const listened = { ...sourceOf(BEGIN, {}), name: 'listen:tcp:1' };
  const again: Source[] = [
    sourceOf([], {}),
    { ...sourceOf([], {}), name: 'otlp:127.0.0.1:4318' },
    { ...sourceOf([], {}), name: 'file:/log', is_rereadable: true },
  ];

  /** What is sent with a store that can't be written until the stop, or for good. */
  async function sentWith(sources: readonly Source[], is_mended: boolean): Promise<string> {
    const inner = startedStore();
    let is_full = true;
    const write: Store['write'] = async (changes) =>
      is_full ? { ok: false, message: 'no space left on device' } : inner.write(changes);
    const store = { ...inner, write, gather: () => gatherFor(write) };
    const { bodies, post } = scriptedPost([]);
    const bridge = openWithBackend(store, post, [...sources]);
    await bridge.open();
    await bridge.read();
    is_full = !is_mended;
    await bridge.finish(1_000);
    return bodies.filter((body) => body.includes('resourceSpans')).join();
  }

  test.each([
    ['for good: they end', [listened], false, true] as const,
    ['until the stop: they are kept', [listened], true, false] as const,
    ...again.map(
      (source) =>
        [`but may come again from ${source.name}: they are left`, [listened, source], false, false] as const,
    ),
  ])('%s', async (_, sources, is_mended, is_ended) => {
    expect((await sentWith(sources, is_mended)).includes('shutdown')).toBe(is_ended);
  });
});

test('of a source it is told how it is, and since when', async () => {
  let now_ms = 0;
  const source: Source = {
    ...sourceOf([], undefined),
    async open() {
      return (async function* () {
        for (const [at_ms, state, message] of [
          [1_000, 'up', 'found'],
          [2_000, 'down', 'lost'],
          [3_000, 'down', 'still not there'],
        ] as const) {
          now_ms = at_ms;
          yield { kind: 'status', state, message } as const;
        }
      })();
    },
  };
  const store = createMemoryStore();
  const logger = fakeLogger();
  await runBridge([], undefined, { ...keepIn(store), sources: [source], now: () => now_ms, logger });
  expect(logger.lines).toEqual(['info found', 'warn lost', 'warn still not there']);
  const { sources } = JSON.parse(Buffer.from(store.get('ledger') ?? []).toString());
  expect(sources['ws://test'].condition).toEqual({
    state: 'down',
    message: 'still not there',
    since_ms: 2_000,
  });
});

test('a status of a source that comes after a long silence is on the disk within a second', async () => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const store = createMemoryStore();
  let ledger: Ledger | undefined;
  const read = (): Ledger => JSON.parse(Buffer.from(store.get('ledger') ?? []).toString());
  const source: Source = {
    ...sourceOf([], undefined),
    async open() {
      return (async function* () {
        await vi.advanceTimersByTimeAsync(100_000);
        // Without it, the next one is due 5 s after the last.
        const { updated_ms } = read();
        while (read().updated_ms === updated_ms) await vi.advanceTimersByTimeAsync(100);
        yield { kind: 'status', state: 'down', message: 'lost' } as const;
        await vi.advanceTimersByTimeAsync(1_000);
        ledger = read();
      })();
    },
  };
  await runBridge([], undefined, { ...keepIn(store), sources: [source], now: Date.now });
  expect(ledger?.sources['ws://test']?.condition?.message).toBe('lost');
});

test('what can not be used of what was known is said', async () => {
  const store = createMemoryStore();
  const left = [
    'run/state/runs/000000000001',
    'run/decode/000000000001',
    'run/positions',
    'run/journal/000000000001',
    'run/answers/1-000000000000',
  ];
  await store.write(left.map((key) => ({ key, value: Buffer.from('another form') })));
  const said: string[] = [];
  const logger = pino({}, { write: (line: string) => void said.push(JSON.parse(line).msg) });
  const { spans } = await runBridge([...BEGIN, ...END], {}, { ...keepIn(store), logger });
  expect(said).toContain("ignored 5 records of the stored state that can't be restored");
  expect(spans).toMatchObject(ENDED);
  expect(store.get(left[0] ?? '')).toBeUndefined();
});

test('without a store open runs and calls are closed at the end', async () => {
  const { spans } = await runBridge(BEGIN, {});
  expect(spans).toMatchObject([{ error: { type: 'shutdown' } }, { error: { type: 'shutdown' } }]);
});

test('at the end ended runs are sent even if their start has not come, and open runs are left to the next start', async () => {
  const store = createMemoryStore();
  const stdin = (events: object[]): Options => ({
    ...keepIn(store),
    sources: [{ ...sourceOf(events, undefined), name: 'stdin' }],
  });
  // A source that can be asked may still tell their starts.
  const asked = await runBridge([BEGIN[1] ?? {}, ...END], {}, keepIn(createMemoryStore()));
  expect(asked.spans).toEqual([]);
  const open = { type: 'tool.call', call_id: '2', tool: 'read', run_id: 'open' };
  const { spans } = await runBridge([], {}, stdin([BEGIN[1] ?? {}, ...END, open]));
  expect(spans).toMatchObject(ENDED);
  expect(spans[1]?.attributes['openclaw.partial']).toBe(true);
  const start = { type: 'agent.started', run_id: 'open' };
  const output = { type: 'tool.output', call_id: '2', ts: 2_000, run_id: 'open' };
  const after = await runBridge([], {}, stdin([start, output]));
  expect(after.spans).toMatchObject([{ name: 'execute_tool read' }]);
  expect(after.spans[0]?.attributes['openclaw.run.id']).toBe('open');
});

test('events that a decoder held back are given at the end without a store, and left to the next start with one', async () => {
  const frame = (stream: string, data: object) => ({
    type: 'event',
    event: 'agent',
    payload: { runId: 'r', sessionKey: 'agent:main:s', stream, ts: 1_000, data },
  });
  const call = { name: 'exec', toolCallId: 'c', args: {}, result: {} };
  const frames = [
    frame('lifecycle', { phase: 'start', startedAt: 1_000 }),
    frame('tool', { ...call, phase: 'start' }),
    frame('tool', { ...call, phase: 'result' }),
  ];
  const logsOf = async (options: Options) =>
    (await runBridge(frames, {}, { dialect: 'gateway', ...options })).logs.map(
      ({ event_name }) => event_name,
    );
  const before = ['openclaw.agent_started', 'openclaw.tool_call'];
  expect(await logsOf({})).toEqual([...before, 'openclaw.tool_result']);
  expect(await logsOf(keepIn(createMemoryStore()))).toEqual(before);
});

test('model calls wait for reasoning tokens while a source is lost, and until it has reported what was missed', async () => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const { destination, emitted } = createSink();
  const call = {
    type: 'llm.tokens',
    model: 'm',
    provider: 'p',
    input_tokens: 1,
    output_tokens: 1,
    response_id: 'x',
  };
  const told = sourceOf([{ type: 'agent.started' }, call], { at: 1 });
  const late = sourceOf([{ type: 'llm.reasoning', response_id: 'x', reasoning_tokens: 3 }], { at: 2 });
  const source: Source = {
    ...told,
    async open() {
      const [before, after] = [await told.open(), await late.open()];
      return (async function* () {
        yield* before;
        yield { kind: 'status', state: 'down', message: 'lost' } as const;
        await vi.advanceTimersByTimeAsync(60_000);
        yield { kind: 'status', state: 'up', message: 'back', is_behind: true } as const;
        await vi.advanceTimersByTimeAsync(30_000);
        yield* after;
        yield { kind: 'status', state: 'up', message: 'all told' } as const;
      })();
    },
  };
  const bridge = composeBridge({
    sources: [source],
    destinations: [destination],
    dialect: 'catalog',
    max_line_bytes: 1_000_000,
    logger: pino({ level: 'silent' }),
    ...keepIn(createMemoryStore()),
  });
  await bridge.open();
  await bridge.read();
  await bridge.finish(0);
  expect(merge(emitted).spans).toMatchObject([
    { kind: 'chat', attributes: { 'gen_ai.usage.reasoning.output_tokens': 3 } },
  ]);
});

const TOKENS = { type: 'llm.tokens', model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1 };

test('model calls wait 5 s for their reasoning tokens after a source is back', async () => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const told = sourceOf([{ type: 'agent.started' }, TOKENS], { at: 1 });
  const sent: number[] = [];
  const { destination, emitted } = createSink();
  const pass = async (ms: number): Promise<void> => {
    await vi.advanceTimersByTimeAsync(ms);
    sent.push(merge(emitted).spans.length);
  };
  const source: Source = {
    ...told,
    async open() {
      const before = await told.open();
      return (async function* () {
        yield* before;
        yield { kind: 'status', state: 'down', message: 'lost' } as const;
        await pass(60_000);
        yield { kind: 'status', state: 'up', message: 'back' } as const;
        await pass(4_990);
        await pass(20);
      })();
    },
  };
  const options = { ...keepIn(createMemoryStore()), sources: [source], destinations: [destination] };
  const { bridge } = openBridge([], {}, { ...options, now: Date.now });
  await bridge.open();
  await bridge.read();
  await bridge.finish(0);
  expect(sent).toEqual([0, 0, 1]);
});

test('a silent status is not logged, but model calls and steps wait as for any other', async () => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const before = [
    { type: 'agent.started' },
    { type: 'agent.step_started', model: 'm', provider: 'p' },
    { type: 'agent.finished', status: 'ok', ts: EVENT.ts + 10 },
  ];
  const told = sourceOf(before, { at: 1 });
  const late = sourceOf([{ ...TOKENS, ts: EVENT.ts + 5, reasoning_tokens: 1 }], { at: 2 });
  const source: Source = {
    ...told,
    async open() {
      const [first, second] = [await told.open(), await late.open()];
      return (async function* () {
        yield* first;
        yield { kind: 'status', state: 'up', message: 'slow', is_behind: true, is_silent: true } as const;
        await vi.advanceTimersByTimeAsync(10_000);
        yield* second;
      })();
    },
  };
  const info = vi.fn();
  const logger = { info, warn: info, error: info };
  const sent = await runBridge(
    [],
    {},
    {
      ...keepIn(createMemoryStore()),
      sources: [source],
      logger,
      now: Date.now,
    },
  );
  expect(sent.spans.filter(({ kind }) => kind === 'chat')).toHaveLength(1);
  expect(info).not.toHaveBeenCalled();
});

test.each([
  ['ws://test', [0, 1]],
  ['listen:tcp:1', [1, 1]],
])('model calls of a previous start wait for a source that can be asked: %s', async (name, sent) => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const store = createMemoryStore();
  const begin = async (events: object[]) => {
    const sources = [{ ...sourceOf(events, name === 'ws://test' ? 1 : undefined), name }];
    const opened = openBridge([], {}, { ...keepIn(store), sources, now: Date.now });
    await opened.bridge.open();
    return opened;
  };
  const { bridge: killed } = await begin([{ type: 'agent.started' }, TOKENS]);
  await killed.read();
  await vi.advanceTimersByTimeAsync(10);
  const { emitted } = await begin([]);
  const counts: number[] = [];
  for (const ms of [10_000, 120_000]) {
    await vi.advanceTimersByTimeAsync(ms);
    counts.push(merge(emitted).spans.length);
  }
  expect(counts).toEqual(sent);
});

test('model calls do not wait longer while a source is lost that can not be asked', async () => {
  vi.useFakeTimers({ now: EVENT.ts });
  onTestFinished(() => void vi.useRealTimers());
  const told = sourceOf([{ type: 'agent.started' }, TOKENS], undefined);
  const waited = deferred<void>();
  const source: Source = {
    ...told,
    name: 'unix:/agent.sock',
    async open() {
      const before = await told.open();
      return (async function* () {
        yield* before;
        yield { kind: 'status', state: 'down', message: 'lost' } as const;
        await vi.advanceTimersByTimeAsync(6_000);
        waited.resolve();
      })();
    },
  };
  const { bridge, emitted } = openBridge([], undefined, { sources: [source], now: Date.now });
  await bridge.open();
  void bridge.read();
  await waited.promise;
  expect(merge(emitted).spans).toMatchObject([{ kind: 'chat' }]);
});

describe('at the end, beside a destination that never answers,', () => {
  const dead = {
    ...createSink().destination,
    name: 'dead',
    pending: () => 1,
    idle: () => deferred<void>().promise,
  };

  /** Takes `answer_ms` to deliver what is collected. */
  function slowSink(answer_ms: number) {
    let pending = 0;
    let collections = 0;
    let sent: Promise<void> = Promise.resolve();
    const destination: Destination = {
      ...createSink().destination,
      collectMetrics: async () => {
        collections++;
        pending = 1;
      },
      sendMetrics() {
        const { promise, resolve } = deferred<void>();
        sent = promise;
        setTimeout(() => {
          pending = 0;
          resolve();
        }, answer_ms);
      },
      pending: () => pending,
      idle: () => sent,
    };
    return { destination, collections: () => collections };
  }

  test.each([
    ['that lasts as long as the interval between two collections', 10_500, 800],
    ['that is short', 400, 80],
  ])('the metrics of another are delivered within a drain %s', async (_, drain_ms, answer_ms) => {
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
    onTestFinished(() => void vi.useRealTimers());
    const { destination, collections } = slowSink(answer_ms);
    const { bridge } = openBridge([], undefined, { destinations: [dead, destination] });
    await bridge.open();
    await bridge.read();
    const finished = bridge.finish(drain_ms);
    // Waits for which no time is left are timers too.
    await vi.advanceTimersByTimeAsync(drain_ms + 10);
    await finished;
    expect(collections()).toBeGreaterThan(0);
    expect(destination.pending()).toBe(0);
  });

  test('a drain waits until all is delivered, and no longer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const { destination } = slowSink(100);
    const { bridge } = openBridge([], undefined, { destinations: [destination] });
    const over = vi.fn();
    const drained = bridge.drain(60_000).then(over);
    await vi.advanceTimersByTimeAsync(99);
    expect(over).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    await drained;
    expect(destination.pending()).toBe(0);
  });
});

describe('with a destination that never answers', () => {
  const source = sourceOf([], undefined);
  const problem = new SourceError('nothing there');

  /** Opens a bridge in fake time; notes when metrics are collected and when the destination is closed. */
  function openSilent(options: Options = {}) {
    vi.useFakeTimers({
      now: 0,
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'],
    });
    onTestFinished(() => void vi.useRealTimers());
    const collected: number[] = [];
    const closed: number[] = [];
    const destination: Destination = {
      ...createSink().destination,
      pending: () => 1,
      idle: () => deferred<void>().promise,
      collectMetrics: async () => void collected.push(Date.now()),
      close: async () => void closed.push(Date.now()),
    };
    const { bridge } = openBridge([], undefined, { destinations: [destination], now: Date.now, ...options });
    return { bridge, collected, closed };
  }

  test.each([
    [10_000, 500],
    [600, 300],
  ])('a drain of %i ms collects the metrics after %i ms', async (drain_ms, wait_ms) => {
    const { bridge, collected, closed } = openSilent();
    await bridge.open();
    await bridge.read();
    const finished = bridge.finish(drain_ms);
    await vi.advanceTimersByTimeAsync(drain_ms + 10);
    await finished;
    expect(collected).toEqual([wait_ms]);
    expect(closed[0]! - drain_ms).toBeOneOf([0, 1]);
  });

  test.each<[string, Partial<Source>, number]>([
    ['a second', {}, 1_000],
    ['a second more if a source does not close', { close: () => deferred<void>().promise }, 2_000],
  ])('a failed start takes %s', async (_, fields, wait_ms) => {
    const failing: Source = { ...source, open: () => Promise.reject(problem), ...fields };
    const { bridge, closed } = openSilent({ sources: [failing] });
    const opened = expect(bridge.open()).rejects.toBe(problem);
    await vi.advanceTimersByTimeAsync(wait_ms + 10);
    await opened;
    expect(closed[0]! - wait_ms).toBeOneOf([0, 1]);
  });

  test('a start that is given up is over at once', async () => {
    const { promise, resolve } = deferred<Awaited<ReturnType<Source['open']>>>();
    const hanging: Source = { ...source, open: () => promise };
    const next = { ...source, open: vi.fn(source.open) };
    const { bridge, closed } = openSilent({ sources: [hanging, next] });
    const giving_up = new AbortController();
    const opened = expect(bridge.open(giving_up.signal)).rejects.toBe(problem);
    await vi.advanceTimersByTimeAsync(100);
    giving_up.abort(problem);
    await vi.advanceTimersByTimeAsync(10);
    await opened;
    expect(closed[0]! - 100).toBeLessThanOrEqual(2);
    resolve(await source.open());
    await vi.advanceTimersByTimeAsync(10);
    expect(next.open).not.toHaveBeenCalled();
  });

  test('metrics are collected every 10 s until the end', async () => {
    const ended = deferred<void>();
    const open: Source = {
      ...source,
      open: async () =>
        (async function* () {
          yield* await source.open();
          await ended.promise;
        })(),
    };
    const { bridge, collected } = openSilent({ sources: [open] });
    await bridge.open();
    const reading = bridge.read();
    await vi.advanceTimersByTimeAsync(35_000);
    expect(collected).toEqual([10_000, 20_000, 30_000]);
    ended.resolve();
    await reading;
    const finished = bridge.finish(0);
    await vi.advanceTimersByTimeAsync(60_000);
    await finished;
    expect(collected).toHaveLength(4);
  });

  test.each([
    [10_500, 0, [500]],
    [10_500, 1_000, [1_500, 10_000]],
    [1_000, 9_600, [10_000, 10_100]],
    [Infinity, 9_600, [10_000, 10_100, 20_000]],
  ])(
    'metrics are still collected until a second before the end, or its half: %i ms, begun at %i',
    async (drain_ms, begun_ms, times) => {
      const { bridge, collected } = openSilent();
      await bridge.open();
      await bridge.read();
      await vi.advanceTimersByTimeAsync(begun_ms);
      void bridge.finish(drain_ms);
      await vi.advanceTimersByTimeAsync(10_600);
      expect(collected).toEqual(times);
    },
  );
});

test.each([
  [11_000, 1],
  [12_000, 2],
])(
  'with a store metrics are collected with a checkpoint only, up to the last of %i ms',
  async (drain_ms, collections) => {
    vi.useFakeTimers({ now: 0 });
    onTestFinished(() => void vi.useRealTimers());
    const collected: number[] = [];
    const destination: Destination = {
      ...createSink().destination,
      pending: () => 1,
      idle: () => deferred<void>().promise,
      collectMetrics: async () => void collected.push(Date.now()),
    };
    const { bridge } = openBridge(
      [],
      {},
      {
        ...keepIn(createMemoryStore()),
        destinations: [destination],
        now: Date.now,
      },
    );
    await bridge.open();
    await bridge.read();
    await vi.advanceTimersByTimeAsync(25_000);
    expect(collected).toEqual([]);
    void bridge.finish(drain_ms);
    await vi.advanceTimersByTimeAsync(drain_ms + 100);
    // The next one is due 10 s after that of the drain.
    expect(collected).toHaveLength(collections);
  },
);

test('after each batch it is said how much was read, and after the end that there is more to deliver', async () => {
  const afterBatch = vi.fn();
  await runBridge(BEGIN, {}, { afterBatch });
  const bytes = BEGIN.reduce((total, event) => total + JSON.stringify({ ...EVENT, ...event }).length + 1, 0);
  expect(afterBatch.mock.calls).toEqual([
    [bytes, 2],
    [0, 0],
  ]);
});

test('an end waits again for what was collected while it waited', async () => {
  let pending = 3;
  const idle = async (): Promise<void> => void pending--;
  const destination = { ...createSink().destination, idle, pending: () => pending };
  await runBridge([], undefined, { destinations: [destination] });
  expect(pending).toBe(0);
});

test.each([
  ['everything is delivered', OK, {}],
  ['something is pending', UNREACHABLE, { 'ws://test': { 'ws://test': 1 } }],
])('after the end of all sources the next start begins from nothing if %s', async (_, answer, positions) => {
  const store = createMemoryStore();
  const bridge = openWithBackend(store, async () => answer, [sourceOf(BEGIN, 1)]);
  await bridge.open();
  await bridge.read();
  await bridge.finish(answer === OK ? 60_000 : 0, { is_over: true });
  expect(openSavedState(store, 'run').positions).toEqual(positions);
  expect(bridge.summary().runs.open).toBe(0);
});

test.each([
  ['at once, if it has no source that is read again', {}, [1, 1, 1]],
  [
    'a minute later, since a source that is read again repeats its events',
    { is_rereadable: true },
    [0, 0, 1],
  ],
] as const)('a start is over for the outboxes %s', async (_, more, calls) => {
  vi.useFakeTimers({ now: 0 });
  onTestFinished(() => void vi.useRealTimers());
  const kept = keepIn(createMemoryStore());
  const backend = openBackend(kept, async () => OK);
  const endRestore = vi.spyOn(backend.outbox!, 'endRestore');
  const sources = [{ ...sourceOf(BEGIN, undefined), ...more }];
  const { bridge } = openBridge([], {}, { ...kept, destinations: [backend], sources, now: Date.now });
  await bridge.open();
  const counts: number[] = [];
  for (const ms of [0, 59_999, 1]) {
    await vi.advanceTimersByTimeAsync(ms);
    counts.push(endRestore.mock.calls.length);
  }
  expect(counts).toEqual(calls);
  await bridge.finish(0);
});

test('a destination that takes neither log records nor open spans does not keep them from another', async () => {
  const { destination, emitted } = createSink();
  const simple = { ...createSink().destination, takes_logs: false, takes_previews: false };
  await runBridge(BEGIN, {}, { destinations: [simple, destination] });
  expect(merge(emitted).logs).toHaveLength(2);
  expect(merge(emitted).previews).not.toEqual([]);
});

test('measurements are made if something takes them', async () => {
  const recordMeasurements = vi.fn();
  const { measurements } = await runBridge([...BEGIN, ...END], {}, { recordMeasurements });
  expect(measurements).not.toEqual([]);
  expect(recordMeasurements.mock.calls.flat(2)).toEqual(measurements);
  expect((await runBridge([...BEGIN, ...END], {})).measurements).toEqual([]);
});

test('the sessions of a stream are asked for by its name', async () => {
  const sessionsOf = vi.fn(() => undefined);
  await runBridge(BEGIN, {}, { sessionsOf });
  expect(sessionsOf.mock.calls).toEqual([['ws://test']]);
});

test('what comes after the end is not read', async () => {
  const late = deferred<void>();
  const over = vi.fn();
  const source: Source = {
    ...sourceOf([], undefined),
    async open() {
      const [before, after] = [await sourceOf(BEGIN, 1).open(), await sourceOf(END, 2).open()];
      return (async function* () {
        yield* before;
        await late.promise;
        yield* after;
      })();
    },
  };
  const { bridge } = openBridge([], {}, { sources: [source], onSourceEnd: over });
  await bridge.open();
  const reading = bridge.read();
  await vi.waitUntil(() => bridge.summary().source.lines === 2, { timeout: 10_000 });
  await bridge.finish(0);
  late.resolve();
  expect(await reading).toEqual([]);
  expect(bridge.summary().source.lines).toBe(2);
  expect(over.mock.calls).toEqual([[source, undefined]]);
});

test('open spans and corrections are emitted even if nothing else is', async () => {
  let now_ms = EVENT.ts;
  const { destination, emitted } = createSink();
  const call = { model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1, response_id: 'x' };
  const parts = [
    [...BEGIN, { type: 'llm.tokens', ...call }],
    END.slice(0, 1),
    [{ type: 'llm.reasoning', response_id: 'x', reasoning_tokens: 3 }],
  ];
  const source: Source = {
    ...sourceOf([], undefined),
    async open() {
      const told = await Promise.all(parts.map((events) => sourceOf(events, undefined).open()));
      return (async function* () {
        for (const items of told) {
          yield* items;
          now_ms += 10_000;
          // The model call has waited for its reasoning tokens for long by the next event.
          if (items === told[1])
            await vi.waitUntil(() => merge(emitted).spans.length === 2, { timeout: 10_000 });
        }
      })();
    },
  };
  const takes_no_logs = { ...destination, takes_logs: false };
  const { bridge } = openBridge([], undefined, {
    sources: [source],
    destinations: [takes_no_logs],
    now: () => now_ms,
  });
  await bridge.open();
  await bridge.read();
  await bridge.finish(0);
  expect(emitted[0]).toMatchObject({ spans: [], logs: [] });
  expect(emitted[0]?.previews).not.toEqual([]);
  expect(merge(emitted).corrections).toMatchObject([
    { attributes: { 'gen_ai.usage.reasoning.output_tokens': 3 } },
  ]);
});

test('a source that always has another batch leaves the event loop its turns', async () => {
  const { source, batches } = endlessSource();
  const { bridge } = openBridge([], undefined, { sources: [source] });
  await bridge.open();
  await bridge.read();
  expect(batches()).toBeLessThan(MAX_BATCHES);
});

test('a source that fails is logged, what it gave counts, and another is read on, as fast as its results are taken', async () => {
  const problem = new SourceError('it broke');
  const broken: Source = {
    ...sourceOf([], undefined),
    name: 'broken',
    async open() {
      const before = await sourceOf(BEGIN, 1).open();
      return (async function* () {
        yield* before;
        throw problem;
      })();
    },
  };
  const logger = fakeLogger();
  const over = vi.fn();
  const waits = deferred<void>();
  const sources = [broken, { ...sourceOf([], undefined), open: () => twice(END.slice(0, 1)) }];
  const { bridge } = openBridge(
    [],
    {},
    {
      sources,
      logger,
      onSourceEnd: over,
      afterBatch: (_, events) => (events === 1 ? waits.promise : undefined),
    },
  );
  await bridge.open();
  const reading = bridge.read();
  await vi.waitUntil(() => over.mock.calls.length > 0, { timeout: 10_000 });
  await new Promise((resolve) => setImmediate(resolve));
  expect(bridge.summary().source.lines).toBe(3);
  waits.resolve();
  expect(await reading).toEqual([problem]);
  expect(bridge.summary().source.lines).toBe(4);
  expect(over.mock.calls).toEqual([
    [broken, problem],
    [sources[1], undefined],
  ]);
  expect(logger.lines).toEqual(['error it broke']);
});

test('an error of a source that is no problem of its input is thrown', async () => {
  const bug = new Error('a bug');
  const source: Source = {
    ...sourceOf([], undefined),
    open: async () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(bug) }) }),
  };
  const { bridge } = openBridge([], {}, { sources: [source] });
  await bridge.open();
  await expect(bridge.read()).rejects.toBe(bug);
});
