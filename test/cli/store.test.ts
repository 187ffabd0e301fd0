/**
 * What one start leaves for the next: pending data, open runs, input that was read but not delivered, and dead letters; and
 * how `status` shows it.
 */
import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import type { DeadLetter } from '../../src/commands/dead-letters.js';
import type { Status } from '../../src/commands/status.js';
import type { Summary } from '../../src/summary.js';
import { test, testIf } from './concurrent.js';
import {
  DEAD_URL,
  expectLaw,
  expectNoStack,
  type Program,
  runForSummary,
  runToEnd,
  start,
  temporaryDirectory,
  temporaryFile,
} from './program.js';
import { inTurn, OK, type Sink, type SinkRequest, startSink } from './sink.js';
import { expectStory, STORY_LINES, STORY_LOGS, STORY_SPANS } from './story.js';

const DELTA = { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta' };
const REASONING = 'gen_ai.client.inference.usage.reasoning.output_tokens';

const lines = STORY_LINES.trimEnd().split('\n');
const firstLines = (count: number): string => `${lines.slice(0, count).join('\n')}\n`;
const otherLines = (count: number): string => `${lines.slice(count).join('\n')}\n`;

interface Resourced {
  resource: { attributes: { key: string; value: { stringValue?: string } }[] };
}

const runInto = (url: string, directory: string, ...more: string[]): string[] => [
  'run',
  '--from',
  'stdin',
  '--to',
  `otlp=${url}`,
  '--data-dir',
  directory,
  ...more,
];

async function statusOf(directory: string): Promise<Status> {
  const { status, stdout } = await runToEnd(['status', '--json', '--data-dir', directory]);
  expect(status).toBe(0);
  return JSON.parse(stdout) as Status;
}

const untilTold = (sink: Sink): Promise<void> =>
  sink.until(() => sink.spans().length === STORY_SPANS && sink.logs().length === STORY_LOGS);

test('nothing is lost with a store while the backend is down, even with much data and little memory', async () => {
  const runs = 6_000;
  const of = (run: number) => ({ session_key: `agent:main:s${run}`, run_id: `r${run}` });
  const events = Array.from({ length: runs }, (_, run) => [
    { type: 'agent.started', ts: 1_000, ...of(run) },
    { type: 'agent.finished', ts: 2_000, status: 'ok', ...of(run) },
  ]).flat();
  const config = temporaryFile('config.yaml', 'limits:\n  memory_mb: 4\n');
  const { summary } = await runForSummary(
    runInto(DEAD_URL, temporaryDirectory(), '--config', config, '--drain', '0'),
    { input: `${events.map((event) => JSON.stringify(event)).join('\n')}\n` },
  );
  const { traces, logs } = summary.destinations.otlp ?? {};
  expect(traces).toMatchObject({ produced: runs, pending: runs, dropped: {} });
  expect(logs).toMatchObject({ produced: 2 * runs, pending: 2 * runs, dropped: {} });
});

test('in a long outage the oldest data is dropped, and the data directory stays within its limit', async () => {
  const store_mb = 8;
  const calls = 30_000;
  const of = { session_key: 'agent:main:s', run_id: 'r' };
  const callAt = (nth: number) => {
    const call = { ts: 1_000, ...of, call_id: `c${nth}` };
    const input = 'x'.repeat(300);
    return [
      { type: 'tool.call', tool: 'exec', input, ...call },
      { type: 'tool.output', output: input, ...call },
    ];
  };
  const events = [
    { type: 'agent.started', ts: 1_000, ...of },
    ...Array.from({ length: calls }, (_, nth) => callAt(nth)).flat(),
    { type: 'agent.finished', ts: 2_000, status: 'ok', ...of },
  ];
  const directory = temporaryDirectory();
  const config = temporaryFile('config.yaml', `limits:\n  store_mb: ${store_mb}\n`);
  const { summary } = await runForSummary(runInto(DEAD_URL, directory, '--config', config, '--drain', '0'), {
    input: `${events.map((event) => JSON.stringify(event)).join('\n')}\n`,
  });
  // LMDB never makes its file shorter, so this is the most that it was; it is made a little longer than is needed.
  expect(statSync(join(directory, 'data.mdb')).size).toBeLessThan((store_mb + 4) * 1024 * 1024);
  for (const counts of [summary.destinations.otlp?.traces, summary.destinations.otlp?.logs]) {
    expect(counts?.pending).toBeGreaterThan(1_000);
    expect(counts?.dropped.store_full).toBeGreaterThan(1_000);
  }
  expectLaw(summary);
});

test('a missing recording or an unknown destination does not discard an unfinished replay', async () => {
  const sink = await startSink();
  const at = ['--data-dir', temporaryDirectory()];
  const path = temporaryFile('story.ndjson', STORY_LINES);
  const unfinished = await runToEnd(['replay', path, '--to', `otlp=${DEAD_URL}`, '--deadline', '0', ...at]);
  expect(unfinished.status).toBe(3);
  const failed = await runToEnd(['replay', `${path}x`, '--to', `otlp=${sink.url}`, ...at]);
  expect(failed.status).toBe(1);
  expect(failed.stderr).toContain(`${path}x`);
  const other = ['replay', temporaryFile('other.ndjson', STORY_LINES), '--to', `otlp=${sink.url}`, ...at];
  for (const [to, problem] of [
    [['otlpp'], '--to: "otlpp" is not a preset'],
    [['console', '--to', 'b:console'], 'console is given twice; remove one'],
  ] as const) {
    const misused = await runToEnd([...other, '--to', ...to]);
    expect(misused.status).toBe(2);
    expect(misused.stderr).toMatch(new RegExp(`^openclaw-otel-bridge: ${problem}`));
  }
  expect(sink.requests).toEqual([]);
  const { summary } = await runForSummary(['replay', path, '--to', `otlp=${sink.url}`, ...at]);
  expect(summary.destinations.otlp?.traces).toMatchObject({ produced: STORY_SPANS, delivered: STORY_SPANS });
});

test('data that could not be stored and is not delivered before the stop is dropped and reported', async () => {
  const directory = join(temporaryDirectory(), 'data');
  const summary_path = temporaryFile('summary.json');
  const program = start(runInto(DEAD_URL, directory, '--drain', '0', '--summary', summary_path));
  await program.untilLogged(/following stdin/);
  rmSync(directory, { recursive: true });
  program.child.stdin.end(STORY_LINES);
  const { status, stderr } = await program.ended;
  expect(status).toBe(3);
  const summary: Summary = JSON.parse(readFileSync(summary_path, 'utf8'));
  expectLaw(summary);
  const { traces, logs } = summary.destinations.otlp ?? {};
  expect(traces).toMatchObject({ pending: 0, dropped: { store_unwritable: STORY_SPANS } });
  expect(logs).toMatchObject({ pending: 0, dropped: { store_unwritable: STORY_LOGS } });
  expect(stderr).toMatch(/ERROR: .*data was still not writable when the bridge stopped/);
  expect(stderr).toMatch(
    new RegExp(
      `ERROR: otlp: ${STORY_SPANS} spans dropped permanently \\(store_unwritable\\): ${directory} was not`,
    ),
  );
});

/** The instance ids of a sink's spans and metrics. */
const instancesAt = ({ spans, of }: Sink): string[] => {
  const ids = [...spans().map(({ resource }) => resource), ...of('metrics').flatMap(metricResources)].map(
    (resource) => String(resource['service.instance.id']),
  );
  return [...new Set(ids)];
};

const metricResources = ({ bytes }: SinkRequest): Record<string, unknown>[] =>
  JSON.parse(String(bytes)).resourceMetrics.map(({ resource: { attributes } }: Resourced) =>
    Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue])),
  );

