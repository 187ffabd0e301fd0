/**
 * The library's bridge from its start to its end: what each call resolves with at any moment, and what a bridge does not
 * touch.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { context } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { isTracingSuppressed } from '@opentelemetry/core';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  type Bridge,
  type BridgeOptions,
  ConfigurationError,
  createBridge,
  type LineBatch,
  type Receipt,
  type Source,
  SourceError,
  type WireEvent,
} from '../../src/index.js';
import { startSink } from '../cli/sink.js';
import { correlate, decodeFile, example, identities } from '../helpers.js';
import { startFakeGateway } from '../source/gateway/fake-gateway.js';

const nothing = async (): Promise<void> => undefined;

const fail = (): never => {
  throw new Error('no disk');
};

/** A span processor that records the spans and calls that it gets. */
function keepSpans() {
  const names: string[] = [];
  const ids: string[] = [];
  const calls: string[] = [];
  const span_processor = {
    onEnd(span: ReadableSpan) {
      const { traceId, spanId } = span.spanContext();
      names.push(span.name);
      ids.push([traceId, spanId, span.parentSpanContext?.spanId ?? '-', span.name].join(' '));
    },
    async forceFlush() {
      calls.push('forceFlush');
    },
    async shutdown() {
      calls.push('shutdown');
    },
  };
  return { span_processor, names, ids, calls };
}

