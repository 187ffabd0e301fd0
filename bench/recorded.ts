/**
 * `npm run bench:recorded`: like `npm run bench`, but with many copies of a recorded request, one after the other; also
 * counts the traces with the expected tree. `--collector` sends everything through a real Collector.
 */
import { launchCollector } from '../test/integration/collector.js';
import { startEnds } from './lib/ends.js';
import { options } from './lib/report.js';
import { compareSpeeds } from './lib/rotation.js';
import { VARIANTS } from './lib/variants.js';
import { RECORDED } from './load/recorded.js';
import { expectedOf } from './sink/trees.js';

const ends = await startEnds();
const { events, bytes } = await ends.generator.call('prepareRecorded', RECORDED);
/** It forwards what it receives to the sink. */
const collector = options.collector
  ? await launchCollector('bench/sink/collector.yaml', { SINK_URL: ends.sink.hello })
  : undefined;

try {
  await compareSpeeds<number>({
    section: collector === undefined ? 'recorded' : 'collector',
    ends,
    url: collector?.otlp_url,
    variants: VARIANTS.filter(({ name }) => options.only?.includes(name) ?? name !== 'naive-default'),
    counts: { events, ...expectedOf(RECORDED) },
    bytes,
    examine: () => ends.sink.call('countRightTrees'),
    describe: (right_trees) => `, ${right_trees} right trees`,
    head: ['right trees'],
    // The number in the worst round.
    cells: (_variant, right_trees) => [
      right_trees.length === 0
        ? '–'
        : `${Math.min(...right_trees).toLocaleString('en')} of ${RECORDED.copies.toLocaleString('en')}`,
    ],
  });
} finally {
  await collector?.stop();
}