test('each writer of metrics has a lasting instance id: a run by its directory, a replay by its recording', async () => {
  const recording = temporaryFile('events.ndjson', STORY_LINES);
  const another = temporaryFile('others.ndjson', STORY_LINES);
  const instanceOf = async (command: string[], directory: string[]): Promise<string> => {
    const sink = await startSink();
    await runForSummary([...command, '--to', `otlp=${sink.url}`, ...directory], {
      env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
      input: STORY_LINES.replaceAll('run-', `run-${sink.url}`),
    });
    const [instance = '', ...more] = instancesAt(sink);
    expect(more).toEqual([]);
    expect(instance).toMatch(/^.+-[\da-f]{8}$/);
    return instance;
  };
  const run = ['run', '--from', 'stdin'];
  const replay = ['replay', recording];
  const kept = ['--data-dir', temporaryDirectory()];
  const first = await instanceOf(run, kept);
  expect(await instanceOf(run, kept)).toBe(first);
  const replayed = await instanceOf(replay, kept);
  expect(await instanceOf(replay, [])).toBe(replayed);
  const others = [
    await instanceOf(['replay', another], kept),
    await instanceOf(run, ['--data-dir', temporaryDirectory()]),
    await instanceOf(run, ['--no-store']),
  ];
  expect(new Set([first, replayed, ...others]).size).toBe(5);
});

