/**
 * `npm run bench`: events per second, processor time and memory, and whether everything arrived. The floor, the naive
 * program and the bridge get the same events through a Unix socket, each sample in a process of its own, in turns within
 * one run; only the ratio of two samples of the same round is reliable.
 */
import { startEnds } from './lib/ends.js';
import { options } from './lib/report.js';
import { compareSpeeds } from './lib/rotation.js';
import { VARIANTS } from './lib/variants.js';
import { STANDARD } from './load/workload.js';
import type { Check } from './sink/sink.js';

const workload = { ...STANDARD, ...(options.events === undefined ? {} : { events: options.events }) };

const describe = ({ spans, logs, wrong_sums = [] }: Check): string =>
  [...[spans, logs].flatMap((each) => each?.example ?? []), ...wrong_sums]
    .map((problem) => `\n  ${problem}`)
    .join('');

/** `0 of 81,000`: what was lost or wrong in the worst round. */
function worst(checks: Check[], what: 'spans' | 'logs'): string {
  const found = checks.flatMap((check) => check[what] ?? []);
  const [first] = found;
  if (first === undefined) return '–';
  const [lost, wrong] = [
    Math.max(...found.map((each) => each.lost)),
    Math.max(...found.map((each) => each.wrong)),
  ];
  const expected = first.expected.toLocaleString('en');
  return `${lost.toLocaleString('en')} of ${expected}${wrong > 0 ? `, ${wrong.toLocaleString('en')} wrong` : ''}`;
}

const ends = await startEnds();
const counts = await ends.sink.call('expect', workload);
const { bytes } = await ends.generator.call('prepare', workload);

await compareSpeeds<Check>({
  section: 'throughput',
  ends,
  variants: VARIANTS.filter(({ name }) => options.only === undefined || options.only.includes(name)),
  counts,
  bytes,
  says: 'about 5,000 runs open at a time',
  examine: ({ program, is_full }) => ends.sink.call('check', { with_ids: program === 'bridge', is_full }),
  describe,
  head: ['spans lost', 'logs lost', 'wrong sums'],
  cells: ({ is_full }, checks) => [
    worst(checks, 'spans'),
    worst(checks, 'logs'),
    is_full ? String(checks.flatMap(({ wrong_sums }) => wrong_sums ?? []).length) : '–',
  ],
});
