/** `npm run bench:startup`: the time of `--help`, alternating with a Node process that does nothing. */
import { spawnSync } from 'node:child_process';
import { options, publish, roundsText, table } from './lib/report.js';
import { median, spread } from './lib/statistics.js';
import { MAIN } from './lib/subject.js';
import { atMost } from './lib/target.js';

const ROUNDS = 15;
const MAX_RATIO = 3;
const COMMANDS = [
  ['-e', '0'],
  [MAIN, '--help'],
] as const;

function time(args: readonly string[]): number {
  const began_ms = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${args.join(' ')} has ended with status ${status}: ${stderr}`);
  return performance.now() - began_ms;
}

const times_ms: [number[], number[]] = [[], []];
const rounds = options.rounds ?? ROUNDS;
for (let round = 0; round < rounds; round++)
  for (const turn of [0, 1] as const) {
    const at = (round + turn) % 2 === 0 ? 0 : 1;
    times_ms[at].push(time(COMMANDS[at]));
  }
const [nothing, help] = times_ms;
const ratio = median(help) / median(nothing);
publish(
  'startup',
  `The median of ${roundsText(rounds)}, and the least and the greatest.\n\n${table([
    ['', 'ms', '×', 'target', ''],
    ['`node -e 0`', spread(nothing, 0), '1', '', ''],
    ['`openclaw-otel-bridge --help`', spread(help, 0), ratio.toFixed(2), ...atMost(ratio, MAX_RATIO, ' ×')],
  ])}`,
);