test('after metrics that are too large, later collections fit, and nothing is left at the end', async () => {
  const small = await startSink(({ signal, bytes }) =>
    signal === 'metrics' && bytes.length > 3_000 ? { status: 413 } : OK,
  );
  const refused = (): number => small.of('metrics').filter(({ taken }) => !taken).length;
  // The drain ends once nothing is left, however long a busy machine takes.
  const program = start(runInto(small.url, temporaryDirectory(), '--drain', '60', '--summary', '-'));
  program.child.stdin.write(STORY_LINES);
  await small.until(() => refused() > 0 && small.sumOf(REASONING) > 0);
  program.signal('SIGTERM');
  const { status, stdout } = await program.ended;
  expect(status).toBe(0);
  expect((JSON.parse(stdout) as Summary).destinations.otlp?.metrics).toMatchObject({
    pending: 0,
    rejected: {},
    dropped: {},
  });
  expect(refused()).toBeLessThan(20);
});

test('killed while following a file: what was acknowledged since the last checkpoint is not sent again', async () => {
  const directory = temporaryDirectory();
  const config = temporaryFile('config.yaml', 'store:\n  checkpoint_interval_ms: 600000\n');
  const path = temporaryFile('events.ndjson', STORY_LINES);
  const follow = (sink: Sink): Program =>
    start(
      [
        'run',
        '--from',
        `file:${path}`,
        '--to',
        `jaeger=${sink.url}`,
        '--data-dir',
        directory,
        '--config',
        config,
      ],
      {},
    );
  const first = await startSink();
  const killed = follow(first);
  await first.until(() => first.spans().length === STORY_SPANS);
  const delivered = async () => (await statusOf(directory)).destinations.jaeger?.traces?.delivered;
  await vi.waitUntil(async () => (await delivered()) === STORY_SPANS, { timeout: 20_000, interval: 200 });
  killed.signal('SIGKILL');
  await killed.ended;
  const next = {
    type: 'agent.started',
    ts: 1_795_000_000_000,
    session_key: 'agent:main:next',
    run_id: 'next',
  };
  const second = await startSink();
  const goingOn = follow(second);
  appendFileSync(
    path,
    `${JSON.stringify(next)}\n${JSON.stringify({ ...next, type: 'agent.finished', status: 'ok' })}\n`,
  );
  await second.until(() => second.spans().length > 0);
  goingOn.signal('SIGTERM');
  await goingOn.ended;
  expect(second.spans().map((span) => span.attributes['openclaw.run.id'])).toEqual(['next']);
});

