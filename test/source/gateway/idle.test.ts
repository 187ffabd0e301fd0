/** A gateway on which nothing happens, for hours of fake time: ticks keep the connection open, and without them it is closed. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LineBatch, SourceStatus } from '../../../src/model/source.js';
import { createGatewaySource } from '../../../src/source/index.js';
import { openDeviceStore } from '../../../src/store/device.js';
import { type FakeGateway, startFakeGateway } from './fake-gateway.js';

const TICK_MS = 30_000;
const TWO_HOURS_MS = 2 * 3_600_000;

// Sockets need real turns of the event loop; the test advances the timers.
beforeEach(
  () =>
    void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] }),
);
afterEach(() => void vi.useRealTimers());

type Item = LineBatch | SourceStatus;

function follow({ url }: FakeGateway) {
  const source = createGatewaySource({
    access: { url, name: url, secrets: () => ({ token: 'token' }), devices: openDeviceStore(undefined) },
    backoff: { min_ms: 1_000, max_ms: 30_000 },
  });
  const told: Item[] = [];
  const reading = (async () => {
    for await (const item of await source.open()) told.push(item);
  })();
  const lines = (): number =>
    told.reduce((count, item) => count + (item.kind === 'lines' ? item.lines.length : 0), 0);
  const states = (): string[] => told.flatMap((item) => (item.kind === 'status' ? [item.state] : []));
  const stop = async (): Promise<void> => {
    await source.close();
    await reading;
  };
  return { lines, states, stop };
}

/** Waits for data from sockets, in real turns of the event loop. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}

test('during two hours of ticks there is one connection, and no call or timer is added', async () => {
  const gateway = await startFakeGateway();
  const { lines, states, stop } = follow(gateway);
  await until(() => states().includes('up') && gateway.calls.length === 3);
  const [connection] = gateway.connections;
  // The first tick is emitted once the gateway has answered everything.
  connection!.push('tick', { ts: Date.now() });
  await until(() => lines() === 1);
  const timers = vi.getTimerCount();
  for (let ticks = 1; ticks <= TWO_HOURS_MS / TICK_MS; ticks++) {
    vi.advanceTimersByTime(TICK_MS);
    connection!.push('tick', { ts: Date.now() });
    await until(() => lines() === ticks + 1);
  }
  expect(gateway.connections).toHaveLength(1);
  expect(gateway.calls.map(({ method }) => method)).toEqual([
    'connect',
    'sessions.subscribe',
    'gateway.identity.get',
  ]);
  expect(states()).toEqual(['up']);
  expect(vi.getTimerCount()).toBe(timers);
  await stop();
  expect(vi.getTimerCount()).toBe(0);
});

test('silence ends a connection, and on the next one the gateway is asked for what was missed', async () => {
  const gateway = await startFakeGateway({
    replies: {
      'audit.activity.list': { payload: { events: [] } },
      'sessions.list': { payload: { sessions: [], hasMore: false } },
    },
  });
  const { lines, states, stop } = follow(gateway);
  await until(() => states().includes('up') && gateway.calls.length === 3);
  gateway.connections[0]!.push('tick', { ts: Date.now() });
  await until(() => lines() === 1);
  vi.advanceTimersByTime(3 * TICK_MS);
  await until(() => states().includes('down'));
  expect(gateway.connections).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  await until(() => gateway.calls.some(({ method }) => method === 'audit.activity.list') && lines() === 2);
  expect(gateway.connections).toHaveLength(2);
  await stop();
  expect(vi.getTimerCount()).toBe(0);
});
