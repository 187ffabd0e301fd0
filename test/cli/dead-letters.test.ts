/**
 * `dead-letters resend` if it is interrupted, if a backend does not answer, and if no given destination takes dead letters; and
 * what each subcommand says of letters of every kind.
 */
import { once } from 'node:events';
import { expect, onTestFinished, test as serial, vi } from 'vitest';
import { runCli } from '../../src/cli.js';
import type { DeadLetter } from '../../src/commands/dead-letters.js';
import { DEAD_LETTERS_PREFIX } from '../../src/model/delivery.js';
import { joinRecord } from '../../src/model/record.js';
import { openStore } from '../../src/store/index.js';
import { correlate, decodeFile } from '../helpers.js';
import { test } from './concurrent.js';
import { catalog_example, DEAD_URL, runToEnd, start, temporaryDirectory, temporaryFile } from './program.js';
import { inTurn, OK, startSink } from './sink.js';
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

vi.mock('../../src/store/index.js', async (importOriginal) => {
  const original = await importOriginal<typeof import('../../src/store/index.js')>();
  return { ...original, openStore: vi.fn(original.openStore) };
});

const SPANS = correlate(decodeFile(catalog_example)).spans;

const LETTER: Omit<DeadLetter, 'id'> = {
  at_ms: Date.UTC(2026, 10, 1),
  destination: 'a',
  signal: 'traces',
  reason: 'http_400',
  message: 'HTTP 400: no',
  rejected: SPANS.length,
  counts: SPANS.map(() => 1),
};

/** Puts letters into the store of a new data directory, by their ids; returns the options that name the directory. */
async function keep(letters: Record<string, Partial<DeadLetter> & { body?: string }>): Promise<string[]> {
  const directory = temporaryDirectory();
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  const changes = Object.entries(letters).map(([id, { body = JSON.stringify(SPANS), ...fields }]) => ({
    key: DEAD_LETTERS_PREFIX + id,
    value: joinRecord({ ...LETTER, ...fields }, [Buffer.from(body)]),
  }));
  await opened.store.write([...changes, { key: `${DEAD_LETTERS_PREFIX}older`, value: Buffer.from('{') }]);
  await opened.store.close();
  return ['--data-dir', directory];
}

/** Runs a subcommand in this process. */
async function runHere(...args: string[]): Promise<{ status: number; error?: string; stdout: string }> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    const { log_format: _, ...outcome } = await runCli(['dead-letters', ...args, '--log-level', 'silent'], {
      onInterrupt: () => undefined,
    });
    return { ...outcome, stdout: write.mock.calls.map(([text]) => text).join('') };
  } finally {
    write.mockRestore();
  }
}

serial('list and show say what was refused, and nothing of what another version has written', async () => {
  const at = await keep({
    '1': { counts: [5, 2], rejected: 7, signal: 'metrics' },
    '2': { rejected: 1, counts: [1, 1] },
    '3': { body: 'older' },
    '40': {
      destination: 'other',
      signal: 'logs',
      rejected: 1,
      counts: [1],
      reason: 'http_400',
      message: 'no',
    },
  });
  const { stdout } = await runHere('list', ...at);
  expect(stdout).toBe(
    [
      '1   2026-11-01T00:00:00.000Z  a      7 data points  http_400  HTTP 400: no\n',
      '2   2026-11-01T00:00:00.000Z  a      1 of 2 spans   http_400  HTTP 400: no\n',
      `3   2026-11-01T00:00:00.000Z  a      ${SPANS.length} spans        http_400  HTTP 400: no\n`,
      '40  2026-11-01T00:00:00.000Z  other  1 log record   http_400  no\n',
    ].join(''),
  );
  const shown = await runHere('show', '3', ...at);
  expect(JSON.parse(shown.stdout).content).toEqual({ base64: Buffer.from('older').toString('base64') });
  expect(await runHere('list', '--json', ...(await keep({})))).toEqual({ status: 0, stdout: '[]\n' });
});

