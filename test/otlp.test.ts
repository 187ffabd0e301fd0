/** A sender of log records and a whole bridge: what the sender is answered, and what an acknowledgement guarantees. */
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { composeBridge } from '../src/bridge.js';
import type { Positions } from '../src/model/source.js';
import type { Emission } from '../src/model/telemetry.js';
import { openSavedState } from '../src/persistence/saved-state.js';
import { createOtlpSource } from '../src/source/otlp/index.js';
import type { Store } from '../src/store/index.js';
import { createSink, merge } from './helpers.js';
import { turns } from './source/helpers.js';
import { bodies, ENCODINGS, post, readTaken, type Told } from './source/otlp/requests.js';
import { createMemoryStore, gatherFor } from './store/memory.js';

const NAME = 'otlp:test';
const RUN = { session_key: 'agent:main:s', run_id: 'r' };
/** A run with a model call. Without ids and sequence numbers only the content identifies an event. */
const STORY = [
  { type: 'agent.started', ts: 1_000, ...RUN },
  {
    type: 'llm.tokens',
    ts: 2_000,
    ...RUN,
    model: 'm',
    provider: 'p',
    input_tokens: 7,
    output_tokens: 1,
    reasoning_tokens: 0,
  },
  { type: 'agent.finished', ts: 3_000, ...RUN, status: 'ok' },
].map((event) => JSON.stringify(event));

interface Started {
  url: string;
  emitted(): Emission;
  finish(): Promise<void>;
}

async function start(store?: Store): Promise<Started> {
  const { destination, emitted } = createSink();
  const saved = store && openSavedState(store, 'run');
  let url = '';
  const logger = pino(
    {},
    {
      write: (line: string) => {
        url ||= /http:[^"]*/.exec(line)?.[0] ?? '';
      },
    },
  );
  const resume: Positions = saved?.positions[NAME] ?? {};
  const bridge = composeBridge({
    sources: [createOtlpSource(NAME, { host: '127.0.0.1', port: 0 }, { max_line_bytes: 10_000, resume })],
    destinations: [destination],
    dialect: 'auto',
    max_line_bytes: 10_000,
    logger,
    now: () => 5_000,
    // The destination makes the metrics.
    recordMeasurements: () => undefined,
    persist: saved && { saved, place: 'here', checkpoint_interval_ms: 1_000_000, store_limit_bytes: 1e9 },
  });
  await bridge.open();
  const reading = bridge.read();
  await vi.waitUntil(() => url !== '', { timeout: 10_000 });
  let is_finished = false;
  async function finish(): Promise<void> {
    if (is_finished) return;
    is_finished = true;
    await bridge.stopReading();
    await reading;
    await bridge.finish(0);
  }
  onTestFinished(finish);
  return { url, emitted: () => merge(emitted), finish };
}

const tokens = ({ measurements }: Emission): number =>
  measurements
    .filter(({ instrument }) => instrument === 'gen_ai.client.inference.usage.input_tokens')
    .reduce((sum, { value }) => sum + value, 0);

/** A store whose writes can be made to wait or fail, and that can be copied as it is on the disk. */
function createDisk() {
  const inner = createMemoryStore();
  const waiting: (() => void)[] = [];
  let mode: 'writes' | 'waits' | 'fails' = 'writes';
  const store: Store = {
    ...inner,
    async write(changes) {
      if (mode === 'fails') return { ok: false, message: 'no space left on device' };
      if (mode === 'waits') await new Promise<void>((resolve) => waiting.push(resolve));
      return inner.write(changes);
    },
    gather: () => gatherFor(store.write),
  };
  return {
    store,
    /** The store that a process finds which starts now. */
    async reopen(): Promise<Store> {
      const copy = createMemoryStore();
      await copy.write(
        [...inner.entries('')].map(({ key, value }) => ({ key, value: new Uint8Array(value) })),
      );
      return copy;
    },
    set(next: typeof mode): void {
      mode = next;
      for (const go of waiting.splice(0)) go();
    },
  };
}

test.each(ENCODINGS)(
  'bad lines are rejected by their place, and unknown types are not, in %s',
  async (encoding) => {
    const { url, emitted } = await start();
    const unknown = JSON.stringify({ type: 'agent.dreamt', ts: 1, ...RUN });
    const sent = bodies(...STORY, unknown, '{"type":"tool.call","ts":1}', 'hidden {');
    const place = 'resourceLogs[0].scopeLogs[0].logRecords';
    const taken = readTaken(await post(url, sent, encoding));
    expect(taken).toEqual({
      partialSuccess: {
        rejectedLogRecords: encoding === 'json' ? '2' : 2,
        errorMessage:
          `${place}[4]: session_key: missing; ` +
          `${place}[5]: $: not JSON: Unexpected token 'h'; write one JSON object per line`,
      },
    });
    expect(tokens(emitted())).toBe(7);
  },
);

test('without a store a request is answered once its lines have been applied', async () => {
  const { url, emitted } = await start();
  expect((await post(url, bodies(...STORY))).status).toBe(200);
  expect(tokens(emitted())).toBe(7);
});

test('with a store a request is answered only when its lines are on the disk', async () => {
  const disk = createDisk();
  const { url, emitted } = await start(disk.store);
  disk.set('waits');
  let told: Told | undefined;
  const answer = post(url, bodies(...STORY)).then((each) => {
    told = each;
  });
  // A second request is read meanwhile.
  const other = post(url, bodies('{"type":"agent.dreamt"}'));
  await turns(200);
  expect(told).toBe(undefined);
  expect(emitted().spans).toEqual([]);
  disk.set('writes');
  await answer;
  expect(told?.status).toBe(200);
  expect((await other).status).toBe(200);
  expect(tokens(emitted())).toBe(7);
});

test('lines that are sent again after a kill before the response count once', async () => {
  const disk = createDisk();
  const first = await start(disk.store);
  expect((await post(first.url, bodies(...STORY.slice(0, 2)))).status).toBe(200);
  // The response is lost with the process, which writes nothing more.
  const found = await disk.reopen();
  const second = await start(found);
  expect(tokens(second.emitted())).toBe(7);
  // In other portions and the other encoding: the lines are recognised.
  const again = await post(second.url, bodies(...STORY.slice(1)), 'protobuf');
  expect(again.status).toBe(200);
  expect(readTaken(again)).toEqual({});
  await second.finish();
  const { spans } = second.emitted();
  expect(spans.map(({ name }) => name).sort()).toEqual(['chat m', 'invoke_agent main']);
  expect(tokens(second.emitted())).toBe(7);
  // Also after a checkpoint.
  const third = await start(found);
  expect((await post(third.url, bodies(...STORY))).status).toBe(200);
  await third.finish();
  expect(third.emitted()).toMatchObject({ spans: [], measurements: [] });
});

test("lines that can't be stored are refused with 503, and count once when they can", async () => {
  const disk = createDisk();
  const { url, emitted, finish } = await start(disk.store);
  disk.set('fails');
  for (const _ of [1, 2]) expect((await post(url, bodies(...STORY))).status).toBe(503);
  disk.set('writes');
  await vi.waitUntil(async () => (await post(url, bodies(...STORY))).status === 200, { timeout: 10_000 });
  // The disk now has all of it.
  const next = await start(await disk.reopen());
  await next.finish();
  await finish();
  expect(tokens(emitted())).toBe(7);
  expect(emitted().spans).toHaveLength(2);
  expect(next.emitted().spans).toEqual([]);
});
