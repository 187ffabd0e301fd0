/**
 * `dead-letters resend` if it is interrupted, if a backend does not answer, and if no given destination takes dead letters.
 */
import { once } from 'node:events';
import { expect } from 'vitest';
import type { DeadLetter } from '../../src/commands/dead-letters.js';
import { test } from './concurrent.js';
import { DEAD_URL, runToEnd, start, temporaryDirectory, temporaryFile } from './program.js';
import { OK, startSink } from './sink.js';
import { STORY_LINES } from './story.js';

async function listOf(at: string[]): Promise<DeadLetter[]> {
  return JSON.parse((await runToEnd(['dead-letters', 'list', '--json', ...at])).stdout);
}

/** Makes dead letters of every signal. Returns the options that name their data directory. */
async function refuseAll(): Promise<string[]> {
  const sink = await startSink(() => ({ status: 400 }));
  const at = ['--data-dir', temporaryDirectory()];
  await runToEnd(['run', '--from', 'stdin', '--to', `otlp=${sink.url}`, ...at], { input: STORY_LINES });
  const letters = await listOf(at);
  expect(new Set(letters.map(({ signal }) => signal))).toEqual(new Set(['traces', 'metrics', 'logs']));
  return at;
}

test.each<NodeJS.Signals>(['SIGINT', 'SIGTERM', 'SIGKILL'])(
  '%s ends resend, and only what was not accepted by then is still a dead letter',
  async (signal) => {
    const at = await refuseAll();
    const others = (await listOf(at)).filter(({ signal: of }) => of !== 'metrics').length;
    const hanging = await startSink((request) => (request.signal === 'metrics' ? 'hang' : OK));
    const config = temporaryFile('bridge.yaml', 'drain: 0');
    const to = ['--to', `otlp=${hanging.url}`, '--config', config];
    const program = start(['dead-letters', 'resend', ...to, ...at]);
    await hanging.until(() => hanging.of('metrics').length > 0);
    await expect
      .poll(async () => (await listOf(at)).length, { timeout: 20_000, interval: 200 })
      .toBeLessThan(2);
    program.signal(signal);
    const { status, stdout } = await program.ended;
    if (signal !== 'SIGKILL') {
      expect(status).toBe(3);
      expect(stdout).toMatch(/: no answer yet; kept as a dead letter\n/);
      expect(stdout).toContain(`${others} of ${others + 1} dead letters sent\n`);
    }
    expect((await listOf(at)).map(({ signal: of }) => of)).toEqual(['metrics']);

    const sink = await startSink();
    const again = await runToEnd(['dead-letters', 'resend', '--to', `otlp=${sink.url}`, ...at]);
    expect(again).toMatchObject({ status: 0, stdout: '1 of 1 dead letter sent\n' });
    expect(sink.requests.map((request) => request.signal)).toEqual(['metrics']);
  },
);

test('resend --deadline limits the time for all dead letters together', async () => {
  const at = await refuseAll();
  const count = (await listOf(at)).length;
  const program = start([
    ...['dead-letters', 'resend', '--to', `otlp=${DEAD_URL}`, '--deadline', '2'],
    ...at,
  ]);
  const said_ms = once(program.child.stdout, 'data').then(() => Date.now());
  const ended = await program.ended;
  expect(Date.now() - (await said_ms)).toBeLessThan(2_000);
  expect(ended.status).toBe(3);
  expect(ended.stdout.trimEnd().split('\n')).toHaveLength(count + 1);
  expect(ended.stdout).toMatch(
    new RegExp(`: no answer yet; kept as a dead letter\n[^]*\n0 of ${count} dead letters`),
  );
  expect(await listOf(at)).toHaveLength(count);
});

test('resend reports which --to it needs if none of those given takes the dead letters', async () => {
  const at = await refuseAll();
  const shown = await runToEnd(['dead-letters', 'resend', '--to', 'console', ...at]);
  expect(shown.status).toBe(2);
  expect(shown.stderr).toContain('--to console: dead letters can be resent only to a backend');
  const two = ['--to', `a:otlp=${DEAD_URL}`, '--to', `b:otlp=${DEAD_URL}`];
  const named = await runToEnd(['dead-letters', 'resend', ...two, ...at]);
  expect(named.status).toBe(3);
  expect(named.stdout).toContain(': no destination named otlp; pass --to once, or one --to with this name\n');
});
