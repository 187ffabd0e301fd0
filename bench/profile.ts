/**
 * `npm run bench:profile -- --only durable-full`: runs one variant under V8's profiler, and tells where its time goes: by file, and
 * by function. Nothing else is measured meanwhile, since the profiler costs time itself.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { startRemote } from './lib/calls.js';
import { options, say, table } from './lib/report.js';
import { startSubject, temporaryDirectory } from './lib/subject.js';
import { VARIANTS } from './lib/variants.js';
import type { GeneratorCalls } from './load/generator.js';
import { STANDARD } from './load/workload.js';
import type { SinkCalls } from './sink/sink.js';

interface Frame {
  functionName: string;
  url: string;
  lineNumber: number;
}

interface Profile {
  nodes: { id: number; callFrame: Frame }[];
  samples: number[];
  timeDeltas: number[];
}

const QUIET_MS = 10_000;
const SHOWN = 40;

/** Idle time is not the program's. */
const NOT_WORK = new Set(['(idle)', '(program)']);

function selfTimes({ nodes, samples, timeDeltas }: Profile): Map<Frame, number> {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<Frame, number>();
  samples.forEach((id, at) => {
    const frame = frames.get(id);
    if (frame !== undefined && !NOT_WORK.has(frame.functionName))
      times.set(frame, (times.get(frame) ?? 0) + (timeDeltas[at] ?? 0));
  });
  return times;
}

const fileOf = ({ url, functionName }: Frame): string =>
  url === '' ? functionName : url.replace(/^.*\/node_modules\//, '').replace(/^.*\/dist\//, '');

const functionOf = (frame: Frame): string =>
  `${frame.functionName || '(anonymous)'} ${fileOf(frame)}:${frame.lineNumber + 1}`;

function dearest(times: Map<Frame, number>, name: (frame: Frame) => string, events: number): string {
  const sums = new Map<string, number>();
  for (const [frame, us] of times) sums.set(name(frame), (sums.get(name(frame)) ?? 0) + us);
  const total = [...sums.values()].reduce((sum, us) => sum + us, 0);
  const rows = [...sums].sort(([, a], [, b]) => b - a).slice(0, SHOWN);
  return table([
    ['', 'µs/event', '%'],
    ...rows.map(([what, us]) => [what, (us / events).toFixed(2), ((100 * us) / total).toFixed(1)]),
    ['all', (total / events).toFixed(2), '100'],
  ]);
}

const workload = { ...STANDARD, ...(options.events === undefined ? {} : { events: options.events }) };
const variant = VARIANTS.find(({ name }) => name === (options.only?.[0] ?? 'durable-full'));
if (variant === undefined) throw new Error(`--only: one of ${VARIANTS.map(({ name }) => name).join(', ')}`);
const sink = await startRemote<SinkCalls>(new URL('./sink/sink.js', import.meta.url));
const generator = await startRemote<GeneratorCalls>(new URL('./load/generator.js', import.meta.url));
const counts = await sink.call('expect', workload);
await generator.call('prepare', workload);
await sink.call('reset');
const directory = temporaryDirectory();
const subject = await startSubject(variant, sink.hello, ['--cpu-prof', `--cpu-prof-dir=${directory}`]);
const done = sink.call('until', {
  spans: counts.spans,
  logs: variant.is_full ? counts.logs : 0,
  quiet_ms: QUIET_MS,
});
await generator.call('send', { path: subject.socket_path });
await done;
await subject.stop();
const [file = ''] = readdirSync(directory);
const times = selfTimes(JSON.parse(readFileSync(join(directory, file), 'utf8')));
rmSync(directory, { recursive: true });
say(
  `${variant.name}, self time\n\n${dearest(times, fileOf, counts.events)}\n\n${dearest(times, functionOf, counts.events)}`,
);
sink.stop();
generator.stop();
