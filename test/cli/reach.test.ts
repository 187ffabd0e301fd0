/**
 * How the program reaches a destination: tokens, proxies, redirects, and a backend that does not accept the first encoding.
 */
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { expect } from 'vitest';
import { startProxy } from '../export/proxy-server.js';
import { atEndOfFile, test } from './concurrent.js';
import {
  catalog_example,
  DEAD_URL,
  pathOf,
  runForSummary,
  runToEnd,
  start,
  temporaryDirectory,
  temporaryFile,
} from './program.js';
import { OK, type Sink, type SinkRequest, startSink } from './sink.js';
import { expectStory, STORY_LINES, STORY_LOGS, STORY_SPANS } from './story.js';

const SECRET = 'hunter2-hunter2';
const DELTA = { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: 'delta' };
const PROTOBUF = { ...DELTA, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' };
const REASONING = 'gen_ai.client.inference.usage.reasoning.output_tokens';
const INPUT = 'gen_ai.client.inference.usage.input_tokens';

const isProtobuf = ({ headers }: SinkRequest): boolean =>
  headers['content-type'] === 'application/x-protobuf';
/** Like a ClawMetry without its protobuf extra. */
const jsonOnly = (request: SinkRequest) =>
  isProtobuf(request) ? { status: 501, body: { error: 'no protobuf here' } } : OK;

const configFile = (settings: object): string =>
  temporaryFile('bridge.yaml', JSON.stringify({ to: [{ preset: 'otlp', ...settings }] }));

const untilTold = (sink: Sink): Promise<void> =>
  sink.until(() => sink.spans().length === STORY_SPANS && sink.logs().length === STORY_LOGS);

test('a backend that does not accept protobuf gets everything in JSON; the log says so once', async () => {
  const sink = await startSink(jsonOnly);
  const { status, stderr } = await runForSummary(['replay', catalog_example, '--to', `otlp=${sink.url}`], {
    env: PROTOBUF,
  });
  expect(status).toBe(0);
  expect(stderr.match(/does not accept protobuf/g)).toHaveLength(1);
  expect(stderr).toMatch(/WARN: otlp does not accept protobuf at .*HTTP 501: .*no protobuf here/);
  for (const signal of ['traces', 'metrics', 'logs'] as const)
    expect(sink.of(signal).filter(isProtobuf)).toHaveLength(1);
  expect(sink.spans()).toHaveLength(8);
  // 192 + 40 + 64.
  expect(sink.totalOf(REASONING)).toBe(296);
});

test('a backend that does not accept protobuf also gets stored data in JSON, and once, whatever was killed before', async () => {
  const directory = temporaryDirectory();
  const run = (url: string, ...more: string[]): string[] => [
    'run',
    '--from',
    'stdin',
    '--to',
    `otlp=${url}`,
    '--data-dir',
    directory,
    ...more,
  ];
  const first = await runForSummary(run(DEAD_URL, '--drain', '0'), { input: STORY_LINES, env: PROTOBUF });
  expect(first.summary.destinations.otlp?.metrics?.pending).toBeGreaterThan(0);
  // It refuses protobuf, and never answers the requests in JSON.
  const hanging = await startSink((request) => (isProtobuf(request) ? jsonOnly(request) : 'hang'));
  const killed = start(run(hanging.url), { env: PROTOBUF });
  await hanging.until(() => hanging.requests.filter((request) => !isProtobuf(request)).length === 3);
  killed.signal('SIGKILL');
  await killed.ended;
  const sink = await startSink(jsonOnly);
  const last = await runForSummary(run(sink.url), { env: PROTOBUF });
  expect(last.status).toBe(0);
  expectStory(sink, sink.totalOf);
  expect(sink.spans()).toHaveLength(STORY_SPANS);
  expect(sink.logs()).toHaveLength(STORY_LOGS);
  // What is sent again equals what was sent in vain.
  for (const signal of ['traces', 'metrics'] as const) {
    const [in_vain] = hanging.of(signal).filter((request) => !isProtobuf(request));
    const sent = sink.of(signal).filter(({ taken }) => taken);
    expect(sent.map(({ bytes }) => bytes.toString())).toContain(in_vain?.bytes.toString());
  }
});

test('a refused token: the log says which one to give, and then the refused data can be resent', async () => {
  const directory = temporaryDirectory();
  const sink = await startSink(({ headers }) =>
    headers.authorization === `Bearer ${SECRET}` ? OK : { status: 401, body: 'who are you?' },
  );
  const at = ['--data-dir', directory];
  const refused = await runForSummary(['run', '--from', 'stdin', '--to', `otlp=${sink.url}`, ...at], {
    input: STORY_LINES,
    env: PROTOBUF,
  });
  expect(refused.status).toBe(3);
  expect(refused.summary.destinations.otlp?.traces).toMatchObject({ rejected: { http_401: STORY_SPANS } });
  expect(refused.stderr.match(/denied access/g)).toHaveLength(1);
  expect(refused.stderr).toMatch(/set its token with "bearer: \{env: NAME\}".*with "dead-letters resend"/);
  const with_token = ['--config', configFile({ url: sink.url, bearer: { env: 'MY_TOKEN' } })];
  // In another encoding than the one that was refused.
  const resent = await runToEnd(['dead-letters', 'resend', ...with_token, ...at], {
    env: { MY_TOKEN: SECRET },
  });
  expect(resent).toMatchObject({ status: 0, stdout: expect.stringMatching(/dead letters? sent/) });
  expectStory(sink, sink.totalOf);
  expect(`${refused.stderr}${resent.stderr}${resent.stdout}`).not.toContain('hunter2');
});

test('the dead letter of a metrics request is shown as the collected metrics', async () => {
  const directory = temporaryDirectory();
  const refusing = await startSink(({ signal }) => (signal === 'metrics' ? { status: 400 } : OK));
  const at = ['--data-dir', directory];
  await runToEnd(['run', '--from', 'stdin', '--to', `otlp=${refusing.url}`, ...at], {
    input: STORY_LINES,
    env: PROTOBUF,
  });
  const [letter] = JSON.parse((await runToEnd(['dead-letters', 'list', '--json', ...at])).stdout);
  const { id, rejected, counts } = letter;
  expect(counts).toEqual([rejected]);
  const { content } = JSON.parse((await runToEnd(['dead-letters', 'show', id, ...at])).stdout);
  const metrics: { descriptor: { name: string } }[] = content.scopeMetrics[0].metrics;
  expect(metrics.map(({ descriptor }) => descriptor.name)).toContain(REASONING);
});

test('a token in a file is renewed while the bridge runs, and nothing is refused', async () => {
  const path = temporaryFile('token', 'first\n');
  let right = 'first';
  const sink = await startSink(({ headers }) =>
    headers.authorization === `Bearer ${right}` ? OK : { status: 401 },
  );
  const program = start([
    'run',
    '--from',
    'stdin',
    '--no-store',
    '--config',
    configFile({ url: sink.url, bearer: { file: path } }),
  ]);
  const [first, ...rest] = STORY_LINES.trimEnd().split('\n');
  program.child.stdin.write(`${first}\n`);
  await sink.until(() => sink.logs().length === 1);
  right = 'second';
  writeFileSync(`${path}.new`, right);
  renameSync(`${path}.new`, path);
  program.child.stdin.end(`${rest.join('\n')}\n`);
  await untilTold(sink);
  const { status, stderr } = await program.ended;
  expect(status).toBe(0);
  expect(stderr).not.toMatch(/ERROR|first|second/);
});

test.each([
  ['an unset variable', { env: 'NO_SUCH_TOKEN' }, 'the environment variable NO_SUCH_TOKEN is not set'],
  ['a missing file', { file: '/no/such/token' }, "can't read the file /no/such/token: it does not exist"],
])('a token in %s is a configuration error', async (_, bearer, expected) => {
  const { status, stderr } = await runToEnd(['replay', catalog_example, '--config', configFile({ bearer })]);
  expect(status).toBe(2);
  expect(stderr).toContain(expected);
});

test('a proxy from the environment is used, except for this machine and NO_PROXY', async () => {
  const sink = await startSink();
  const proxy = await startProxy(Number(new URL(sink.url).port));
  atEndOfFile(() => proxy.server.close());
  const env = { ...DELTA, http_proxy: proxy.url.replace('http://', `http://me:${SECRET}@`) };
  const args = [
    'replay',
    catalog_example,
    '--to',
    'otlp=http://backend.test:4318',
    '--to',
    `near:otlp=${sink.url}`,
  ];
  const { status, stderr } = await runForSummary(args, { env });
  expect(status).toBe(0);
  expect(sink.spans()).toHaveLength(16);
  expect(new Set(proxy.asked.map(({ target }) => target))).toEqual(
    new Set(['traces', 'metrics', 'logs'].map((signal) => `http://backend.test:4318/v1/${signal}`)),
  );
  expect(stderr).toContain(`otlp is reached through the proxy ${proxy.url} (http_proxy)`);
  expect(stderr).not.toMatch(/near is reached through|hunter2/);
  const directly = await runForSummary(
    ['replay', catalog_example, '--deadline', '0', '--to', 'otlp=http://backend.test:4318'],
    { env: { ...env, NO_PROXY: '.test' } },
  );
  expect(directly.stderr).not.toContain('through the proxy');
  expect(directly.status).toBe(3);
});

test('TLS through a proxy, with a private authority and a client certificate', async () => {
  const clients: string[] = [];
  const pem = (name: string) => pathOf(`test/export/tls/${name}`);
  const sink = await startSink();
  const proxy = await startProxy(await startTlsBefore(sink, (name) => clients.push(name)));
  atEndOfFile(() => proxy.server.close());
  const tls = { ca: pem('ca.pem'), cert: pem('client.pem'), key: pem('client.key') };
  const config = configFile({ url: 'https://backend.test', tls });
  const env = { ...DELTA, HTTPS_PROXY: proxy.url };
  const { status } = await runForSummary(['replay', catalog_example, '--config', config], { env });
  expect(status).toBe(0);
  expect(new Set(clients)).toEqual(new Set(['client']));
  expect(new Set(proxy.asked.map(({ method, target }) => `${method} ${target}`))).toEqual(
    new Set(['CONNECT backend.test:443']),
  );
  expect(sink.spans()).toHaveLength(8);
});

/** A TLS server that requests a certificate of the private authority and forwards to the sink. Returns its port. */
async function startTlsBefore(sink: Sink, onClient: (name: string) => void): Promise<number> {
  const pem = (name: string) => readFileSync(pathOf(`test/export/tls/${name}`));
  const server = createServer(
    { key: pem('backend.key'), cert: pem('backend.pem'), ca: pem('ca.pem'), requestCert: true },
    async (incoming, response) => {
      onClient(String((incoming.socket as TLSSocket).getPeerCertificate().subject?.CN));
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      const { 'content-type': type = '' } = incoming.headers;
      const answer = await fetch(`${sink.url}${incoming.url}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: Buffer.concat(chunks),
      });
      response.writeHead(answer.status).end(await answer.text());
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEndOfFile(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

test('a redirect is not followed; the log says where it points', async () => {
  const elsewhere = await startSink();
  const location = `${elsewhere.url.replace('//', `//me:${SECRET}@`)}/v1/traces?key=${SECRET}`;
  const sink = await startSink(({ signal }) =>
    signal === 'traces' ? { status: 308, headers: { location } } : OK,
  );
  const { status, stderr } = await runForSummary(['replay', catalog_example, '--to', `otlp=${sink.url}`]);
  expect(status).toBe(3);
  expect(elsewhere.requests).toEqual([]);
  expect(stderr).toContain(`http_308): HTTP 308: the redirect to ${elsewhere.url}/v1/traces is not followed`);
  expect(stderr).not.toContain('hunter2');
});

test('one destination gets the old names, beside another with the current ones', async () => {
  const [old, current] = await Promise.all([startSink(), startSink()]);
  const config = temporaryFile(
    'bridge.yaml',
    JSON.stringify({
      to: [
        { preset: 'otlp', name: 'old', url: old.url, profile: 'legacy' },
        { preset: 'otlp', name: 'current', url: current.url },
      ],
    }),
  );
  const { status } = await runForSummary(['replay', catalog_example, '--config', config], { env: DELTA });
  expect(status).toBe(0);
  expect(old.totalOf('gen_ai.client.token.usage')).toBe(
    current.totalOf(INPUT) + current.totalOf('gen_ai.client.inference.usage.output_tokens'),
  );
  expect(old.totalOf(REASONING)).toBe(296);
  expect(old.totalOf(INPUT)).toBe(0);
  const chat = old.spans().find(({ name }) => name === 'chat gpt-5-mini');
  expect(chat?.attributes).toMatchObject({ 'gen_ai.system': 'openai' });
  expect(chat?.attributes).not.toHaveProperty('gen_ai.provider.name');
});
