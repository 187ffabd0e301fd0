/**
 * The program on a terminal, opened by `script`: log lines and redrawn rows share the screen.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { screenOf } from '../terminal/fake-terminal.js';
import { test, testIf } from './concurrent.js';
import { catalog_example, DEAD_URL, runOnTerminal, runToEnd, temporaryFile } from './program.js';

/** Only util-linux's `script` has the options that are used. */
const has_script = spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout?.includes('util-linux');
const testOnTerminal = testIf(has_script ?? false);

/** A recording with two bad lines. */
function badRecording(): string {
  const lines = readFileSync(catalog_example, 'utf8').split('\n');
  lines.splice(5, 0, '{"broken');
  lines.splice(10, 0, '[1,2]');
  return temporaryFile('bad.ndjson', lines.join('\n'));
}

const withoutTimes = (lines: string[]): string[] =>
  lines.map((line) => line.replace(/^\[[\d:]+\]|"time":\d+/, '')).sort();

const loggedBy = (stderr: string): string[] => stderr.trimEnd().split('\n');

const isBar = (line: string): boolean => line.includes('%');

const TO_NOBODY = ['replay', '--to', `jaeger=${DEAD_URL}`, '--deadline', '0.5'];
const TO_CONSOLE = ['replay', '--to', 'console', '--speed', '10'];

for (const format of ['pretty', 'json']) {
  testOnTerminal(`log lines in format ${format} and the progress bar do not share lines`, async () => {
    const args = [...TO_NOBODY, badRecording(), '--log-format', format];
    const [shown, { stderr }] = await Promise.all([runOnTerminal(args), runToEnd(args)]);
    const screen = screenOf(shown);
    expect(screen.filter(isBar)).toHaveLength(1);
    expect(loggedBy(stderr)).toHaveLength(5);
    expect(withoutTimes(screen.filter((line) => !isBar(line)))).toEqual(withoutTimes(loggedBy(stderr)));
  });
}

testOnTerminal('log lines and the live tree do not share lines', async () => {
  const args = [...TO_CONSOLE, badRecording()];
  const [shown, { stdout, stderr }] = await Promise.all([runOnTerminal(args), runToEnd(args)]);
  const expected = [...stdout.trimEnd().split('\n'), ...loggedBy(stderr)];
  expect(shown).toContain('\x1b[1A');
  expect(withoutTimes(screenOf(shown))).toEqual(withoutTimes(expected));
});

testOnTerminal.for([
  { what: 'bar', options: TO_NOBODY },
  { what: 'live tree', options: TO_CONSOLE },
])('a dumb terminal gets what a pipe gets: no escape sequences and no $what', async ({ options }) => {
  const args = [...options, badRecording()];
  const [shown, { stdout, stderr }] = await Promise.all([
    runOnTerminal(args, { TERM: 'dumb' }),
    // For a pipe, TERM=dumb only restricts the output to ASCII.
    runToEnd(args, { env: { TERM: 'dumb' } }),
  ]);
  expect(shown).not.toContain('\x1b');
  expect(withoutTimes(screenOf(shown))).toEqual(
    withoutTimes([...loggedBy(stderr), ...stdout.split('\n').slice(0, -1)]),
  );
});

test('a log that goes to a pipe has no progress bar', async () => {
  const { stderr } = await runToEnd([...TO_NOBODY, catalog_example]);
  expect(loggedBy(stderr).filter(isBar)).toEqual([]);
});