/** A logger that collects its messages in a list. */
function keepMessages() {
  const messages: string[] = [];
  const say = (message: string): void => void messages.push(message);
  return { messages, logger: { info: say, warn: say, error: say } };
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'library-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A bridge that is stopped at the end of the test. */
function bridgeOf(options: BridgeOptions): Bridge {
  const bridge = createBridge(options);
  onTestFinished(async () => {
    await bridge.stop(0).catch(() => undefined);
  });
  return bridge;
}

const RUN = { session_key: 'agent:main:s', run_id: 'r' };
const STARTED: WireEvent = { type: 'agent.started', ts: 1_000, ...RUN };
const FINISHED: WireEvent = { type: 'agent.finished', ts: 2_000, ...RUN, status: 'ok' };

const batchOf = (events: object[]): LineBatch => ({
  kind: 'lines',
  stream: 'own',
  end: true,
  lines: events.map((event, index) => ({ number: index + 1, bytes: Buffer.from(JSON.stringify(event)) })),
  arrival_ms: Date.now(),
});

/** A source that the program brings. */
const ownSource = (read: () => AsyncIterable<LineBatch>, close = nothing): Source => ({
  name: 'own',
  open: async () => read(),
  close,
});

describe('recordings', () => {
  test('reach a processor with the same ids as the stages alone give', async () => {
    const recording = example('sub-agents.ndjson');
    const { span_processor, ids } = keepSpans();
    const bridge = bridgeOf({
      sources: [{ kind: 'recordings', paths: [recording] }],
      destinations: [{ span_processor }],
    });
    await bridge.start();
    expect(await bridge.ended()).toEqual([]);
    const counters = await bridge.stop();
    expect(ids.toSorted()).toEqual(identities(correlate(decodeFile(recording)).spans));
    expect(counters.destinations).toEqual({
      otel: {
        traces: { produced: ids.length, delivered: ids.length, pending: 0, rejected: {}, dropped: {} },
      },
    });
  });

  test('reach a destination with settings and a processor beside it alike', async () => {
    const sink = await startSink();
    const { span_processor, ids } = keepSpans();
    const bridge = bridgeOf({
      sources: [{ kind: 'recordings', paths: [example('catalog.ndjson')] }],
      destinations: [
        { preset: 'collector', url: sink.url, encoding: 'json' },
        { name: 'mine', span_processor },
      ],
    });
    await bridge.start();
    await bridge.ended();
    const { destinations } = await bridge.stop();
    expect(
      sink
        .spans()
        .map(({ span_id }) => span_id)
        .toSorted(),
    ).toEqual(ids.map((id) => id.split(' ')[1]).toSorted());
    expect(Object.keys(destinations)).toEqual(['collector', 'mine']);
    expect(destinations.collector?.traces).toEqual(destinations.mine?.traces);
    expect(destinations.collector?.metrics?.pending).toBe(0);
  });

  test('fail the start if a file is missing, and everything that was opened is closed again', async () => {
    const directory = temporaryDirectory();
    const socket = join(directory, 'events.sock');
    const { span_processor, calls } = keepSpans();
    const options: BridgeOptions = {
      sources: [
        { kind: 'listen', path: socket },
        { kind: 'recordings', paths: [join(directory, 'none.ndjson')] },
      ],
      destinations: [{ span_processor }],
      data_dir: join(directory, 'data'),
    };
    const bridge = bridgeOf(options);
    await expect(bridge.start()).rejects.toThrow(SourceError);
    await expect(bridge.start()).rejects.toThrow(/none\.ndjson: it does not exist/);
    expect(await bridge.ended()).toEqual([]);
    expect(calls).toEqual(['forceFlush', 'shutdown']);
    // The socket file and the data directory are free for another bridge.
    writeFileSync(join(directory, 'none.ndjson'), '');
    await bridgeOf(options).start();
  });
});

describe('pushed events', () => {
  test('are handled like events that were read', async () => {
    const { span_processor, names } = keepSpans();
    const bridge = bridgeOf({ destinations: [{ span_processor }] });
    await bridge.start();
    expect(await bridge.ended()).toEqual([]);
    expect(await bridge.push(STARTED)).toBe('taken');
    expect(bridge.counters().runs).toEqual({ opened: 1, ended: 0, open: 1 });
    expect(await bridge.push(FINISHED)).toBe('taken');
    await bridge.stop();
    expect(names).toEqual(['invoke_agent main']);
  });

  test('that are not valid are counted and logged, and later ones are accepted', async () => {
    const { span_processor, names } = keepSpans();
    const { messages, logger } = keepMessages();
    const bridge = bridgeOf({ destinations: [{ span_processor }], logger });
    await bridge.start();
    await bridge.push({ type: 'tool.call', ts: 1_000, ...RUN, tool: 'exec' } as WireEvent);
    await bridge.push(STARTED);
    await bridge.push(FINISHED);
    const { source } = await bridge.stop();
    expect(source).toEqual({ lines: 3, events: 2, ignored: {}, rejected: { invalid_event: 1 } });
    expect(messages).toContain('pushed:1: call_id: missing');
    expect(names).toHaveLength(1);
  });

  test("that are too long or can't be written as JSON are counted", async () => {
    const bridge = bridgeOf({
      destinations: [{ span_processor: keepSpans().span_processor }],
      limits: { line_bytes: 2_000 },
    });
    await bridge.start();
    const cycle: Record<string, unknown> = {};
    cycle.input = cycle;
    expect(await bridge.push({ ...STARTED, input: cycle } as WireEvent)).toBe('invalid_json');
    expect(await bridge.push({ ...STARTED, input: 1n } as WireEvent)).toBe('invalid_json');
    expect(await bridge.push(undefined as unknown as WireEvent)).toBe('invalid_json');
    expect(await bridge.push({ ...STARTED, input: 'x'.repeat(2_000) } as WireEvent)).toBe('taken');
    expect(bridge.counters().source).toEqual({
      lines: 4,
      events: 0,
      ignored: {},
      rejected: { invalid_json: 3, line_too_long: 1 },
    });
  });

  test('before the start and after the stop are refused, counted, and logged once', async () => {
    const { messages, logger } = keepMessages();
    const bridge = bridgeOf({ destinations: [{ span_processor: keepSpans().span_processor }], logger });
    expect(await bridge.push(STARTED)).toBe('not_running');
    await bridge.start();
    await bridge.stop();
    expect(await bridge.push(STARTED)).toBe('not_running');
    expect(bridge.counters().source.rejected).toEqual({ not_running: 2 });
    expect(messages).toEqual([expect.stringMatching(/^events are pushed while the bridge is not running/)]);
  });

  test('are refused while too many are waiting, and the accepted ones keep their order', async () => {
    const { span_processor } = keepSpans();
    const { messages, logger } = keepMessages();
    const bridge = bridgeOf({ destinations: [{ span_processor }], logger });
    await bridge.start();
    const padding = 'x'.repeat(100_000);
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, number) =>
        bridge.push({ ...STARTED, run_id: `r${number}`, input: padding } as WireEvent),
      ),
    );
    const taken = outcomes.filter((outcome) => outcome === 'taken').length;
    expect(taken).toBeGreaterThan(150);
    expect(outcomes.slice(taken).every((outcome) => outcome === 'queue_full')).toBe(true);
    expect(bridge.counters().source).toMatchObject({ events: taken, rejected: { queue_full: 200 - taken } });
    expect(messages).toEqual([expect.stringMatching(/^events are pushed faster than they are processed/)]);
    // There is room again.
    expect(await bridge.push(STARTED)).toBe('taken');
  });

  test('are refused while too many tiny ones are waiting', async () => {
    const bridge = bridgeOf({ destinations: [{ span_processor: keepSpans().span_processor }] });
    await bridge.start();
    for (let pushed = 0; pushed < 2 ** 18; pushed += 1) void bridge.push(1 as unknown as WireEvent);
    expect(await bridge.push(STARTED)).toBe('queue_full');
  });

  test('may be of any size if each is awaited', async () => {
    const bridge = bridgeOf({
      destinations: [{ span_processor: keepSpans().span_processor }],
      limits: { line_bytes: 20_000_000 },
    });
    await bridge.start();
    const sized = (length: number) => ({ ...STARTED, input: 'x'.repeat(length) }) as WireEvent;
    expect(await bridge.push(sized(18_000_000))).toBe('taken');
    expect(await bridge.push(sized(21_000_000))).toBe('taken');
    expect(bridge.counters().source).toMatchObject({ events: 1, rejected: { line_too_long: 1 } });
  });
});

