/** `run` and `tail` with a gateway: what a user sees, and what the backend receives. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fixture, readLines } from '../helpers.js';
import {
  type FakeGateway,
  refused,
  startFakeGateway,
  startListener,
} from '../source/gateway/fake-gateway.js';
import { expectLaw, expectNoStack, type Program, runToEnd, start, temporaryDirectory } from './program.js';
import { type Sink, type Span, startSink } from './sink.js';

const TOKEN = 'token-that-nobody-may-see';

/** Frames that a real gateway pushed. */
const recorded = readLines(fixture('rebuild/tools.ndjson'))
  .map((line) => JSON.parse(line).frame)
  .filter((frame) => frame.type === 'event');

/** Rows with reasoning tokens, as `sessions.get` returned them. */
const { sessions } = JSON.parse(readFileSync(fixture('rebuild/tools.answers.json'), 'utf8'));

const startGateway = (): Promise<FakeGateway> =>
  startFakeGateway({ replies: { 'sessions.get': { payload: { messages: sessions[0].rows } } } });

const environment = (gateway: string, data_dir = temporaryDirectory()): Record<string, string> => ({
  OPENCLAW_GATEWAY_URL: gateway,
  OPENCLAW_GATEWAY_TOKEN: TOKEN,
  OPENCLAW_STATE_DIR: join(data_dir, 'no-openclaw'),
  XDG_STATE_HOME: data_dir,
});

function pushAll({ connections }: FakeGateway, frames: typeof recorded): void {
  for (const { event, payload } of frames) connections.at(-1)?.push(event, payload);
}

const isRun = ({ name }: Span): boolean => name.startsWith('invoke_agent');

async function stopped(program: Program) {
  program.signal('SIGTERM');
  const ended = await program.ended;
  expectNoStack(ended);
  expect(JSON.stringify(ended)).not.toContain(TOKEN);
  return ended;
}

const essence = ({ trace_id, span_id, parent_span_id, name, start_ms, end_ms, status }: Span): object => ({
  trace_id,
  span_id,
  parent_span_id,
  name,
  start_ms,
  end_ms,
  status,
});

const byId = (spans: Span[]): object[] =>
  spans.map(essence).sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)));

/** Follows the gateway with `run` until the recorded run has been delivered. */
async function followed(gateway: FakeGateway): Promise<Sink> {
  const sink = await startSink();
  const program = start(['run', '--no-store', '--to', `otlp=${sink.url}`], { env: environment(gateway.url) });
  await program.untilLogged(/following the gateway/);
  pushAll(gateway, recorded);
  await sink.until(() => sink.spans().some(isRun));
  const { status } = await stopped(program);
  expect(status).toBe(0);
  return sink;
}

