/**
 * Samples of several programs in turns, each in a process of its own, on what the generator has prepared: what holds is the ratio of
 * two samples of one round.
 */
import { once } from 'node:events';
import type { GeneratorCalls } from '../load/generator.js';
import type { Counts } from '../sink/expected.js';
import type { SinkCalls } from '../sink/sink.js';
import { type Remote, startRemote } from './calls.js';
import { median, ratios, spread } from './statistics.js';
import { type Subject, startSubject } from './subject.js';
import type { Variant } from './variants.js';

export interface Speed {
  events_per_second: number;
  cpu_us_per_event: number;
  peak_mb: number;
}

/** By variant, a sample a round. */
export type Samples<S extends Speed> = Map<string, S[]>;

/** Nothing more is waited for after this. */
const QUIET_MS = 8_000;
const MEGABYTE = 1024 ** 2;

export interface Ends {
  sink: Remote<SinkCalls>;
  generator: Remote<GeneratorCalls>;
}

export const startEnds = async (): Promise<Ends> => ({
  sink: await startRemote<SinkCalls>(new URL('../sink/sink.js', import.meta.url)),
  generator: await startRemote<GeneratorCalls>(new URL('../load/generator.js', import.meta.url)),
});

export function stopEnds({ sink, generator }: Ends): void {
  sink.stop();
  generator.stop();
}

/** When everything has come of what was sent. The floor says so itself. */
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

/** One sample. What arrived of it is in the sink until the next one. */
export async function measure(ends: Ends, variant: Variant, counts: Counts): Promise<Speed> {
  await ends.sink.call('reset');
  const subject = await startSubject(variant, ends.sink.hello);
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

/** Each round begins with another variant. */
export async function rotate<S extends Speed>(
  variants: readonly Variant[],
  rounds: number,
  take: (variant: Variant, round: number) => Promise<S>,
): Promise<Samples<S>> {
  const all: Samples<S> = new Map(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const turn = round % variants.length;
    for (const variant of [...variants.slice(turn), ...variants.slice(0, turn)])
      all.get(variant.name)?.push(await take(variant, round));
  }
  return all;
}

export const speedText = ({ events_per_second, cpu_us_per_event, peak_mb }: Speed): string =>
  `${Math.round(events_per_second / 1_000)}k events/s, ${cpu_us_per_event.toFixed(1)} µs, ${Math.round(peak_mb)} MB`;

export const SPEED_HEAD = ['', 'events/s', '× floor', '× naive', 'CPU µs/event', 'peak MB'];

/** A row of the table: the ratios are to the floor, and of the bridge to the naive program that sends the same. */
export function speedCells(variant: Variant, all: Samples<Speed>): string[] {
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