test.each<[string, () => unknown]>([
  ['throws', fail],
  // A rejection that nobody handles fails the run of the tests.
  ['rejects', async () => fail()],
])('a logger that %s stops nothing', async (_, log) => {
  const bridge = bridgeOf({
    destinations: [{ span_processor: keepSpans().span_processor }],
    logger: { info: log, warn: log, error: log },
  });
  expect(await bridge.push(STARTED)).toBe('not_running');
  await bridge.start();
  expect(await bridge.push(STARTED)).toBe('taken');
});

test('pushed events that a stop has no time for are refused, and leave no open run', async () => {
  const { span_processor } = keepSpans();
  const bridge = bridgeOf({ destinations: [{ span_processor }] });
  await bridge.start();
  const pushed = Promise.all(
    Array.from({ length: 20_000 }, (_, number) => bridge.push({ ...STARTED, run_id: `r${number}` })),
  );
  const { runs, source } = await bridge.stop(0);
  const outcomes = await pushed;
  const taken = outcomes.filter((outcome) => outcome === 'taken').length;
  expect(taken).toBeLessThan(20_000);
  expect(source).toMatchObject({ events: taken, rejected: { not_running: 20_000 - taken } });
  expect(runs).toEqual({ opened: taken, ended: taken, open: 0 });
  expect(bridge.counters()).toMatchObject({ source, runs });
});

describe('live sources', () => {
  test('a gateway gets its own token or password, not the token in the environment', async () => {
    vi.stubEnv('OPENCLAW_GATEWAY_TOKEN', 'another');
    onTestFinished(() => void vi.unstubAllEnvs());
    const [first, second] = [await startFakeGateway(), await startFakeGateway()];
    const { messages, logger } = keepMessages();
    const bridge = bridgeOf({
      sources: [
        { kind: 'gateway', url: first.url, token: 'one-token' },
        { kind: 'gateway', url: second.url, password: 'a-password' },
      ],
      destinations: [{ span_processor: keepSpans().span_processor }],
      logger,
    });
    await bridge.start();
    await vi.waitUntil(() => first.connect() && second.connect(), { timeout: 10_000 });
    expect(first.connect().auth).toEqual({ token: 'one-token' });
    expect(second.connect().auth).toEqual({ password: 'a-password' });
    await vi.waitUntil(() => messages.length === 2, { timeout: 10_000 });
    expect(messages.join()).not.toMatch(/one-token|a-password|another/);
  });

  test('a socket is listened on, and removed when the bridge stops', async () => {
    const path = join(temporaryDirectory(), 'events.sock');
    const { span_processor, names } = keepSpans();
    const bridge = bridgeOf({ sources: [{ kind: 'listen', path }], destinations: [{ span_processor }] });
    await bridge.start();
    createConnection(path).end(`${JSON.stringify(STARTED)}\n${JSON.stringify(FINISHED)}\n`);
    await vi.waitUntil(() => bridge.counters().source.events === 2, { timeout: 10_000 });
    await bridge.stop();
    expect(await bridge.ended()).toEqual([]);
    expect(names).toEqual(['invoke_agent main']);
    expect(existsSync(path)).toBe(false);
  });
});

