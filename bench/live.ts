/**
 * `npm run bench:live`: the program in use, between a real OpenClaw gateway with a scripted model and a real Collector and
 * ClawMetry. A client beside it only reads what the gateway pushes: what is late there can't be early in the bridge.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '../test/integration/backends.js';
import { startClawMetry } from '../test/integration/clawmetry.js';
import { type OtlpRequest, startCollector, unwrap } from '../test/integration/collector.js';
import { connectClient, countOver, createWatch, type Watch } from '../test/integration/openclaw/client.js';
import {
  createGateway,
  DRIVER_SCOPES,
  type Gateway,
  startRun,
} from '../test/integration/openclaw/gateway.js';
import { RUNS_OF_SPAWN, type Script, startModel } from '../test/integration/openclaw/model.js';
import { soon } from '../test/integration/openclaw/soon.js';
import { startRelay } from '../test/integration/relay.js';
import { nowMs } from './lib/clock.js';
import { IDLE_MS, idleRow, idleShares, SETTLE_MS } from './lib/idle.js';
import { publish, table } from './lib/report.js';
import { quantile } from './lib/statistics.js';
import { MAIN, type Program, startProgram, temporaryDirectory } from './lib/subject.js';
import { readSpans } from './sink/otlp.js';

/** One request per second: a run of seven tool calls in a row, or one with two sub-agents, one of which has a third. */
const REQUESTS: readonly Script[] = Array.from({ length: 18 }, (_, at) => (at % 3 === 0 ? 'tools' : 'spawn'));
/** Including the runs that continue a request after its sub-agents have reported. */
const RUNS: Partial<Record<Script, number>> = { tools: 1, spawn: RUNS_OF_SPAWN };
const BETWEEN_REQUESTS_MS = 1_000;
const RUNS_LIMIT_MS = 180_000;
const START_MS = 3_000;

const MEGABYTE = 1024 ** 2;

/** A copy of a span that may have an end. */
interface Ended {
  span_id: string;
  name: string;
  end_ms: number;
}

interface Request {
  body: Buffer;
  received_ms: number;
}

const readJson = (body: Buffer): Ended[] =>
  unwrap([JSON.parse(body.toString()) as OtlpRequest]).spans.map(
    ({ spanId, name, endTimeUnixNano = '0' }) => ({
      span_id: spanId,
      name,
      end_ms: Number(endTimeUnixNano) / 1e6,
    }),
  );

/** The kinds that are measured separately, by the beginning of their spans' names. */
const KINDS: Record<string, RegExp> = {
  'a tool call': /^execute_tool /,
  'a run': /^(invoke_agent|agent\.spawn)/,
  'a model call': /^chat /,
};

interface Way {
  name: string;
  to: string;
  read(body: Buffer): Ended[];
  requests: Request[];
  stop(): Promise<void>;
}

/** Puts a relay in front of a real backend to record when each request arrives. */
async function openWay(name: string, backend: Backend, read: Way['read']): Promise<Way> {
  const requests: Request[] = [];
  const relay = await startRelay(Number(new URL(backend.otlp_url).port), (path, body) => {
    if (path.endsWith('/traces')) requests.push({ body, received_ms: nowMs() });
  });
  return {
    name,
    to: `${name}=${relay.url}`,
    read,
    requests,
    async stop() {
      relay.close();
      await backend.stop();
    },
  };
}

/** By kind, the time from the end of each span until its first ended copy arrives. */
function latenciesOf({ requests, read }: Way): Map<string, number[]> {
  const seen = new Set<string>();
  const latencies = new Map<string, number[]>(Object.keys(KINDS).map((kind) => [kind, []]));
  for (const { body, received_ms } of requests)
    for (const { span_id, name, end_ms } of read(body)) {
      if (end_ms === 0 || seen.has(span_id)) continue;
      seen.add(span_id);
      const kind = Object.keys(KINDS).find((each) => KINDS[each]?.test(name)) ?? '';
      latencies.get(kind)?.push(received_ms - end_ms);
    }
  return latencies;
}

