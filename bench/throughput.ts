/**
 * `npm run bench`: how many events a second, for how much processor time and memory, and whether all of it arrived. The floor, the
 * naive program and the bridge get the same events through a Unix socket, each sample in a process of its own, in turns within
 * one run; what holds is the ratio of two samples of one round.
 */
import { measureDisk } from './lib/disk.js';
import { options, publish, roundsText, say, table } from './lib/report.js';
import {
  measure,
  rotate,
  type Samples,
  SPEED_HEAD,
  type Speed,
  speedCells,
  speedText,
  startEnds,
  stopEnds,
} from './lib/rotation.js';
import { VARIANTS, type Variant } from './lib/variants.js';
import { STANDARD } from './load/workload.js';
import type { Check } from './sink/sink.js';

const ROUNDS = 5;

interface Sample extends Speed {
  check?: Check;
}

const workload = { ...STANDARD, ...(options.events === undefined ? {} : { events: options.events }) };
const variants = VARIANTS.filter(({ name }) => options.only === undefined || options.only.includes(name));
const rounds = options.rounds ?? ROUNDS;

function describe({ name }: Variant, { check, ...speed }: Sample): string {
  const problems = [
    ...[check?.spans, check?.logs].flatMap((each) => each?.example ?? []),
    ...(check?.wrong_sums ?? []),
  ];
  return [`${name}: ${speedText(speed)}`, ...problems].join('\n  ');
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

function row(variant: Variant, all: Samples<Sample>): string[] {
  const samples = all.get(variant.name) ?? [];
  const wrong_sums = samples.flatMap(({ check }) => check?.wrong_sums ?? []).length;
  return [
    ...speedCells(variant, all),
    worst(samples, 'spans'),
    worst(samples, 'logs'),
    variant.is_full ? String(wrong_sums) : '–',
  ];
}

const HEAD = [...SPEED_HEAD, 'spans lost', 'logs lost', 'wrong sums'];

const ends = await startEnds();
const counts = await ends.sink.call('expect', workload);
const { bytes } = await ends.generator.call('prepare', workload);

async function sample(variant: Variant, round: number): Promise<Sample> {
  const { is_full, program } = variant;
  const speed = await measure(ends, variant, counts);
  const taken =
    program === 'floor'
      ? speed
      : { ...speed, check: await ends.sink.call('check', { with_ids: program === 'bridge', is_full }) };
  say(`${round + 1}/${rounds} ${describe(variant, taken)}`);
  return taken;
}

const intro = [
  `${counts.events.toLocaleString('en')} events of ${Math.round(bytes / counts.events)} bytes on average,`,
  `${counts.spans.toLocaleString('en')} spans and ${counts.logs.toLocaleString('en')} log records,`,
  `about 5,000 runs open at a time; ${roundsText(rounds)}.`,
  `An append of 4 KB with fdatasync takes ${measureDisk()} (median / 99th percentile).`,
].join(' ');
say(intro);
const all = await rotate(variants, rounds, sample);
publish('throughput', `${intro}\n\n${table([HEAD, ...variants.map((variant) => row(variant, all))])}`);
stopEnds(ends);