describe('a source that the program brings', () => {
  test('is read like any other', async () => {
    const { span_processor, names } = keepSpans();
    const source = ownSource(async function* () {
      yield batchOf([STARTED, FINISHED]);
    });
    const bridge = bridgeOf({ sources: [source], destinations: [{ span_processor }] });
    await bridge.start();
    expect(await bridge.ended()).toEqual([]);
    await bridge.stop();
    expect(names).toEqual(['invoke_agent main']);
  });

  test('has failed if it throws, and stops nothing else', async () => {
    const { span_processor, names } = keepSpans();
    const { messages, logger } = keepMessages();
    const source = ownSource(
      async function* () {
        yield batchOf([STARTED]);
        throw new TypeError('no such thing');
      },
      () => Promise.reject(new Error('nor that')),
    );
    const bridge = bridgeOf({ sources: [source], destinations: [{ span_processor }], logger });
    await bridge.start();
    const failures = await bridge.ended();
    expect(failures).toEqual([expect.any(SourceError)]);
    expect(failures[0]?.message).toBe('the source own failed: no such thing');
    await bridge.push(FINISHED);
    await bridge.stop();
    expect(names).toEqual(['invoke_agent main']);
    expect(messages).toEqual(['the source own failed: no such thing', 'the source own failed: nor that']);
  });

  test('has failed if it gives a receipt that is none, and stops nothing else', async () => {
    const receipt = {} as Receipt;
    const source = ownSource(async function* () {
      yield { ...batchOf([{}]), receipt };
    });
    const { span_processor } = keepSpans();
    const bridge = bridgeOf({ sources: [source], destinations: [{ span_processor }] });
    await bridge.start();
    expect(await bridge.ended()).toEqual([expect.any(SourceError)]);
    await bridge.stop();
  });

  test('may have receipts that fail, which is reported and stops nothing', async () => {
    const { messages, logger } = keepMessages();
    const receipts: Receipt[] = [
      { reject: fail, settle: () => undefined },
      { reject: () => undefined, settle: fail },
      { reject: () => undefined, settle: async () => fail() },
    ];
    const source = ownSource(async function* () {
      for (const receipt of receipts) yield { ...batchOf([{}]), end: false, receipt };
      yield batchOf([STARTED]);
    });
    const { span_processor } = keepSpans();
    const bridge = bridgeOf({ sources: [source], destinations: [{ span_processor }], logger });
    await bridge.start();
    expect(await bridge.ended()).toEqual([]);
    expect((await bridge.stop()).source.events).toBe(1);
    const failed = 'a receipt of the source own failed: no disk';
    expect(messages.filter((message) => !message.startsWith('own:'))).toEqual([failed, failed, failed]);
  });

  test('may give positions that can not be stored, since it never gets them back', async () => {
    const data_dir = temporaryDirectory();
    const source = ownSource(async function* () {
      yield { ...batchOf([STARTED]), end: false, position: { offset: 1n } };
    });
    const { span_processor } = keepSpans();
    const bridge = bridgeOf({ sources: [source], destinations: [{ span_processor }], data_dir });
    await bridge.start();
    await bridge.ended();
    expect((await bridge.stop()).runs).toEqual({ opened: 1, ended: 0, open: 1 });
  });

  test('that never pauses waits for a destination that keeps answering, so that nothing is dropped', async () => {
    const sink = await startSink(() => ({ status: 200 }));
    const batches = 60;
    const runs_of_a_batch = 100;
    const runOf = (batch: number, run: number): object[] => {
      const of = { ...RUN, run_id: `r${batch}-${run}` };
      return [
        { ...STARTED, ...of },
        { ...FINISHED, ...of },
      ];
    };
    const source = ownSource(async function* () {
      for (let batch = 0; batch < batches; batch++) {
        const runs = Array.from({ length: runs_of_a_batch }, (_, run) => runOf(batch, run));
        yield { ...batchOf(runs.flat()), end: batch === batches - 1 };
      }
    });
    const bridge = bridgeOf({
      sources: [source],
      destinations: [{ preset: 'jaeger', url: sink.url }],
      limits: { memory_mb: 1 },
    });
    await bridge.start();
    await bridge.ended();
    const { destinations } = await bridge.stop();
    const { delivered, dropped } = destinations.jaeger?.traces ?? {};
    expect({ delivered, dropped }).toEqual({ delivered: batches * runs_of_a_batch, dropped: {} });
  });

  test.each([
    ['nothing', undefined],
    ['no lines', { kind: 'lines', stream: 'own', end: true, arrival_ms: 1 }],
    [
      'bytes that are not a Buffer',
      { ...batchOf([]), lines: [{ number: 1, bytes: new TextEncoder().encode('{}') }] },
    ],
  ])('has failed if it yields %s, and stops nothing else', async (_, item) => {
    const { messages, logger } = keepMessages();
    const bridge = bridgeOf({
      sources: [
        ownSource(async function* () {
          yield item as LineBatch;
        }),
      ],
      destinations: [{ span_processor: keepSpans().span_processor }],
      logger,
    });
    await bridge.start();
    const failure = expect.stringMatching(
      /^the source own failed: it yielded an item that is neither a SourceStatus/,
    );
    expect(await bridge.ended()).toEqual([expect.objectContaining({ message: failure })]);
    expect(messages).toEqual([failure]);
    expect(await bridge.push(STARTED)).toBe('taken');
    expect((await bridge.stop()).runs).toMatchObject({ ended: 1 });
  });

  test("that does not end when closed is waited for only up to the stop's time limit", async () => {
    const source = ownSource(async function* () {
      yield batchOf([STARTED]);
      await new Promise(() => undefined);
    });
    const { span_processor, names, calls } = keepSpans();
    const bridge = bridgeOf({ sources: [source], destinations: [{ span_processor }] });
    await bridge.start();
    await bridge.stop(50);
    expect(names).toEqual(['invoke_agent main']);
    expect(calls.at(-1)).toBe('shutdown');
    expect(await bridge.ended()).toEqual([]);
  });

  test('that does not end when closed leaves time to deliver what was read', async () => {
    const sink = await startSink();
    const source = ownSource(async function* () {
      yield batchOf([STARTED]);
      await new Promise(() => undefined);
    });
    const bridge = bridgeOf({ sources: [source], destinations: [{ preset: 'jaeger', url: sink.url }] });
    await bridge.start();
    const { destinations } = await bridge.stop(2_000);
    expect(destinations.jaeger?.traces).toMatchObject({ produced: 1, delivered: 1, pending: 0 });
  });
});

