/**
 * Samples of several programs in turns, each in a process of its own, on the load that the generator has prepared. Only the
 * ratio of two samples of the same round is reliable.
 */
import { once } from 'node:events';
import type { Counts } from '../sink/expected.js';
import { measureDisk } from './disk.js';
import { type Ends, stopEnds } from './ends.js';
import { options, publish, roundsText, say, table } from './report.js';
import { median, ratios, spread } from './statistics.js';
import { type Subject, startSubject } from './subject.js';
import type { Variant } from './variants.js';

interface Speed {
  events_per_second: number;
  cpu_us_per_event: number;
  peak_mb: number;
}

/** `found`: what `examine` found in the backend; undefined for the floor, which sends nothing. */
interface Sample<F> extends Speed {
  found?: F;
}

/** By variant, one sample per round. */
type Samples<F> = Map<string, Sample<F>[]>;

/** The wait for missing data ends when nothing has arrived for this long. */
const QUIET_MS = 8_000;
const MEGABYTE = 1024 ** 2;

/** The time at which everything has been processed: the last arrival, or what the floor reports. */
async function untilDone(
  { sink }: Ends,
  { program, is_full }: Variant,
  { child }: Subject,
  { spans, logs }: Counts,
): Promise<number> {
  if (program !== 'floor') {
    const wanted = { spans, logs: is_full ? logs : 0, quiet_ms: QUIET_MS };
    return (await sink.call('until', wanted)).last_ms;
  }
  for (;;) {
    const [message] = await once(child, 'message');
    if (message.read !== undefined) return message.at_ms;
  }
}

/** Takes one sample. What arrived stays in the sink until the next one. */
async function measure(ends: Ends, url: string, variant: Variant, counts: Counts): Promise<Speed> {
  await ends.sink.call('reset');
  const subject = await startSubject(variant, url);
  const before = await subject.call('usage');
  const done = untilDone(ends, variant, subject, counts);
  const { began_ms } = await ends.generator.call('send', { path: subject.socket_path });
  const ended_ms = await done;
  const after = await subject.call('usage');
  await subject.stop();
  return {
    events_per_second: counts.events / ((ended_ms - began_ms) / 1_000),
    cpu_us_per_event: (after.cpu_us - before.cpu_us) / counts.events,
    peak_mb: after.peak_bytes / MEGABYTE,
  };
}

/** Takes samples of all variants in each round, which begins with another variant each time. */
async function rotate<F>(
  variants: readonly Variant[],
  rounds: number,
  take: (variant: Variant, round: number) => Promise<Sample<F>>,
): Promise<Samples<F>> {
  const all: Samples<F> = new Map(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const turn = round % variants.length;
    for (const variant of [...variants.slice(turn), ...variants.slice(0, turn)])
      all.get(variant.name)?.push(await take(variant, round));
  }
  return all;
}

const speedText = ({ events_per_second, cpu_us_per_event, peak_mb }: Speed): string =>
  `${Math.round(events_per_second / 1_000)}k events/s, ${cpu_us_per_event.toFixed(1)} µs, ${Math.round(peak_mb)} MB`;

const SPEED_HEAD = ['', 'events/s', '× floor', '× naive', 'CPU µs/event', 'peak MB'];

/** Ratios to the floor, and of the bridge to the naive program that sends the same signals. */
function speedCells(variant: Variant, all: Samples<unknown>): string[] {
  const samples = all.get(variant.name) ?? [];
  const speeds = (name: string): number[] => (all.get(name) ?? []).map((each) => each.events_per_second);
  const to = (name: string): string =>
    all.has(name) ? spread(ratios(speeds(variant.name), speeds(name))) : '–';
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
  ];
}

export interface SpeedComparison<F> {
  /** The section of the document. */
  section: string;
  ends: Ends;
  /** The URL to send to, if it is not the sink itself. */
  url?: string | undefined;
  variants: readonly Variant[];
  /** What the generator has prepared, and what must arrive. */
  counts: Counts;
  bytes: number;
  /** A further description of the load. */
  says?: string;
  /** Examines what has arrived from a sample. */
  examine(variant: Variant): Promise<F>;
  /** The result of `examine` in words, shown after the speed. */
  describe(found: F): string;
  /** Columns besides those for the speed, and a variant's cells in them. */
  head: string[];
  cells(variant: Variant, found: F[]): string[];
}

const ROUNDS = 5;

/** Takes and prints the samples, publishes the table, and stops both ends. */
export async function compareSpeeds<F>(comparison: SpeedComparison<F>): Promise<void> {
  const { section, ends, variants, counts, bytes, says, examine, describe, head, cells } = comparison;
  const { url = ends.sink.hello } = comparison;
  const rounds = options.rounds ?? ROUNDS;
  const intro = [
    `${counts.events.toLocaleString('en')} events of ${Math.round(bytes / counts.events)} bytes on average,`,
    `${counts.spans.toLocaleString('en')} spans and ${counts.logs.toLocaleString('en')} log records${says === undefined ? '' : `, ${says}`};`,
    `${roundsText(rounds)}.`,
    `An append of 4 KB with fdatasync takes ${measureDisk()} (median / 99th percentile).`,
  ].join(' ');
  say(intro);

  async function take(variant: Variant, round: number): Promise<Sample<F>> {
    const speed = await measure(ends, url, variant, counts);
    const told = `${round + 1}/${rounds} ${variant.name}: ${speedText(speed)}`;
    if (variant.program === 'floor') {
      say(told);
      return speed;
    }
    const found = await examine(variant);
    say(told + describe(found));
    return { ...speed, found };
  }

  const all = await rotate(variants, rounds, take);
  const rows = variants.map((variant) => {
    const found = (all.get(variant.name) ?? []).flatMap((sample) =>
      'found' in sample ? [sample.found as F] : [],
    );
    return [...speedCells(variant, all), ...cells(variant, found)];
  });
  publish(section, `${intro}\n\n${table([[...SPEED_HEAD, ...head], ...rows])}`);
  stopEnds(ends);
}
