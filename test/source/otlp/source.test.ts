/** The OTLP source alone: what it accepts, when and how it responds, its limits, and how it stops. */
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect, Server } from 'node:net';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { LineBatch, Source } from '../../../src/model/source.js';
import { createOtlpSource, type OtlpOptions } from '../../../src/source/otlp/index.js';
import { lineText, opened, type Puller, turns } from '../helpers.js';
import { bodies, ENCODINGS, encode, post, readTaken, type Sent, send, TYPES } from './requests.js';

const NAME = 'otlp:test';

interface Started {
  source: Source;
  puller: Puller;
  url: string;
}

async function start(options: Partial<OtlpOptions> = {}): Promise<Started> {
  const address = { host: '127.0.0.1', port: 0 };
  const source = createOtlpSource(NAME, address, { max_line_bytes: 1_000, resume: {}, ...options });
  const puller = await opened(source);
  const message = await puller.status('up');
  expect(message).toMatch(/^otlp:test accepts log records at http:\/\/127\.0\.0\.1:\d+\/v1\/logs$/);
  return { source, puller, url: /http:.*/.exec(message)?.[0] ?? '' };
}

/** The same with its HTTP server. */
async function startWithServer(): Promise<Started & { server: Server }> {
  const listen = vi.spyOn(Server.prototype, 'listen');
  const started = await start();
  const [server] = listen.mock.contexts as Server[];
  listen.mockRestore();
  if (server === undefined) throw new Error('no server listens');
  return { ...started, server };
}

/** Settles the next `count` batches, and returns them. */
async function settle(puller: Puller, count: number, is_recoverable = true): Promise<LineBatch[]> {
  const batches: LineBatch[] = [];
  while (batches.length < count) {
    const batch = await puller.batch();
    batch.receipt?.settle(is_recoverable);
    batches.push(batch);
  }
  return batches;
}

const shown = ({ stream, lines }: LineBatch): string =>
  `${stream} ${lines.map((line) => `${line.number}:${lineText(line)}`).join(' ')}`;

const message = (body: Buffer): string => JSON.parse(body.toString()).message;

describe('a response', () => {
  test.each(ENCODINGS)(
    'comes when all of a request is persisted, and not before, in %s',
    async (encoding) => {
      const { puller, url } = await start();
      let is_answered = false;
      const answer = post(
        url,
        [
          { resource: { 'host.name': 'a' }, records: [{ body: '{"n":1}' }] },
          { resource: { 'host.name': 'b' }, records: [{ body: '{"n":2}' }] },
        ],
        encoding,
      ).finally(() => {
        is_answered = true;
      });
      const first = await puller.batch();
      const second = await puller.batch();
      second.receipt?.settle(true);
      await turns(50);
      expect(is_answered).toBe(false);
      first.receipt?.settle(true);
      const told = await answer;
      expect(told).toMatchObject({ status: 200, headers: { 'content-type': TYPES[encoding] } });
      expect(told.body.toString()).toBe(encoding === 'json' ? '{}' : '');
    },
  );

  test.each(ENCODINGS)('names the first records that were rejected, in %s', async (encoding) => {
    const { puller, url } = await start();
    const answer = post(url, bodies('a\nb', 'c', 'd', 'e', 'f', 'g', 'h'), encoding);
    const { lines, receipt } = await puller.batch();
    // Rejects both lines of the first record, and all others but the last one.
    for (const { number } of lines.slice(0, -1))
      receipt?.reject({ line: number, path: number === 3 ? 'ts' : '', message: `bad ${number}` });
    receipt?.settle(true);
    const place = 'resourceLogs[0].scopeLogs[0].logRecords';
    expect(readTaken(await answer)).toEqual({
      partialSuccess: {
        rejectedLogRecords: encoding === 'json' ? '6' : 6,
        errorMessage: [
          `${place}[0]: $: bad 1`,
          `${place}[1]: ts: bad 3`,
          `${place}[2]: $: bad 4`,
          `${place}[3]: $: bad 5`,
          `${place}[4]: $: bad 6`,
          'and 1 more',
        ].join('; '),
      },
    });
  });

  test('asks for a retry if a part of the request could not be persisted', async () => {
    const { puller, url } = await start();
    const records = (host: string): Sent => ({
      resource: { 'host.name': host },
      records: [{ body: '{}' }],
    });
    const answer = post(url, [records('a'), records('b')]);
    await settle(puller, 1, false);
    await settle(puller, 1, true);
    const { status, headers, body } = await answer;
    expect(status).toBe(503);
    expect(headers).toMatchObject({ 'retry-after': '1', 'content-type': TYPES.json });
    expect(message(body)).toBe("the log records can't be stored now; retry later");
  });

  test.each(ENCODINGS)('comes at once if a request has no lines, in %s', async (encoding) => {
    const { url } = await start();
    for (const sent of [[], bodies(undefined, '', '\n\n', null)])
      expect((await post(url, sent, encoding)).status).toBe(200);
  });
});