/** The same for the client: the time from the end of a tool call until the client receives it. */
function heardAfter({ recording }: Watch): number[] {
  const heard = new Map<string, number>();
  for (const line of recording().trimEnd().split('\n')) {
    const { rx, frame } = JSON.parse(line);
    const { toolCallId, phase } = frame.payload?.data ?? {};
    if (frame.event === 'session.tool' && phase === 'result' && !heard.has(toolCallId))
      heard.set(toolCallId, rx - frame.payload.ts);
  }
  return [...heard.values()];
}

function startBridge(gateway: Gateway, ways: Way[]): Program {
  const directory = temporaryDirectory();
  const to = ways.flatMap((way) => ['--to', way.to]);
  return startProgram({
    name: 'bridge',
    module: MAIN,
    args: ['run', '--from', gateway.url, ...to, '--data-dir', directory, '--log-level', 'warn'],
    env: { HOME: directory, OPENCLAW_GATEWAY_TOKEN: gateway.token },
    directory,
  });
}

/** Sends one request after the other, and waits until all of their runs have ended. */
async function play(gateway: Gateway, watch: Watch): Promise<number> {
  const driver = await connectClient(gateway, { scopes: DRIVER_SCOPES });
  for (const script of REQUESTS) {
    await startRun(driver, script);
    await sleep(BETWEEN_REQUESTS_MS);
  }
  const wanted = REQUESTS.reduce((runs, script) => runs + (RUNS[script] ?? 0), 0);
  await soon(
    `${wanted} runs`,
    watch.until(() => countOver(watch) >= wanted),
    RUNS_LIMIT_MS,
  );
  driver.close();
  return wanted;
}

function latencyRow(what: string, latencies_ms: number[]): string[] {
  const shown = [0.5, 0.99, 1].map((part) => quantile(latencies_ms, part).toFixed(1));
  return [what, String(latencies_ms.length), ...shown];
}

interface Measured {
  ways: Way[];
  watch: Watch;
  runs: number;
  idle: number;
  peak_bytes: number;
}

/** `started`: collects how everything that was started is stopped, for the caller, also if this fails. */
async function measure(started: (() => unknown)[]): Promise<Measured> {
  const model = await startModel();
  started.push(() => model.stop());
  const gateway = await createGateway(model.url);
  started.push(() => gateway.remove());
  await gateway.start();
  const ways: Way[] = [];
  async function open(name: string, backend: Backend, read: Way['read']): Promise<void> {
    const way = await openWay(name, backend, read);
    started.push(() => way.stop());
    ways.push(way);
  }
  await open('collector', await startCollector(), readSpans);
  await open('clawmetry', await startClawMetry(), readJson);
  const watch = createWatch(gateway);
  const client = await watch.connect();
  started.push(() => client.close());
  const program = startBridge(gateway, ways);
  await sleep(START_MS);
  const runs = await play(gateway, watch);
  await sleep(SETTLE_MS);
  const [idle = Number.NaN] = await idleShares([program]);
  const { peak_bytes } = await program.call('usage');
  await program.stop();
  return { ways, watch, runs, idle, peak_bytes };
}

function publishAll({ ways, watch, runs, idle, peak_bytes }: Measured): void {
  const rows = ways.flatMap((way) =>
    [...latenciesOf(way)].map(([kind, latencies_ms]) => latencyRow(`${kind}, to ${way.name}`, latencies_ms)),
  );
  const latencies = table([
    ['from its end to', 'of', 'p50 ms', 'p99 ms', 'max ms'],
    latencyRow('a tool call, to a client that only reads', heardAfter(watch)),
    ...rows,
  ]);
  const rest = table([
    ['', '', 'target', ''],
    idleRow(idle),
    ['peak resident memory, MB', (peak_bytes / MEGABYTE).toFixed(0), '', ''],
  ]);
  const intro = [
    `${REQUESTS.length} requests, one a second, of ${runs} runs; then ${SETTLE_MS / 1_000} seconds of rest, and ${IDLE_MS / 1_000} in which`,
    'the processor time was measured. The program is durable and sends to both backends.',
  ].join(' ');
  publish('live', `${intro}\n\n${latencies}\n\n${rest}`);
}

const started: (() => unknown)[] = [];
try {
  publishAll(await measure(started));
} finally {
  for (const end of started.reverse()) await end();
}
