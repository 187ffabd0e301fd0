import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { type Bearer, openBearer } from '../../src/export/bearer.js';
import type { EndpointConfig } from '../../src/export/config.js';
import { createTransport, readRetryAfter, type Transport } from '../../src/export/transport.js';
import { startProxy } from './proxy-server.js';

const NOW_MS = Date.parse('2026-11-20T10:00:00Z');
const OPEN_FOR_EVER = new AbortController().signal;
const pem = (name: string) => readFileSync(new URL(`tls/${name}`, import.meta.url));

interface Received {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage['headers'];
  body: Buffer;
  port: number | undefined;
}

const opened: { transports: Transport[]; servers: Server[] } = { transports: [], servers: [] };
afterEach(async () => {
  await Promise.all(opened.transports.splice(0).map((transport) => transport.close()));
  for (const server of opened.servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server on loopback that records requests; by default it answers `{}`. */
async function serve(
  answer: (response: ServerResponse, request: IncomingMessage) => void = (response) => response.end('{}'),
  tls?: ServerOptions,
) {
  const received: Received[] = [];
  const listener = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method, url, headers, socket } = request;
    received.push({ method, url, headers, body: Buffer.concat(chunks), port: socket.remotePort });
    answer(response, request);
  };
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  opened.servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/v1/traces`;
  return { received, server, port, url };
}

function open(url: string, changes: Partial<EndpointConfig> = {}): Transport {
  const endpoint: EndpointConfig = {
    url,
    encoding: 'json',
    compression: 'none',
    headers: {},
    tls: {},
    timeout_ms: 10_000,
    ...changes,
  };
  const transport = createTransport(endpoint);
  opened.transports.push(transport);
  return transport;
}

const BODY = Buffer.from('{"resourceSpans":[]}');
const BOMB = gzipSync(Buffer.alloc(1024 * 1024));

describe('a request', () => {
  test('has a body, its content type, the configured headers and a user agent', async () => {
    const { received, url } = await serve();
    const outcome = await open(url, { headers: { authorization: 'Bearer t' } }).post(BODY, OPEN_FOR_EVER);
    expect(outcome).toEqual({ kind: 'answered', status: 200, body: Buffer.from('{}') });
    expect(received).toMatchObject([
      {
        method: 'POST',
        url: '/v1/traces',
        body: BODY,
        headers: {
          'content-type': 'application/json',
          'content-length': String(BODY.length),
          authorization: 'Bearer t',
          'user-agent': expect.stringMatching(/^openclaw-otel-bridge\/\d/),
        },
      },
    ]);
    expect(received[0]!.headers).not.toHaveProperty('content-encoding');
  });

  test('is compressed if configured', async () => {
    const { received, url } = await serve();
    await open(url, { compression: 'gzip', encoding: 'protobuf' }).post(BODY, OPEN_FOR_EVER);
    expect(received[0]!.headers).toMatchObject({
      'content-encoding': 'gzip',
      'content-type': 'application/x-protobuf',
    });
    expect(gunzipSync(received[0]!.body)).toEqual(BODY);
  });

  test('reuses the connection of the previous one', async () => {
    const { received, url } = await serve();
    const transport = open(url);
    for (let count = 0; count < 3; count += 1) await transport.post(BODY, OPEN_FOR_EVER);
    expect(new Set(received.map(({ port }) => port)).size).toBe(1);
  });

  test('goes over TLS with the given root certificate, and fails without it', async () => {
    const { received, url } = await serve(undefined, { cert: pem('server.pem'), key: pem('server.key') });
    const trusted = await open(url, { tls: { ca: pem('server.pem') } }).post(BODY, OPEN_FOR_EVER);
    expect(trusted).toMatchObject({ kind: 'answered', status: 200 });
    const untrusted = await open(url).post(BODY, OPEN_FOR_EVER);
    expect(untrusted).toMatchObject({ kind: 'failed', reason: 'connection' });
    expect(received).toHaveLength(1);
  });
});

describe('a response', () => {
  test('of any status is data, with its body and Retry-After', async () => {
    const { url } = await serve((response) =>
      response.writeHead(503, { 'retry-after': '5' }).end('not stored'),
    );
    expect(await open(url).post(BODY, OPEN_FOR_EVER)).toEqual({
      kind: 'answered',
      status: 503,
      retry_after_ms: 5_000,
      body: Buffer.from('not stored'),
    });
  });

  test('that redirects is not followed; its target is reported without secrets', async () => {
    const elsewhere = await serve();
    const to = `${elsewhere.url.replace('http://', 'http://me:hunter2@')}?key=hunter2#hunter2`;
    const { url } = await serve((response) => response.writeHead(307, { location: to }).end());
    expect(await open(url, { headers: { authorization: 'Bearer t' } }).post(BODY, OPEN_FOR_EVER)).toEqual({
      kind: 'answered',
      status: 307,
      location: elsewhere.url,
      body: Buffer.from(''),
    });
    expect(elsewhere.received).toEqual([]);
  });

  test.each([
    [301, '/elsewhere?token=x', '/elsewhere'],
    [308, 'javascript:alert(1)', undefined],
    [302, 'http://[', undefined],
    [307, undefined, undefined],
    [200, 'http://ignored/', undefined],
  ])('%i that redirects to %s is reported with the location %s', async (status, location, expected) => {
    const { url } = await serve((response) =>
      response.writeHead(status, location === undefined ? {} : { location }).end(),
    );
    const outcome = await open(url).post(BODY, OPEN_FOR_EVER);
    const told = outcome.kind === 'answered' ? outcome.location : 'failed';
    expect(told).toBe(expected === undefined ? undefined : new URL(expected, url).href);
  });

  test.each<[string, string, Buffer, Buffer]>([
    ['in gzip is unpacked', 'gzip', gzipSync('{}'), Buffer.from('{}')],
    ['in deflate is unpacked', 'deflate', deflateSync('{}'), Buffer.from('{}')],
    ['that only claims to be in gzip stays as it is', 'gzip', Buffer.from('{}'), Buffer.from('{}')],
    ['that unpacks to too much stays as it is', 'gzip', BOMB, BOMB],
  ])('%s', async (_, coding, packed, body) => {
    const { url } = await serve((response) =>
      response.writeHead(200, { 'content-encoding': coding }).end(packed),
    );
    expect(await open(url).post(BODY, OPEN_FOR_EVER)).toEqual({ kind: 'answered', status: 200, body });
  });

  test('that never ends is read up to a limit', async () => {
    const { url } = await serve((response) => {
      const more = () => {
        while (response.write('x'.repeat(10_000)));
        response.once('drain', more);
      };
      more();
    });
    const outcome = await open(url).post(BODY, OPEN_FOR_EVER);
    expect(outcome).toMatchObject({ kind: 'answered', status: 200 });
    expect(outcome.kind === 'answered' && outcome.body.length).toBe(64 * 1024);
  });
});