describe('lines', () => {
  test('are those of all bodies, whatever type these have', async () => {
    const { puller, url } = await start();
    const all = bodies(
      '{"a":1}',
      '{"b":1}\r\n\n{"b":2}\n',
      Buffer.from('{"c":1}'),
      { d: { e: [1, true, null] } },
      7,
    );
    for (const encoding of ENCODINGS) {
      const answer = post(url, all, encoding);
      const [batch] = await settle(puller, 1);
      expect(batch?.lines.map(lineText)).toEqual([
        '{"a":1}',
        '{"b":1}',
        '{"b":2}',
        '{"c":1}',
        '{"d":{"e":[1,true,null]}}',
        '7',
      ]);
      expect((await answer).status).toBe(200);
    }
  });

  test('of one sender form one stream across requests, in the order of each request', async () => {
    const { puller, url } = await start();
    const file = (name: string) => ({ 'log.file.name': name });
    const sent: Sent[] = [
      {
        resource: { 'host.name': 'h' },
        records: [
          { body: 'one', attributes: file('a') },
          { body: 'two', attributes: file('b') },
          { body: 'three\nfour', attributes: file('a') },
        ],
      },
      { records: [{ body: 'five' }] },
    ];
    const batches: LineBatch[] = [];
    for (const _ of [1, 2]) {
      const answer = post(url, sent);
      batches.push(...(await settle(puller, 3)));
      await answer;
    }
    expect(batches.map(shown)).toEqual([
      `${NAME}[host.name=h,log.file.name=a] 1:one 2:three 3:four`,
      `${NAME}[host.name=h,log.file.name=b] 1:two`,
      `${NAME}[] 1:five`,
      `${NAME}[host.name=h,log.file.name=a] 4:one 5:three 6:four`,
      `${NAME}[host.name=h,log.file.name=b] 2:two`,
      `${NAME}[] 2:five`,
    ]);
    expect(batches.every(({ may_repeat, end }) => may_repeat === true && !end)).toBe(true);
  });

  test('that are too long are skipped, and rejected in the response', async () => {
    const { puller, url } = await start();
    const answer = post(url, bodies('short', 'x'.repeat(1_001)));
    const { lines, receipt } = await puller.batch();
    expect(lines.map(lineText)).toEqual(['short', 'line_too_long']);
    receipt?.reject({ line: 2, path: '', message: 'too long' });
    receipt?.settle(true);
    expect(readTaken(await answer)).toMatchObject({ partialSuccess: { rejectedLogRecords: '1' } });
  });

  test('of a large request come in batches of limited size', async () => {
    const { puller, url } = await start();
    const lines = Array.from({ length: 2_500 }, (_, index) => `{"n":${index}}`);
    const answer = post(url, [
      ...bodies(...lines.slice(0, 1_000)),
      ...bodies(lines.slice(1_000).join('\n')),
      ...bodies('1\n'.repeat(100_000)),
    ]);
    const got: string[] = [];
    while (got.length < 102_500) {
      const [batch] = await settle(puller, 1);
      expect(batch?.lines.length).toBeLessThan(40_000);
      got.push(...(batch?.lines.map(lineText) ?? []));
    }
    expect(got.slice(0, 2_500)).toEqual(lines);
    expect((await answer).status).toBe(200);
  });

  test('of concurrent requests come once each', async () => {
    const { puller, url } = await start();
    const requests = Array.from({ length: 40 }, (_, index) =>
      bodies(...[0, 1, 2].map((n) => `${index}.${n}`)),
    );
    const answers = requests.map((sent, index) => post(url, sent, ENCODINGS[index % 2]));
    const batches = await settle(puller, 40);
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(requests.map(() => 200));
    const got = batches.map(({ lines }) => lines.map(lineText).join(' '));
    expect(got.sort()).toEqual(requests.map((_, index) => `${index}.0 ${index}.1 ${index}.2`).sort());
  });

  test('of one request come before those of the next, in several batches too', async () => {
    const { puller, url, server } = await startWithServer();
    let read = 0;
    server.on('request', (request) => request.on('end', () => (read += 1)));
    const answers = ['a', 'b'].map((name) => post(url, bodies(...Array(2_500).fill(name))));
    await vi.waitUntil(() => read === 2, { timeout: 10_000 });
    const lines = (await settle(puller, 6)).flatMap((batch) => batch.lines);
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200]);
    expect(lines.map(({ number }) => number)).toEqual(lines.map((_, index) => index + 1));
    expect(lines.map(lineText).join('')).toMatch(/^(a+b+|b+a+)$/);
  });
});

