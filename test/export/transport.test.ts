import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import type { EndpointConfig } from '../../src/export/config.js';
import { createTransport, readRetryAfter, type Transport } from '../../src/export/transport.js';

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

/** A server on loopback that keeps what it gets; by default it answers `{}`. */
async function serve(
  answer: (response: ServerResponse, request: IncomingMessage) => void = (response) => response.end('{}'),
  tls?: { cert: Buffer; key: Buffer },
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
  return { received, server, url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/v1/traces` };
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

describe('a request', () => {
  test('has the body, its type, the headers and who sends it', async () => {
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

  test('is compressed where that is wished', async () => {
    const { received, url } = await serve();
    await open(url, { compression: 'gzip', encoding: 'protobuf' }).post(BODY, OPEN_FOR_EVER);
    expect(received[0]!.headers).toMatchObject({
      'content-encoding': 'gzip',
      'content-type': 'application/x-protobuf',
    });
    expect(gunzipSync(received[0]!.body)).toEqual(BODY);
  });

  test('uses the connection of the one before', async () => {
    const { received, url } = await serve();
    const transport = open(url);
    for (let count = 0; count < 3; count += 1) await transport.post(BODY, OPEN_FOR_EVER);
    expect(new Set(received.map(({ port }) => port)).size).toBe(1);
  });

  test('goes over TLS with the root certificate that is given, and not without it', async () => {
    const { received, url } = await serve(undefined, { cert: pem('server.pem'), key: pem('server.key') });
    const trusted = await open(url, { tls: { ca: pem('server.pem') } }).post(BODY, OPEN_FOR_EVER);
    expect(trusted).toMatchObject({ kind: 'answered', status: 200 });
    const untrusted = await open(url).post(BODY, OPEN_FOR_EVER);
    expect(untrusted).toMatchObject({ kind: 'failed', reason: 'connection' });
    expect(received).toHaveLength(1);
  });
});

describe('an answer', () => {
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

  test('that points elsewhere is not followed', async () => {
    const elsewhere = await serve();
    const { url } = await serve((response) => response.writeHead(307, { location: elsewhere.url }).end());
    expect(await open(url).post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'answered', status: 307 });
    expect(elsewhere.received).toEqual([]);
  });

  test('without an end is read up to a bound', async () => {
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
    });
    expect(JSON.stringify(outcome)).not.toContain('hunter2');
  });

  test('to resolve a name is data', async () => {
    const outcome = await open('http://nowhere.invalid/v1/traces').post(BODY, OPEN_FOR_EVER);
    expect(outcome).toMatchObject({ kind: 'failed', reason: 'connection' });
  });

  test('in the middle of an answer is a broken connection, and the next request has a new one', async () => {
    let first = true;
    const { url } = await serve((response) => {
      if (first) response.writeHead(200, { 'content-length': '100' }).write('{', () => response.destroy());
      else response.end('{}');
      first = false;
    });
    const transport = open(url);
    expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'failed', reason: 'connection' });
    expect(await transport.post(BODY, OPEN_FOR_EVER)).toMatchObject({ kind: 'answered', status: 200 });
  });

  test.each([
    ['an answer that does not come', () => {}],
    ['an answer that does not end', (response: ServerResponse) => void response.writeHead(200).write('{')],
  ])('is %s in time', async (_, answer) => {
    const { url } = await serve(answer);
    expect(await open(url, { timeout_ms: 50 }).post(BODY, OPEN_FOR_EVER)).toEqual({
      kind: 'failed',
      reason: 'timeout',
      message: 'no answer within 50 ms',
    });
  });

  test('comes at once when the lane closes', async () => {
    const closing = new AbortController();
    const { url } = await serve(() => closing.abort());
    expect(await open(url).post(BODY, closing.signal)).toMatchObject({ kind: 'failed' });
  });
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
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%j is %j ms', (header, expected) => {
    expect(readRetryAfter(header, NOW_MS)).toBe(expected);
  });
});
