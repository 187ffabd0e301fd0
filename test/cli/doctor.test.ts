/**
 * `doctor` for a working set-up and for everything that may be wrong: one line per check, advice, an exit status, and no
 * secret.
 */

import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import { checkDestinations } from '../../src/commands/doctor/destinations.js';
import { checkSources } from '../../src/commands/doctor/gateway.js';
import { checkNode } from '../../src/commands/doctor/installation.js';
import { resolveSettings } from '../../src/start/settings.js';
import { nameSources } from '../../src/start/sources.js';
import { putRecord } from '../../src/store/database.js';
import { openStore, updateShared } from '../../src/store/open.js';
import { startProxy } from '../export/proxy-server.js';
import {
  type FakeGateway,
  type GatewayScript,
  hello,
  refused,
  startFakeGateway,
  startListener,
} from '../source/gateway/fake-gateway.js';
import { atEndOfFile, test } from './concurrent.js';
import { type Ended, pathOf, runToEnd, start, temporaryDirectory, temporaryFile } from './program.js';
import { type Answer, OK, startSink } from './sink.js';

const SECRET = 'nobody-may-see-this';

const resolved = resolveSettings({});
if ('error' in resolved) throw new Error(resolved.error);
const defaults = resolved;

interface Check {
  check: string;
  level: 'ok' | 'warning' | 'problem';
  found: string;
  advice?: string;
}

interface Examined {
  status: number | null;
  ok: boolean;
  checks: Check[];
  /** The first check of this name. */
  of(name: string): Check | undefined;
}

const NO_OPENCLAW = '/nonexistent/openclaw';

function expectNoSecret({ stdout, stderr }: Ended): void {
  expect(`${stdout}${stderr}`).not.toContain(SECRET);
}

async function examine(args: string[], env: Record<string, string> = {}): Promise<Examined> {
  const places = { HOME: temporaryDirectory(), OPENCLAW_STATE_DIR: NO_OPENCLAW };
  const ended = await runToEnd(['doctor', '--json', ...args], { env: { ...places, ...env } });
  expectNoSecret(ended);
  expect(ended.stderr).toBe('');
  const { version, ok, checks } = JSON.parse(ended.stdout);
  expect(version).toBe(1);
  expect(ok).toBe(ended.status === 0);
  return {
    status: ended.status,
    ok,
    checks,
    of: (name) => checks.find((each: Check) => each.check === name),
  };
}

const WELL: GatewayScript = {
  replies: {
    connect: hello(),
    'sessions.list': { payload: { sessions: [{}, {}], count: 2, totalCount: 12 } },
  },
};

/** Examines a gateway, with its token in the environment and the terminal as the only destination. */
const examineGateway = (gateway: Pick<FakeGateway, 'url'>): Promise<Examined> =>
  examine(['--from', gateway.url, '--to', 'console'], { OPENCLAW_GATEWAY_TOKEN: SECRET });

const working = await startFakeGateway(WELL);

/** Examines destinations, with a gateway that works. */
const examineDestination = (to: string[], env: Record<string, string> = {}): Promise<Examined> =>
  examine(to, { OPENCLAW_GATEWAY_URL: working.url, ...env });

