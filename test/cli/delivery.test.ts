/**
 * What happens to telemetry for every kind of response of a backend, and what a request contains: its encoding, its
 * resource and its headers. Headers are secret and must not appear anywhere else.
 */
import { gunzipSync } from 'node:zlib';
import { expect } from 'vitest';
import { test } from './concurrent.js';
import { type Ended, runForSummary, runToEnd, temporaryFile } from './program.js';
import { type Answer, inTurn, OK, type Sink, startSink } from './sink.js';
import { expectStory, STORY_LINES, STORY_LOGS, STORY_SPANS } from './story.js';

const replayStory = (sink: Sink, env: Record<string, string> = {}, ...more: string[]) =>
  runForSummary(['replay', temporaryFile('story.ndjson', STORY_LINES), '--to', `otlp=${sink.url}`, ...more], {
    env,
  });

const ALL_DELIVERED = {
  produced: STORY_SPANS,
  delivered: STORY_SPANS,
  pending: 0,
  rejected: {},
  dropped: {},
};

test.each<[string, Answer[]]>([
  ['503, 502 and 504', [{ status: 503 }, { status: 502 }, { status: 504 }]],
  ['a connection that is reset', ['reset', 'reset']],
  ['429 without a Retry-After', [{ status: 429 }]],
])('%s: the request is retried until it is accepted, and nothing arrives twice', async (_, answers) => {
  const sink = await startSink(inTurn('traces', ...answers));
  const { status, stderr, summary } = await replayStory(sink);
  expect(status).toBe(0);
  expect(summary.destinations.otlp?.traces).toEqual(ALL_DELIVERED);
  expect(sink.of('traces').length).toBeGreaterThan(answers.length);
  expectStory(sink);
  expect(stderr).toMatch(
    /WARN: otlp does not accept data at .*: data is kept in memory, up to 256 MB, and retried until it is accepted/,
  );
  expect(stderr).toMatch(/INFO: otlp accepts data again/);
});

test('a Retry-After is honoured, and only by its signal', async () => {
  const sink = await startSink(inTurn('traces', { status: 429, headers: { 'retry-after': '1' } }));
  const { status } = await replayStory(sink);
  expect(status).toBe(0);
  const [refused, taken] = sink.of('traces').map(({ received_ms }) => received_ms);
  expect((taken ?? 0) - (refused ?? 0)).toBeGreaterThanOrEqual(1_000);
  const waiting = sink.of('logs').filter(({ received_ms }) => received_ms < (taken ?? 0));
  expect(waiting.length).toBeGreaterThan(0);
  expectStory(sink);
});

test('in the last metrics, only the metrics themselves are pending', async () => {
  const sink = await startSink();
  await replayStory(sink);
  const last = sink.of('metrics').at(-1);
  const { resourceMetrics } = JSON.parse(String(last?.bytes));
  const pending = resourceMetrics[0].scopeMetrics[0].metrics.find(
    ({ name }: { name: string }) => name === 'openclaw_otel_bridge.pending',
  );
  const points = (pending.sum ?? pending.gauge).dataPoints;
  const told = points.map(({ attributes, asInt, asDouble }: Record<string, unknown>) => [
    (attributes as { key: string; value: { stringValue: string } }[]).find(({ key }) => key === 'signal')
      ?.value.stringValue,
    Number(asInt ?? asDouble),
  ]);
  expect(Object.fromEntries(told)).toMatchObject({ traces: 0, logs: 0 });
});

test('404: the log says where it was sent, and to check the URL', async () => {
  const sink = await startSink(() => ({ status: 404, body: 'page not found' }));
  const { status, stderr } = await replayStory(sink);
  expect(status).toBe(3);
  expect(stderr).toContain(`HTTP 404: page not found; check the URL ${sink.url}/v1/logs`);
});

