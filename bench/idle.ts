/**
 * `npm run bench:idle`: the cost of the program while nothing happens, and whether its memory grows over a day of steady
 * traffic. The day passes on the correlator's own clock, which follows the times that it is given.
 */
import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { createCorrelator, DEFAULT_LIMITS } from '../src/correlate/index.js';
import { createCaller } from './lib/calls.js';
import { decoded } from './lib/decoded.js';
import { DURABLE } from './lib/durable.js';
import { startEnds, stopEnds } from './lib/ends.js';
import { liveBytes } from './lib/heap.js';
import { IDLE_MS, idleRow, idleShares, SETTLE_MS } from './lib/idle.js';
import type { ProbeCalls } from './lib/probe.js';
import { publish, say, table } from './lib/report.js';
import { median, spread } from './lib/statistics.js';
import { PROBE, startSubject } from './lib/subject.js';
import { atMost } from './lib/target.js';
import { tellAll } from './load/workload.js';
import { expectedOf } from './sink/trees.js';

const WAKING = new URL('./subjects/waking.js', import.meta.url).pathname;
const WORKED = { copies: 10 };
const QUIET_MS = 8_000;

const HOUR_MS = 3_600_000;
const HOURS = 24;
const EVENTS_PER_SECOND = 10;
const OPEN_RUNS = 200;
/** A tenth of the default limits, so that all are full before the day begins: some would take a week. */
const LIMITS = {
  ended_runs: DEFAULT_LIMITS.ended_runs / 10,
  seen_ids: DEFAULT_LIMITS.seen_ids / 10,
  sessions: DEFAULT_LIMITS.sessions / 10,
  spawns: DEFAULT_LIMITS.spawns / 10,
};
const FILLING_EVENTS = 1_500_000;
/**
 * The interval of the heap samples: the heap shrinks every hour or so, when the older generation of remembered entries is
 * discarded.
 */
const LOOK_MS = HOUR_MS / 6;
/** The limit for the ratio between the second and the first half of the day, as medians over many such hours. */
const MAX_GROWTH = 1.02;
const MEGABYTE = 1024 ** 2;

/**
 * The idle shares of the program, after some requests, since existing series of metrics are collected again and again; and
 * of a process that only wakes.
 */
async function measureIdle(): Promise<{ program: number; waking: number }> {
  const ends = await startEnds();
  const { sink, generator } = ends;
  await generator.call('prepareRecorded', WORKED);
  const subject = await startSubject(DURABLE, sink.hello);
  const waking = fork(WAKING, { execArgv: ['--import', PROBE] });
  const done = sink.call('until', { ...expectedOf(WORKED), quiet_ms: QUIET_MS });
  await generator.call('send', { path: subject.socket_path });
  await done;
  await sleep(SETTLE_MS);
  const [program = Number.NaN, bare = Number.NaN] = await idleShares([
    subject,
    { call: createCaller<ProbeCalls>(waking) },
  ]);
  waking.kill();
  await subject.stop();
  stopEnds(ends);
  return { program, waking: bare };
}

/** The live heap over a day that begins when all limits are reached. */
async function measureDay(): Promise<{ events: number; heap_mb: number[] }> {
  const correlator = createCorrelator({ limits: LIMITS });
  let now_ms = Date.UTC(2026, 0, 1);
  let events = 0;
  const story = tellAll({ seed: 1, events: Number.POSITIVE_INFINITY, open: OPEN_RUNS }, () => now_ms);
  function next(): void {
    now_ms += 1_000 / EVENTS_PER_SECOND;
    while ((correlator.nextDeadline() ?? Number.POSITIVE_INFINITY) <= now_ms) correlator.expire(now_ms);
    correlator.apply(decoded(story.next().value.event, now_ms), now_ms);
    events++;
  }
  while (events < FILLING_EVENTS) next();
  const began_ms = now_ms;
  events = 0;
  const heap_mb: number[] = [];
  for (let look = 1; look * LOOK_MS <= HOURS * HOUR_MS; look++) {
    while (now_ms < began_ms + look * LOOK_MS) next();
    heap_mb.push((await liveBytes()) / MEGABYTE);
    if ((look * LOOK_MS) % HOUR_MS === 0)
      say(`hour ${(look * LOOK_MS) / HOUR_MS}: ${heap_mb.at(-1)?.toFixed(1)} MB`);
  }
  return { events, heap_mb };
}

const { events, heap_mb } = await measureDay();
const [first, second] = [heap_mb.slice(0, heap_mb.length / 2), heap_mb.slice(heap_mb.length / 2)];
const growth = median(second) / median(first);
const { program, waking } = await measureIdle();
const results = table([
  ['', '', 'target', ''],
  idleRow(program),
  ['a Node program that does nothing but wake twice a second', `${waking.toFixed(2)} %`, '', ''],
  [
    'live heap, the second half of a day to the first',
    `${growth.toFixed(3)} ×`,
    ...atMost(growth, MAX_GROWTH, ' ×'),
  ],
]);
const intro = [
  `Idle: the program with a listening source, a store and a destination, half a minute after ten requests, for ${IDLE_MS / 1_000} seconds.`,
  `The day: ${events.toLocaleString('en')} events through decoder and correlator, ${OPEN_RUNS} requests at a time, once all that has a bound is full, at a tenth of the bounds;`,
  `the median of ${HOURS / 2} hours, and the least and the greatest: ${spread(first, 1)} MB, then ${spread(second, 1)} MB.`,
].join(' ');
publish('idle', `${intro}\n\n${results}`);
