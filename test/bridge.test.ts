/** What a bridge leaves to the next one: where its sources were, and what it knew of the runs that go on. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type BridgeCheckpoint, type BridgeOptions, createBridge } from '../src/bridge.js';
import { type CorrelatorSnapshot, createCorrelator } from '../src/correlate/index.js';
import type { Destination } from '../src/model/delivery.js';
import type { LineBatch, Source } from '../src/model/source.js';
import type { Emission } from '../src/model/telemetry.js';
import { type CheckpointStore, openCheckpointStore } from '../src/store/checkpoint.js';
import { merge } from './helpers.js';

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

function createSink(): { destination: Destination; emitted: Emission[] } {
  const emitted: Emission[] = [];
  const nothing = async (): Promise<void> => undefined;
  const destination: Destination = {
    name: 'sink',
    accept: (emission) => void emitted.push(emission),
    collectMetrics: nothing,
    summary: () => ({}),
    pending: () => 0,
    idle: nothing,
    close: nothing,
  };
  return { destination, emitted };
}

const emptySnapshot = (): CorrelatorSnapshot => createCorrelator().snapshot();

type Options = Partial<Pick<BridgeOptions, 'restored' | 'saveCheckpoint' | 'dialect'>>;

async function runBridge(events: object[], position: unknown, options: Options = {}) {
  const { destination, emitted } = createSink();
  const bridge = createBridge({
    sources: [sourceOf(events, position)],
    destinations: [destination],
    dialect: 'catalog',
    max_line_bytes: 1_000_000,
    logger: pino({ level: 'silent' }),
    now: () => 1_000,
    ...options,
  });
  await bridge.open();
  await bridge.read();
  await bridge.finish(0);
  return merge(emitted);
}

let directory: string;
let store: CheckpointStore<CorrelatorSnapshot>;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'bridge-'));
  store = openCheckpointStore(join(directory, 'data'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const BEGIN = [{ type: 'agent.started' }, { type: 'tool.call', call_id: '1', tool: 'exec' }];
const END = [
  { type: 'tool.output', call_id: '1', ts: 2_000 },
  { type: 'agent.finished', status: 'ok', ts: 3_000 },
];

describe('a checkpoint', () => {
  test('lets the next bridge go on with the runs that were open', async () => {
    const before = await runBridge(BEGIN, { at: 7 }, { saveCheckpoint: store.write });
    expect(before.spans).toEqual([]);
    const restored = (await store.read()) as BridgeCheckpoint;
    expect(restored.positions).toEqual({ 'ws://test': { 'ws://test': { at: 7 } } });
    const after = await runBridge(END, { at: 8 }, { restored, saveCheckpoint: store.write });
    expect(after.spans).toMatchObject([
      { name: 'execute_tool exec', start_ms: 1_000, end_ms: 2_000 },
      { name: 'invoke_agent main', start_ms: 1_000, end_ms: 3_000 },
    ]);
    expect(after.spans.some((span) => span.error)).toBe(false);
  });

  test('keeps the last position of each stream, until that ends', async () => {
    const { destination } = createSink();
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
          yield* [batch('a', 1), batch('a#2', 2), batch('a', undefined, true), batch('a#2', 3)];
        })();
      },
      async close() {},
    };
    const saved: BridgeCheckpoint[] = [];
    const bridge = createBridge({
      sources: [source],
      destinations: [destination],
      dialect: 'catalog',
      max_line_bytes: 1_000_000,
      logger: pino({ level: 'silent' }),
      restored: { positions: { 'file:a': { a: 0 }, 'file:b': { b: 4 } }, correlator: emptySnapshot() },
      saveCheckpoint: (checkpoint) => void saved.push(structuredClone(checkpoint)),
    });
    await bridge.open();
    await bridge.read();
    await bridge.finish(0);
    expect(saved.at(-1)?.positions).toEqual({ 'file:a': { 'a#2': 3 }, 'file:b': { b: 4 } });
  });

  test('is for its owner alone', async () => {
    await runBridge(BEGIN, {}, { saveCheckpoint: store.write });
    expect(statSync(join(directory, 'data')).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'data', 'checkpoint')).mode & 0o777).toBe(0o600);
  });

  test('that is not there is a first start; one that is damaged is told', async () => {
    expect(await store.read()).toBeUndefined();
    await runBridge(BEGIN, {}, { saveCheckpoint: store.write });
    for (const damage of ['', 'not a checkpoint', '{}']) {
      writeFileSync(join(directory, 'data', 'checkpoint'), damage);
      expect(await store.read()).toBe('damaged');
    }
  });
});

test('without a checkpoint what is open at the end is closed', async () => {
  const { spans } = await runBridge(BEGIN, {});
  expect(spans).toMatchObject([{ error: { type: 'shutdown' } }, { error: { type: 'shutdown' } }]);
});

test('without a checkpoint what a decoder held back comes at the end; with one it is left to the next start', async () => {
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
  expect(await logsOf({ saveCheckpoint: () => undefined })).toEqual(before);
});

test('while a source is lost that can be asked again, model calls wait for their reasoning tokens', async () => {
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
        yield { kind: 'status', state: 'up', message: 'back' } as const;
        yield* after;
      })();
    },
  };
  const bridge = createBridge({
    sources: [source],
    destinations: [destination],
    dialect: 'catalog',
    max_line_bytes: 1_000_000,
    logger: pino({ level: 'silent' }),
    saveCheckpoint: () => undefined,
  });
  await bridge.open();
  await bridge.read();
  await bridge.finish(0);
  expect(merge(emitted).spans).toMatchObject([
    { kind: 'chat', attributes: { 'gen_ai.usage.reasoning.output_tokens': 3 } },
  ]);
});
