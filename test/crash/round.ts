/**
 * One round: a data directory, one or two producers, one or two backends, and a sequence of processes, of which the last is
 * stopped normally. Then everything is compared with what one uninterrupted run makes of the same lines.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Behaviour, startBackend } from './backend.js';
import { createFeeder, createTimes, type Feeder, type Line } from './feeder.js';
import {
  addComparisons,
  type Comparison,
  checkReference,
  compareItems,
  compareSums,
  findSurvivors,
} from './judge.js';
import { EXIT_OK, live, liveToTheEnd, type Round, SUMMARY, untilDelivered } from './live.js';
import { planLives } from './plan.js';
import { startProgram } from './program.js';
import { createRandom, type Random } from './random.js';
import type { Received } from './received.js';

export interface RoundPlan {
  seed: number;
  behaviour: Behaviour;
  kills: number;
}

/** What the backends have, compared with what they should have. */
interface Judgement {
  /** Lines that were allowed to be lost, and were. */
  lost_in_flight: number;
  spans: Comparison;
  logs: Comparison;
  sums: Comparison;
  problems: string[];
}

export interface RoundResult extends Judgement {
  plan: RoundPlan;
  /** The settings besides the behaviour, for people. */
  setting: string;
  quiet_kills: number;
  lines: number;
  ledgers: number;
  directory: string;
}

interface Settings {
  temporality: string;
  /** Shorter than in practice, so that kills coincide with checkpoints. */
  checkpoint_interval_ms: number;
}

const chooseSettings = (random: Random): Settings => ({
  temporality: random.pick(['delta', 'cumulative']),
  checkpoint_interval_ms: random.pick([100, 500, 2_000]),
});

const environment = ({ temporality }: Settings): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: temporality,
  OTEL_EXPORTER_OTLP_TIMEOUT: '1000',
});

function writeConfig(directory: string, { checkpoint_interval_ms }: Settings): string {
  const path = join(directory, 'config.yaml');
  writeFileSync(path, `store: {checkpoint_interval_ms: ${checkpoint_interval_ms}}\n`);
  return path;
}

async function createFeeders(round: Pick<Round, 'directory' | 'random' | 'written'>): Promise<Feeder[]> {
  const { directory, random, written } = round;
  const nextTime = createTimes(random);
  const all = random.pick<readonly ('bridge' | 'feeder')[]>([['bridge'], ['feeder'], ['bridge', 'feeder']]);
  return Promise.all(
    all.map((listens) => {
      const path = join(directory, `${listens}.sock`);
      const own = createRandom(random.int(0, 2 ** 31));
      return createFeeder({ name: listens, path, listens, random: own, nextTime, written });
    }),
  );
}

async function prepare(seed: number): Promise<{ round: Round; settings: Settings }> {
  const random = createRandom(seed);
  const directory = mkdtempSync(join(tmpdir(), 'crash-'));
  const settings = chooseSettings(random);
  const written: Line[] = [];
  const feeders = await createFeeders({ directory, random, written });
  const names = random.chance(0.3) ? ['first', 'second'] : ['first'];
  const backends = await Promise.all(names.map(() => startBackend(createRandom(random.int(0, 2 ** 31)))));
  const args = [
    'run',
    ...feeders.flatMap(({ from }) => ['--from', from]),
    ...backends.flatMap(({ url }, index) => ['--to', `${names[index]}:otlp=${url}`]),
    ...['--config', writeConfig(directory, settings)],
    ...['--data-dir', join(directory, 'data')],
    ...['--summary', join(directory, SUMMARY)],
  ];
  const env = environment(settings);
  const round = { directory, random, args, env, feeders, backends, written };
  return { settings, round: { ...round, ended_ms: [], problems: [], ledgers: 0 } };
}

/** Feeds the same lines to a process that is not killed, with a backend that is always up. */
async function runUninterrupted({ directory, env, problems }: Round, lines: Line[]): Promise<Received> {
  const backend = await startBackend(createRandom(0));
  const data_directory = join(directory, 'uninterrupted');
  mkdirSync(data_directory);
  const args = ['run', '--from', 'stdin', '--to', `otlp=${backend.url}`, '--data-dir', data_directory];
  const program = startProgram(args, env);
  const over = new AbortController();
  void program.ended.then(() => over.abort());
  program.writeInput(lines.map(({ text }) => text).join(''));
  await untilDelivered(lines, [backend.received], over.signal);
  program.endInput();
  const { status, log } = await program.ended;
  if (status !== EXIT_OK) problems.push(`the uninterrupted run ended with status ${status}: ${log}`);
  await backend.close();
  return backend.received;
}

async function judge(round: Round): Promise<Judgement> {
  const received = round.backends.map((backend) => backend.received);
  const survivors = findSurvivors(round.written, round.ended_ms, received);
  const reference = await runUninterrupted(round, survivors.lines);
  const spans = addComparisons(received.map((each) => compareItems('span', reference.spans, each.spans)));
  const logs = addComparisons(received.map((each) => compareItems('log record', reference.logs, each.logs)));
  const sums = addComparisons(received.map((each) => compareSums(reference.sums(), each.sums())));
  return {
    lost_in_flight: survivors.lost_in_flight,
    spans,
    logs,
    sums,
    problems: [
      ...round.problems,
      ...survivors.problems,
      ...checkReference(survivors.lines, reference),
      ...[spans, logs, sums].flatMap(({ problems }) => problems),
      ...received.flatMap(({ contradictions }) => contradictions),
    ],
  };
}

const describe = (settings: Settings, { feeders, backends }: Round): string =>
  [
    settings.temporality,
    `checkpoints ${settings.checkpoint_interval_ms} ms`,
    feeders.map(({ from }) => from.slice(0, from.indexOf('unix:') + 4)).join(' + '),
    ...(backends.length > 1 ? ['and a second backend'] : []),
  ].join(', ');

function keep({ directory, written, ended_ms }: Round): void {
  const lines = written.map(({ source, life, written_ms, text }) =>
    JSON.stringify({ source, life, before_end_ms: (ended_ms[life] ?? 0) - written_ms, line: text.trimEnd() }),
  );
  writeFileSync(join(directory, 'written.ndjson'), `${lines.join('\n')}\n`);
}

/**
 * Runs a round. If it fails, its directory is kept, with the data directory, the logs of the processes, and the written
 * lines.
 */
export async function runRound(plan: RoundPlan): Promise<RoundResult> {
  const { round, settings } = await prepare(plan.seed);
  const { directory, feeders, backends, written } = round;
  const lives = planLives(round.random, plan.behaviour, plan.kills);
  for (const each of lives) await live(round, each);
  await liveToTheEnd(round, plan.behaviour);
  for (const feeder of feeders) feeder.close();
  await Promise.all(backends.map((backend) => backend.close()));
  const judgement = await judge(round);
  if (judgement.problems.length === 0) rmSync(directory, { recursive: true });
  else keep(round);
  return {
    ...judgement,
    plan,
    setting: describe(settings, round),
    quiet_kills: lives.filter(({ ending }) => ending.how === 'quiet').length,
    lines: written.length,
    ledgers: round.ledgers,
    directory,
  };
}
