/**
 * `npm run bench:flame -- --before ../before/dist/main.js`: flame graphs of the three most expensive stages, of an earlier
 * build and of this one, on the same events. They go to `docs/images/flame/`, with a table of them in
 * `docs/performance.md`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { drawFlame, merge } from './lib/flame.js';
import { type Call, type Frame, profile } from './lib/profile.js';
import { options, publish, table } from './lib/report.js';
import { variantNamed } from './lib/variants.js';
import { STANDARD } from './load/workload.js';

const DIRECTORY = 'docs/images/flame';

interface Part {
  name: string;
  says: string;
  /** Whether the stage begins with this function. */
  begins(frame: Frame): boolean;
}

const isIn = ({ url }: Frame, file: string): boolean => url.endsWith(`/dist/${file}`);

const PARTS: readonly Part[] = [
  {
    name: 'decode',
    says: 'decode: from lines to events',
    begins: (frame) => frame.functionName === 'take' && isIn(frame, 'intake.js'),
  },
  {
    name: 'correlate',
    says: 'correlate: from events to spans, records and measurements',
    begins: (frame) => frame.functionName === 'apply' && isIn(frame, 'correlate/correlator.js'),
  },
  {
    name: 'export',
    says: 'export: encoding and sending',
    begins: (frame) => frame.functionName.endsWith('#send') && isIn(frame, 'export/lane.js'),
  },
];

/** The calls with which a stage begins, without their callers. */
const beginnings = (call: Call, begins: Part['begins']): Call[] =>
  begins(call.frame) ? [call] : call.calls.flatMap((each) => beginnings(each, begins));

interface Picture {
  part: Part;
  calls: Call[];
  us: number;
}

async function take(main?: string): Promise<Picture[]> {
  const tree = await profile(variantNamed(options.only?.[0] ?? 'durable-full'), STANDARD, main);
  return PARTS.map((part) => {
    const calls = merge(beginnings(tree, part.begins));
    return { part, calls, us: calls.reduce((sum, { total_us }) => sum + total_us, 0) };
  });
}

const before = options.before === undefined ? [] : await take(resolve(options.before));
const after = await take();
mkdirSync(DIRECTORY, { recursive: true });
const rows = PARTS.map((part, at) => {
  const taken = { before: before[at], after: after[at] };
  const full_us = Math.max(taken.before?.us ?? 0, taken.after?.us ?? 0);
  const cells = Object.entries(taken).map(([when, picture]) => {
    if (picture === undefined) return '–';
    const file = `${when}-${part.name}.svg`;
    const title = `${part.says}, ${when}: ${picture.us.toFixed(1)} µs an event`;
    if (!options.dry) writeFileSync(`${DIRECTORY}/${file}`, drawFlame(title, picture.calls, full_us));
    return `[${picture.us.toFixed(1)}](images/flame/${file})`;
  });
  return [part.says, ...cells];
});
publish('flame', table([['µs an event, under the profiler', 'before', 'after'], ...rows]));
