/**
 * `run`, `tail` and `doctor` with log records that a sender exports over OTLP, and the same sender with a bridge that is
 * killed: it sends again whatever was not acknowledged.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import type { Encoding } from '../../src/source/otlp/answers.js';
import { bodies, ENCODINGS, encode, readTaken, send, TYPES } from '../source/otlp/requests.js';
import { test } from './concurrent.js';
import { expectNoStack, type Program, runToEnd, start, temporaryDirectory } from './program.js';
import { type Sink, startSink } from './sink.js';
import { expectStory, STORY, STORY_LINES, STORY_LOGS, STORY_SPANS } from './story.js';

const DELTA = { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta' };
const LINES = STORY_LINES.trimEnd().split('\n');

const untilTold = (sink: Sink): Promise<void> =>
  sink.until(() => sink.spans().length === STORY_SPANS && sink.logs().length === STORY_LOGS);

async function urlOf(program: Program): Promise<string> {
  await program.untilLogged(/accepts log records at/);
  return /accepts log records at (\S+)/.exec(program.said().stderr)?.[1] ?? '';
}

const post = (url: string, lines: unknown[], encoding: Encoding, is_packed = false) => {
  const body = encode(bodies(...lines), encoding);
  const headers = { 'content-type': TYPES[encoding], ...(is_packed ? { 'content-encoding': 'gzip' } : {}) };
  return send({ url, headers, body: is_packed ? gzipSync(body) : body });
};

test.each([
  ['JSON', 'json', LINES],
  ['protobuf, packed', 'protobuf', LINES],
  ['objects in place of lines', 'protobuf', STORY],
] as const)('log records are accepted as %s', async (_, encoding, lines) => {
  const sink = await startSink();
  const program = start(['run', '--from', 'otlp:0', '--to', `otlp=${sink.url}`, '--summary', '-']);
  const url = await urlOf(program);
  for (let at = 0; at < lines.length; at += 5) {
    const told = await post(url, lines.slice(at, at + 5), encoding, encoding === 'protobuf');
    expect(told.status).toBe(200);
    expect(readTaken(told)).toEqual({});
  }
  await untilTold(sink);
  program.signal('SIGTERM');
  const ended = await program.ended;
  expectNoStack(ended);
  expect(ended.status).toBe(0);
  expect(JSON.parse(ended.stdout).source).toEqual({ lines: 17, events: 17, ignored: {}, rejected: {} });
  expectStory(sink);
});

test('log records and another source each carry a part of the story', async () => {
  const sink = await startSink();
  const from = ['--from', 'otlp:0', '--from', 'listen:tcp:0'];
  const program = start(['run', ...from, '--to', `otlp=${sink.url}`, '--summary', '-']);
  const url = await urlOf(program);
  await program.untilLogged(/accepts connections/);
  const port = Number(/listen:tcp:127\.0\.0\.1:(\d+) accepts/.exec(program.said().stderr)?.[1]);
  expect((await post(url, LINES.slice(0, 9), 'json')).status).toBe(200);
  connect(port, '127.0.0.1').end(LINES.slice(9).join('\n'));
  await untilTold(sink);
  program.signal('SIGTERM');
  const { status, stdout } = await program.ended;
  expect(status).toBe(0);
  expect(JSON.parse(stdout).source).toEqual({ lines: 17, events: 17, ignored: {}, rejected: {} });
  expectStory(sink);
});

test('a bad line is reported to its sender by its place, and its content to nobody', async () => {
  const sink = await startSink();
  const program = start(['run', '--from', 'otlp:0', '--to', `otlp=${sink.url}`, '--no-store']);
  const url = await urlOf(program);
  for (const encoding of ENCODINGS) {
    const told = await post(url, ['{"output": hidden}', '{"type":"tool.call","input":"hidden"}'], encoding);
    expect(told.status).toBe(200);
    expect(told.body.toString()).toContain('logRecords[1]: ts: missing');
    expect(told.body.toString()).not.toContain('hidden');
  }
  await send({ url, headers: { 'content-type': TYPES.json }, body: Buffer.from('{"hidden":') });
  await program.untilLogged(/WARN: otlp:0 rejected a request \(400\): the body is not an .*: not JSON/);
  program.signal('SIGTERM');
  const { status, stderr } = await program.ended;
  expect(status).toBe(0);
  expect(stderr).toContain('WARN: otlp:0[]:2: ts: missing');
  expect(stderr).not.toContain('hidden');
});

test('tail prints the events, and acknowledges them', async () => {
  const program = start(['tail', '--from', 'otlp:0', '--type', 'tool.call']);
  const url = await urlOf(program);
  expect((await post(url, LINES, 'json')).status).toBe(200);
  program.signal('SIGTERM');
  const { status, stdout } = await program.ended;
  expect(status).toBe(0);
  const printed = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).type);
  expect(printed).toEqual(['tool.call', 'tool.call', 'tool.call']);
});

test('doctor reports whether the address can be listened on', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const checkOf = async (from: string) => {
    const { status, stdout } = await runToEnd(['doctor', '--json', '--to', 'console', '--from', from]);
    const { checks } = JSON.parse(stdout);
    return { status, ...checks.find(({ check }: { check: string }) => check === 'source') };
  };
  expect(await checkOf(`otlp:127.0.0.1:${port}`)).toEqual({
    status: 0,
    check: 'source',
    level: 'warning',
    found: `can't listen on otlp:127.0.0.1:${port} (--from): another process uses this address`,
    advice: 'unless that is a running bridge, stop that process or use another address',
  });
  await once(server.close(), 'close');
  expect(await checkOf(`otlp:127.0.0.1:${port}`)).toMatchObject({ status: 0, level: 'ok' });
  expect(await checkOf('otlp:192.0.2.1:4319')).toMatchObject({ status: 1, level: 'problem' });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await once(server.close(), 'close');
  return port;
}

const RETRY_MS = 20;

/** Sends until some process at the address accepts the lines, or until `hasGivenUp`. */
async function sendPatiently(url: string, lines: string[], hasGivenUp: () => boolean): Promise<boolean> {
  while (!hasGivenUp()) {
    const told = await post(url, lines, 'protobuf').catch(() => undefined);
    if (told?.status === 200) return true;
    await sleep(RETRY_MS);
  }
  return false;
}

