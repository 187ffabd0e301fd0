/**
 * `npm run bench:memory`: the size of an open run and of an open tool call, as the difference between two live heaps, and
 * the resident memory of the whole program at full speed with 5,000 open runs.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Correlator, createCorrelator } from '../src/correlate/index.js';
import { decoded } from './lib/decoded.js';
import { DURABLE } from './lib/durable.js';
import { startEnds, stopEnds } from './lib/ends.js';
import { liveBytes } from './lib/heap.js';
import { options, publish, say, table } from './lib/report.js';
import { startSubject } from './lib/subject.js';
import { atMost } from './lib/target.js';
import { STANDARD } from './load/workload.js';

const MAX_RUN_BYTES = 600;
const MAX_CALL_BYTES = 400;
const MAX_PEAK_MB = 150;
const COUNT = 20_000;
const CALLS_AT_ONCE = 20;
const LOOK_EVERY_MS = 50;
const QUIET_MS = 8_000;
const START_MS = Date.UTC(2026, 0, 1);

const numberText = (number: number): string => number.toString(16).padStart(12, '0');

interface Count {
  runs: number;
  runs_of_a_session?: number;
  /** Open calls per run. */
  calls?: number;
}

/** Opens `runs` runs with `calls` calls each; the ids are as long as a gateway's. */
function open(correlator: Correlator, { runs, runs_of_a_session = 1, calls = 0 }: Count): void {
  let now_ms = START_MS;
  const apply = (event: object): void =>
    void correlator.apply(decoded({ ...event, ts: ++now_ms }, now_ms), now_ms);
  for (let run = 0; run < runs; run++) {
    const number = numberText(run);
    const session = numberText(Math.floor(run / runs_of_a_session));
    const of = {
      session_key: `agent:main:direct:${session}`,
      run_id: `8d1c54f0-6d0a-4b7e-9c55-${number}`,
      session_id: `5b6c2d0e-11f3-4a3b-8a6e-${session}`,
      agent_id: 'main',
    };
    apply({ type: 'agent.started', ...of, seq: 1, trigger: 'user', channel: 'telegram', input: 'hello' });
    for (let call = 0; call < calls; call++) {
      const call_id = `call_${number}_${call.toString(16).padStart(8, '0')}`;
      const input = { command: 'ls -l', timeout_s: 60 };
      apply({ type: 'tool.call', ...of, seq: call + 2, call_id, tool: 'exec', input });
    }
  }
}

async function heapWith(count: Count): Promise<number> {
  const correlator = createCorrelator();
  const before = await liveBytes();
  open(correlator, count);
  const bytes = (await liveBytes()) - before;
  const { runs } = count;
  if (correlator.counts().runs_open !== runs) throw new Error(`of ${runs} runs not all are open`);
  return bytes;
}

interface Cost {
  what: string;
  bytes: number;
  limit?: number;
}

/** The difference between two heaps, divided by the difference in the number of items. */
const costOf = async (less: Count, more: Count, count: number): Promise<number> =>
  ((await heapWith(more)) - (await heapWith(less))) / count;

async function measureState(): Promise<Cost[]> {
  const [one, two] = [{ runs: COUNT }, { runs: 2 * COUNT }];
  const run = await costOf(one, { ...two, runs_of_a_session: 2 }, COUNT);
  const run_and_session = await costOf(one, two, COUNT);
  const run_and_call = await costOf({ ...one, calls: 1 }, { ...two, calls: 1 }, COUNT);
  const runs = COUNT / CALLS_AT_ONCE;
  const call = await costOf({ runs, calls: CALLS_AT_ONCE }, { runs, calls: 2 * CALLS_AT_ONCE }, COUNT);
  return [
    { what: 'an open run, of a session that is known', bytes: run, limit: MAX_RUN_BYTES },
    { what: 'an open run, with a session of its own', bytes: run_and_session },
    {
      what: `an open tool call, of ${CALLS_AT_ONCE} and more of its run`,
      bytes: call,
      limit: MAX_CALL_BYTES,
    },
    {
      what: 'an open tool call, the only one of its run',
      bytes: run_and_call - run_and_session,
      limit: MAX_CALL_BYTES,
    },
  ];
}

interface Resident {
  all_mb: number;
  /** Anonymous memory, and pages of mapped files: the program's and the store's. */
  own_mb: number;
  mapped_mb: number;
}

function resident(pid: number): Resident {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) / 1_024;
  return { all_mb: mb('VmRSS'), own_mb: mb('RssAnon'), mapped_mb: mb('RssFile') };
}

/** The part of the mapped pages that belongs to the store's file. */
function storeMegabytes(pid: number): number {
  let is_store = false;
  let kilobytes = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) is_store = /\.mdb$/.test(line);
    else if (is_store && line.startsWith('Rss:')) kilobytes += Number.parseInt(line.slice(4), 10);
  }
  return kilobytes / 1_024;
}

async function measureProgram(): Promise<{ peak: Resident; store_mb: number; lost: number }> {
  const workload = { ...STANDARD, ...(options.events === undefined ? {} : { events: options.events }) };
  const ends = await startEnds();
  const { sink, generator } = ends;
  const { spans, logs } = await sink.call('expect', workload);
  await generator.call('prepare', workload);
  await sink.call('reset');
  const subject = await startSubject(DURABLE, sink.hello);
  const pid = subject.child.pid ?? 0;
  let is_done = false;
  const done = sink.call('until', { spans, logs, quiet_ms: QUIET_MS }).finally(() => {
    is_done = true;
  });
  const sent = generator.call('send', { path: subject.socket_path });
  let peak = resident(pid);
  let store_mb = 0;
  for (; !is_done; await sleep(LOOK_EVERY_MS)) {
    const now = resident(pid);
    if (now.all_mb <= peak.all_mb) continue;
    peak = now;
    store_mb = storeMegabytes(pid);
  }
  await sent;
  const arrived = await done;
  await subject.stop();
  stopEnds(ends);
  return { peak, store_mb, lost: spans + logs - arrived.spans - arrived.logs };
}

const costs = await measureState();
const { peak, store_mb, lost } = await measureProgram();
const state = table([
  ['on the heap', 'bytes', 'target', ''],
  ...costs.map(({ what, bytes, limit }) => [
    what,
    bytes.toFixed(0),
    ...(limit === undefined ? ['', ''] : atMost(bytes, limit, ' B')),
  ]),
]);
const program = table([
  ['the program', 'peak MB', 'its own', 'mapped files', 'of these the store', 'target', ''],
  [
    `at full speed, ${STANDARD.open.toLocaleString('en')} runs open`,
    ...[peak.all_mb, peak.own_mb, peak.mapped_mb, store_mb].map((each) => each.toFixed(0)),
    ...atMost(peak.all_mb, MAX_PEAK_MB, ' MB'),
  ],
]);
say(`${lost} spans and log records lost`);
const intro = [
  `The heap: the difference between ${COUNT.toLocaleString('en')} and ${(2 * COUNT).toLocaleString('en')} of them after a collection of garbage.`,
  `The program: durable, with traces, metrics and log records; resident memory, looked at every ${LOOK_EVERY_MS} ms. Pages of mapped files`,
  'can be taken back by the system at any time.',
  `${lost.toLocaleString('en')} spans and log records were lost.`,
].join(' ');
publish('memory', `${intro}\n\n${state}\n\n${program}`);