describe('streams', () => {
  const from = (host: string): Sent[] => [{ resource: { 'host.name': host }, records: [{ body: host }] }];

  test('continue their line numbers after a restart', async () => {
    const first = await start();
    const answers = [post(first.url, bodies('one', 'two')), post(first.url, bodies('three'))];
    const batches = await settle(first.puller, 2);
    await Promise.all(answers);
    const second = await start({ resume: { [`${NAME}[]`]: batches.at(-1)?.position } });
    const answer = post(second.url, bodies('four'));
    expect((await settle(second.puller, 1)).map(shown)).toEqual([`${NAME}[] 4:four`]);
    await answer;
  });

  test('are limited in number: over the limit the one not heard from for longest ends', async () => {
    const resume = {
      [`${NAME}[host.name=old]`]: { next_line: 7, heard_ms: 2 },
      [`${NAME}[host.name=oldest]`]: { next_line: 7, heard_ms: 1 },
    };
    const { puller, url } = await start({ resume, max_streams: 2 });
    const got: string[] = [];
    for (const [host, batches] of [
      ['a', 2],
      ['old', 1],
      ['b', 2],
      ['old', 1],
    ] as const) {
      const answer = post(url, from(host));
      for (const batch of await settle(puller, batches)) got.push(shown(batch) + (batch.end ? 'ends' : ''));
      await answer;
    }
    expect(got).toEqual([
      `${NAME}[host.name=a] 1:a`,
      `${NAME}[host.name=oldest] ends`,
      `${NAME}[host.name=old] 7:old`,
      `${NAME}[host.name=b] 1:b`,
      `${NAME}[host.name=a] ends`,
      `${NAME}[host.name=old] 8:old`,
    ]);
  });
});