test.each([400, 500])('%i is final: rejected under its reason, exit status 3', async (code) => {
  const sink = await startSink(
    inTurn('logs', ...Array<Answer>(STORY_LOGS).fill({ status: code, body: 'not that' })),
  );
  const { status, stderr, summary } = await replayStory(sink);
  expect(status).toBe(3);
  expect(summary.destinations.otlp?.logs).toMatchObject({
    delivered: 0,
    pending: 0,
    rejected: { [`http_${code}`]: STORY_LOGS },
  });
  expect(summary.destinations.otlp?.traces).toEqual(ALL_DELIVERED);
  expect(stderr).toMatch(
    new RegExp(
      `ERROR: otlp: \\d+ log records? rejected permanently \\(http_${code}\\): HTTP ${code}: not that`,
    ),
  );
});

test('413 splits a batch until it fits; an item that does not fit alone is rejected', async () => {
  const isTooMuch = (bytes: Buffer): boolean => {
    const spans = bytes.toString().match(/"spanId":/g)?.length ?? 0;
    return spans > 2 || bytes.includes('execute_tool read');
  };
  const sink = await startSink(({ signal, bytes }) =>
    signal === 'traces' && isTooMuch(bytes) ? { status: 413 } : OK,
  );
  const { status, summary } = await replayStory(sink);
  expect(status).toBe(3);
  expect(summary.destinations.otlp?.traces).toEqual({
    ...ALL_DELIVERED,
    delivered: STORY_SPANS - 1,
    rejected: { http_413: 1 },
  });
  expect(sink.spans()).toHaveLength(STORY_SPANS - 1);
});

test('a partial success is final: what was not accepted is rejected', async () => {
  const partialSuccess = { rejectedSpans: '1', errorMessage: 'one is too old' };
  const sink = await startSink(inTurn('traces', { status: 200, body: { partialSuccess } }));
  const { status, stderr, summary } = await replayStory(sink);
  expect(status).toBe(3);
  expect(summary.destinations.otlp?.traces).toEqual({
    ...ALL_DELIVERED,
    delivered: STORY_SPANS - 1,
    rejected: { partial_success: 1 },
  });
  expect(stderr).toContain('(partial_success): one is too old');
});

test('a request that hangs times out and is sent again', async () => {
  const sink = await startSink(inTurn('traces', 'hang'));
  const { status, stderr, summary } = await replayStory(sink, { OTEL_EXPORTER_OTLP_TIMEOUT: '300' });
  expect(status).toBe(0);
  expect(summary.destinations.otlp?.traces).toEqual(ALL_DELIVERED);
  expect(stderr).not.toContain('ERROR');
  expectStory(sink);
});

test('protobuf is the default encoding', async () => {
  const sink = await startSink(() => ({
    status: 200,
    headers: { 'content-type': 'application/x-protobuf' },
    body: '',
  }));
  const { status } = await replayStory(sink, { OTEL_EXPORTER_OTLP_PROTOCOL: '' });
  expect(status).toBe(0);
  expect(new Set(sink.requests.map(({ path }) => path))).toEqual(
    new Set(['/v1/traces', '/v1/metrics', '/v1/logs']),
  );
  for (const { headers, bytes } of sink.requests) {
    expect(headers['content-type']).toBe('application/x-protobuf');
    // Field 1, length-delimited: the resource's spans, metrics or logs.
    expect(bytes[0]).toBe(0x0a);
  }
});

