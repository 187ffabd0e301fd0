/**
 * A ClawMetry that is slow to accept logs, because of a proxy or a flood: tool calls are shown as fast as ever, since spans
 * never wait for logs; the logs queue, are counted as pending, and arrive in the end.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { spanId, traceId } from '../oracle.js';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { type Bridge, lawBreakers, startBridge, statusOf } from './bridge.js';
import { type ClawMetry, startClawMetry } from './clawmetry.js';
import { isSkipped } from './installed.js';

const SESSION_KEY = 'agent:main:slow';
const CALLS = 40;
const LOG_DELAY_MS = 3_000;
/** The time within which a tool call must be shown on an otherwise idle machine. */
const SEEN_WITHIN_MS = 100;
/** The same while ClawMetry is busy. The logs ahead of it in the queue take ten times as long. */
const SEEN_IN_FLOOD_WITHIN_MS = 500;
/** Asked without a pause, ClawMetry would spend its time on answers instead of spans. */
const POLL_INTERVAL_MS = 10;
const WAIT = { timeout: 30_000, interval: 100 };
/** ClawMetry accepts about 160 log records a second, and each call has two. */
const FLOOD_CALLS = 400;

/** A proxy in front of ClawMetry that delays requests to its log intake. */
interface Proxy {
  url: string;
  log_delay_ms: number;
}

async function startProxy(target: string): Promise<Proxy & { server: Server }> {
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    if (request.url === '/v1/logs') await sleep(proxy.log_delay_ms);
    const { 'content-type': type = '', 'content-encoding': encoding } = request.headers;
    const headers = {
      'content-type': type,
      ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    };
    const answer = await fetch(`${target}${request.url}`, { method: 'POST', headers, body });
    response.writeHead(answer.status).end(await answer.text());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = { url: `http://127.0.0.1:${port}`, log_delay_ms: 0, server };
  return proxy;
}

interface Run {
  run_id: string;
  write(event: Record<string, unknown>): void;
}

function startRun(socket: Socket): Run {
  const run_id = randomUUID();
  const session_id = randomUUID();
  const write = (event: Record<string, unknown>): void => {
    const common = { ts: Date.now(), session_key: SESSION_KEY, run_id, session_id, agent_id: 'main' };
    socket.write(`${JSON.stringify({ ...common, ...event })}\n`);
  };
  write({ type: 'agent.started' });
  return { run_id, write };
}

/** In ascending order. */
type Times = number[];

const quantile = (times: Times, q: number): number =>
  times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? Number.NaN;
const describeTimes = (times: Times): string =>
  [0.5, 0.95, 1]
    .map((q) => `${q === 1 ? 'max' : `p${q * 100}`} ${Math.round(quantile(times, q))} ms`)
    .join(', ');

/** On a machine so busy that even an undisturbed call takes longer, that is the reference. */
function expectWithin(limit_ms: number, disturbed: Times, undisturbed: Times): void {
  expect(quantile(disturbed, 0.5)).toBeLessThan(Math.max(limit_ms, 2 * quantile(undisturbed, 0.5)));
}