serial('resend says of each letter that is not accepted why not, and keeps it', async () => {
  const [{ url: a }, { url: b }] = [await startSink(), await startSink(inTurn('traces', { status: 403 }))];
  const to = ['console', { name: 'a', preset: 'jaeger', url: a }, { name: 'b', preset: 'otlp', url: b }];
  const config = ['--config', temporaryFile('bridge.yaml', JSON.stringify({ to }))];
  const at = await keep({
    '1': {},
    '2': { body: 'older' },
    '3': { signal: 'metrics' },
    '4': { destination: 'b' },
    '5': { destination: 'gone' },
    '6': { destination: 'b' },
  });
  const { status, stdout } = await runHere('resend', ...config, ...at);
  expect(status).toBe(3);
  expect(stdout.split('\n').sort()).toEqual([
    '',
    '2 of 6 dead letters sent',
    "2: it was written by another version and can't be read; resend it with that version, or purge it",
    '3: a does not accept metrics',
    '4: rejected again: http_403',
    '5: no destination named gone; configure it, or pass --to',
  ]);
  expect((await runHere('list', ...at)).stdout.match(/^\S+/gm)).toEqual(['2', '3', '4', '5']);
  expect((await runHere('resend', '1', ...config, ...at)).error).toMatch(/^no dead letter 1;/);
  const purged = await runHere('purge', '2', '3', ...at);
  expect(purged).toEqual({ status: 0, stdout: '2 dead letters deleted\n' });
  // One after the other, even if they were for different destinations: the answer to one says nothing of another.
  const { url: c } = await startSink(inTurn('traces', { status: 403 }));
  const both = await runHere('resend', '--to', `other:otlp=${c}`, ...at);
  expect(both).toEqual({ status: 3, stdout: '4: rejected again: http_403\n1 of 2 dead letters sent\n' });
  const one = await runHere('resend', '--to', `other:otlp=${a}`, ...at);
  expect(one).toEqual({ status: 0, stdout: '1 of 1 dead letter sent\n' });
});

serial('resend keeps a letter that does not fit into memory', async () => {
  const sink = await startSink();
  const [span] = SPANS;
  const many = Array.from({ length: 500 }, (_, index) => ({
    ...span,
    span_id: index.toString(16).padStart(16, '0'),
    attributes: { 'gen_ai.output.messages': 'x'.repeat(10_000) },
  }));
  const at = await keep({ '1': { body: JSON.stringify(many), counts: many.map(() => 1) } });
  const config = ['--config', temporaryFile('bridge.yaml', 'limits: {memory_mb: 1}')];
  const { status, stdout } = await runHere('resend', '--to', `otlp=${sink.url}`, ...config, ...at);
  expect({ status, stdout }).toEqual({
    status: 3,
    stdout: '1: not sent: memory_full\n0 of 1 dead letter sent\n',
  });
  expect((await runHere('list', ...at)).stdout).toMatch(/^1 /);
});

serial(
  "resend and purge name the problem if the store can't be written, and resend sends nothing more",
  async () => {
    const sink = await startSink();
    const at = await keep({ '1': {}, '2': {} });
    const openReal = vi.mocked(openStore).getMockImplementation()!;
    vi.mocked(openStore).mockImplementation((...args) => {
      const opened = openReal(...args);
      if ('problem' in opened) return opened;
      const write = async () => ({ ok: false, message: 'no space left on device' }) as const;
      return { ...opened, store: { ...opened.store, write } };
    });
    onTestFinished(() => void vi.mocked(openStore).mockImplementation(openReal));
    const error =
      "can't delete dead letters from the store: no space left on device; check that the data directory can be written";
    expect(await runHere('purge', ...at)).toEqual({ status: 1, error, stdout: '' });
    expect(await runHere('resend', '--to', `otlp=${sink.url}`, ...at)).toEqual({
      status: 1,
      error,
      stdout: '2: not sent before resend ended; kept as a dead letter\n',
    });
    expect(sink.requests).toHaveLength(1);
  },
);