describe('a request', () => {
  const BODY_BYTES = 10_000;
  const bounds = { body_bytes: BODY_BYTES };
  const large = Buffer.alloc(BODY_BYTES + 1, ' ');
  const json = { 'content-type': TYPES.json };

  test.each([
    ['another path', '/v1/log', {}, 404, 'unknown path; send log records to /v1/logs'],
    [
      'traces',
      '/v1/traces',
      {},
      404,
      'only log records with events as bodies are accepted; send them to /v1/logs',
    ],
    [
      'metrics',
      '/v1/metrics',
      {},
      404,
      'only log records with events as bodies are accepted; send them to /v1/logs',
    ],
    ['another method', '/v1/logs', { method: 'PUT' }, 405, 'the method must be POST'],
    [
      'another content-type',
      '/v1/logs',
      { headers: { 'content-type': 'text/plain' } },
      415,
      'the content-type must be application/json or application/x-protobuf',
    ],
    [
      'another content-encoding',
      '/v1/logs',
      { headers: { ...json, 'content-encoding': 'br' } },
      415,
      'the content-encoding must be gzip, or none',
    ],
    [
      'a body that is not OTLP',
      '/v1/logs',
      { body: Buffer.from('[]') },
      400,
      /^the body is not an OTLP ExportLogsServiceRequest/,
    ],
    [
      'a body that is not gzip',
      '/v1/logs',
      { headers: { ...json, 'content-encoding': 'gzip' } },
      400,
      'the content-encoding is gzip, but the body is not valid gzip data',
    ],
    [
      'a body that is too large by its content-length',
      '/v1/logs',
      { body: large, headers: { ...json, 'content-length': large.length } },
      413,
      'the request is larger than 10000 bytes; send fewer log records per request',
    ],
    [
      'a body that turns out too large',
      '/v1/logs',
      { body: large, headers: { ...json, 'transfer-encoding': 'chunked' } },
      413,
      'the request is larger than 10000 bytes; send fewer log records per request',
    ],
    [
      'a body that is too large when unpacked',
      '/v1/logs',
      { body: gzipSync(large), headers: { ...json, 'content-encoding': 'gzip' } },
      413,
      'the request is larger than 10000 bytes; send fewer log records per request',
    ],
  ])('with %s is rejected, and that is logged', async (_, path, options, status, what) => {
    const { puller, url } = await start({ bounds });
    const told = await send({
      url: new URL(path, url).href,
      headers: json,
      body: Buffer.from('{"resourceLogs":[]}'),
      ...options,
    });
    expect(told).toMatchObject({ status, headers: { 'content-type': TYPES.json } });
    expect(message(told.body)).toEqual(typeof what === 'string' ? what : expect.stringMatching(what));
    expect(told.headers['retry-after']).toBe(undefined);
    expect(told.headers.allow).toBe(status === 405 ? 'POST' : undefined);
    expect(await puller.status('down')).toBe(`${NAME} rejected a request (${status}): ${message(told.body)}`);
  });

  test('in protobuf is rejected in protobuf', async () => {
    const { url } = await start();
    const told = await send({ url, headers: { 'content-type': TYPES.protobuf }, body: Buffer.from([0xff]) });
    expect(told).toMatchObject({ status: 400, headers: { 'content-type': TYPES.protobuf } });
    // google.rpc.Status: field 1 is the code, 3; field 2 the message.
    expect([...told.body.subarray(0, 3)]).toEqual([0x08, 3, 0x12]);
    expect(told.body.toString()).toContain('the body is not an OTLP ExportLogsServiceRequest in protobuf');
  });

  test.each(ENCODINGS)(
    'may be compressed, and its content-type may have parameters, in %s',
    async (encoding) => {
      const { puller, url } = await start();
      const headers = {
        'content-type': `${TYPES[encoding].toUpperCase()} ; charset=utf-8`,
        'content-encoding': 'GZIP',
      };
      const answer = send({ url: `${url}?a=b`, headers, body: gzipSync(encode(bodies('{}'), encoding)) });
      expect((await settle(puller, 1)).map(shown)).toEqual([`${NAME}[] 1:{}`]);
      expect((await answer).status).toBe(200);
    },
  );

  test('that was rejected leaves its connection usable, and holds nothing of what is still to come', async () => {
    const { puller, url } = await start({ bounds: { ...bounds, held_bytes: 1_000_000 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const much = Buffer.alloc(2_000_000, ' ');
    for (const headers of [{ 'content-length': much.length }, { 'transfer-encoding': 'chunked' }]) {
      const refused = await send({ url, agent, body: much, headers: { ...json, ...headers } });
      expect(refused.status).toBe(413);
      const accepted = { ...json, 'content-encoding': 'identity' };
      const answer = send({ url, agent, body: encode(bodies('{}'), 'json'), headers: accepted });
      await puller.status('down');
      await settle(puller, 1);
      expect((await answer).status).toBe(200);
    }
  });

  test('that is too slow gets no response, so that it is sent again', async () => {
    const { url } = await start({ bounds: { request_ms: 100 } });
    for (const sent of ['POST /v1/logs HTTP/1.1\r\nHost: a\r\n', `${head(url, 100)}{"resource`]) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      socket.write(sent);
      expect(await text(socket)).toBe('');
    }
  });

  test('that is not HTTP is rejected', async () => {
    const { url } = await start();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('hello\r\n\r\n');
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
  });

  test('that breaks off frees what it held', async () => {
    const { puller, url } = await start({ bounds: { held_requests: 1, held_bytes: 1_000 } });
    for (let count = 0; count < 5; count += 1) {
      const socket = connect(Number(new URL(url).port), '127.0.0.1');
      await new Promise((resolve) => socket.write(head(url, 900) + 'x'.repeat(800), resolve));
      socket.resetAndDestroy();
      await once(socket, 'close');
    }
    const settled = settle(puller, 1);
    let told = await post(url, bodies('{}'));
    // The source may not have noticed the end of the last connection yet.
    while (told.status === 429) told = await post(url, bodies('{}'));
    expect(told.status).toBe(200);
    await settled;
  });

  test('that is rejected is logged, up to 20 times', async () => {
    const { source, puller, url } = await start();
    for (let count = 0; count < 25; count += 1) await send({ url: new URL('/', url).href });
    const closed = source.close();
    const said = (await puller.rest()).map((item) => (item.kind === 'status' ? item.message : ''));
    await closed;
    expect(said).toHaveLength(20);
    expect(said.at(-1)).toMatch(/; further problems of this source are not logged$/);
  });
});

/** The head of a request with a body of `length` bytes. */
const head = (url: string, length: number, ...more: string[]): string =>
  [
    'POST /v1/logs HTTP/1.1',
    `Host: ${new URL(url).host}`,
    `Content-Type: ${TYPES.json}`,
    `Content-Length: ${length}`,
    ...more,
    '\r\n',
  ].join('\r\n');

describe('under pressure', () => {
  test('a limited number of requests is held, and others are asked to retry', async () => {
    const { puller, url } = await start({ bounds: { held_requests: 2 } });
    const held = [post(url, bodies('one')), post(url, bodies('two'))];
    const batches = [await puller.batch(), await puller.batch()];
    const refused = await post(url, bodies('three'), 'protobuf');
    expect(refused).toMatchObject({
      status: 429,
      headers: { 'retry-after': '1', 'content-type': TYPES.protobuf },
    });
    for (const { receipt } of batches) receipt?.settle(true);
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200]);
    const again = post(url, bodies('three'));
    await settle(puller, 1);
    expect((await again).status).toBe(200);
  });

  test('a limited number of bytes is held, including those that are still to come', async () => {
    const { puller, url } = await start({ bounds: { held_bytes: 10_000 } });
    const held = post(url, bodies('x'.repeat(900), 'y'.repeat(900)));
    const batch = await puller.batch();
    const slow = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void slow.destroy());
    await new Promise((resolve) => slow.write(head(url, 9_000) + ' '.repeat(7_000), resolve));
    const refused = await post(url, bodies('z'.repeat(900)));
    expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': '1' } });
    expect(message(refused.body)).toBe('too much data is waiting to be processed; retry later');
    const late = connect(Number(new URL(url).port), '127.0.0.1');
    onTestFinished(() => void late.destroy());
    late.write(head(url, 9_000) + ' '.repeat(8_000));
    expect(String((await once(late, 'data'))[0])).toMatch(/^HTTP\/1\.1 429 /);
    batch.receipt?.settle(true);
    expect((await held).status).toBe(200);
    const again = post(url, bodies('z'.repeat(900)));
    await settle(puller, 1);
    expect((await again).status).toBe(200);
  });

  test('unpacked bytes count towards the limit', async () => {
    const { puller, url } = await start({ bounds: { held_bytes: 10_000 } });
    const sent = encode(bodies(...Array(100).fill('x'.repeat(900))), 'json');
    const headers = { 'content-type': TYPES.json, 'content-encoding': 'gzip' };
    const held = send({ url, headers, body: gzipSync(sent) });
    const batch = await puller.batch();
    expect((await send({ url, headers, body: gzipSync(sent) })).status).toBe(429);
    batch.receipt?.settle(true);
    expect((await held).status).toBe(200);
  });

  test('requests within the limits wait for a consumer that pulls nothing, and others are turned away', async () => {
    const { puller, url } = await start({ bounds: { held_requests: 8 } });
    const answers = Array.from({ length: 50 }, (_, index) => post(url, bodies(`${index}`)));
    let refused = 0;
    for (const answer of answers) void answer.then(({ status }) => (refused += status === 429 ? 1 : 0));
    await vi.waitUntil(() => refused === 42, { timeout: 10_000 });
    await settle(puller, 8);
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(8);
  });
});

