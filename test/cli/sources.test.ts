/**
 * `run` and `replay` from every kind of source, with a story that has all event types; and how `run` ends.
 */
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Summary } from '../../src/summary.js';
import { atEndOfFile, test, testIf } from './concurrent.js';
import {
  expectLaw,
  expectNoStack,
  type Program,
  pathOf,
  runForSummary,
  runToEnd,
  start,
  temporaryDirectory,
  temporaryFile,
} from './program.js';
import { type Sink, startSink } from './sink.js';
import { expectStory, STORY_LINES, STORY_LOGS, STORY_SPANS } from './story.js';

const HALF = STORY_LINES.length / 2;

const untilTold = (sink: Sink): Promise<void> =>
  sink.until(() => sink.spans().length === STORY_SPANS && sink.logs().length === STORY_LOGS);

const startRun = (from: string, sink: Sink, ...more: string[]): Program =>
  start(['run', '--from', from, '--to', `otlp=${sink.url}`, '--summary', '-', ...more]);

/** Ends the program with a signal, expects it to drain, and returns its summary. */
async function stop(program: Program): Promise<Summary> {
  program.signal('SIGTERM');
  const ended = await program.ended;
  expectNoStack(ended);
  expect(ended.status).toBe(0);
  const summary: Summary = JSON.parse(ended.stdout);
  expectLaw(summary);
  return summary;
}

async function listenForBridge(address: { path: string } | { port: number; host: string }): Promise<Server> {
  const server = createServer();
  server.listen(address);
  await once(server, 'listening');
  atEndOfFile(() => {
    server.close();
  });
  return server;
}

async function accept(server: Server): Promise<Socket> {
  const [socket] = await once(server, 'connection');
  atEndOfFile(() => socket.destroy());
  return socket;
}

test('replay delivers a file', async () => {
  const sink = await startSink();
  const { status, summary } = await runForSummary([
    'replay',
    temporaryFile('story.ndjson', STORY_LINES),
    '--to',
    `otlp=${sink.url}`,
  ]);
  expect(status).toBe(0);
  expectStory(sink);
  expect(summary).toMatchObject({
    version: 1,
    source: { lines: 17, events: 17, ignored: {}, rejected: {} },
    runs: { opened: 2, ended: 2, open: 0 },
    destinations: { otlp: { traces: { produced: STORY_SPANS }, logs: { produced: STORY_LOGS } } },
  });
});

test('run reads a pipe, cut anywhere, and ends when the pipe ends', async () => {
  const sink = await startSink();
  const program = startRun('stdin', sink);
  program.child.stdin.write(STORY_LINES.slice(0, HALF));
  await sink.until(() => sink.spans().length > 0);
  program.child.stdin.end(STORY_LINES.slice(HALF).trimEnd());
  const { status, stdout } = await program.ended;
  expect(status).toBe(0);
  expect(JSON.parse(stdout).source).toMatchObject({ lines: 17, events: 17, rejected: {} });
  expectStory(sink);
});

test('run reads a pipe that stays open until a signal', async () => {
  const sink = await startSink();
  const program = startRun('stdin', sink);
  program.child.stdin.write(STORY_LINES);
  await untilTold(sink);
  const { runs } = await stop(program);
  expect(runs).toEqual({ opened: 2, ended: 2, open: 0 });
  expectStory(sink);
});

test('transcripts: a broken sessions.json is reported, and the transcripts are read', async () => {
  const directory = temporaryDirectory();
  const id = '6b93b108-b764-4051-9b5f-8041fe5c7a73';
  const path = join(directory, `${id}.jsonl`);
  writeFileSync(path, readFileSync(pathOf(`test/fixtures/transcripts/${id}.jsonl`)));
  writeFileSync(join(directory, 'sessions.json'), '{"half');
  const reported = /WARN: can't read .*sessions\.json: it is not valid JSON; until /;
  const { summary, stderr } = await runForSummary(['replay', path, '--to', 'console']);
  expect(stderr).toMatch(reported);
  expect(summary.runs.ended).toBe(1);
  const tail = start(['tail', '--from', `file:${path}`]);
  await tail.untilLogged(reported);
  tail.signal('SIGTERM');
  expect((await tail.ended).status).toBe(0);
});

