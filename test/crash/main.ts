/**
 * The crash test: `npm run test:crash -- --kills 200 --seed 7`. Rounds of kills, each with one kind of misbehaving backend;
 * two rounds at a time, since each mostly waits. It fails if anything is lost, changed or counted twice against the
 * promise.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { BEHAVIOURS } from './backend.js';
import { MAIN } from './program.js';
import { describeRound, describeTotals } from './report.js';
import { type RoundPlan, type RoundResult, runRound } from './round.js';

const KILLS_PER_ROUND = 5;
const PARALLEL_ROUNDS = 2;
const MAX_SEED = 1_000_000;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

interface Options {
  kills: number;
  seed: number;
  rounds: number;
}

function readOptions(): Options | { error: string } {
  const { values } = parseArgs({
    options: { kills: { type: 'string' }, seed: { type: 'string' }, rounds: { type: 'string' } },
  });
  const kills = Number(values.kills ?? 200);
  const seed = Number(values.seed ?? Math.floor(Math.random() * MAX_SEED));
  const rounds = Number(values.rounds ?? Math.max(BEHAVIOURS.length, Math.ceil(kills / KILLS_PER_ROUND)));
  if (![kills, seed, rounds].every((each) => Number.isSafeInteger(each) && each >= 0) || rounds === 0)
    return { error: 'use: npm run test:crash -- [--kills N] [--seed N] [--rounds N]' };
  return { kills, seed, rounds };
}

/** Seed and number of kills determine a round completely, so that it can be repeated alone. */
function planRounds({ kills, seed, rounds }: Options): RoundPlan[] {
  return Array.from({ length: rounds }, (_, index) => ({
    seed: seed + index,
    behaviour: BEHAVIOURS[(seed + index) % BEHAVIOURS.length] ?? 'up',
    kills: Math.floor(((index + 1) * kills) / rounds) - Math.floor((index * kills) / rounds),
  }));
}

async function runRounds(plans: RoundPlan[]): Promise<RoundResult[]> {
  const results: RoundResult[] = [];
  const left = plans.entries();
  async function work(): Promise<void> {
    for (const [index, plan] of left) {
      const result = await runRound(plan);
      results.push(result);
      say(describeRound(result, `${index + 1}/${plans.length}`));
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_ROUNDS }, work));
  return results;
}

async function main(): Promise<number> {
  const options = readOptions();
  if ('error' in options) {
    say(options.error);
    return 2;
  }
  if (!existsSync(MAIN)) {
    say(`${MAIN} is missing: run "npm run build" first`);
    return 1;
  }
  say(`${options.kills} kills in ${options.rounds} rounds, seed ${options.seed}`);
  const results = await runRounds(planRounds(options));
  say(describeTotals(results));
  const failed = results.filter(({ problems }) => problems.length > 0);
  say(`${results.length - failed.length} rounds passed, ${failed.length} failed; seed ${options.seed}`);
  return failed.length === 0 ? 0 : 1;
}

process.exitCode = await main();