test('doctor reports a working set-up as ok', async () => {
  const sink = await startSink();
  const data_dir = join(temporaryDirectory(), 'data');
  const args = ['--from', working.url, '--to', `clawmetry=${sink.url}`, '--data-dir', data_dir];
  const { status, checks } = await examine(args, { OPENCLAW_GATEWAY_TOKEN: SECRET });
  expect(checks).toEqual([
    { check: 'node', level: 'ok', found: `Node.js ${process.versions.node}` },
    { check: 'configuration', level: 'ok', found: 'no file given; using options, environment and defaults' },
    { check: 'gateway address', level: 'ok', found: `${working.url} (--from)` },
    { check: 'gateway secret', level: 'ok', found: 'token from OPENCLAW_GATEWAY_TOKEN' },
    { check: 'gateway', level: 'ok', found: 'OpenClaw 2026.9.6, protocol 4' },
    { check: 'gateway access', level: 'ok', found: 'granted, with operator.read' },
    { check: 'gateway sessions', level: 'ok', found: '12 visible' },
    { check: 'gateway clock', level: 'ok', found: expect.stringMatching(/ this machine's$/) },
    {
      check: 'OpenClaw files',
      level: 'ok',
      found: `none in ${NO_OPENCLAW}: OpenClaw may run on another machine or as another user`,
    },
    {
      check: 'to clawmetry',
      level: 'ok',
      found: `${sink.url}, traces, metrics and logs: accepts JSON`,
    },
    { check: 'data directory', level: 'ok', found: `${data_dir} will be created at the first start` },
  ]);
  expect(status).toBe(0);
  expect(sink.of('logs').map(({ bytes }) => String(bytes))).toEqual(['{"resourceLogs":[]}']);
  expect(existsSync(data_dir)).toBe(false);
});

test('doctor prints for people: aligned, with the advice below each problem, and without colour in a pipe', async () => {
  const env = { HOME: temporaryDirectory(), OPENCLAW_STATE_DIR: NO_OPENCLAW };
  const ended = await runToEnd(['doctor', '--from', 'ws://127.0.0.1:1', '--to', 'console'], { env });
  expect(ended.status).toBe(1);
  expect(ended.stderr).toBe('');
  expect(ended.stdout.split('\n').slice(1)).toEqual([
    '✓ configuration    no file given; using options, environment and defaults',
    '✓ gateway address  ws://127.0.0.1:1 (--from)',
    `✓ gateway secret   none: not in the environment, the configuration file or ${NO_OPENCLAW}/openclaw.json`,
    "✗ gateway          can't be reached: connection refused",
    '                   → start it with: openclaw gateway',
    `✓ OpenClaw files   none in ${NO_OPENCLAW}: OpenClaw may run on another machine or as another user`,
    '✓ to console       prints to stdout',
    expect.stringMatching(/^✓ data directory {3}.* will be created at the first start$/),
    '',
    '1 problem, 0 warnings',
    '',
  ]);
});

test('doctor prints ASCII to a terminal without Unicode', async () => {
  const env = { HOME: temporaryDirectory(), OPENCLAW_STATE_DIR: NO_OPENCLAW, TERM: 'dumb' };
  const { stdout } = await runToEnd(['doctor', '--from', 'ws://127.0.0.1:1', '--to', 'console'], { env });
  expect(stdout).toMatch(/^\+ node /);
  expect(stdout).toMatch(/\nx gateway .*\n +-> start it/);
});

test('a gateway that refuses the token is reported with where to set it', async () => {
  const gateway = await startFakeGateway({
    replies: {
      connect: refused('INVALID_REQUEST', { code: 'AUTH_TOKEN_MISMATCH' }, { message: `no ${SECRET}` }),
    },
  });
  const { status, of } = await examineGateway(gateway);
  expect(status).toBe(1);
  expect(of('gateway')).toEqual({ check: 'gateway', level: 'ok', found: 'answers' });
  expect(of('gateway access')).toEqual({
    check: 'gateway access',
    level: 'problem',
    found: 'rejected the token',
    advice: "set OPENCLAW_GATEWAY_TOKEN to the gateway's token (gateway.auth.token in openclaw.json)",
  });
});

test('a gateway that requires pairing is reported with the command that approves it', async () => {
  const gateway = await startFakeGateway({
    replies: { connect: refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED', requestId: 'request-1' }) },
  });
  const { of } = await examineGateway(gateway);
  expect(of('gateway access')).toMatchObject({
    level: 'problem',
    advice: "run on the gateway's machine: openclaw devices approve request-1",
  });
});

test('a gateway that says nothing is reported within 15 s', async () => {
  const connected_ms: number[] = [];
  const url = await startListener(() => void connected_ms.push(performance.now()));
  const { status, of } = await examineGateway({ url });
  // Measured from the connection on, without the time that the program takes to start.
  expect(performance.now() - connected_ms[0]!).toBeLessThan(15_000);
  expect(status).toBe(1);
  expect(of('gateway')).toMatchObject({
    level: 'problem',
    found: 'did not complete the handshake within 10 s',
  });
});

test('a gateway that refuses to list sessions, or whose clock is wrong, is a warning', async () => {
  const gateway = await startFakeGateway({
    challenge: { nonce: 'n', ts: Date.now() - 60_000 },
    replies: {
      'sessions.list': { error: { code: 'FORBIDDEN', message: 'not you', details: {} } },
    },
  });
  const { status, of } = await examineGateway(gateway);
  expect(status).toBe(0);
  expect(of('gateway sessions')).toMatchObject({ level: 'warning', found: "can't list sessions: not you" });
  expect(of('gateway clock')).toMatchObject({
    level: 'warning',
    found: expect.stringMatching(/^1 m 0\d s behind this machine's$/),
  });
});

/** Checks a gateway in this process. */
async function checkHere({ url }: FakeGateway, env: Record<string, string> = {}) {
  const named = nameSources({ ...defaults, from: [url] }, '--from');
  const places = { XDG_STATE_HOME: temporaryDirectory(), OPENCLAW_STATE_DIR: NO_OPENCLAW };
  const checks = await checkSources(named, defaults, { ...places, ...env });
  return (name: string) => checks.find(({ check }) => check === name)?.found;
}

test.each<[object, string]>([
  [{ sessions: [{}, {}], count: 3 }, '3 visible'],
  [{ sessions: [{}, {}] }, '2 visible'],
  [{}, '0 visible'],
])('the number of sessions in %j is: %s', async (payload, found) => {
  const of = await checkHere(await startFakeGateway({ replies: { 'sessions.list': { payload } } }));
  expect(of('gateway sessions')).toBe(found);
});

test("a gateway's clock that is ahead, both secrets, and the device token that it has issued", async () => {
  const gateway = await startFakeGateway({
    challenge: { nonce: 'n', ts: Date.now() + 3_600_000 },
    replies: {
      connect: ({ params }) =>
        params.device === undefined
          ? refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED', requestId: 'request-1' })
          : hello({ device_token: SECRET }),
    },
  });
  const env = { XDG_STATE_HOME: temporaryDirectory() };
  const both = { OPENCLAW_GATEWAY_TOKEN: SECRET, OPENCLAW_GATEWAY_PASSWORD: SECRET };
  const first = await checkHere(gateway, { ...env, ...both });
  expect(first('gateway clock')).toMatch(/^(1 h 00|59) m .*ahead of this machine's$/);
  expect(first('gateway secret')).toBe('token and password from OPENCLAW_GATEWAY_TOKEN');
  const second = await checkHere(gateway, env);
  expect(second('gateway secret')).toBe("this bridge's device token");
});

test('the token is not shown if the gateway repeats it while refusing to list sessions', async () => {
  const message = `not for token ${SECRET} \u001b[2J`;
  const gateway = await startFakeGateway({
    replies: { 'sessions.list': { error: { code: 'UNAVAILABLE', message, details: {} } } },
  });
  const { of } = await examineGateway(gateway);
  expect(of('gateway sessions')).toMatchObject({ found: "can't list sessions: not for token …  [2J" });
});

test('several sources: gateways are examined, others only named', async () => {
  const args = [
    '--from',
    working.url,
    '--from',
    'tcp:127.0.0.1:7000',
    '--from',
    'kafka:x',
    '--to',
    'console',
  ];
  const { status, checks } = await examine(args);
  expect(status).toBe(1);
  expect(checks.filter(({ check }) => check === 'source').map(({ level, found }) => [level, found])).toEqual([
    ['ok', 'tcp:127.0.0.1:7000 (--from) is not checked: only gateways and otlp sources are'],
    ['problem', expect.stringMatching(/^--from: unknown source "kafka"/)],
  ]);
});

test.each(['stdin', '127.0.0.1:18789'])(
  'an invalid address of a gateway is a problem, and an error of run: %s',
  async (OPENCLAW_GATEWAY_URL) => {
    const found = 'OPENCLAW_GATEWAY_URL: not a gateway address; use ws://HOST:PORT or wss://HOST:PORT';
    const { status, of } = await examine(['--to', 'console'], { OPENCLAW_GATEWAY_URL });
    expect(status).toBe(1);
    expect(of('source')).toMatchObject({ level: 'problem', found });
    const run = await runToEnd(['run', '--to', 'console'], { env: { OPENCLAW_GATEWAY_URL } });
    expect(run).toMatchObject({ status: 2, stderr: expect.stringContaining(found) });
  },
);

test('invalid sources in a configuration file are problems of the file', async () => {
  const path = temporaryFile('bridge.yaml', 'from: [stdin, nope, stdin]');
  const { status, checks } = await examine(['--config', path, '--to', 'console']);
  expect(status).toBe(1);
  const advice =
    'correct it, or give --from instead; run and tail do not start until then, and the checks below ignore it';
  expect(checks.filter(({ check }) => check === 'configuration')).toMatchObject([
    {
      level: 'problem',
      found: expect.stringMatching(/^the configuration file: from: unknown source "nope"/),
      advice,
    },
    { level: 'problem', found: 'the configuration file: from: stdin is given twice; remove one', advice },
  ]);
  expect(checks.filter(({ check }) => check === 'source').map(({ level }) => level)).toEqual(['ok']);
});

test('the secret of openclaw.json is used; a reference to an unset variable is a warning', async () => {
  const state = temporaryDirectory();
  const path = join(state, 'openclaw.json');
  const args = ['--from', working.url, '--to', 'console'];
  writeFileSync(path, `{ gateway: { auth: { token: '${SECRET}' } } }`);
  const plain = await examine(args, { OPENCLAW_STATE_DIR: state });
  expect(plain.of('gateway secret')).toMatchObject({ level: 'ok', found: `token from ${path}` });
  writeFileSync(path, `{ gateway: { auth: { token: '\${MY_TOKEN}' } } }`);
  const referred = await examine(args, { OPENCLAW_STATE_DIR: state });
  expect(referred.of('gateway secret')).toMatchObject({
    level: 'warning',
    found: `gateway.auth.token in ${path} refers to the environment variable MY_TOKEN, which is not set; set it`,
  });
});

test('transcripts are counted if OpenClaw writes them', async () => {
  const state = temporaryDirectory();
  const sessions = join(state, 'agents', 'main', 'sessions');
  mkdirSync(join(state, 'agents', 'main', 'agent'), { recursive: true });
  const args = ['--from', working.url, '--to', 'console'];
  const none = await examine(args, { OPENCLAW_STATE_DIR: state });
  expect(none.of('OpenClaw files')).toMatchObject({
    level: 'ok',
    found: `no transcripts in ${join(state, 'agents')}: OpenClaw 2026.9 writes none; its gateway reports everything`,
  });
  mkdirSync(sessions);
  for (const name of ['a.jsonl', 'b.jsonl', 'sessions.json']) writeFileSync(join(sessions, name), '');
  const some = await examine(args, { OPENCLAW_STATE_DIR: state });
  expect(some.of('OpenClaw files')).toMatchObject({ found: `2 transcripts in ${join(state, 'agents')}` });
});

const destination = (check: Check | undefined): unknown[] => [check?.level, check?.found, check?.advice];

test('a destination that is unreachable is a problem', async () => {
  const { status, of } = await examineDestination(['--to', 'collector=http://127.0.0.1:1']);
  expect(status).toBe(1);
  expect(destination(of('to collector'))).toEqual([
    'problem',
    'http://127.0.0.1:1, traces, metrics and logs: connection refused',
    'start the backend, or check the address',
  ]);
});

test('a destination that only accepts traces is a warning', async () => {
  const sink = await startSink(({ signal }) => ({ status: signal === 'traces' ? 200 : 404 }));
  const { status, checks } = await examineDestination([
    '--to',
    `otlp=${sink.url}`,
    '--to',
    `jaeger=${sink.url}`,
  ]);
  expect(status).toBe(0);
  expect(checks.filter(({ check }) => check.startsWith('to ')).map(destination)).toEqual([
    ['ok', `${sink.url}, traces: accepts JSON`, undefined],
    [
      'warning',
      `${sink.url}, metrics and logs: no OTLP endpoint there (HTTP 404)`,
      'check the URL; or stop sending it with "signals" in the configuration file',
    ],
    [
      'ok',
      `${sink.url}, traces: accepts JSON; metrics and logs are not sent, since Jaeger does not accept them`,
      undefined,
    ],
  ]);
});

test.each<[string, Answer, string]>([
  [
    'has it',
    { status: 200, body: { protobuf: true } },
    '; its [otel] extra is installed, so it accepts protobuf too',
  ],
  [
    'lacks it',
    { status: 200, body: { protobuf: false } },
    '; its [otel] extra is not installed, but the bridge does not need it',
  ],
  ['says nothing', 'hang', ''],
])("ClawMetry's extra for protobuf: a ClawMetry that %s", async (_, said, note) => {
  const { url } = await startSink(({ path }) => (path === '/api/otel-status' ? said : OK));
  const checks = await checkDestinations({ ...defaults, to: [`clawmetry=${url}`] });
  expect(checks).toEqual([
    { check: 'to clawmetry', level: 'ok', found: `${url}, traces, metrics and logs: accepts JSON${note}` },
  ]);
});

test('a destination that requires a token, and one that refuses it', async () => {
  const sink = await startSink(({ headers }) => ({
    status: headers.authorization === undefined ? 401 : 403,
    body: `not ${headers.authorization}`,
  }));
  const after = '; then run `dead-letters resend` to send what it rejected so far';
  const without = await examineDestination(['--to', `otlp=${sink.url}`]);
  expect(without.status).toBe(1);
  expect(destination(without.of('to otlp'))).toEqual([
    'problem',
    `${sink.url}, traces, metrics and logs: denies access (HTTP 401)`,
    `set its token with "bearer: {env: NAME}" (or {file: PATH}) for destination otlp in the configuration file, or authorization=Bearer%20… in OTEL_EXPORTER_OTLP_HEADERS${after}`,
  ]);
  const wrong = await examineDestination(['--to', `otlp=${sink.url}`], {
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${SECRET}`,
  });
  expect(wrong.of('to otlp')?.advice).toBe(
    `it refused the headers that it was sent (authorization); set a token that it accepts in OTEL_EXPORTER_OTLP_HEADERS${after}`,
  );
  const clawmetry = await examineDestination(['--to', `clawmetry=${sink.url}`]);
  expect(clawmetry.of('to clawmetry')?.advice).toBe(
    `set the token of its OpenClaw gateway with "bearer: {env: OPENCLAW_GATEWAY_TOKEN}" (or {file: PATH}) for destination clawmetry in the configuration file${after}`,
  );
});

test('a destination that refuses a token from a file: the advice names the file, not the token', async () => {
  const sink = await startSink(({ headers }) => ({ status: 401, body: `not ${headers.authorization}` }));
  const token = temporaryFile('token', SECRET);
  const to = [{ preset: 'clawmetry', url: sink.url, bearer: { file: token } }];
  const path = temporaryFile('bridge.yaml', JSON.stringify({ to }));
  const { of } = await examineDestination(['--config', path]);
  expect(of('to clawmetry')?.advice).toContain(
    `it refused the token in the file ${token}; replace it with the token of its OpenClaw gateway`,
  );
});

test("a destination's response is shown shortened and without secrets", async () => {
  const sink = await startSink(({ headers }) => ({
    status: 400,
    body: `bad ${headers['x-key']} ${'x'.repeat(999)}`,
  }));
  const { of } = await examineDestination(['--to', `otlp=${sink.url}`], {
    OTEL_EXPORTER_OTLP_HEADERS: `x-key=${SECRET}`,
  });
  const { level, found = '' } = of('to otlp') ?? {};
  expect(level).toBe('problem');
  expect(found).toContain('HTTP 400: bad … xxx');
  expect(found.length).toBeLessThan(400);
});

test('a destination that does not accept the encoding', async () => {
  const sink = await startSink(() => ({ status: 415 }));
  const { of } = await examineDestination(['--to', `otlp=${sink.url}`], {
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
  });
  expect(sink.of('traces')[0]?.bytes).toHaveLength(0);
  expect(destination(of('to otlp'))).toEqual([
    'problem',
    `${sink.url}, traces, metrics and logs: does not accept protobuf (HTTP 415)`,
    'set OTEL_EXPORTER_OTLP_PROTOCOL=http/json, or "encoding: json" for this destination in the configuration file',
  ]);
});

test('a destination that only accepts JSON is ok, since the bridge switches by itself', async () => {
  const sink = await startSink(({ headers }) => ({
    status: headers['content-type'] === 'application/json' ? 200 : 501,
  }));
  const { status, of } = await examineDestination(['--to', `otlp=${sink.url}`], {
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
  });
  expect(status).toBe(0);
  expect(destination(of('to otlp'))).toEqual([
    'ok',
    `${sink.url}, traces, metrics and logs: accepts JSON; protobuf is not supported`,
    undefined,
  ]);
});

test('a destination that redirects is reported with the target', async () => {
  const sink = await startSink(({ path }) => ({
    status: 308,
    headers: { location: `https://backend.test${path}?key=${SECRET}` },
  }));
  const { status, of } = await examineDestination(['--to', `jaeger=${sink.url}`]);
  expect(status).toBe(1);
  expect(destination(of('to jaeger'))).toEqual([
    'problem',
    `${sink.url}, traces: redirects to https://backend.test/v1/traces (HTTP 308); redirects are not followed`,
    'if that is the backend, use that URL, without /v1/…',
  ]);
});

test('a destination behind a proxy that lets it through, that requires credentials, and that is unreachable', async () => {
  const sink = await startSink();
  const port = Number(new URL(sink.url).port);
  const proxies = await Promise.all([startProxy(port), startProxy(port, 'Basic other')]);
  const [open, closed] = proxies;
  for (const { server } of proxies) atEndOfFile(() => server.close());
  const through = async (proxy: string, url: string) => {
    const env = { http_proxy: proxy, https_proxy: proxy };
    return destination((await examineDestination(['--to', `jaeger=${url}`], env)).of('to jaeger'));
  };
  const url = 'http://backend.test';
  expect(await through(open.url, url)).toEqual([
    'ok',
    `${url}, traces: accepts JSON, through the proxy ${open.url} (http_proxy); metrics and logs are not sent, since Jaeger does not accept them`,
    undefined,
  ]);
  expect(await through(closed.url.replace('//', `//me:${SECRET}@`), 'https://backend.test')).toEqual([
    'problem',
    `https://backend.test, traces: the proxy requires a user name and password, through the proxy ${closed.url} (https_proxy)`,
    'add them to the proxy URL in that variable',
  ]);
  expect(await through('http://127.0.0.1:1', url)).toEqual([
    'problem',
    `${url}, traces: connection refused, through the proxy http://127.0.0.1:1 (http_proxy)`,
    'start the backend, or check the address',
  ]);
});

test('a server that is no OTLP backend is a problem', async () => {
  const page = await startSink(() => ({ status: 200, body: '<!doctype html>' }));
  const other = await startSink(() => ({ status: 404 }));
  const { status, of } = await examineDestination([
    '--to',
    `a:otlp=${page.url}`,
    '--to',
    `b:otlp=${other.url}`,
  ]);
  expect(status).toBe(1);
  expect(of('to a')).toMatchObject({
    level: 'problem',
    found: expect.stringContaining('answers with a web page, so it is not an OTLP backend'),
  });
  expect(of('to b')).toMatchObject({ level: 'problem', advice: 'check the URL' });
});

test('a busy destination is a warning, one that never answers a problem', async () => {
  const busy = await startSink(() => ({ status: 503 }));
  const mute = await startSink(() => 'hang');
  const { of } = await examineDestination(['--to', `a:otlp=${busy.url}`, '--to', `b:otlp=${mute.url}`]);
  expect(of('to a')).toMatchObject({ level: 'warning', found: expect.stringMatching(/HTTP 503$/) });
  expect(of('to b')).toMatchObject({
    level: 'problem',
    found: expect.stringMatching(/no answer within 5000 ms$/),
  });
});

test('TLS: an untrusted certificate, a trusted one, and a server without TLS', async () => {
  const pem = (name: string): Buffer => readFileSync(pathOf(`test/export/tls/${name}`));
  const server = createServer({ key: pem('server.key'), cert: pem('server.pem') }, (_, response) => {
    response.writeHead(200).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEndOfFile(() => server.close());
  const { port } = server.address() as AddressInfo;
  const to = ['--to', `otlp=https://localhost:${port}`];
  const untrusted = await examineDestination(to);
  expect(untrusted.of('to otlp')).toMatchObject({
    level: 'problem',
    found: expect.stringContaining('TLS: its certificate is not signed by a trusted authority'),
    advice: expect.stringContaining('OTEL_EXPORTER_OTLP_CERTIFICATE'),
  });
  const ca = pathOf('test/export/tls/server.pem');
  const trusted = await examineDestination(to, { OTEL_EXPORTER_OTLP_CERTIFICATE: ca });
  expect(trusted.of('to otlp')).toMatchObject({ level: 'ok' });
  const sink = await startSink();
  const none = await examineDestination(['--to', `otlp=${sink.url.replace('http:', 'https:')}`]);
  expect(none.of('to otlp')).toMatchObject({
    level: 'problem',
    found: expect.stringContaining('the server does not speak TLS'),
    advice: 'use http:// in its URL',
  });
});

test.each<[string, string[], string]>([
  ['invalid', [`otlp=http://user:${SECRET}@localhost`], 'contains credentials'],
  ['given twice', ['console', '--to', 'b:console'], 'console is given twice; remove one'],
])('a destination that is %s is a problem', async (_, to, found) => {
  const { status, of } = await examineDestination(['--to', ...to]);
  expect(status).toBe(1);
  expect(of('destinations')).toMatchObject({ level: 'problem', found: expect.stringContaining(found) });
});

test('an unusable resource attribute is a warning', async () => {
  const env = { OTEL_RESOURCE_ATTRIBUTES: `team=blue,${SECRET}` };
  const { status, of } = await examineDestination(['--to', 'console'], env);
  expect(of('resource')).toMatchObject({
    level: 'warning',
    found: expect.stringContaining('OTEL_RESOURCE_ATTRIBUTES: '),
  });
  expect(status).toBe(0);
});

test('a configuration file: each error is reported, and the other checks continue with the rest', async () => {
  const sink = await startSink();
  const content = `spede: 5\nlimits: { memory: 1 }\ngateway: { url: "${working.url}", token: ${SECRET} }\nto: ["clawmetry=${sink.url}"]\n`;
  const path = temporaryFile('bridge.yaml', content);
  const { status, checks, of } = await examine(['--config', path]);
  expect(status).toBe(1);
  expect(checks.filter(({ check }) => check === 'configuration').map(({ found }) => found)).toEqual([
    `${path}: limits: unknown key "memory" (known: memory_mb, store_mb, line_bytes, content_bytes)`,
    expect.stringContaining(`${path}: top level: unknown key "spede" (known: from, to,`),
  ]);
  expect(of('gateway address')?.found).toBe(`${working.url} (the configuration file)`);
  expect(of('gateway secret')?.found).toBe('token from the configuration file');
  expect(of('gateway')?.level).toBe('ok');
  expect(of('to clawmetry')?.level).toBe('ok');
});

test.each<[string, string, string]>([
  ['that is valid', 'drain: 5', 'is valid'],
  ['that is not YAML', 'to: [console', 'not valid YAML'],
  ['with an invalid destination', 'to: [kafka]', 'to: "kafka" is not a preset'],
])('the finding for a configuration file %s', async (_, content, found) => {
  const path = temporaryFile('bridge.yaml', content);
  const { of } = await examine(['--config', path, '--from', working.url, '--to', 'console']);
  expect(of('configuration')?.found).toContain(found);
  expect(of('gateway')?.level).toBe('ok');
});

test('a missing configuration file is a problem', async () => {
  const { status, of } = await examine([
    '--config',
    '/nonexistent.yaml',
    '--from',
    working.url,
    '--to',
    'console',
  ]);
  expect(status).toBe(1);
  expect(of('configuration')).toMatchObject({
    level: 'problem',
    found:
      "can't read the configuration file /nonexistent.yaml: it does not exist; check the path, and that this user can read it",
  });
});

test('the data directory: readable by others, a file in its place, and none', async () => {
  const open = join(temporaryDirectory(), "the bridge's");
  mkdirSync(open);
  chmodSync(open, 0o755);
  const args = ['--from', working.url, '--to', 'console'];
  const readable = await examine([...args, '--data-dir', open]);
  expect(readable.status).toBe(0);
  expect(destination(readable.of('data directory'))).toEqual([
    'warning',
    `${open} can be read or changed by other users (mode 755)`,
    `run: chmod 700 '${open.replace("'", "'\\''")}'`,
  ]);
  const file = temporaryFile('file');
  const taken = await examine([...args, '--data-dir', file]);
  expect(taken.status).toBe(1);
  expect(taken.of('data directory')).toMatchObject({ level: 'problem', found: `${file} is not a directory` });
  const below = await examine([...args, '--data-dir', join(file, 'data')]);
  expect(below.of('data directory')).toMatchObject({ level: 'problem' });
  const path = temporaryFile('bridge.yaml', 'no_store: true');
  const none = await examine([...args, '--config', path]);
  expect(none.of('data directory')).toMatchObject({
    level: 'ok',
    found: 'not used: no_store is set, so nothing is kept between starts',
  });
});

test('the store: in use, damaged, of a newer format; examining it changes nothing', async () => {
  const data_dir = temporaryDirectory();
  const args = ['--from', working.url, '--to', 'console', '--data-dir', data_dir];
  const findings = async () => {
    const { checks } = await examine(args);
    return checks.filter(({ check }) => check === 'data directory').slice(1);
  };
  const opened = openStore(data_dir, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  expect(await findings()).toMatchObject([
    { level: 'ok', found: `${data_dir} is in use by a running bridge (process ${process.pid})` },
  ]);
  await opened.store.write([{ key: 'journal/1', value: Buffer.alloc(10_000, 1) }]);
  await opened.store.close();
  expect(await findings()).toEqual([]);

  const path = join(data_dir, 'data.mdb');
  const sound = readFileSync(path);
  const damaged = Buffer.from(sound);
  damaged.write('x', damaged.indexOf(Buffer.alloc(100, 1)) + 50);
  writeFileSync(path, damaged);
  const before = readdirSync(data_dir);
  expect(await findings()).toMatchObject([
    { level: 'warning', found: expect.stringMatching(/data\.mdb is damaged: .*1 unreadable \(journal\)$/) },
  ]);
  expect(readdirSync(data_dir)).toEqual(before);
  expect(readFileSync(path).equals(damaged)).toBe(true);

  writeFileSync(path, sound);
  updateShared(data_dir, (db) => putRecord(db, 'format', Buffer.from('9')));
  expect(await findings()).toMatchObject([{ level: 'problem', found: expect.stringContaining('format 9') }]);
});

test.each([
  ['20.18.9', 'problem'],
  ['20.19.0', 'ok'],
  ['20.20.0', 'ok'],
  ['18.20.0', 'problem'],
  ['24.0.0', 'ok'],
])('Node.js %s: %s', (version, level) => {
  expect(checkNode(version).level).toBe(level);
});

test('an unknown option is a usage error', async () => {
  const { status, stdout } = await start(['doctor', '--strict']).ended;
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
});
