/**
 * The options of `replay`: its times, its destinations, and its final report.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { test } from './concurrent.js';
import {
  catalog_example,
  DEAD_URL,
  runForSummary,
  runToEnd,
  start,
  temporaryDirectory,
  temporaryFile,
} from './program.js';
import { type Span, startSink } from './sink.js';
import { expectStory, STORY, STORY_LINES, STORY_SPANS } from './story.js';

const byId = (spans: Span[]): Map<string, Span> => new Map(spans.map((span) => [span.span_id, span]));

test('--rebase-time: the recording ends now, and all durations stay the same', async () => {
  const [plain, rebased] = [await startSink(), await startSink()];
  await runToEnd(['replay', catalog_example, '--to', `otlp=${plain.url}`]);
  const before_ms = Date.now();
  await runToEnd(['replay', catalog_example, '--rebase-time', '--to', `otlp=${rebased.url}`]);
  const after_ms = Date.now();
  const last_ms = Math.max(...rebased.spans().map((span) => span.end_ms));
  expect(last_ms).toBeGreaterThanOrEqual(before_ms);
  expect(last_ms).toBeLessThanOrEqual(after_ms);
  const moved = byId(rebased.spans());
  expect(moved.size).toBe(plain.spans().length);
  const shift_ms = last_ms - Math.max(...plain.spans().map((span) => span.end_ms));
  for (const { span_id, name, start_ms, end_ms } of plain.spans()) {
    expect(moved.get(span_id)?.start_ms, name).toBeCloseTo(start_ms + shift_ms, 3);
    expect(moved.get(span_id)?.end_ms, name).toBeCloseTo(end_ms + shift_ms, 3);
  }
});

test('--speed sets the pace: a gap of 4.75 s takes 0.95 s at five times the speed', async () => {
  const sink = await startSink();
  const started_ms = Date.now();
  const { status } = await runToEnd(['replay', catalog_example, '--speed', '5', '--to', `otlp=${sink.url}`]);
  expect(status).toBe(0);
  expect((sink.of('traces').at(-1)?.received_ms ?? 0) - started_ms).toBeGreaterThan(950);
});

test('--speed with --rebase-time: the shifted times end when the last event is played', async () => {
  const sink = await startSink();
  await runToEnd(['replay', catalog_example, '--speed', '20', '--rebase-time', '--to', `otlp=${sink.url}`]);
  const last_ms = Math.max(...sink.spans().map((span) => span.end_ms));
  const received_ms = sink.of('traces').at(-1)?.received_ms ?? 0;
  expect(received_ms).toBeGreaterThanOrEqual(last_ms - 20);
  expect(received_ms).toBeLessThan(last_ms + 5_000);
});

test('--rebase-time shifts all times equally when a killed replay is resumed', async () => {
  const [plain, rebased] = [await startSink(), await startSink()];
  const path = temporaryFile('story.ndjson', STORY_LINES);
  await runToEnd(['replay', path, '--to', `otlp=${plain.url}`]);
  const args = ['replay', path, '--rebase-time', '--to', `otlp=${rebased.url}`];
  const config = temporaryFile('config.yaml', 'store: { checkpoint_interval_ms: 100 }');
  const at = ['--data-dir', temporaryDirectory(), '--config', config];
  const program = start([...args, ...at, '--speed', '0.2']);
  await rebased.until(() => rebased.spans().length > 1);
  program.signal('SIGKILL');
  await program.ended;
  expect(rebased.spans().length).toBeLessThan(STORY_SPANS);
  expect((await runToEnd([...args, ...at])).status).toBe(0);
  const began = byId(plain.spans());
  const shifts = rebased
    .spans()
    .map(({ span_id, start_ms }) => Math.round(start_ms - (began.get(span_id)?.start_ms ?? 0)));
  expect(new Set(byId(rebased.spans()).keys())).toEqual(new Set(began.keys()));
  expect(new Set(shifts).size).toBe(1);
  // A replay that is not resumed ends now.
  const before_ms = Date.now();
  const last_ms = async (): Promise<number> => {
    await runToEnd([...args, ...at]);
    return Math.max(...rebased.spans().map(({ end_ms }) => end_ms));
  };
  expect(await last_ms()).toBeGreaterThanOrEqual(before_ms);
});

test("data left out because of a limit is counted under the limit's name in the summary, the log and the status", async () => {
  const sink = await startSink();
  const tell = (type: string, ts: number, fields = {}) =>
    JSON.stringify({ type, ts, session_key: 'agent:main:s', run_id: 'r', ...fields });
  const lines = [
    tell('agent.started', 1_000),
    tell('tool.call', 1_001, { call_id: '1', tool: 'x' }),
    ...Array.from({ length: 200 }, (_, at) =>
      tell('tool.output', 1_002 + at, { call_id: '1', partial: true, output: 'a' }),
    ),
    tell('tool.output', 1_300, { call_id: '1' }),
    tell('agent.finished', 1_301, { status: 'ok' }),
  ];
  const path = temporaryFile('long.ndjson', lines.join('\n'));
  const at = ['--data-dir', temporaryDirectory()];
  const { status, stderr, summary } = await runForSummary([
    'replay',
    path,
    '--to',
    `otlp=${sink.url}`,
    ...at,
  ]);
  expect(status).toBe(0);
  expect(summary.runs).toEqual({ opened: 1, ended: 1, open: 0, given_up: { span_events: 72 } });
  expect(stderr).toContain('1 run, 1 ended, 72 given up: 72 span_events');
  const told = await runToEnd(['status', ...at]);
  expect(told.stdout).toContain('1 opened · 1 ended · 0 open · 72 given up: 72 span_events');
});

test('a signal ends a slow replay: what was read is sent, the rest is not read', async () => {
  const sink = await startSink();
  const program = start([
    'replay',
    catalog_example,
    '--speed',
    '0.05',
    '--to',
    `otlp=${sink.url}`,
    '--summary',
    '-',
  ]);
  await sink.until(() => sink.logs().length > 0);
  program.signal('SIGINT');
  const { status, stdout } = await program.ended;
  expect(status).toBe(0);
  const { runs, destinations } = JSON.parse(stdout);
  expect(runs).toMatchObject({ opened: 1, open: 0 });
  expect(destinations.otlp.traces).toMatchObject({ produced: sink.spans().length, pending: 0 });
});

test('--deadline with an unreachable destination: exit status 3, everything pending, and a log line with where and why', async () => {
  const { status, stderr, summary } = await runForSummary([
    ...['replay', temporaryFile('story.ndjson', STORY_LINES), '--to', `otlp=${DEAD_URL}`],
    ...['--deadline', '0.3', '--log-format', 'json'],
  ]);
  expect(status).toBe(3);
  expect(summary.destinations.otlp?.traces).toEqual({
    produced: STORY_SPANS,
    delivered: 0,
    pending: STORY_SPANS,
    rejected: {},
    dropped: {},
  });
  const log = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(log[0]).toMatchObject({
    level: 40,
    msg: expect.stringMatching(
      /^otlp does not accept data at http:\/\/127\.0\.0\.1:1\/v1\/\w+ \(connect ECONNREFUSED/,
    ),
  });
  // From the first refusal to the end, without the time that the program takes to start.
  expect(log.at(-1).time - log[0].time).toBeLessThan(10_000);
});

test('an unreachable destination does not affect another one', async () => {
  const sink = await startSink();
  const { status, summary } = await runForSummary([
    ...['replay', temporaryFile('story.ndjson', STORY_LINES), '--deadline', '0.3'],
    ...['--to', `dead:otlp=${DEAD_URL}`, '--to', `otlp=${sink.url}`],
  ]);
  expect(status).toBe(3);
  expectStory(sink);
  expect(summary.destinations.otlp?.traces).toMatchObject({ delivered: STORY_SPANS, pending: 0 });
  expect(summary.destinations.dead?.traces).toMatchObject({ delivered: 0, pending: STORY_SPANS });
});

test('--strict: bad lines make the exit status 3, otherwise 0', async () => {
  const sink = await startSink();
  const path = temporaryFile('story.ndjson', `${STORY_LINES}{"type":`);
  const to = ['--to', `otlp=${sink.url}`];
  expect((await runToEnd(['replay', path, ...to])).status).toBe(0);
  expect((await runToEnd(['replay', path, ...to, '--strict'])).status).toBe(3);
});

test('--summary - prints only the summary to stdout, as one line of JSON', async () => {
  const sink = await startSink();
  const { stdout } = await runToEnd([
    'replay',
    catalog_example,
    '--to',
    `otlp=${sink.url}`,
    '--summary',
    '-',
  ]);
  expect(stdout).toMatch(/^\{.*\}\n$/);
  expect(Object.keys(JSON.parse(stdout))).toEqual(['version', 'source', 'runs', 'destinations']);
  expect(Object.keys(JSON.parse(stdout).source)).toEqual(['lines', 'events', 'ignored', 'rejected']);
});

test.each([
  ['a directory', '', () => 'it is a directory'],
  ['in no directory', 'none/summary.json', (directory: string) => `${directory}/none: it does not exist`],
])(
  "a --summary file that can't be written (%s) is reported before anything is sent",
  async (_, name, reasonIn) => {
    const sink = await startSink();
    const directory = temporaryDirectory();
    const path = join(directory, name);
    const { status, stderr } = await runToEnd([
      ...['replay', catalog_example, '--to', `otlp=${sink.url}`, '--summary', path],
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain(
      `can't write the summary to ${path}: ${reasonIn(directory)}; choose a file that this user can write`,
    );
    expect(sink.requests).toEqual([]);
  },
);

test('if one of several recordings is missing, nothing is sent or written', async () => {
  const sink = await startSink();
  const summary = join(temporaryDirectory(), 'summary.json');
  const { status, stderr } = await runToEnd([
    ...['replay', catalog_example, '/nonexistent.ndjson', '--to', `otlp=${sink.url}`, '--summary', summary],
  ]);
  expect(status).toBe(1);
  expect(stderr).toContain("can't read /nonexistent.ndjson: it does not exist; check the path");
  expect(sink.requests).toEqual([]);
  expect(existsSync(summary)).toBe(false);
});

test('without --to the endpoint from the environment is used, and the log says so', async () => {
  const sink = await startSink();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `${sink.url}/` };
  const { status, stderr, summary } = await runForSummary(['replay', catalog_example], { env });
  expect(status).toBe(0);
  expect(stderr).toMatch(
    /INFO: sending to otlp: OTEL_EXPORTER_OTLP_\* sets the endpoint; use --to to choose another/,
  );
  expect(Object.keys(summary.destinations)).toEqual(['otlp']);
  expect(new Set(sink.requests.map(({ path }) => path))).toEqual(
    new Set(['/v1/traces', '/v1/metrics', '/v1/logs']),
  );
});

test("a signal's own endpoint is used unchanged", async () => {
  const sink = await startSink();
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: DEAD_URL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${sink.url}/my/traces`,
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${sink.url}/my/metrics`,
    OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: `${sink.url}/my/logs`,
  };
  expect((await runToEnd(['replay', catalog_example], { env })).status).toBe(0);
  expect(new Set(sink.requests.map(({ path }) => path))).toEqual(
    new Set(['/my/traces', '/my/metrics', '/my/logs']),
  );
});

test('--to overrides the environment, and its URL may have a path', async () => {
  const sink = await startSink();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: DEAD_URL };
  const { status } = await runToEnd(['replay', catalog_example, '--to', `collector=${sink.url}/base/`], {
    env,
  });
  expect(status).toBe(0);
  expect(new Set(sink.requests.map(({ path }) => path))).toEqual(
    new Set(['/base/v1/traces', '/base/v1/metrics', '/base/v1/logs']),
  );
});

test('NAME:PRESET names a destination in the summary; unnamed ones are numbered', async () => {
  const sink = await startSink();
  const { summary } = await runForSummary([
    ...['replay', catalog_example],
    ...['--to', `lab:otlp=${sink.url}`, '--to', `otlp=${sink.url}`, `--to=otlp=${sink.url}`],
  ]);
  expect(Object.keys(summary.destinations)).toEqual(['lab', 'otlp', 'otlp-2']);
});

test('each preset sends its signals', async () => {
  const presets = ['jaeger', 'prometheus', 'grafana', 'clawmetry'] as const;
  const sinks = await Promise.all(presets.map(() => startSink()));
  const path = temporaryFile('story.ndjson', STORY_LINES);
  const to = presets.flatMap((preset, index) => ['--to', `${preset}=${sinks[index]?.url}`]);
  const { status, summary } = await runForSummary(['replay', path, ...to]);
  expect(status).toBe(0);
  const [jaeger, prometheus, grafana, clawmetry] = sinks;
  const signalsOf = (sink = jaeger): string[] =>
    [...new Set(sink?.requests.map(({ signal }) => signal))].sort();
  expect(signalsOf(jaeger)).toEqual(['traces']);
  expect(Object.keys(summary.destinations.jaeger ?? {})).toEqual(['traces']);
  expect(signalsOf(prometheus)).toEqual(['metrics']);
  expect(Object.keys(summary.destinations.prometheus ?? {})).toEqual(['metrics']);
  expect(signalsOf(grafana)).toEqual(['logs', 'metrics', 'traces']);
  expect(signalsOf(clawmetry)).toEqual(['logs', 'metrics', 'traces']);
  // Only ClawMetry gets open spans; of logs it gets only tool calls and results.
  expect(grafana?.spans().filter(({ end_ms }) => end_ms === 0)).toEqual([]);
  expect(clawmetry?.spans().some(({ end_ms }) => end_ms === 0)).toBe(true);
  expect(clawmetry?.spans().filter(({ end_ms }) => end_ms > 0)).toHaveLength(STORY_SPANS);
  expect(
    clawmetry
      ?.logs()
      .map(({ attributes }) => attributes['gen_ai.tool.name'])
      .sort(),
  ).toEqual(['exec', 'exec', 'read', 'read', 'sessions_spawn', 'sessions_spawn']);
});

test('--content records inputs, outputs and reasoning text', async () => {
  const sink = await startSink();
  await runToEnd([
    'replay',
    temporaryFile('story.ndjson', STORY_LINES),
    '--content',
    '--to',
    `otlp=${sink.url}`,
  ]);
  const exec = sink.spans().find(({ name }) => name === 'execute_tool exec');
  expect(exec?.attributes['gen_ai.tool.call.arguments']).toBe('{"command":"hidden"}');
  expect(exec?.attributes['gen_ai.tool.call.result']).toContain('hidden');
});

test('a configuration file has a key for each option, and the command line overrules it', async () => {
  const [file, option] = [await startSink(), await startSink()];
  const config = temporaryFile(
    'config.yaml',
    `to:\n  - preset: otlp\n    name: from-file\n    url: ${file.url}\ncontent: true\nstrict: true\nlog_level: error\nsummary: "-"\n`,
  );
  const path = temporaryFile('story.ndjson', `${STORY_LINES}{}\n`);
  const first = await runToEnd(['replay', '--config', config, path]);
  expect(first.status).toBe(3);
  expect(first.stderr).toBe('');
  expect(Object.keys(JSON.parse(first.stdout).destinations)).toEqual(['from-file']);
  expect(file.spans().some(({ attributes }) => attributes['gen_ai.tool.call.arguments'] !== undefined)).toBe(
    true,
  );
  const second = await runToEnd(['replay', path, '--config', config, '--to', `otlp=${option.url}`]);
  expect(Object.keys(JSON.parse(second.stdout).destinations)).toEqual(['otlp']);
  expect(option.logs()).toHaveLength(STORY.length - 1);
});

test.each<[string, string[], string | undefined, number]>([
  ['can not run', ['replay', '/nonexistent.ndjson', '--log-format', 'json'], undefined, 1],
  ['is used wrongly', ['replay', catalog_example, '--speed', '0', '--log-format', 'json'], undefined, 2],
  ['fails as the file says', ['replay', '/nonexistent.ndjson'], 'log_format: json\nlog_level: silent', 1],
  ['checks the settings itself', ['doctor', '--data-dir', '', '--log-format', 'json'], undefined, 2],
])('with log format json, what ends a program that %s is an object too', async (_, args, config, status) => {
  const more = config === undefined ? [] : ['--config', temporaryFile('bridge.yaml', config)];
  const ended = await runToEnd([...args, ...more]);
  expect(ended.status).toBe(status);
  expect(JSON.parse(ended.stderr)).toEqual({
    level: 60,
    time: expect.any(Number),
    msg: expect.stringMatching(/^(can't read |--[a-z-]+: )/),
  });
});

test.each<[string, string[], string]>([
  ['option', ['replay', '--sped', '2', '--log-format', 'json'], "unknown option '--sped'"],
  [
    'level',
    ['--log-level', 'loud', '--log-format=json', 'run'],
    "option '--log-level <level>' argument 'loud'",
  ],
  ['command', ['--log-format', 'json', 'repaly'], "unknown command 'repaly'"],
  ['subcommand', ['dead-letters', '--log-format', 'json'], 'Usage: openclaw-otel-bridge dead-letters'],
])('with log format json, a wrong %s is an object too', async (_, args, message) => {
  const { status, stdout, stderr } = await runToEnd(args);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  const { level, msg } = JSON.parse(stderr);
  expect(level).toBe(60);
  expect(msg.slice(0, message.length)).toBe(message);
});

test('--log-format json prints one object per line, and options may precede the command', async () => {
  const sink = await startSink();
  const { stderr } = await runToEnd([
    '--log-format',
    'json',
    'replay',
    '--to',
    `otlp=${sink.url}`,
    catalog_example,
  ]);
  const lines = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map(({ msg }) => msg)).toEqual([
    'read 19 lines; 19 events; 2 runs, 2 ended',
    expect.stringMatching(/^otlp: delivered traces 8\/8 · metrics (\d+)\/\1 · logs 18\/18$/),
  ]);
});