test('what is pending at the end is sent and counted by the next start', async () => {
  const directory = temporaryDirectory();
  const first = await runForSummary(runInto(DEAD_URL, directory, '--drain', '0'), {
    input: STORY_LINES,
    env: DELTA,
  });
  expect(first.status).toBe(3);
  expect(first.summary.destinations.otlp?.traces).toMatchObject({
    produced: STORY_SPANS,
    pending: STORY_SPANS,
  });
  const stopped = await statusOf(directory);
  expect(stopped).toMatchObject({ state: 'stopped', sources: { stdin: { lines: lines.length } } });
  expect(stopped.destinations.otlp?.traces).toMatchObject({
    pending: STORY_SPANS,
    pending_since_ms: expect.any(Number),
  });
  expect(stopped.destinations.otlp?.traces?.last_error?.message).toContain('ECONNREFUSED');
  const sink = await startSink();
  const second = await runForSummary(runInto(sink.url, directory), { input: '', env: DELTA });
  expect(second.status).toBe(0);
  expect(second.summary.destinations.otlp?.traces).toMatchObject({
    produced: STORY_SPANS,
    delivered: STORY_SPANS,
  });
  expectStory(sink, sink.totalOf);
});

test('an open run stays open for the next start', async () => {
  const directory = temporaryDirectory();
  const sink = await startSink();
  const first = await runForSummary(runInto(sink.url, directory), { input: firstLines(8), env: DELTA });
  expect(first).toMatchObject({ status: 0, summary: { runs: { open: 1 } } });
  await runToEnd(runInto(sink.url, directory), { input: otherLines(8), env: DELTA });
  expectStory(sink, sink.totalOf);
});

function isAllDelivered({ destinations }: Status): boolean {
  const [signals = {}] = Object.values(destinations);
  const { traces, logs, metrics } = signals;
  const is_sent = traces?.delivered === STORY_SPANS && logs?.delivered === STORY_LOGS;
  return is_sent && metrics !== undefined && metrics.delivered > 0 && metrics.pending === 0;
}

test('a kill -9 loses nothing, repeats nothing that was acknowledged, and counts no token twice', async () => {
  const directory = temporaryDirectory();
  const sink = await startSink();
  const program = start(runInto(sink.url, directory), { env: DELTA });
  program.child.stdin.write(STORY_LINES);
  await untilTold(sink);
  expect(await statusOf(directory)).toMatchObject({ state: 'running', pid: program.child.pid });
  // The first checkpoint sends the metrics; the next one is seconds away.
  await sink.until(() => sink.of('metrics').length > 0);
  // The status is written in the same transaction as the acknowledgements, so those are on the disk, too.
  await vi.waitUntil(async () => isAllDelivered(await statusOf(directory)), {
    timeout: 20_000,
    interval: 100,
  });
  program.signal('SIGKILL');
  await program.ended;
  expect(await statusOf(directory)).toMatchObject({ state: 'killed' });
  const { status } = await runToEnd(runInto(sink.url, directory), { env: DELTA });
  expect(status).toBe(0);
  expectStory(sink, sink.totalOf);
  expect(sink.spans()).toHaveLength(STORY_SPANS);
  expect(sink.logs()).toHaveLength(STORY_LOGS);
  expect(sink.totalOf(REASONING)).toBe(await reasoningOfOneRun());
});

test('with a destination that shows open spans, ended spans are not reopened after a kill -9', async () => {
  const directory = temporaryDirectory();
  const config = temporaryFile('config.yaml', 'store:\n  checkpoint_interval_ms: 600000\n');
  const at = (sink: Sink): string[] => [
    ...['run', '--from', 'stdin', '--to', `clawmetry=${sink.url}`],
    ...['--data-dir', directory, '--config', config],
  ];
  const first = await startSink();
  const program = start(at(first));
  program.child.stdin.write(STORY_LINES);
  const delivered = async () => (await statusOf(directory)).destinations.clawmetry?.traces?.delivered;
  await first.until(() => first.spans().length >= STORY_SPANS);
  await vi.waitUntil(async () => (await delivered()) === STORY_SPANS, { timeout: 20_000, interval: 200 });
  program.signal('SIGKILL');
  await program.ended;
  const second = await startSink();
  expect((await runToEnd(at(second))).status).toBe(0);
  expect(second.spans()).toEqual([]);
});

