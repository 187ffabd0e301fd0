/** Gateways that accept the bridge and then refuse calls, are lost, or announce an impossible tick interval. */
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { SourceStatus } from '../../../src/model/source.js';
import { readHello } from '../../../src/source/gateway/connection/handshake.js';
import { createGatewaySource } from '../../../src/source/index.js';
import { openDeviceStore } from '../../../src/store/device.js';
import { type FakeGateway, type GatewayScript, startFakeGateway } from './fake-gateway.js';

// Sockets need real turns of the event loop; the test advances the timers.
beforeEach(
  () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] }),
);
afterEach(() => void vi.useRealTimers());

interface Following {
  gateway: FakeGateway;
  told: SourceStatus[];
}

async function follow(script: GatewayScript): Promise<Following> {
  const gateway = await startFakeGateway(script);
  const { url } = gateway;
  const source = createGatewaySource({
    access: { url, name: url, secrets: () => ({ token: 'token' }), devices: openDeviceStore(undefined) },
    backoff: { min_ms: 1_000, max_ms: 30_000 },
  });
  const told: SourceStatus[] = [];
  const reading = (async () => {
    for await (const item of await source.open()) if (item.kind === 'status') told.push(item);
  })();
  onTestFinished(async () => {
    await source.close();
    await reading;
  });
  return { gateway, told };
}

/** Lets sockets deliver their data, for at most `most` real turns of the event loop. */
async function turns(isEnough: () => boolean = () => false, most = 50): Promise<void> {
  for (let turn = 0; turn < most && !isEnough(); turn++)
    await new Promise((resolve) => setImmediate(resolve));
}

const until = (isSo: () => boolean): Promise<void> => turns(isSo, 100_000);

test('a refused subscription is reported once, and tried again every 30 s', async () => {
  const details = { code: 'MISSING_SCOPE', missingScope: 'operator.read' };
  const error = { code: 'FORBIDDEN', message: 'not for you', details };
  const { gateway, told } = await follow({ replies: { 'sessions.subscribe': { error } } });
  await until(() => told.length > 0);
  await turns();
  vi.advanceTimersByTime(29_000);
  await turns();
  expect(gateway.connections).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  await until(() => gateway.calls.length === 6);
  await turns();
  expect(told).toEqual([
    {
      kind: 'status',
      state: 'down',
      message: expect.stringMatching(
        /does not grant this token the scope operator\.read.*retrying every 30 s$/,
      ),
    },
  ]);
});

test.each([
  [undefined, 30_000],
  [0, 30_000],
  [-1, 30_000],
  [1, 1_000],
  [5e9, 3_600_000],
])('ticks that are announced every %s ms are expected every %d ms', (tickIntervalMs, interval_ms) => {
  expect(readHello({ type: 'hello-ok', policy: { tickIntervalMs } })?.tick_interval_ms).toBe(interval_ms);
});

const modelCall = {
  sessionKey: 'agent:main:s',
  messageId: '1',
  message: { role: 'assistant', usage: { output: 9 } },
};

test('a gateway that is lost during a request is only reported as lost', async () => {
  const { gateway, told } = await follow({ replies: { 'sessions.get': 'silence' } });
  await until(() => told.length > 0);
  gateway.connections[0]!.push('session.message', modelCall);
  await turns();
  vi.advanceTimersByTime(400);
  await until(() => gateway.calls.some(({ method }) => method === 'sessions.get'));
  gateway.connections[0]!.drop();
  await until(() => told.length > 1);
  await turns();
  expect(told.slice(1)).toMatchObject([
    { state: 'down', message: expect.stringMatching(/^lost the gateway/) },
  ]);
});

test('a gateway that is about to restart is still followed, and reported as one that can not be asked', async () => {
  const error = { code: 'UNAVAILABLE', message: 'sessions.get unavailable during gateway restart' };
  let is_draining = true;
  const { gateway, told } = await follow({
    replies: { 'sessions.get': () => (is_draining ? { error } : { payload: {} }) },
  });
  await until(() => told.length > 0);
  gateway.connections[0]!.push('session.message', modelCall);
  const asked = (): number => gateway.calls.filter(({ method }) => method === 'sessions.get').length;
  await turns();
  vi.advanceTimersByTime(400);
  await until(() => told.length > 1);
  vi.advanceTimersByTime(500);
  await until(() => asked() === 2);
  await turns();
  is_draining = false;
  vi.advanceTimersByTime(1_000);
  await until(() => told.length > 2);
  expect(told.map(({ state, message }) => [state, message.replace(/ at ws:\S+/, '')])).toEqual([
    ['up', 'following the gateway (OpenClaw 2026.9.6, protocol 4)'],
    ['down', expect.stringContaining(`the gateway can't answer requests now: ${error.message}; `)],
    ['up', 'the gateway answers requests again'],
  ]);
  expect(gateway.connections).toHaveLength(1);
});
