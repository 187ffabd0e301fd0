/**
 * `npm run bench:growth`: whether the processor time per event grows with the number of open runs and of past events.
 * Measures the real program, durable and with all signals.
 */
import { DURABLE } from './lib/durable.js';
import { startEnds, stopEnds } from './lib/ends.js';
import { options, publish, roundsText, say, table } from './lib/report.js';
import { median, ratios, spread } from './lib/statistics.js';
import { type Subject, startSubject } from './lib/subject.js';
import { atMost } from './lib/target.js';
import { storyClock, tellAll, type Workload } from './load/workload.js';

const MAX_RATIO = 1.3;
const TIMES = [1, 10, 100];
const ROUNDS = 3;
const OPEN_RUNS = 100;
/** The events per sample; enough for many more runs than are open at a time. */
const EVENTS = 200_000;
/** The history is sent in parts of this many events. */
const PART_EVENTS = 40_000;
const PART_OPEN = 1_000;
/** The number of parts that are measured at each length of history. */
const PARTS_MEASURED = 5;
const QUIET_MS = 8_000;

const ends = await startEnds();
const { sink, generator } = ends;

function count(workload: Workload): { spans: number; logs: number } {
  const counts = { spans: 0, logs: 0 };
  for (const { span, log } of tellAll(workload, storyClock())) {
    if (span !== undefined) counts.spans++;
    if (log !== undefined) counts.logs++;
  }
  return counts;
}

/** Processor time per event, from before the first is sent until all have arrived. Throws if any is lost. */
async function cpuPerEvent(subject: Subject, workload: Workload): Promise<number> {
  const { events } = await generator.call('prepare', workload);
  const wanted = count(workload);
  await sink.call('reset');
  const before = await subject.call('usage');
  const done = sink.call('until', { ...wanted, quiet_ms: QUIET_MS });
  await generator.call('send', { path: subject.socket_path });
  const { spans, logs } = await done;
  const after = await subject.call('usage');
  if (spans !== wanted.spans || logs !== wanted.logs)
    throw new Error(`${spans} of ${wanted.spans} spans, ${logs} of ${wanted.logs} log records have arrived`);
  return (after.cpu_us - before.cpu_us) / events;
}

/** Samples by number of open runs, with a new process for each. */
async function measureOpenRuns(rounds: number, events: number): Promise<number[][]> {
  const samples: number[][] = TIMES.map(() => []);
  for (let round = 0; round < rounds; round++)
    for (const turn of TIMES.keys()) {
      const at = (round + turn) % TIMES.length;
      const open = OPEN_RUNS * (TIMES[at] ?? 1);
      const subject = await startSubject(DURABLE, sink.hello);
      const cpu_us = await cpuPerEvent(subject, { seed: 1, events, open });
      await subject.stop();
      samples[at]?.push(cpu_us);
      say(`${open.toLocaleString('en')} open runs: ${cpu_us.toFixed(1)} µs/event`);
    }
  return samples;
}

/** Samples by length of history: the parts that a single process got right after it. */
async function measureHistory(part_events: number): Promise<number[][]> {
  const subject = await startSubject(DURABLE, sink.hello);
  const samples: number[][] = TIMES.map(() => []);
  for (let part = 0; part < Math.max(...TIMES) + PARTS_MEASURED; part++) {
    const workload = { seed: part + 1, events: part_events, open: PART_OPEN };
    const cpu_us = await cpuPerEvent(subject, workload);
    const at = TIMES.findIndex((times) => part >= times && part < times + PARTS_MEASURED);
    samples[at]?.push(cpu_us);
    if (at !== -1)
      say(`after ${(part * part_events).toLocaleString('en')} events: ${cpu_us.toFixed(1)} µs/event`);
  }
  await subject.stop();
  return samples;
}

function rows(samples: number[][], base: number, toRatio: (at: number) => number): string[][] {
  return samples.map((sample, at) => {
    const ratio = toRatio(at);
    const verdict = at === 0 ? ['', ''] : atMost(ratio, MAX_RATIO, ' ×');
    return [(base * (TIMES[at] ?? 1)).toLocaleString('en'), spread(sample, 1), ratio.toFixed(2), ...verdict];
  });
}

const rounds = options.rounds ?? ROUNDS;
const part_events = options.events ?? PART_EVENTS;
const open = await measureOpenRuns(rounds, options.events ?? EVENTS);
const history = await measureHistory(part_events);
/** A new process is more expensive, so the reference is the cheapest shorter history. */
const cheapest = (at: number): number => Math.min(...history.slice(0, Math.max(1, at)).map(median));
const open_table = table([
  ['open runs', 'CPU µs/event', '×', 'target', ''],
  ...rows(open, OPEN_RUNS, (at) => median(ratios(open[at] ?? [], open[0] ?? []))),
]);
const history_table = table([
  ['events before', 'CPU µs/event', '×', 'target', ''],
  ...rows(history, part_events, (at) => median(history[at] ?? []) / cheapest(at)),
]);
const intro = [
  'Durable, with traces, metrics and log records; nothing was lost.',
  `Open runs: ${roundsText(rounds)}, each sample a process of its own; × is to the fewest open runs, round by round.`,
  `History: one process; × is to the cheapest shorter history. The median, and the least and the greatest.`,
].join(' ');
publish('growth', `${intro}\n\n${open_table}\n\n${history_table}`);
stopEnds(ends);