describe('a failure', () => {
  test('to connect is data', async () => {
    const { server, url } = await serve();
    await new Promise((resolve) => server.close(resolve));
    const outcome = await open(url, { headers: { authorization: 'hunter2' } }).post(BODY, OPEN_FOR_EVER);
    expect(outcome).toEqual({
      kind: 'failed',
      reason: 'connection',
      message: expect.stringContaining('ECONNREFUSED'),
      may_be_taken: false,
    });
    expect(JSON.stringify(outcome)).not.toContain('hunter2');
  });

  test('to resolve a name is data', async () => {
    const outcome = await open('http://nowhere.invalid/v1/traces').post(BODY, OPEN_FOR_EVER);
    expect(outcome).toMatchObject({ kind: 'failed', reason: 'connection' });
  });

  test('in the middle of a response is a broken connection, and the next request uses a new one', async () => {
    let first = true;
    const { url } = await serve((response) => {
      if (first) response.writeHead(200, { 'content-length': '100' }).write('{', () => response.destroy());
      else response.end('{}');
      first = false;
    });
    const transport = open(url);
    expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({
      kind: 'failed',
      reason: 'connection',
      may_be_taken: true,
    });
    expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'answered', status: 200 });
  });

  test.each([
    ['an answer that does not come', () => {}],
    ['an answer that does not end', (response: ServerResponse) => void response.writeHead(200).write('{')],
  ])('is reported for %s in time', async (_, answer) => {
    const { url } = await serve(answer);
    expect(await open(url, { timeout_ms: 50 }).post(BODY, OPEN_FOR_EVER)).toEqual({
      kind: 'failed',
      reason: 'timeout',
      message: 'no answer within 50 ms',
      may_be_taken: true,
    });
  });

  test('is immediate when the lane closes', async () => {
    const closing = new AbortController();
    const { url } = await serve(() => closing.abort());
    expect(await open(url).post(BODY, closing.signal)).toMatchObject({ kind: 'failed' });
  });
});

/** A server with a private certificate authority that requires client certificates. */
const MUTUAL: ServerOptions = {
  cert: pem('backend.pem'),
  key: pem('backend.key'),
  ca: pem('ca.pem'),
  requestCert: true,
  rejectUnauthorized: true,
};
const OURS = { ca: pem('ca.pem'), cert: pem('client.pem'), key: pem('client.key') };

