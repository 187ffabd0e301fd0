/**
 * `npm run bench:profile -- --only durable-full`: runs one variant under V8's profiler, and prints its time by file and by
 * function.
 */
import { type Call, everyCall, type Frame, fileOf, profile } from './lib/profile.js';
import { options, say, table } from './lib/report.js';
import { variantNamed } from './lib/variants.js';
import { STANDARD } from './load/workload.js';

const SHOWN = 40;

const functionOf = (frame: Frame): string =>
  `${frame.functionName || '(anonymous)'} ${fileOf(frame)}:${frame.lineNumber + 1}`;

function dearest(tree: Call, name: (frame: Frame) => string): string {
  const sums = new Map<string, number>();
  for (const { frame, self_us } of everyCall(tree))
    sums.set(name(frame), (sums.get(name(frame)) ?? 0) + self_us);
  const rows = [...sums].sort(([, a], [, b]) => b - a).slice(0, SHOWN);
  return table([
    ['', 'µs/event', '%'],
    ...rows.map(([what, us]) => [what, us.toFixed(2), ((100 * us) / tree.total_us).toFixed(1)]),
    ['all', tree.total_us.toFixed(2), '100'],
  ]);
}

const workload = { ...STANDARD, ...(options.events === undefined ? {} : { events: options.events }) };
const variant = variantNamed(options.only?.[0] ?? 'durable-full');
const tree = await profile(variant, workload);
say(`${variant.name}, self time\n\n${dearest(tree, fileOf)}\n\n${dearest(tree, functionOf)}`);