describe('run', () => {
  test('follows the gateway with only a token, and sends what a replay of the same recording sends', async () => {
    const gateway = await startGateway();
    const live = await followed(gateway);
    expect(gateway.calls[0]).toMatchObject({ method: 'connect', params: { auth: { token: TOKEN } } });
    const replayed = await startSink();
    await runToEnd(['replay', '--to', `otlp=${replayed.url}`, fixture('rebuild/tools.ndjson')]);
    expect(byId(live.spans())).toEqual(byId(replayed.spans()));
    const reasoning = live
      .spans()
      .map((span) => Number(span.attributes['gen_ai.usage.reasoning.output_tokens'] ?? 0));
    expect(reasoning.reduce((sum, each) => sum + each, 0)).toBe(12 + 5 + 9);
    expect(live.sumOf('gen_ai.client.inference.usage.reasoning.output_tokens')).toBe(12 + 5 + 9);
  });

  test('leaves open runs open, and the next start continues them', async () => {
    const gateway = await startGateway();
    const sink = await startSink();
    const data_dir = temporaryDirectory();
    const begin = () =>
      start(['run', '--to', `otlp=${sink.url}`, '--summary', '-'], {
        env: environment(gateway.url, data_dir),
      });
    const first = begin();
    await first.untilLogged(/following the gateway/);
    pushAll(gateway, recorded.slice(0, 40));
    await sink.until(() => sink.spans().length > 0);
    expect((await stopped(first)).status).toBe(0);
    expect(sink.spans().filter(isRun)).toEqual([]);
    const second = begin();
    await second.untilLogged(/backfilled a gap of .*bridge restarted/);
    pushAll(gateway, recorded.slice(40));
    await sink.until(() => sink.spans().some(isRun));
    const { stdout } = await stopped(second);
    expectLaw(JSON.parse(stdout));
    const ids = sink.spans().map(({ span_id }) => span_id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(new Set(sink.spans().map(({ trace_id }) => trace_id)).size).toBe(1);
  });

  test('asks a gateway that comes back on another port for what was missed', async () => {
    const data_dir = temporaryDirectory();
    const begin = ({ url }: FakeGateway) =>
      start(['run', '--to', 'console'], { env: environment(url, data_dir) });
    const gateway = await startGateway();
    const first = begin(gateway);
    await first.untilLogged(/following the gateway/);
    pushAll(gateway, recorded.slice(0, 40));
    await stopped(first);
    const moved = await startGateway();
    const second = begin(moved);
    await second.untilLogged(/backfilled a gap of .*bridge restarted/);
    expect(moved.calls.map(({ params }) => params.key)).toContain('agent:main:demo-tools');
    await stopped(second);
  });

  test.each([
    [
      'is unreachable',
      async () => 'ws://127.0.0.1:1',
      /ws:\/\/127\.0\.0\.1:1 can't be reached: connection refused/,
    ],
    [
      'refuses the token',
      async () =>
        (
          await startFakeGateway({
            replies: { connect: refused('INVALID_REQUEST', { code: 'AUTH_TOKEN_MISMATCH' }) },
          })
        ).url,
      /rejected the token; set OPENCLAW_GATEWAY_TOKEN/,
    ],
    [
      'hangs up',
      () => startListener((socket) => void socket.destroy()),
      /hangs up before it has answered|can't be reached/,
    ],
  ])('waits for a gateway that %s, says so once, and ends at the first signal', async (_, open, message) => {
    const program = start(['run', '--no-store', '--to', 'console'], { env: environment(await open()) });
    await program.untilLogged(message);
    const { status, stderr } = await stopped(program);
    expect(status).toBe(0);
    expect(stderr.match(/WARN/g)).toHaveLength(1);
  });
});

describe('tail', () => {
  async function tailed(args: string[], expected: number): Promise<string[]> {
    const gateway = await startGateway();
    const program = start(['tail', '--no-store', ...args], { env: environment(gateway.url) });
    await program.untilLogged(/following the gateway/);
    pushAll(gateway, recorded);
    const lines = (): string[] => program.said().stdout.split('\n').filter(Boolean);
    while (lines().length < expected) await once(program.child.stdout, 'data');
    expect((await stopped(program)).status).toBe(0);
    return lines();
  }

  test('prints events that give the same spans when piped into run', async () => {
    const sink = await startSink();
    const lines = await tailed([], 40);
    await runToEnd(['run', '--from', 'stdin', '--to', `otlp=${sink.url}`], {
      input: `${lines.join('\n')}\n`,
    });
    const live = await followed(await startGateway());
    expect(byId(sink.spans())).toEqual(byId(live.spans()));
  });

  test('prints no content unless asked to', async () => {
    const [plain, full] = [await tailed([], 40), await tailed(['--content'], 40)];
    expect(full.join()).toContain('hello-from-exec');
    expect(plain.join()).not.toContain('hello-from-exec');
  });

  test('prints only the requested types', async () => {
    const lines = await tailed(['--type', 'tool.call', '--type', 'tool.error'], 9);
    const types = new Set(lines.map((line) => JSON.parse(line).type));
    expect(types).toEqual(new Set(['tool.call', 'tool.error']));
  });

  test('prints the frames as received, for a replay', async () => {
    const lines = await tailed(['--raw', '--session', 'agent:main:demo-tools'], 30);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ rx: expect.any(Number), frame: { type: 'event' } });
  });

  test('lists the types if one is unknown', async () => {
    const { status, stderr } = await runToEnd(['tail', '--type', 'tool.cal']);
    expect(status).toBe(2);
    expect(stderr).toContain('use one of agent.started, ');
  });
});

test("an address in the environment that is no gateway's is an error that says what to give, and does not repeat it", async () => {
  const { status, stderr } = await runToEnd(['run'], {
    env: environment(`http://user:${TOKEN}@127.0.0.1:18789`),
  });
  expect(status).toBe(2);
  expect(stderr).toMatch(/OPENCLAW_GATEWAY_URL: .*use ws:\/\/HOST:PORT/);
  expect(stderr).not.toContain(TOKEN);
});

test('an address with a password is an error that says what to set instead, and does not repeat it', async () => {
  const { status, stderr } = await runToEnd(['run'], {
    env: environment(`ws://user:${TOKEN}@127.0.0.1:18789`),
  });
  expect(status).toBe(2);
  expect(stderr).toMatch(/OPENCLAW_GATEWAY_URL: .* set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD/);
  expect(stderr).not.toContain(TOKEN);
});
