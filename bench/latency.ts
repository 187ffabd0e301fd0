/**
 * `npm run bench:latency`: the time from when a span's last event was due to be sent until the span is in the backend. The
 * load is an open loop: it keeps its pace whatever the program does, and each event contains the time at which it was due,
 * so a stall counts for everything that waited behind it.
 */
import { measureDisk } from './lib/disk.js';
import { DURABLE } from './lib/durable.js';
import { startEnds, stopEnds } from './lib/ends.js';
import { options, publish, roundsText, say, table } from './lib/report.js';
import { quantile } from './lib/statistics.js';
import { startSubject } from './lib/subject.js';
import { judge } from './lib/target.js';

interface Rate {
  per_second: number;
  /** The limits for the median and the 99th percentile. */
  p50_ms: number;
  p99_ms: number;
}

const P50_MS = 3;
const RATES: readonly Rate[] = [
  { per_second: 200, p50_ms: P50_MS, p99_ms: 20 },
  { per_second: 1_000, p50_ms: P50_MS, p99_ms: 20 },
  { per_second: 10_000, p50_ms: P50_MS, p99_ms: 50 },
];
const ROUNDS = 3;
const WARM_UP_S = 3;
const MEASURED_S = 20;
/** The wait for missing spans ends when nothing has arrived for this long. */
const QUIET_MS = 8_000;

interface Sample {
  rate: Rate;
  /** The disk's own latency, measured right before. */
  disk: string;
  latencies_ms: number[];
  spans: number;
  lost: number;
}

const ends = await startEnds();
const { sink, generator } = ends;

async function sample(rate: Rate): Promise<Sample> {
  const { per_second } = rate;
  const disk = measureDisk();
  await sink.call('reset');
  const subject = await startSubject(DURABLE, sink.hello);
  const seconds = WARM_UP_S + MEASURED_S;
  const { began_ms, spans } = await generator.call('pace', {
    path: subject.socket_path,
    per_second,
    seconds,
    // A request takes about nine seconds; the workload has more of them than are sent.
    workload: { seed: 1, events: 2 * per_second * seconds, open: per_second / 2 },
  });
  const arrived = await sink.call('until', { spans, logs: 0, quiet_ms: QUIET_MS });
  const latencies_ms = await sink.call('latencies', began_ms + WARM_UP_S * 1_000);
  await subject.stop();
  return { rate, disk, latencies_ms, spans, lost: spans - arrived.spans };
}

function row({ rate, disk, latencies_ms, spans, lost }: Sample): string[] {
  const [p50, p99, max] = [0.5, 0.99, 1].map((part) => quantile(latencies_ms, part));
  const is_met = Number(p50) <= rate.p50_ms && Number(p99) <= rate.p99_ms && lost === 0;
  return [
    rate.per_second.toLocaleString('en'),
    ...[p50, p99, max].map((each) => Number(each).toFixed(1)),
    `${lost.toLocaleString('en')} of ${spans.toLocaleString('en')}`,
    disk,
    ...judge(`${rate.p50_ms} / ${rate.p99_ms}`, is_met),
  ];
}

const HEAD = ['events/s', 'p50 ms', 'p99 ms', 'max ms', 'spans lost', 'disk alone', 'p50 / p99 ≤ ms', ''];

const rounds = options.rounds ?? ROUNDS;
const rates = RATES.filter(
  ({ per_second }) => options.only === undefined || options.only.includes(String(per_second)),
);
const samples: Sample[] = [];
for (let round = 0; round < rounds; round++)
  for (const rate of rates) {
    const taken = await sample(rate);
    samples.push(taken);
    say(row(taken).join('  '));
  }
samples.sort((a, b) => a.rate.per_second - b.rate.per_second);
const intro = [
  `Durable, with traces, metrics and log records to one destination; ${roundsText(rounds)} of ${MEASURED_S} seconds after`,
  `${WARM_UP_S} seconds to warm up. The disk alone: an append of 4 KB with fdatasync, median / 99th percentile, right before.`,
].join(' ');
publish('latency', `${intro}\n\n${table([HEAD, ...samples.map(row)])}`);
stopEnds(ends);