test('requests are compressed as the environment says', async () => {
  const sink = await startSink();
  expect((await replayStory(sink, { OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' })).status).toBe(0);
  for (const request of sink.requests) {
    expect(request.headers['content-encoding']).toBe('gzip');
    request.bytes = gunzipSync(request.bytes);
  }
  expectStory(sink);
});

test('the service name and resource attributes come from the environment', async () => {
  const [plain, named] = [await startSink(), await startSink()];
  await replayStory(plain);
  expect(plain.spans()[0]?.resource['service.name']).toBe('openclaw');
  await replayStory(named, {
    OTEL_SERVICE_NAME: 'my-agents',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=lab,team=blue%20one,service.name=other',
  });
  expect(named.spans()[0]?.resource).toMatchObject({
    'service.name': 'my-agents',
    'deployment.environment.name': 'lab',
    team: 'blue one',
  });
});

test('an unusable resource attribute is reported once, and does not affect the others', async () => {
  const sink = await startSink();
  const { status, stderr } = await replayStory(sink, {
    OTEL_RESOURCE_ATTRIBUTES: 'team=blue,token=a=hunter2',
  });
  expect(status).toBe(0);
  expect(sink.spans()[0]?.resource).toMatchObject({ 'service.name': 'openclaw', team: 'blue' });
  expect(stderr.match(/WARN: OTEL_RESOURCE_ATTRIBUTES: .*part 2 \("token"\)/g)).toHaveLength(1);
  expect(stderr).not.toContain('hunter2');
});

const TOKEN = 'Bearer t0p-s3cret-token';
const API_KEY = 'k3y-of-the-house';

function expectNoSecret({ stdout, stderr }: Ended): void {
  for (const secret of ['t0p-s3cret', 'k3y-of-the-house']) expect(`${stdout}${stderr}`).not.toContain(secret);
}

test('headers are sent, and never appear in the log, even if the backend repeats them', async () => {
  const repeat = ({ headers }: { headers: object }): Answer => ({
    status: 400,
    body: JSON.stringify(headers),
  });
  const sink = await startSink((request) => (request.signal === 'logs' ? repeat(request) : OK));
  const env = {
    OTEL_EXPORTER_OTLP_HEADERS: `Authorization=${encodeURIComponent(TOKEN)},x-all=1`,
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: `x-api-key=${API_KEY},x-all=2`,
  };
  const ended = await replayStory(sink, env, '--log-level', 'trace', '--log-format', 'json');
  expect(sink.of('logs')[0]?.headers).toMatchObject({ authorization: TOKEN, 'x-all': '1' });
  expect(sink.of('traces')[0]?.headers).toMatchObject({
    authorization: TOKEN,
    'x-api-key': API_KEY,
    'x-all': '2',
  });
  expect(ended.stderr).toContain('http_400');
  expectNoSecret(ended);
  expect(JSON.stringify(ended.summary)).not.toContain('s3cret');
});

test('headers of a configuration file never appear in the log', async () => {
  const sink = await startSink(({ headers }) => ({ status: 500, body: JSON.stringify(headers) }));
  const config = temporaryFile(
    'config.yaml',
    `to:\n  - {preset: otlp, url: "${sink.url}", headers: {authorization: "${TOKEN}"}}\n`,
  );
  const story = temporaryFile('story.ndjson', STORY_LINES);
  const ended = await runToEnd(['replay', story, '--config', config, '--log-level', 'trace']);
  expect(ended.status).toBe(3);
  expect(sink.requests[0]?.headers.authorization).toBe(TOKEN);
  expectNoSecret(ended);
});

test("a token for the environment's endpoint is sent to no other server", async () => {
  const [own, other] = [await startSink(), await startSink()];
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: own.url,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=${encodeURIComponent(TOKEN)}`,
  };
  await replayStory(other, env, '--to', 'otlp');
  expect(own.requests[0]?.headers.authorization).toBe(TOKEN);
  expect(other.requests.length).toBeGreaterThan(0);
  for (const { headers } of other.requests) expect(headers.authorization).toBeUndefined();
});

test.each([
  ['a header that HTTP does not allow', { OTEL_EXPORTER_OTLP_HEADERS: `bad name=${API_KEY}` }, []],
  ['a value that HTTP does not allow', { OTEL_EXPORTER_OTLP_HEADERS: `x-api-key=${API_KEY}%0a` }, []],
  ['credentials in an endpoint', { OTEL_EXPORTER_OTLP_ENDPOINT: `http://user:${API_KEY}@127.0.0.1` }, []],
  ['credentials in a destination', {}, ['--to', `otlp=http://user:${API_KEY}@127.0.0.1`]],
  ['a token where a preset should be', {}, ['--to', `${API_KEY}@http://127.0.0.1`]],
  ['a token in a source', {}, ['--from', `http://user:${API_KEY}@127.0.0.1`]],
])('%s: exit status 2, and the message does not repeat it', async (_, env, more) => {
  const ended = await runToEnd(['run', '--to', 'otlp', '--from', 'stdin', ...more], { env });
  expect(ended.status).toBe(2);
  expect(ended.stderr).not.toBe('');
  expectNoSecret(ended);
});