describe.skipIf(isSkipped('clawmetry'))('a ClawMetry that is slow to accept logs', () => {
  let clawmetry: ClawMetry;
  let directory: string;

  beforeAll(async () => {
    [clawmetry, directory] = await Promise.all([startClawMetry(), temporaryDirectory()]);
  });
  afterAll(async () => {
    await clawmetry?.stop();
    await removeDirectory(directory);
  });

  async function startListening(url: string): Promise<{ bridge: Bridge; socket: Socket; data_dir: string }> {
    const data_dir = join(directory, randomUUID());
    const path = join(directory, `${randomUUID()}.sock`);
    const options = ['--data-dir', data_dir, '--from', `listen:unix:${path}`, '--drain', '60'];
    const bridge = await startBridge(['run', ...options, '--to', `clawmetry=${url}`]);
    onTestFinished(async () => void (await bridge.stop()));
    await bridge.said('following');
    const socket = connect(path);
    await once(socket, 'connect');
    return { bridge, socket, data_dir };
  }

  /** The time from writing a tool call's line until its span is in ClawMetry's answer. */
  async function seeCall(run: Run): Promise<number> {
    const call_id = randomUUID();
    const trace_id = traceId(SESSION_KEY, run.run_id);
    const span_id = spanId('tool', SESSION_KEY, run.run_id, call_id);
    const began_ms = performance.now();
    run.write({ type: 'tool.call', call_id, tool: 'exec' });
    while (!(await clawmetry.trace(trace_id)).spans.some((span) => span.span_id === span_id)) {
      if (performance.now() - began_ms > WAIT.timeout) throw new Error('the call is not seen');
      await sleep(POLL_INTERVAL_MS);
    }
    const ms = performance.now() - began_ms;
    run.write({ type: 'tool.output', call_id, exit_code: 0 });
    return ms;
  }

  async function seeCalls(run: Run): Promise<Times> {
    const times = [];
    for (let i = 0; i < CALLS; i++) times.push(await seeCall(run));
    return times.sort((a, b) => a - b);
  }

  async function pendingOf(data_dir: string): Promise<{ spans: number; logs: number }> {
    const { traces, logs } = (await statusOf(data_dir)).destinations.clawmetry ?? {};
    return { spans: traces?.pending ?? 0, logs: logs?.pending ?? 0 };
  }

  /** Stops the bridge, and expects that everything is in ClawMetry, once. */
  async function expectAllThere(bridge: Bridge, before: { spans: number; logs: number }): Promise<void> {
    const { status, summary } = await bridge.stop();
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    const { traces, logs } = summary.destinations.clawmetry ?? {};
    expect(traces).toMatchObject({ pending: 0, rejected: {}, dropped: {} });
    expect(logs).toMatchObject({ pending: 0, rejected: {}, dropped: {} });
    expect((await stored()).logs - before.logs).toBe(logs?.produced);
  }

  async function stored(): Promise<{ spans: number; logs: number }> {
    const { traces, logs } = (await clawmetry.status()).intake.signals;
    return { spans: traces.items.stored, logs: logs.items.stored };
  }

  test(`shows tool calls at once if its log intake answers after ${LOG_DELAY_MS} ms`, async ({
    annotate,
  }) => {
    const proxy = await startProxy(clawmetry.otlp_url);
    onTestFinished(() => void proxy.server.close());
    const { bridge, socket, data_dir } = await startListening(proxy.url);
    const before = await stored();
    const run = startRun(socket);
    await seeCall(run);
    const undisturbed = await seeCalls(run);
    proxy.log_delay_ms = LOG_DELAY_MS;
    const disturbed = await seeCalls(run);
    const pending = await pendingOf(data_dir);
    await annotate(`undisturbed: ${describeTimes(undisturbed)}; with slow logs: ${describeTimes(disturbed)}`);
    await annotate(`pending then: ${pending.spans} spans, ${pending.logs} log records`);
    expect(pending.logs).toBeGreaterThan(CALLS / 2);
    expect(pending.spans).toBeLessThan(CALLS);
    expectWithin(SEEN_WITHIN_MS, disturbed, undisturbed);
    proxy.log_delay_ms = 0;
    run.write({ type: 'agent.finished', status: 'ok' });
    await expectAllThere(bridge, before);
  });

  test('shows tool calls at once if it gets too many logs', async ({ annotate }) => {
    const { bridge, socket, data_dir } = await startListening(clawmetry.otlp_url);
    const before = await stored();
    const run = startRun(socket);
    const other = startRun(socket);
    const undisturbed = await seeCalls(run);
    for (let i = 0; i < FLOOD_CALLS; i++) {
      other.write({ type: 'tool.call', call_id: `call-${i}`, tool: 'read' });
      other.write({ type: 'tool.output', call_id: `call-${i}`, exit_code: 0 });
    }
    // Spans are accepted several times as fast: once they are through, only logs are pending.
    await vi.waitFor(async () => {
      const pending = await pendingOf(data_dir);
      expect(pending.logs).toBeGreaterThan(CALLS);
      expect(pending.spans).toBe(0);
    }, WAIT);
    const disturbed = await seeCalls(run);
    const pending = await pendingOf(data_dir);
    await annotate(`undisturbed: ${describeTimes(undisturbed)}; in the flood: ${describeTimes(disturbed)}`);
    await annotate(`pending then: ${pending.spans} spans, ${pending.logs} log records`);
    expect(pending.logs).toBeGreaterThan(CALLS);
    expectWithin(SEEN_IN_FLOOD_WITHIN_MS, disturbed, undisturbed);
    for (const each of [run, other]) each.write({ type: 'agent.finished', status: 'ok' });
    await expectAllThere(bridge, before);
  });
});