/** The contents of a backend that removes exact copies: a repeated span or record must be identical to count once. */
function withoutCopies(sink: Sink): Sink {
  const unique = <T>(all: T[]): T[] => [...new Map(all.map((each) => [JSON.stringify(each), each])).values()];
  return { ...sink, spans: () => unique(sink.spans()), logs: () => unique(sink.logs()) };
}

test("killed between the journal and the response, the sender's repetition counts once", async () => {
  const sink = await startSink();
  const port = await freePort();
  const args = [
    ...['run', '--from', `otlp:127.0.0.1:${port}`, '--to', `otlp=${sink.url}`],
    ...['--data-dir', temporaryDirectory()],
  ];
  const url = `http://127.0.0.1:${port}/v1/logs`;
  // Without event ids and sequence numbers only the content identifies a repeated event.
  const lines = STORY.map((event) => JSON.stringify({ ...event, event_id: undefined, seq: undefined }));
  let program = start(args, { env: DELTA });
  for (let at = 0; at < lines.length; at += 6) {
    const part = lines.slice(at, at + 6);
    await urlOf(program);
    const count = sink.logs().length;
    let is_over = false;
    const sending = sendPatiently(url, part, () => is_over);
    // What was sent on has been written to the journal. The response is ignored: it may have been lost as well.
    await sink.until(() => sink.logs().length > count);
    program.signal('SIGKILL');
    await program.ended;
    is_over = true;
    await sending;
    program = start(args, { env: DELTA });
    expect(await sendPatiently(url, part, () => false)).toBe(true);
  }
  const told = withoutCopies(sink);
  await sink.until(() => told.spans().length >= STORY_SPANS && told.logs().length >= STORY_LOGS);
  program.signal('SIGTERM');
  expect((await program.ended).status).toBe(0);
  expectStory(told, sink.totalOnceOf);
});

test('killed at any moment, the bridge delivers each event once', async () => {
  const sink = await startSink();
  const port = await freePort();
  const args = [
    ...['run', '--from', `otlp:127.0.0.1:${port}`, '--to', `otlp=${sink.url}`],
    ...['--data-dir', temporaryDirectory()],
  ];
  const url = `http://127.0.0.1:${port}/v1/logs`;
  const lines = STORY.map((event) => JSON.stringify({ ...event, event_id: undefined, seq: undefined }));
  let program = start(args, { env: DELTA });
  let sent = 0;
  for (const wait_ms of [0, 4, 16]) {
    await urlOf(program);
    let is_killed = false;
    const sending = (async () => {
      while (!is_killed && sent < lines.length) {
        if (await sendPatiently(url, lines.slice(sent, sent + 1), () => is_killed)) sent += 1;
      }
    })();
    await sleep(wait_ms);
    program.signal('SIGKILL');
    await program.ended;
    is_killed = true;
    await sending;
    program = start(args, { env: DELTA });
  }
  for (; sent < lines.length; sent += 1) await sendPatiently(url, lines.slice(sent, sent + 1), () => false);
  const told = withoutCopies(sink);
  await sink.until(() => told.spans().length >= STORY_SPANS && told.logs().length >= STORY_LOGS);
  program.signal('SIGTERM');
  expect((await program.ended).status).toBe(0);
  expectStory(told, sink.totalOnceOf);
});