/** Answers with the common name of the client's certificate. */
const whoIsThere = (response: ServerResponse, { socket }: IncomingMessage) =>
  response.end((socket as TLSSocket).getPeerCertificate().subject?.CN);

describe('a client certificate', () => {
  test('is presented to a backend with a private authority, which admits nobody without one', async () => {
    const { url, received } = await serve(whoIsThere, MUTUAL);
    expect(await open(url, { tls: OURS }).post(BODY, OPEN_FOR_EVER)).toMatchObject({
      status: 200,
      body: Buffer.from('client'),
    });
    const unknown = await open(url, { tls: { ca: OURS.ca } }).post(BODY, OPEN_FOR_EVER);
    expect(unknown).toMatchObject({ kind: 'failed', reason: 'connection' });
    expect(received).toHaveLength(1);
  });
});

describe('through a proxy', () => {
  const CREDENTIALS = `Basic ${Buffer.from('me:hunter2').toString('base64')}`;
  const through = (url: string, authorization?: string): Partial<EndpointConfig> => ({
    proxy: { url, variable: 'HTTPS_PROXY', ...(authorization === undefined ? {} : { authorization }) },
  });
  const startBefore = async (port: number, wanted?: string) => {
    const proxy = await startProxy(port, wanted);
    opened.servers.push(proxy.server);
    return proxy;
  };

  test('TLS goes through a tunnel, end to end, with the client certificate', async () => {
    const backend = await serve(whoIsThere, MUTUAL);
    const proxy = await startBefore(backend.port, CREDENTIALS);
    const url = 'https://backend.test:4318/v1/traces';
    const transport = open(url, { ...through(proxy.url, CREDENTIALS), tls: OURS });
    for (let count = 0; count < 2; count += 1)
      expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({ body: Buffer.from('client') });
    // One tunnel, which is reused.
    expect(proxy.asked).toEqual([
      { method: 'CONNECT', target: 'backend.test:4318', authorization: CREDENTIALS },
    ]);
    expect(backend.received).toMatchObject([{ url: '/v1/traces', body: BODY }, { body: BODY }]);
    expect(backend.received[0]?.headers).not.toHaveProperty('proxy-authorization');
  });

  test('another host is not accepted as the backend', async () => {
    const backend = await serve(undefined, MUTUAL);
    const proxy = await startBefore(backend.port);
    const outcome = await open('https://other.test/v1/traces', { ...through(proxy.url), tls: OURS }).post(
      BODY,
      OPEN_FOR_EVER,
    );
    expect(outcome).toMatchObject({ kind: 'failed', message: expect.stringMatching(/altnames/) });
    expect(proxy.asked).toMatchObject([{ target: 'other.test:443' }]);
    expect(backend.received).toEqual([]);
  });

  test('a plain request is sent with its full URL', async () => {
    const backend = await serve();
    const proxy = await startBefore(backend.port, CREDENTIALS);
    const url = 'http://backend.test:4318/v1/traces';
    const transport = open(url, { ...through(proxy.url, CREDENTIALS), compression: 'gzip' });
    for (let count = 0; count < 2; count += 1)
      expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'answered', status: 200 });
    expect(proxy.asked[0]).toEqual({ method: 'POST', target: url, authorization: CREDENTIALS });
    expect(gunzipSync(backend.received[1]!.body)).toEqual(BODY);
    expect(backend.received[0]?.headers.host).toBe('backend.test:4318');
  });

  test.each(['http', 'https'])(
    'a refusal by the proxy is a broken connection over %s, reported without credentials',
    async (scheme) => {
      const backend = await serve();
      const proxy = await startBefore(backend.port, 'Basic other');
      const transport = open(`${scheme}://backend.test/v1/traces`, through(proxy.url, CREDENTIALS));
      const outcome = await transport.post(BODY, OPEN_FOR_EVER);
      expect(outcome).toMatchObject({
        kind: 'failed',
        reason: 'connection',
        message: expect.stringMatching(
          new RegExp(`407.*, through the proxy ${proxy.url} \\(HTTPS_PROXY\\)$`),
        ),
      });
      expect(JSON.stringify(outcome)).not.toContain(CREDENTIALS.slice('Basic '.length));
      expect(backend.received).toEqual([]);
    },
  );

  test('a proxy that is unreachable or never answers is a failure', async () => {
    const { server, url } = await serve();
    await new Promise((resolve) => server.close(resolve));
    const gone = open('https://backend.test/v1/traces', through(new URL(url).origin));
    expect(await gone.post(BODY, OPEN_FOR_EVER)).toMatchObject({
      kind: 'failed',
      message: expect.stringMatching(/ECONNREFUSED.*, through the proxy /),
    });
    const mute = await serve(() => {});
    let tunnels = 0;
    mute.server.on('connect', () => {
      tunnels += 1;
    });
    const stuck = open('https://backend.test/v1/traces', {
      ...through(new URL(mute.url).origin),
      timeout_ms: 50,
    });
    // Each attempt opens a new tunnel instead of waiting for the silent one.
    while (tunnels < 2) expect(await stuck.post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'failed' });
  });
});