test('transcripts: events after the start are sent, or all with --from-start, also of a message with a large image', async () => {
  const root = temporaryDirectory();
  const sessions = join(root, 'agents', 'main', 'sessions');
  mkdirSync(sessions, { recursive: true });
  const id = '6b93b108-b764-4051-9b5f-8041fe5c7a73';
  const path = join(sessions, `${id}.jsonl`);
  const recorded = readFileSync(pathOf(`test/fixtures/transcripts/${id}.jsonl`), 'utf8');
  writeFileSync(path, recorded);
  writeFileSync(join(sessions, 'sessions.json'), JSON.stringify({ 'agent:main:main': { sessionId: id } }));
  const sinks = await Promise.all([startSink(), startSink()]);
  const [live, all] = sinks;
  const programs = [
    startRun(`transcripts:${root}`, live),
    startRun(`transcripts:${root}`, all, '--from-start'),
  ];
  await Promise.all(programs.map((each) => each.untilLogged(/INFO: following the transcripts below/)));
  await all.until(() => all.spans().length === 2);
  const next = recorded
    .replaceAll(/"id":"(?!6b93b108)/g, '"id":"next-')
    .replaceAll(/"timestamp":"[^"]+"/g, `"timestamp":"${new Date().toISOString()}"`)
    .replace('"role":"user"', `"role":"user","image":"${'A'.repeat(2_000_000)}"`);
  appendFileSync(path, next.slice(next.indexOf('\n') + 1));
  await Promise.all(sinks.map((sink, index) => sink.until(() => sink.spans().length === 2 + 2 * index)));
  const summaries = await Promise.all(programs.map(stop));
  expect(summaries.map(({ runs }) => runs.ended)).toEqual([1, 2]);
  expect(summaries[0]?.source).toMatchObject({ rejected: {}, ignored: { 'entry.before_start': 2 } });
});

test('a Unix socket: waits for the server, and reconnects when the server ends the connection', async () => {
  const sink = await startSink();
  const path = join(temporaryDirectory(), 'agent.sock');
  const program = startRun(`unix:${path}`, sink);
  await program.untilLogged(/WARN: can't connect to unix:.*agent\.sock: it does not exist; retrying/);
  const server = await listenForBridge({ path });
  const first = await accept(server);
  await program.untilLogged(/INFO: connected to unix:/);
  first.end(STORY_LINES.slice(0, STORY_LINES.indexOf('\n', HALF) + 1));
  const second = await accept(server);
  await program.untilLogged(/WARN: unix:.*agent\.sock closed the connection; reconnecting/);
  second.write(STORY_LINES.slice(STORY_LINES.indexOf('\n', HALF) + 1));
  await untilTold(sink);
  await stop(program);
  expectStory(sink);
});

test('a TCP socket that is reset: the lines before the reset are delivered', async () => {
  const sink = await startSink();
  const server = await listenForBridge({ port: 0, host: '127.0.0.1' });
  const { port } = server.address() as AddressInfo;
  const program = startRun(`tcp:127.0.0.1:${port}`, sink);
  const socket = await accept(server);
  socket.write(`${STORY_LINES}{"type":"tool.ca`);
  await untilTold(sink);
  socket.resetAndDestroy();
  await program.untilLogged(/WARN: lost the connection to tcp:.*: the connection was reset; reconnecting/);
  await accept(server);
  const { source } = await stop(program);
  expect(source.rejected).toEqual({ line_incomplete: 1 });
  expectStory(sink);
});

test('a listening Unix socket: only its owner may write to it, and it is removed at the end', async () => {
  const sink = await startSink();
  const path = join(temporaryDirectory(), 'bridge.sock');
  const program = startRun(`listen:unix:${path}`, sink);
  await program.untilLogged(/accepts connections/);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  connect(path).end(STORY_LINES);
  await untilTold(sink);
  await stop(program);
  expectStory(sink);
  expect(existsSync(path)).toBe(false);
});

test('a listening TCP socket with two producers: bad lines of one do not affect the other', async () => {
  const sink = await startSink();
  const program = startRun('listen:tcp:127.0.0.1:0', sink);
  await program.untilLogged(/accepts connections/);
  const port = Number(/listen:tcp:127\.0\.0\.1:(\d+) accepts/.exec(program.said().stderr)?.[1]);
  const [good, bad] = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  bad.write('{"type":"agent.star');
  good.write(STORY_LINES.slice(0, HALF));
  bad.write('ted"}\n\u0000\n');
  await program.untilLogged(/#\d:2: \$: not JSON/);
  bad.destroy();
  good.end(STORY_LINES.slice(HALF));
  await untilTold(sink);
  const { source } = await stop(program);
  expect(source.rejected).toEqual({ invalid_event: 1, invalid_json: 1 });
  expectStory(sink);
});

test('a followed file: missing at first, then written to, rotated and truncated', async () => {
  const sink = await startSink();
  const path = join(temporaryDirectory(), 'events.ndjson');
  const lines = STORY_LINES.match(/.*\n/g) ?? [];
  const program = startRun(`file:${path}`, sink);
  await program.untilLogged(/WARN: can't read .*events\.ndjson: it does not exist yet/);
  writeFileSync(path, lines.slice(0, 4).join(''));
  await sink.until(() => sink.logs().length === 4);
  appendFileSync(path, lines.slice(4, 8).join(''));
  renameSync(path, `${path}.1`);
  appendFileSync(`${path}.1`, lines.slice(8, 10).join(''));
  writeFileSync(path, lines.slice(10, 14).join(''));
  // One log record fewer than lines: the partial output has none.
  await sink.until(() => sink.logs().length === 13);
  writeFileSync(path, '');
  appendFileSync(path, lines.slice(14).join(''));
  await untilTold(sink);
  const { source } = await stop(program);
  expect(source).toMatchObject({ lines: 17, events: 17, rejected: {} });
  expectStory(sink);
});

/** Kernel files that can be opened but not read; the second one claims to have content. */
const UNREADABLE = '/proc/self/mem';
const UNREADABLE_WITH_SIZE = '/sys/class/net/lo/speed';

testIf(existsSync(UNREADABLE))(
  'a recording that fails while being read: what was read before is sent',
  async () => {
    const sink = await startSink();
    const path = temporaryFile('story.ndjson', STORY_LINES);
    const { status, stderr } = await runForSummary(['replay', path, UNREADABLE, '--to', `otlp=${sink.url}`]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/ERROR: can't continue reading \/proc\/self\/mem: /);
    expectStory(sink);
  },
);

testIf(existsSync(UNREADABLE_WITH_SIZE))('a source that fails does not affect the others', async () => {
  const sink = await startSink();
  const program = startRun('stdin', sink, '--from', `file:${UNREADABLE_WITH_SIZE}`);
  await program.untilLogged(/ERROR: can't continue reading \/sys\/class\/net\/lo\/speed: /);
  program.child.stdin.end(STORY_LINES);
  const ended = await program.ended;
  expectNoStack(ended);
  expect(ended.status).toBe(1);
  expectStory(sink);
});

test('without a store, open runs are closed as "shutdown" at the signal, and that is no failure', async () => {
  const sink = await startSink();
  const program = startRun('stdin', sink, '--no-store');
  program.child.stdin.write(STORY_LINES.split('\n').slice(0, 8).join('\n').concat('\n'));
  await sink.until(() => sink.logs().length === 7);
  const { runs } = await stop(program);
  expect(runs).toMatchObject({ opened: 1, open: 0 });
  const open = sink.spans().filter((span) => span.attributes['error.type'] === 'shutdown');
  expect(open.map(({ name, status }) => `${name} ${status}`).sort()).toEqual([
    'execute_tool sessions_spawn 2',
    'invoke_agent main 2',
  ]);
});

test('a first signal drains up to the limit; the rest is reported as pending, with exit status 3', async () => {
  const sink = await startSink(() => 'hang');
  const program = startRun('stdin', sink, '--drain', '0.2');
  program.child.stdin.write(STORY_LINES);
  await sink.until(() => sink.of('traces').length > 0);
  program.signal('SIGINT');
  const ended = await program.ended;
  expectNoStack(ended);
  expect(ended.status).toBe(3);
  const summary: Summary = JSON.parse(ended.stdout);
  expectLaw(summary);
  expect(summary.destinations.otlp?.traces).toMatchObject({ delivered: 0, pending: STORY_SPANS });
});

test('a terminal that is closed makes it drain, however often it is told so', async () => {
  let is_up = false;
  const sink = await startSink(() => ({ status: is_up ? 200 : 503 }));
  const program = startRun('stdin', sink);
  program.child.stdin.write(STORY_LINES);
  await sink.until(() => sink.of('traces').length > 0);
  program.signal('SIGHUP');
  await program.untilLogged(/stopping/);
  program.signal('SIGHUP');
  is_up = true;
  const { status, stdout } = await program.ended;
  expect(status).toBe(0);
  expectLaw(JSON.parse(stdout));
  expectStory(sink);
});

test('a second signal ends it within a second, and the rest is reported as pending', async () => {
  const sink = await startSink(() => 'hang');
  const program = startRun('stdin', sink);
  program.child.stdin.write(STORY_LINES);
  await sink.until(() => sink.of('traces').length > 0);
  program.signal('SIGTERM');
  await program.untilLogged(/stopping/);
  const second_ms = performance.now();
  program.signal('SIGTERM');
  const ended = await program.ended;
  expect(performance.now() - second_ms).toBeLessThan(1_000);
  expect(ended.status).toBe(3);
  expectNoStack(ended);
  const summary: Summary = JSON.parse(ended.stdout);
  expectLaw(summary);
  // Spans that are emitted only at the end are not among them.
  expect(summary.destinations.otlp?.traces?.pending).toBeGreaterThan(0);
  expect(summary.destinations.otlp?.traces?.delivered).toBe(0);
});

test("a source that can't be opened: exit status 1, and the other sources clean up", async () => {
  const directory = temporaryDirectory();
  const path = join(directory, 'bridge.sock');
  const { status, stderr } = await runToEnd([
    'run',
    '--to',
    'console',
    ...['--from', `listen:unix:${path}`, '--from', `file:${directory}`],
  ]);
  expect(status).toBe(1);
  expect(stderr).toMatch(/can't read .*: it is a directory; give the path of an NDJSON file/);
  expect(existsSync(path)).toBe(false);
});

test('an address that is in use is named, with what to do', async () => {
  const server = await listenForBridge({ port: 0, host: '127.0.0.1' });
  const { port } = server.address() as AddressInfo;
  const { status, stderr } = await runToEnd([
    'run',
    '--to',
    'console',
    '--from',
    `listen:tcp:127.0.0.1:${port}`,
  ]);
  expect(status).toBe(1);
  expect(stderr).toContain(
    `listen:tcp:127.0.0.1:${port}: another process uses this address; use another address`,
  );
});
