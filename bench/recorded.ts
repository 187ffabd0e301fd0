/**
 * `npm run bench:recorded`: as `npm run bench`, with a request that was recorded instead of one that is made up, many times one after
 * the other; and how many of their traces are the tree that they should be.
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
import { RECORDED } from './load/recorded.js';
import { expectedOfCopy } from './sink/trees.js';

const ROUNDS = 5;

interface Sample extends Speed {
  right_trees?: number;
}

const variants = VARIANTS.filter(({ name }) => options.only?.includes(name) ?? name !== 'naive-default');
const rounds = options.rounds ?? ROUNDS;
const { copies } = RECORDED;

const ends = await startEnds();
const { events, bytes } = await ends.generator.call('prepareRecorded', RECORDED);
const copy = expectedOfCopy();
const counts = { events, spans: copies * copy.spans, logs: copies * copy.logs };

async function sample(variant: Variant, round: number): Promise<Sample> {
  const speed = await measure(ends, variant, counts);
  const taken: Sample =
    variant.program === 'floor' ? speed : { ...speed, right_trees: await ends.sink.call('countRightTrees') };
  const trees = taken.right_trees === undefined ? '' : `, ${taken.right_trees} right trees`;
  say(`${round + 1}/${rounds} ${variant.name}: ${speedText(taken)}${trees}`);
  return taken;
}

/** In the worst round. */
function treesText(samples: Sample[]): string {
  const found = samples.flatMap(({ right_trees }) => right_trees ?? []);
  return found.length === 0
    ? '–'
    : `${Math.min(...found).toLocaleString('en')} of ${copies.toLocaleString('en')}`;
}

const row = (variant: Variant, all: Samples<Sample>): string[] => [
  ...speedCells(variant, all),
  treesText(all.get(variant.name) ?? []),
];

const intro = [
  `${events.toLocaleString('en')} events of ${Math.round(bytes / events)} bytes on average,`,
  `${counts.spans.toLocaleString('en')} spans and ${counts.logs.toLocaleString('en')} log records; ${roundsText(rounds)}.`,
  `An append of 4 KB with fdatasync takes ${measureDisk()} (median / 99th percentile).`,
].join(' ');
say(intro);
const all = await rotate(variants, rounds, sample);
publish(
  'recorded',
  `${intro}\n\n${table([[...SPEED_HEAD, 'right trees'], ...variants.map((variant) => row(variant, all))])}`,
);
stopEnds(ends);