async function reasoningOfOneRun(): Promise<number> {
  const sink = await startSink();
  await runToEnd(['run', '--no-store', '--from', 'stdin', '--to', `otlp=${sink.url}`], {
    input: STORY_LINES,
    env: DELTA,
  });
  return sink.totalOf(REASONING);
}

test('of two bridges on one directory, the second names the process that owns it', async () => {
  const directory = temporaryDirectory();
  const sink = await startSink();
  const program = start(runInto(sink.url, directory), { env: DELTA });
  await program.untilLogged(/following stdin/);
  const second = await runToEnd(runInto(sink.url, directory));
  expect(second.status).toBe(1);
  expect(second.stderr).toContain(
    `process ${program.child.pid}; stop that process, or give another data directory (--data-dir)`,
  );
  program.child.stdin.end(STORY_LINES);
  expect((await program.ended).status).toBe(0);
  expectStory(sink, sink.totalOf);
});

test('rejected data can be listed, shown, resent and purged', async () => {
  const directory = temporaryDirectory();
  const refusing = await startSink(({ signal }) =>
    signal === 'traces' ? { status: 400, body: 'no such tenant' } : { status: 200, body: {} },
  );
  const program = await runForSummary(runInto(refusing.url, directory), { input: STORY_LINES });
  expect(program.status).toBe(3);
  expect(program.summary.destinations.otlp?.traces).toMatchObject({ rejected: { http_400: STORY_SPANS } });
  const at = ['--data-dir', directory];
  const letters = JSON.parse(
    (await runToEnd(['dead-letters', 'list', '--json', ...at])).stdout,
  ) as DeadLetter[];
  expect(letters.map(({ rejected }) => rejected).reduce((a, b) => a + b)).toBe(STORY_SPANS);
  const [first] = letters as [DeadLetter];
  expect(first).toMatchObject({ destination: 'otlp', signal: 'traces', reason: 'http_400' });
  expect(first.message).toContain('no such tenant');
  const list = await runToEnd(['dead-letters', 'list', ...at]);
  expect(list.stdout).toContain(`${first.id}  `);
  const shown = JSON.parse((await runToEnd(['dead-letters', 'show', first.id, ...at])).stdout);
  expect(shown.content[0]).toHaveProperty('span_id');
  expect(await statusOf(directory)).toMatchObject({ dead_letters: letters.length });

  const unknown = await runToEnd(['dead-letters', 'show', 'nothing', ...at]);
  expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining('no dead letter nothing') });
  const again = await runToEnd(['dead-letters', 'resend', '--to', `otlp=${refusing.url}`, ...at]);
  expect(again.status).toBe(3);
  const sink = await startSink();
  const resent = await runToEnd(['dead-letters', 'resend', '--to', `other:otlp=${sink.url}`, ...at]);
  expect(resent).toMatchObject({ status: 0, stdout: expect.stringMatching(/dead letters? sent/) });
  expect(sink.spans()).toHaveLength(STORY_SPANS);
  expect((await runToEnd(['dead-letters', 'list', ...at])).stdout).toBe('no dead letters\n');
});

test('dead letters can be purged, one or all', async () => {
  const directory = temporaryDirectory();
  const sink = await startSink(inTurn('traces', { status: 400 }, { status: 400 }));
  await runToEnd(runInto(sink.url, directory), { input: STORY_LINES });
  const at = ['--data-dir', directory];
  const list = async () =>
    JSON.parse((await runToEnd(['dead-letters', 'list', '--json', ...at])).stdout) as DeadLetter[];
  const letters = await list();
  expect(letters.length).toBeGreaterThan(0);
  await runToEnd(['dead-letters', 'purge', letters[0]?.id ?? '', ...at]);
  expect(await list()).toHaveLength(letters.length - 1);
  await runToEnd(['dead-letters', 'purge', ...at]);
  expect(await list()).toEqual([]);
});