describe('the life of a bridge', () => {
  test('has one start and one stop, however often they are called', async () => {
    const { span_processor, calls } = keepSpans();
    const bridge = bridgeOf({ destinations: [{ span_processor }] });
    await Promise.all([bridge.start(), bridge.start()]);
    await bridge.start();
    const [first, second] = await Promise.all([bridge.stop(), bridge.stop()]);
    expect(second).toBe(first);
    expect(calls.filter((call) => call === 'shutdown')).toHaveLength(1);
    await expect(bridge.start()).rejects.toThrow('has been stopped; create another one');
  });

  test('may be stopped before it starts', async () => {
    const { span_processor, calls } = keepSpans();
    const bridge = bridgeOf({ destinations: [{ span_processor }] });
    expect(await bridge.drain(1_000)).toBe(true);
    expect(await bridge.stop()).toEqual(bridge.counters());
    expect(await bridge.ended()).toEqual([]);
    expect(calls).toEqual([]);
    expect(bridge.counters().runs).toEqual({ opened: 0, ended: 0, open: 0 });
  });

  test('may be stopped while it starts', async () => {
    const { span_processor, calls } = keepSpans();
    const bridge = bridgeOf({
      sources: [{ kind: 'listen', port: 0 }],
      destinations: [{ span_processor }],
    });
    const starting = bridge.start();
    await bridge.stop();
    await starting;
    expect(calls.at(-1)).toBe('shutdown');
    expect(await bridge.ended()).toEqual([]);
  });

  test('a source that never opens is waited for only up to the limit of a drain or a stop', async () => {
    const { span_processor, calls } = keepSpans();
    const closed: string[] = [];
    const sourceOf = (name: string, open: Source['open']): Source => ({
      name,
      open,
      close: async () => void closed.push(name),
    });
    const bridge = bridgeOf({
      sources: [
        sourceOf('open', async () => (async function* (): AsyncGenerator<LineBatch> {})()),
        sourceOf('stuck', () => new Promise<never>(nothing)),
      ],
      destinations: [{ span_processor }],
      data_dir: temporaryDirectory(),
    });
    const starting = bridge.start();
    const rejected = expect(starting).rejects.toThrow('stopped before its sources were open');
    await bridge.drain(50);
    await bridge.stop(50);
    await rejected;
    expect(closed).toEqual(['open', 'stuck']);
    expect(calls.at(-1)).toBe('shutdown');
    expect(await bridge.ended()).toEqual([]);
  });

  test('a stop closes open runs', async () => {
    const { span_processor, names } = keepSpans();
    const bridge = bridgeOf({ destinations: [{ span_processor }] });
    await bridge.start();
    await bridge.push(STARTED);
    const { runs } = await bridge.stop();
    expect(names).toEqual(['invoke_agent main']);
    expect(runs).toEqual({ opened: 1, ended: 1, open: 0 });
  });

  test('a drain flushes without stopping, and resolves with whether everything is delivered', async () => {
    let status = 200;
    const sink = await startSink(() => ({ status }));
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const { span_processor, calls } = keepSpans();
    const bridge = bridgeOf({
      destinations: [
        { preset: 'jaeger', url: sink.url },
        { span_processor, metric_reader: new PeriodicExportingMetricReader({ exporter }) },
      ],
    });
    await bridge.start();
    await bridge.push(STARTED);
    await bridge.push(FINISHED);
    // A run that has ended waits a moment for late events.
    await vi.waitUntil(() => bridge.counters().destinations.otel?.traces?.produced === 1, {
      timeout: 10_000,
    });
    expect(await bridge.drain(10_000)).toBe(true);
    expect(calls).toEqual(['forceFlush']);
    expect(exporter.getMetrics()).toHaveLength(1);
    expect(sink.of('traces')).toHaveLength(1);
    status = 503;
    await bridge.push({ ...STARTED, run_id: 'r2' });
    await bridge.push({ ...FINISHED, run_id: 'r2' });
    await vi.waitUntil(() => bridge.counters().destinations.otel?.traces?.produced === 2, {
      timeout: 10_000,
    });
    expect(await bridge.drain(50)).toBe(false);
    const { destinations } = await bridge.stop(50);
    expect(destinations.jaeger?.traces).toMatchObject({ produced: 2, delivered: 1, pending: 1 });
    expect(await bridge.drain(50)).toBe(false);
  });

  test('a drain and a stop whose time is over, or no number, set no timer that Node.js warns about', async () => {
    const setting = vi.spyOn(globalThis, 'setTimeout');
    onTestFinished(() => setting.mockRestore());
    const bridge = bridgeOf({ destinations: [{ span_processor: keepSpans().span_processor }] });
    await bridge.start();
    await bridge.drain(-5);
    await bridge.drain(Number.NaN);
    await bridge.stop(-5);
    const times = setting.mock.calls.map(([, time_ms = 0]) => time_ms);
    expect(times.filter((time_ms) => !(time_ms >= 0))).toEqual([]);
    expect(times.length).toBeGreaterThan(0);
  });

  test('a drain and a stop without a limit wait as long as needed', async () => {
    let requests = 0;
    const sink = await startSink(() =>
      ++requests % 2 === 1 ? { status: 503, headers: { 'retry-after': '1' } } : { status: 200 },
    );
    const bridge = bridgeOf({ destinations: [{ preset: 'jaeger', url: sink.url }] });
    await bridge.start();
    await bridge.push(STARTED);
    await bridge.push(FINISHED);
    await vi.waitUntil(() => bridge.counters().destinations.jaeger?.traces?.produced === 1, {
      timeout: 10_000,
    });
    expect(await bridge.drain(Number.POSITIVE_INFINITY)).toBe(true);
    await bridge.push({ ...STARTED, run_id: 'r2' });
    const { destinations } = await bridge.stop(Number.POSITIVE_INFINITY);
    expect(destinations.jaeger?.traces).toMatchObject({ produced: 2, delivered: 2, pending: 0 });
  });

  test('a reader that belongs to another provider fails the start', async () => {
    const reader = new PeriodicExportingMetricReader({
      exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
    });
    const destinations = [{ metric_reader: reader }];
    await bridgeOf({ destinations }).start();
    const other = bridgeOf({ destinations });
    await expect(other.start()).rejects.toThrow(ConfigurationError);
    await expect(other.start()).rejects.toThrow(/^destinations: a metric reader can't be used: .*again/);
  });
});

describe('a data directory', () => {
  test('keeps open runs for the next bridge', async () => {
    const data_dir = temporaryDirectory();
    const first = keepSpans();
    const before = bridgeOf({ destinations: [{ span_processor: first.span_processor }], data_dir });
    await before.start();
    await before.push(STARTED);
    expect((await before.stop()).runs).toEqual({ opened: 1, ended: 0, open: 1 });
    expect(first.names).toEqual([]);
    const second = keepSpans();
    const after = bridgeOf({ destinations: [{ span_processor: second.span_processor }], data_dir });
    await after.start();
    await after.push(FINISHED);
    await after.stop();
    expect(second.names).toEqual(['invoke_agent main']);
  });

  test('keeps pending data for the next bridge', async () => {
    let status = 503;
    const sink = await startSink(() => ({ status }));
    const options: BridgeOptions = {
      destinations: [{ preset: 'jaeger', url: sink.url, encoding: 'json' }],
      data_dir: temporaryDirectory(),
    };
    const before = bridgeOf(options);
    await before.start();
    await before.push(STARTED);
    await before.push(FINISHED);
    expect((await before.stop(50)).destinations.jaeger?.traces).toMatchObject({ produced: 1, pending: 1 });
    status = 200;
    const after = bridgeOf(options);
    await after.start();
    expect(await after.drain(10_000)).toBe(true);
    expect(sink.spans().map(({ name }) => name)).toEqual(['invoke_agent main']);
  });

  test('belongs to one bridge at a time', async () => {
    const options = {
      destinations: [{ span_processor: keepSpans().span_processor }],
      data_dir: temporaryDirectory(),
    };
    await bridgeOf(options).start();
    const other = bridgeOf(options);
    await expect(other.start()).rejects.toThrow(ConfigurationError);
    await expect(other.start()).rejects.toThrow(
      /^data_dir: .* is in use by process \d+; stop that process, or give another data directory$/,
    );
  });

  test("fails the start if it can't be used", async () => {
    const data_dir = join(temporaryDirectory(), 'file');
    writeFileSync(data_dir, '');
    const bridge = bridgeOf({ destinations: [{ span_processor: keepSpans().span_processor }], data_dir });
    await expect(bridge.start()).rejects.toThrow(
      /^data_dir: can't use the store in .*file: it is not a directory; use a directory that this user can write to$/,
    );
    expect(readFileSync(data_dir, 'utf8')).toBe('');
  });
});

describe('the host program', () => {
  test('is left alone: no output, no signal handler, no error handler', async () => {
    const stdout = vi.spyOn(process.stdout, 'write');
    const stderr = vi.spyOn(process.stderr, 'write');
    onTestFinished(() => {
      stdout.mockRestore();
      stderr.mockRestore();
    });
    const listeners = (): [string | symbol, number][] =>
      process.eventNames().map((name) => [name, process.listenerCount(name)]);
    const before = listeners();
    const bridge = bridgeOf({
      sources: [{ kind: 'recordings', paths: [example('catalog.ndjson')] }],
      destinations: [{ preset: 'jaeger', url: 'http://127.0.0.1:1' }],
      data_dir: temporaryDirectory(),
    });
    await bridge.start();
    await bridge.push({} as WireEvent);
    await bridge.ended();
    expect(listeners()).toEqual(before);
    await bridge.stop(0);
    expect(listeners()).toEqual(before);
    expect(stdout).not.toHaveBeenCalled();
    expect(stderr).not.toHaveBeenCalled();
  });

  test("does not trace the bridge's own work", async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    onTestFinished(() => context.disable());
    const suppressed: boolean[] = [];
    const bridge = bridgeOf({
      destinations: [
        {
          span_processor: {
            onEnd: () => void suppressed.push(isTracingSuppressed(context.active())),
            forceFlush: nothing,
            shutdown: nothing,
          },
        },
      ],
    });
    await bridge.start();
    await bridge.push(STARTED);
    await bridge.push(FINISHED);
    expect(isTracingSuppressed(context.active())).toBe(false);
    await bridge.push({ ...STARTED, run_id: 'r2' });
    await vi.waitUntil(() => suppressed.length === 1, { timeout: 10_000 });
    await bridge.stop();
    expect(suppressed).toEqual([true, true]);
  });
});
