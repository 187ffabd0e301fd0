/**
 * `npm run bench`: how many events a second, for how much processor time and memory, and whether all of it arrived. The floor, the
 * naive program and the bridge get the same events through a Unix socket, each sample in a process of its own, in turns within
 * one run; what holds is the ratio of two samples of one round.
 */
import { once } from 'node:events';
import { startRemote } from './lib/calls.js';
import { measureDisk } from './lib/disk.js';
import { options, publish, roundsText, say, table } from './lib/report.js';
import { median, ratios, spread } from './lib/statistics.js';
import { type Subject, startSubject } from './lib/subject.js';
import { VARIANTS, type Variant } from './lib/variants.js';
import type { GeneratorCalls } from './load/generator.js';
import { STANDARD } from './load/workload.js';
import type { Counts } from './sink/expected.js';
import type { Check, SinkCalls } from './sink/sink.js';

const ROUNDS = 5;
/** Nothing more is waited for after this. */
const QUIET_MS = 8_000;
const MEGABYTE = 1024 ** 2;

interface Sample {
  events_per_second: number;
  cpu_us_per_event: number;
  peak_mb: number;
  check?: Check;
}

const workload = { ...STANDARD, ...(options.events === undefined ? {} : { events: options.events }) };
const variants = VARIANTS.filter(({ name }) => options.only === undefined || options.only.includes(name));
const rounds = options.rounds ?? ROUNDS;

const sink = await startRemote<SinkCalls>(new URL('./sink/sink.js', import.meta.url));
const generator = await startRemote<GeneratorCalls>(new URL('./load/generator.js', import.meta.url));

/** When everything has come of what was sent. The floor says so itself. */
async function untilDone(variant: Variant, { child }: Subject, { spans, logs }: Counts): Promise<number> {
  if (variant.program !== 'floor') {
    const wanted = { spans, logs: variant.is_full ? logs : 0, quiet_ms: QUIET_MS };
    return (await sink.call('until', wanted)).last_ms;
  }
  for (;;) {
    const [message] = await once(child, 'message');
    if (message.read !== undefined) return message.at_ms;
  }
}

async function sample(variant: Variant, counts: Counts): Promise<Sample> {
  await sink.call('reset');
  const subject = await startSubject(variant, sink.hello);
  const before = await subject.call('usage');
  const done = untilDone(variant, subject, counts);
  const { began_ms } = await generator.call('send', { path: subject.socket_path });
  const ended_ms = await done;
  const after = await subject.call('usage');
  await subject.stop();
  const { is_full, program } = variant;
  return {
    events_per_second: counts.events / ((ended_ms - began_ms) / 1_000),
    cpu_us_per_event: (after.cpu_us - before.cpu_us) / counts.events,
    peak_mb: after.peak_bytes / MEGABYTE,
    ...(program === 'floor'
      ? {}
      : { check: await sink.call('check', { with_ids: program === 'bridge', is_full }) }),
  };
}

function describe(
  { name }: Variant,
  { events_per_second, cpu_us_per_event, peak_mb, check }: Sample,
): string {
  const speed = `${Math.round(events_per_second / 1_000)}k events/s, ${cpu_us_per_event.toFixed(1)} µs, ${Math.round(peak_mb)} MB`;
  const problems = [
    ...[check?.spans, check?.logs].flatMap((each) => each?.example ?? []),
    ...(check?.wrong_sums ?? []),
  ];
  return [`${name}: ${speed}`, ...problems].join('\n  ');
}

/** `0 of 81,000`: what was lost or wrong in the worst round. */
function worst(samples: Sample[], what: 'spans' | 'logs'): string {
  const found = samples.flatMap(({ check }) => check?.[what] ?? []);
  const [first] = found;
  if (first === undefined) return '–';
  const [lost, wrong] = [
    Math.max(...found.map((each) => each.lost)),
    Math.max(...found.map((each) => each.wrong)),
  ];
  const expected = first.expected.toLocaleString('en');
  return `${lost.toLocaleString('en')} of ${expected}${wrong > 0 ? `, ${wrong.toLocaleString('en')} wrong` : ''}`;
}

function row(variant: Variant, all: Map<string, Sample[]>): string[] {
  const samples = all.get(variant.name) ?? [];
  const speeds = (name: string): number[] => (all.get(name) ?? []).map((each) => each.events_per_second);
  const to = (name: string): string =>
    all.has(name) ? spread(ratios(speeds(variant.name), speeds(name))) : '–';
  const wrong_sums = samples.flatMap(({ check }) => check?.wrong_sums ?? []).length;
  return [
    variant.says,
    Math.round(median(speeds(variant.name))).toLocaleString('en'),
    to('floor'),
    variant.program === 'bridge' ? to(variant.is_full ? 'naive-full' : 'naive') : '–',
    spread(
      samples.map((each) => each.cpu_us_per_event),
      1,
    ),
    Math.round(Math.max(...samples.map((each) => each.peak_mb))).toString(),
    worst(samples, 'spans'),
    worst(samples, 'logs'),
    variant.is_full ? String(wrong_sums) : '–',
  ];
}

const HEAD = [
  '',
  'events/s',
  '× floor',
  '× naive',
  'CPU µs/event',
  'peak MB',
  'spans lost',
  'logs lost',
  'wrong sums',
];

const counts = await sink.call('expect', workload);
const { bytes } = await generator.call('prepare', workload);
const intro = [
  `${counts.events.toLocaleString('en')} events of ${Math.round(bytes / counts.events)} bytes on average,`,
  `${counts.spans.toLocaleString('en')} spans and ${counts.logs.toLocaleString('en')} log records,`,
  `about 5,000 runs open at a time; ${roundsText(rounds)}.`,
  `An append of 4 KB with fdatasync takes ${measureDisk()} (median / 99th percentile).`,
].join(' ');
say(intro);
const all = new Map<string, Sample[]>(variants.map(({ name }) => [name, []]));
for (let round = 0; round < rounds; round++) {
  const turn = round % variants.length;
  for (const variant of [...variants.slice(turn), ...variants.slice(0, turn)]) {
    const taken = await sample(variant, counts);
    all.get(variant.name)?.push(taken);
    say(`${round + 1}/${rounds} ${describe(variant, taken)}`);
  }
}
publish('throughput', `${intro}\n\n${table([HEAD, ...variants.map((variant) => row(variant, all))])}`);
sink.stop();
generator.stop();