test('a replay with a data directory: the next one sends what is pending and reads nothing twice', async () => {
  const directory = temporaryDirectory();
  const file = temporaryFile('story.ndjson', STORY_LINES);
  const replayTo = (url: string): string[] => [
    'replay',
    file,
    '--to',
    `otlp=${url}`,
    '--data-dir',
    directory,
    '--deadline',
    '1',
  ];
  const first = await runForSummary(replayTo(DEAD_URL), { env: DELTA });
  expect(first.status).toBe(3);
  const sink = await startSink();
  const second = await runForSummary(replayTo(sink.url), { env: DELTA });
  expect(second).toMatchObject({ status: 0, summary: { source: { lines: 0 } } });
  expectStory(sink, sink.totalOf);
  // All of it has been delivered, so the next replay starts from the beginning.
  const third = await runForSummary(replayTo(sink.url));
  expect(third.summary).toMatchObject({ source: { lines: lines.length } });
});

test('a replay with a data directory that a signal ends: the next one goes on with its open run', async () => {
  const sink = await startSink();
  const at = ['--to', `otlp=${sink.url}`, '--data-dir', temporaryDirectory()];
  const args = ['replay', temporaryFile('story.ndjson', STORY_LINES), ...at];
  const program = start([...args, '--speed', '0.05'], { env: DELTA });
  await sink.until(() => sink.logs().length > 0);
  program.signal('SIGINT');
  expect((await program.ended).status).toBe(0);
  expect(sink.logs().length).toBeLessThan(STORY_LOGS);
  expect((await runToEnd(args, { env: DELTA })).status).toBe(0);
  expectStory(sink, sink.totalOf);
});

test('run reports an unusable data directory, and continues in memory', async () => {
  const sink = await startSink();
  const { status, stderr } = await runToEnd(runInto(sink.url, join(temporaryFile('file', ''), 'below')), {
    input: STORY_LINES,
    env: DELTA,
  });
  expect(stderr).toMatch(/WARN: .*below.*in memory/);
  expect(status).toBe(0);
  expectStory(sink, sink.totalOf);
});

test.each([['status'], ['run', '--from', 'stdin', '--to', 'console']])(
  '%s reports a file in place of the data directory',
  async (...command) => {
    const { stderr } = await runToEnd([...command, '--data-dir', temporaryFile('file')]);
    expect(stderr).toMatch(/file: .*not a directory/);
  },
);

test.each(['status', 'dead-letters list'])('%s in an empty directory has exit status 1', async (command) => {
  const ended = await runToEnd([...command.split(' '), '--data-dir', temporaryDirectory()]);
  expectNoStack(ended);
  expect(ended.status).toBe(1);
});

/** Sends text to a bridge that listens on a Unix socket. */
async function feed(program: Program, path: string, text: string): Promise<void> {
  await program.untilLogged(/accepts connections/);
  const socket = createConnection(path);
  await new Promise<void>((resolve) => socket.end(text, () => resolve()));
}

testIf(process.platform === 'linux')(
  'a damaged store is reported and set aside, and the start continues',
  async () => {
    const directory = temporaryDirectory();
    const sink = await startSink();
    await runToEnd(runInto(DEAD_URL, directory, '--drain', '0'), { input: STORY_LINES });
    writeFileSync(join(directory, 'data.mdb'), Buffer.alloc(50_000, 0x5a));
    const path = join(temporaryDirectory(), 'agent.sock');
    const program = start([...runInto(sink.url, directory), '--from', `listen:unix:${path}`], { env: DELTA });
    await feed(program, path, STORY_LINES);
    await untilTold(sink);
    program.child.stdin.end();
    program.signal('SIGTERM');
    const ended = await program.ended;
    expectNoStack(ended);
    expect(ended.stderr).toMatch(/WARN: .*damaged/);
    expect(readdirSync(directory).some((name) => name.startsWith('damaged-'))).toBe(true);
    expectStory(sink, sink.totalOf);
  },
);