describe('stopping', () => {
  test('responds to what was handed over, and asks all other senders to retry', async () => {
    const { source, puller, url } = await start();
    const port = Number(new URL(url).port);
    const from = (host: string): Sent => ({
      resource: { 'host.name': host },
      records: [{ body: '{}' }],
    });
    // Its first batch is pulled, its second one waits.
    const handed = post(url, [from('a'), from('b')]);
    const { receipt } = await puller.batch();
    const half = connect(port, '127.0.0.1');
    half.write(head(url, 100, 'Expect: 100-continue'));
    expect(String((await once(half, 'data'))[0])).toMatch(/^HTTP\/1\.1 100 /);
    half.write('{"resource');
    const idle = connect(port, '127.0.0.1');
    await once(idle, 'connect');
    const closed = source.close();
    expect(await text(half)).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1/s);
    receipt?.settle(true);
    await settle(puller, 1);
    expect((await handed).status).toBe(200);
    await closed;
    expect(await text(idle)).toBe('');
    expect(await puller.rest()).toEqual([]);
    await expect(post(url, bodies('three'))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('refuses new connections while it waits for open requests', async () => {
    const { source, puller, url } = await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const request = httpRequest(url, { method: 'POST', agent, headers: { 'content-type': TYPES.json } });
    const first = once(request.end(encode(bodies('one'), 'json')), 'response');
    const { receipt } = await puller.batch();
    const closed = source.close();
    const other = post(url, bodies('never'));
    await expect(other).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    receipt?.settle(true);
    const [response] = await first;
    response.resume();
    expect(response.statusCode).toBe(200);
    await closed;
  });

  test('does not wait forever for a consumer that has gone', async () => {
    const { source, puller, url } = await start({ bounds: { stop_ms: 50 } });
    const answer = post(url, bodies('one'));
    await puller.batch();
    await source.close();
    const { status, headers, body } = await answer;
    expect(status).toBe(503);
    expect(headers['retry-after']).toBe('1');
    expect(message(body)).toBe('the bridge is stopping; retry later');
  });

  test('closes a source that was never pulled from', async () => {
    const source = createOtlpSource(
      NAME,
      { host: '127.0.0.1', port: 0 },
      { max_line_bytes: 1_000, resume: {} },
    );
    await source.open();
    await source.close();
  });
});

test('an address that is in use, or not of this machine, is refused with a reason', async () => {
  const { url } = await start();
  const port = Number(new URL(url).port);
  const open = (host: string) =>
    createOtlpSource(NAME, { host, port }, { max_line_bytes: 1_000, resume: {} }).open();
  await expect(open('127.0.0.1')).rejects.toThrow(
    `can't listen on ${NAME}: another process uses this address; use another address`,
  );
  await expect(open('192.0.2.1')).rejects.toMatchObject({ name: 'SourceError' });
});

test('a connection that the system refuses is reported, and ends nothing', async () => {
  const { puller, url, server } = await startWithServer();
  server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  expect(await puller.status('down')).toBe(`${NAME} can't accept connections: too many open files`);
  const answer = post(url, bodies('{}'));
  await settle(puller, 1);
  expect((await answer).status).toBe(200);
});