describe('a token in a file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'openclaw-otel-bridge-token-'));
  const path = join(directory, 'token');
  afterEach(() => rmSync(path, { force: true }));
  afterAll(() => rmSync(directory, { recursive: true }));

  function openFile(token: string): Bearer {
    writeFileSync(path, `${token}\n`);
    const bearer = openBearer({ file: path }, {});
    if ('error' in bearer) throw new Error(bearer.error);
    return bearer;
  }
  /** Renews the token as services do it: another file takes the path. */
  function renew(token: string): void {
    writeFileSync(`${path}.new`, token);
    renameSync(`${path}.new`, path);
  }
  const guarded = (isRight: (token: string) => boolean, onRefusal = () => {}) =>
    serve((response, { headers: { authorization = '' } }) => {
      const right = isRight(authorization.replace(/^Bearer /, ''));
      if (!right) onRefusal();
      response.writeHead(right ? 200 : 401).end('{}');
    });
  const tokens = (received: Received[]) => received.map(({ headers }) => headers.authorization);

  test('is read again when the file changes, and every token read is known to redaction', async () => {
    const { received, url } = await guarded(() => true);
    const bearer = openFile('first');
    const transport = open(url, { bearer });
    await transport.post(BODY, OPEN_FOR_EVER);
    renew('second');
    await transport.post(BODY, OPEN_FOR_EVER);
    expect(tokens(received)).toEqual(['Bearer first', 'Bearer second']);
    expect(bearer.secrets).toEqual(['second', 'first']);
  });

  test('that was renewed during a request is tried before the request fails', async () => {
    const { received, url } = await guarded(
      (token) => token === 'second',
      () => renew('second'),
    );
    const transport = open(url, { bearer: openFile('first') });
    expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'answered', status: 200 });
    expect(tokens(received)).toEqual(['Bearer first', 'Bearer second']);
    expect(received[1]?.body).toEqual(BODY);
  });

  test('that is refused and was not renewed is tried once', async () => {
    const { received, url } = await guarded(() => false);
    const outcome = await open(url, { bearer: openFile('first') }).post(BODY, OPEN_FOR_EVER);
    expect(outcome).toMatchObject({ kind: 'answered', status: 401 });
    expect(received).toHaveLength(1);
  });

  test('that was refreshed for another signal is also tried by this one', async () => {
    const bearer = openFile('first');
    const { received, url } = await guarded(
      (token) => token === 'second',
      () => {
        renew('second');
        void bearer.refresh(true);
      },
    );
    expect(await open(url, { bearer }).post(BODY, OPEN_FOR_EVER)).toMatchObject({ status: 200 });
    expect(tokens(received)).toEqual(['Bearer first', 'Bearer second']);
  });

  test.each([
    ['nothing', ''],
    ['two words', 'two words'],
    ['far too much', 'x'.repeat(70_000)],
  ])('stays in use if the file holds %s, and if there is no file', async (_, content) => {
    const { received, url } = await guarded(() => true);
    const transport = open(url, { bearer: openFile('first') });
    renew(content);
    await transport.post(BODY, OPEN_FOR_EVER);
    rmSync(path);
    await transport.post(BODY, OPEN_FOR_EVER);
    expect(tokens(received)).toEqual(['Bearer first', 'Bearer first']);
  });
});

test("a body in another encoding than the endpoint's has its own content type", async () => {
  const { received, url } = await serve();
  const transport = open(url, { encoding: 'protobuf' });
  await transport.post(BODY, OPEN_FOR_EVER);
  await transport.post(BODY, OPEN_FOR_EVER, 'json');
  expect(received.map(({ headers }) => headers['content-type'])).toEqual([
    'application/x-protobuf',
    'application/json',
  ]);
});

describe('Retry-After', () => {
  test.each([
    ['1', 1_000],
    [' 120 ', 120_000],
    ['31536000', 31_536_000_000],
    ['Fri, 20 Nov 2026 10:00:30 GMT', 30_000],
    ['Fri, 20 Nov 2026 09:00:00 GMT', undefined],
    ['0', undefined],
    ['-5', undefined],
    ['Friday, 20-Nov-26 10:00:30 GMT', 30_000],
    ['soon', undefined],
    ['+40', undefined],
    ['40.', undefined],
    ['after 40', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%j is %j ms', (header, expected) => {
    expect(readRetryAfter(header, NOW_MS)).toBe(expected);
  });
});
