/**
 * Connecting to a gateway, and every way in which that fails: the message for each, and that no message contains a secret.
 */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Access, enterGateway } from '../../../../src/source/gateway/connection/access.js';
import type { Connection } from '../../../../src/source/gateway/connection/connection.js';
import { readHello } from '../../../../src/source/gateway/connection/handshake.js';
import type { Refusal } from '../../../../src/source/gateway/connection/refusals.js';
import { gatewayAccess } from '../../../../src/start/gateway.js';
import { readRecord } from '../../../../src/store/check.js';
import { putRecord } from '../../../../src/store/database.js';
import { updateShared } from '../../../../src/store/open.js';
import { VERSION } from '../../../../src/version.js';
import {
  type FakeGateway,
  type GatewayScript,
  hello,
  httpAnswer,
  NONCE,
  type Reply,
  refused,
  startFakeGateway,
  startListener,
} from '../fake-gateway.js';

const TOKEN = 'token-that-nobody-may-see';
const PASSWORD = 'password-that-nobody-may-see';

let data_dir: string;

beforeEach(() => {
  data_dir = mkdtempSync(join(tmpdir(), 'access-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(data_dir, { recursive: true, force: true });
});

type Environment = Record<string, string>;

/** The access as `run` creates it, with no OpenClaw on this machine other than what `env` names. */
const accessTo = (url: string, env: Environment = { OPENCLAW_GATEWAY_TOKEN: TOKEN }, name = url): Access =>
  gatewayAccess(
    { url, name },
    { gateway: {}, data_dir, no_store: false },
    { OPENCLAW_STATE_DIR: join(data_dir, 'none'), ...env },
  );

type Entered = Connection | Refusal;

async function enter(url: string, env?: Environment): Promise<Entered> {
  const entered = await enterGateway(accessTo(url, env), {
    onEvent: () => undefined,
    stop: new AbortController().signal,
  });
  if (!('kind' in entered)) onTestFinished(() => entered.close());
  expect(JSON.stringify(entered)).not.toMatch(/that-nobody-may-see/);
  return entered;
}

function asRefusal(entered: Entered): Refusal {
  if (!('kind' in entered)) throw new Error('the gateway accepted the bridge');
  return entered;
}

function asConnection(entered: Entered): Connection {
  if ('kind' in entered) throw new Error(entered.message);
  return entered;
}

/** A gateway that answers each `connect` with the next reply, and repeats the last one. */
function answering(...replies: Reply[]): GatewayScript {
  const left = [...replies];
  return { replies: { connect: () => (left.length > 1 ? left.shift() : left[0]) as Reply } };
}

describe('a gateway that accepts the bridge', () => {
  test.each([3, 4])('may speak protocol %i', async (protocol) => {
    const gateway = await startFakeGateway(answering(hello({ protocol, version: '2026.4.29' })));
    const { hello: said, clock_offset_ms } = asConnection(await enter(gateway.url));
    expect(said).toEqual({
      protocol,
      server_version: '2026.4.29',
      boot_id: 'boot-1',
      scopes: ['operator.read'],
      tick_interval_ms: 30_000,
    });
    expect(Math.abs(clock_offset_ms)).toBeLessThan(1_000);
    expect(gateway.connect()).toEqual({
      minProtocol: 3,
      maxProtocol: 4,
      client: {
        id: 'gateway-client',
        mode: 'backend',
        version: VERSION,
        platform: process.platform,
        displayName: 'openclaw-otel-bridge',
      },
      role: 'operator',
      scopes: ['operator.read'],
      caps: [],
      auth: { token: TOKEN },
      locale: 'en-US',
      userAgent: `openclaw-otel-bridge/${VERSION}`,
    });
  });

  test('may leave out of its hello what the bridge can do without', () => {
    const auth = { scopes: ['operator.read', 1], deviceToken: '' };
    expect(readHello({ type: 'hello-ok', auth })).toEqual({
      protocol: 3,
      server_version: 'unknown',
      scopes: ['operator.read'],
      tick_interval_ms: 30_000,
    });
  });

  test('gets the password if one is configured', async () => {
    const gateway = await startFakeGateway();
    asConnection(await enter(gateway.url, { OPENCLAW_GATEWAY_PASSWORD: PASSWORD }));
    expect(gateway.connect().auth).toEqual({ password: PASSWORD });
  });

  test('may require no secret, and no device key is created then', async () => {
    const gateway = await startFakeGateway();
    asConnection(await enter(gateway.url, {}));
    expect(gateway.connect()).not.toHaveProperty('auth');
    expect(existsSync(join(data_dir, 'data.mdb'))).toBe(false);
  });

  test('reports its clock in its challenge', async () => {
    const gateway = await startFakeGateway({ challenge: { nonce: NONCE, ts: Date.now() + 60_000 } });
    const { clock_offset_ms } = asConnection(await enter(gateway.url));
    expect(clock_offset_ms).toBeGreaterThan(58_000);
    expect(clock_offset_ms).toBeLessThanOrEqual(60_000);
  });

  test('may take its time to answer, which does not count as a difference of the clocks', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const gateway = await startFakeGateway({
      replies: {
        connect() {
          vi.setSystemTime(Date.now() + 9_000);
          return hello();
        },
      },
    });
    expect(asConnection(await enter(gateway.url)).clock_offset_ms).toBe(0);
  });

  test('may send invalid frames and a second challenge, which are ignored', async () => {
    const gateway = await startFakeGateway({
      onConnection(connection) {
        for (const text of ['', 'no JSON', '[]', '{"type":"res"}', '{"type":"event"}']) connection.say(text);
        for (const payload of [{ ts: 'soon' }, { ts: 1 }, { nonce: 'without a time' }]) {
          connection.push('connect.challenge', payload);
        }
      },
    });
    const { clock_offset_ms } = asConnection(await enter(gateway.url));
    expect(Math.abs(clock_offset_ms)).toBeLessThan(1_000);
    expect(gateway.calls).toHaveLength(1);
  });

  test('hands over its events as they came, and nothing else', async () => {
    const text = '{ "type": "event", "event": "agent", "payload": {}, "seq": 1 }';
    const gateway = await startFakeGateway({ onConnection: ({ say }) => say(text) });
    const onEvent = vi.fn();
    const wishes = { onEvent, stop: new AbortController().signal };
    const connection = asConnection(await enterGateway(accessTo(gateway.url), wishes));
    connection.close();
    expect(await connection.ended).toEqual({ code: 1000, reason: '' });
    expect(onEvent.mock.calls).toEqual([[text, JSON.parse(text)]]);
  });

  test('is asked for no compression, which would cost time and memory', async () => {
    const asked = new Promise<string>((resolve) => {
      void startListener((socket) => socket.once('data', (data) => resolve(String(data)))).then(enter);
    });
    expect(await asked).not.toContain('permessage-deflate');
  });
});

const SET_TOKEN = "set OPENCLAW_GATEWAY_TOKEN to the gateway's token (gateway.auth.token in openclaw.json)";
const SET_PASSWORD =
  "set OPENCLAW_GATEWAY_PASSWORD to the gateway's password (gateway.auth.password in openclaw.json)";

describe('a gateway that refuses the connection', () => {
  test.each<[string, Reply, Pick<Refusal, 'reason' | 'message'>]>([
    [
      'a wrong token',
      refused('INVALID_REQUEST', { code: 'AUTH_TOKEN_MISMATCH' }, { message: `unauthorized: ${TOKEN}` }),
      { reason: 'token_refused', message: `rejected the token; ${SET_TOKEN}` },
    ],
    [
      'too many failed attempts',
      refused('INVALID_REQUEST', { code: 'AUTH_RATE_LIMITED' }),
      {
        reason: 'busy',
        message: 'blocks connections after too many failed attempts; check the token or password, and wait',
      },
    ],
    [
      'a wrong password',
      refused('INVALID_REQUEST', { code: 'AUTH_PASSWORD_MISMATCH' }),
      { reason: 'password_refused', message: `rejected the password; ${SET_PASSWORD}` },
    ],
    [
      'a missing password',
      refused('INVALID_REQUEST', { code: 'AUTH_PASSWORD_MISSING' }),
      { reason: 'password_missing', message: `requires a password; ${SET_PASSWORD}` },
    ],
    [
      'a bridge whose protocol is too old',
      refused('INVALID_REQUEST', { code: 'PROTOCOL_MISMATCH', expectedProtocol: 5 }, { close_code: 1002 }),
      {
        reason: 'protocol_unsupported',
        message: 'speaks protocol 5, but the bridge supports 3 to 4; update openclaw-otel-bridge',
      },
    ],
    [
      'a bridge whose protocol is too new',
      refused('INVALID_REQUEST', { code: 'PROTOCOL_MISMATCH', expectedProtocol: 2 }, { close_code: 1002 }),
      {
        reason: 'protocol_unsupported',
        message:
          'speaks protocol 2, but the bridge supports 3 to 4; update OpenClaw, or follow its transcript files with --from transcripts:DIR',
      },
    ],
    [
      'a subscription, because it is too old',
      hello({ version: 'dev', protocol: 3, scopes: [], methods: ['health', 'sessions.list'] }),
      {
        reason: 'protocol_unsupported',
        message:
          "is too old: it can't push the events of all sessions; update OpenClaw, or follow its transcript files with --from transcripts:DIR",
      },
    ],
    [
      'a bridge that is taken for a web page',
      refused('INVALID_REQUEST', { code: 'CONTROL_UI_ORIGIN_NOT_ALLOWED' }),
      {
        reason: 'origin_refused',
        message:
          'mistook the bridge for a web page and rejected its origin; check that no proxy in front of it adds an Origin header',
      },
    ],
    [
      'a gateway that is still starting',
      refused('UNAVAILABLE', {}, { message: 'gateway starting\u001b[31m', close_code: 1013 }),
      { reason: 'busy', message: 'is unavailable: gateway starting [31m' },
    ],
    [
      'another error, with the token in its message',
      refused('INVALID_REQUEST', {}, { message: `no "${TOKEN}" here` }),
      { reason: 'refused', message: 'rejected the connection: no "…" here (INVALID_REQUEST)' },
    ],
    [
      'another error, with the token in its code',
      refused(`NO-${TOKEN}`, {}, { message: 'no' }),
      { reason: 'refused', message: 'rejected the connection: no (NO-…)' },
    ],
    [
      'an answer that is no hello',
      { payload: { type: 'hello' } },
      {
        reason: 'not_a_gateway',
        message: 'sent an invalid answer to the connect request; check the URL and what listens there',
      },
    ],
  ])('is reported with the reason and what to do: %s', async (_, reply, expected) => {
    const gateway = await startFakeGateway(answering(reply));
    expect(asRefusal(await enter(gateway.url))).toMatchObject(expected);
    expect(gateway.connections).toHaveLength(1);
  });

  test('is not tried again as a device if no token is configured', async () => {
    const gateway = await startFakeGateway(
      answering(refused('NOT_PAIRED', { code: 'DEVICE_IDENTITY_REQUIRED' })),
    );
    expect(asRefusal(await enter(gateway.url, {}))).toMatchObject({
      reason: 'token_missing',
      message: `requires a token or a password; ${SET_TOKEN}, or OPENCLAW_GATEWAY_PASSWORD if it uses a password`,
    });
    expect(gateway.connections).toHaveLength(1);
  });

  test.each([[[]], [['operator.approvals']]])(
    'is tried again as a device if it grants %o, and the scope that is still missing is reported',
    async (scopes) => {
      const gateway = await startFakeGateway(answering(hello({ scopes })));
      expect(asRefusal(await enter(gateway.url))).toMatchObject({
        reason: 'scope_missing',
        message:
          'does not grant this token the scope operator.read; use a token with that scope, or pair this bridge as a device',
      });
      expect(gateway.connections).toHaveLength(2);
      expect(gateway.connect()).toHaveProperty('device');
      // Whoever refuses might never close the connections.
      expect(await Promise.all(gateway.connections.map(({ ended }) => ended))).toEqual([1006, 1006]);
    },
  );

  test.each([
    ['DEVICE_AUTH_SIGNATURE_EXPIRED'],
    ['DEVICE_AUTH_SIGNATURE_INVALID'],
    ['DEVICE_AUTH_NONCE_MISMATCH'],
  ])("is reported with its code if it refuses the device's proof: %s", async (code) => {
    const gateway = await startFakeGateway(
      answering(hello({ scopes: [] }), refused('INVALID_REQUEST', { code })),
    );
    expect(asRefusal(await enter(gateway.url))).toMatchObject({
      reason: 'device_refused',
      message: `rejected this bridge's device authentication (${code}); check that this machine's clock is right; if it is, use another data directory (--data-dir), where the bridge creates a new device key, and pair it again`,
    });
  });
});

describe('pairing', () => {
  const REQUEST_ID = '8f7c1c1e-0d0e-4b1e-9f53-000000000000';
  const unpaired = (requestId: string): Reply =>
    refused('NOT_PAIRED', { code: 'PAIRING_REQUIRED', reason: 'not-paired', requestId });

  /** An Ed25519 key in SPKI format consists of these bytes and the raw key. */
  const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');

  function expectProof({ device, client, scopes }: ReturnType<FakeGateway['connect']>, secret: string): void {
    const raw = Buffer.from(device.publicKey, 'base64url');
    const key = createPublicKey({ key: Buffer.concat([SPKI_HEAD, raw]), type: 'spki', format: 'der' });
    const signed = [
      ...['v3', device.id, client.id, client.mode, 'operator', scopes.join(','), device.signedAt, secret],
      ...[NONCE, process.platform, ''],
    ].join('|');
    expect(device.id).toBe(createHash('sha256').update(raw).digest('hex'));
    expect(device.nonce).toBe(NONCE);
    expect(verify(null, Buffer.from(signed), key, Buffer.from(device.signature, 'base64url'))).toBe(true);
  }

  test('reports the command that approves it; the token that it gives is stored and used next time', async () => {
    const gateway = await startFakeGateway(
      answering(
        unpaired(REQUEST_ID),
        unpaired(REQUEST_ID),
        unpaired(REQUEST_ID),
        hello({ device_token: 'd-1' }),
      ),
    );
    const { reason, message } = asRefusal(await enter(gateway.url));
    expect(reason).toBe('pairing_required');
    expect(message).toBe(
      `requires this bridge to be paired; run on the gateway's machine: openclaw devices approve ${REQUEST_ID}`,
    );
    expectProof(gateway.connect(), TOKEN);
    const { id } = gateway.connect().device;

    asConnection(await enter(gateway.url));
    expect(gateway.connections).toHaveLength(4);
    expect(gateway.connect().device.id).toBe(id);
    expect(statSync(join(data_dir, 'data.mdb')).mode & 0o777).toBe(0o600);
    const kept = Buffer.from(readRecord(data_dir, 'device') ?? '').toString();
    expect(JSON.parse(kept).tokens).toEqual({ [gateway.url]: 'd-1' });

    asConnection(await enter(gateway.url, {}));
    expect(gateway.connections).toHaveLength(5);
    expect(gateway.connect().auth).toEqual({ deviceToken: 'd-1' });
    expect(gateway.connect().device.id).toBe(id);
    expectProof(gateway.connect(), 'd-1');

    // The device token is only used if no shared token is configured.
    asConnection(await enter(gateway.url));
    expect(gateway.connect().auth).toEqual({ token: TOKEN });
    expectProof(gateway.connect(), TOKEN);
    // Nor if a password is, which is not signed.
    const password = { OPENCLAW_GATEWAY_PASSWORD: PASSWORD };
    asConnection(await enter(gateway.url, password));
    expect(gateway.connect().auth).toEqual({ password: PASSWORD });
    expectProof(gateway.connect(), '');
    asConnection(await enter(gateway.url, { OPENCLAW_GATEWAY_TOKEN: TOKEN, ...password }));
    expect(gateway.connect().auth).toEqual({ token: TOKEN, password: PASSWORD });
    expectProof(gateway.connect(), TOKEN);
  });

  test('shows no request id that could change the command', async () => {
    const gateway = await startFakeGateway(answering(unpaired('x; rm -rf /')));
    expect(asRefusal(await enter(gateway.url)).message).toBe(
      "requires this bridge to be paired; run on the gateway's machine: openclaw devices list, and approve the request of openclaw-otel-bridge",
    );
  });

  test('reports a device token that the gateway has withdrawn', async () => {
    const withdrawn = refused('INVALID_REQUEST', { code: 'AUTH_DEVICE_TOKEN_MISMATCH' });
    const gateway = await startFakeGateway(
      answering(unpaired(REQUEST_ID), hello({ device_token: 'd-1' }), withdrawn),
    );
    asConnection(await enter(gateway.url));
    expect(asRefusal(await enter(gateway.url, {}))).toMatchObject({
      reason: 'token_refused',
      message: `no longer accepts this bridge's device token; ${SET_TOKEN}`,
    });
  });

  test("sends a device's token only to the gateway that issued it", async () => {
    const giver = await startFakeGateway(answering(unpaired(REQUEST_ID), hello({ device_token: 'd-1' })));
    const other = await startFakeGateway();
    asConnection(await enter(giver.url));
    asConnection(await enter(other.url, {}));
    expect(other.connect()).not.toHaveProperty('auth');
    expect(other.connect()).not.toHaveProperty('device');
  });

  test("keeps a device's token under an address that has no secrets", async () => {
    const gateway = await startFakeGateway(answering(unpaired(REQUEST_ID), hello({ device_token: 'd-1' })));
    const wishes = { onEvent: () => undefined, stop: new AbortController().signal };
    const url = `${gateway.url}/?key=for-the-proxy`;
    for (const env of [{ OPENCLAW_GATEWAY_TOKEN: TOKEN }, {}]) {
      const access = accessTo(url, env, gateway.url);
      asConnection(await enterGateway(access, wishes)).close();
    }
    expect(gateway.connect().auth).toEqual({ deviceToken: 'd-1' });
    expect(Buffer.from(readRecord(data_dir, 'device') ?? '').toString()).not.toContain('for-the-proxy');
  });

  test('reports a damaged device key', async () => {
    updateShared(data_dir, (db) => putRecord(db, 'device', Buffer.from('{"version":1,')));
    const gateway = await startFakeGateway(answering(unpaired(REQUEST_ID)));
    expect(asRefusal(await enter(gateway.url))).toMatchObject({
      reason: 'device_refused',
      message: `requires a device key: the device key in ${data_dir} is damaged; give another data directory, and pair the bridge again`,
    });
  });

  test('reports a device key that can not be stored', async () => {
    const file = join(data_dir, 'file');
    writeFileSync(file, '');
    const gateway = await startFakeGateway(answering(unpaired(REQUEST_ID)));
    const access = gatewayAccess(
      { url: gateway.url, name: gateway.url },
      { gateway: { token: TOKEN }, data_dir: join(file, 'data'), no_store: false },
      {},
    );
    const wishes = { onEvent: () => undefined, stop: new AbortController().signal };
    expect(asRefusal(await enterGateway(access, wishes)).message).toBe(
      `requires a device key: can't read the device key in ${file}/data: a part of its path is not a directory`,
    );
  });

  test('succeeds even if the device token can not be stored', async () => {
    const gateway = await startFakeGateway({
      replies: {
        connect({ params }) {
          if (params.device === undefined) return unpaired(REQUEST_ID);
          rmSync(data_dir, { recursive: true });
          writeFileSync(data_dir, '');
          return hello({ device_token: 'd-1' });
        },
      },
    });
    asConnection(await enter(gateway.url));
  });
});

describe('a device', () => {
  const required = refused('NOT_PAIRED', { code: 'DEVICE_IDENTITY_REQUIRED' });

  test.each<[string, Environment]>([
    ['a token', { OPENCLAW_GATEWAY_TOKEN: TOKEN }],
    ['a password', { OPENCLAW_GATEWAY_PASSWORD: PASSWORD }],
  ])('is tried if the gateway requires an identity in addition to %s', async (_, env) => {
    const gateway = await startFakeGateway(answering(required, hello()));
    asConnection(await enter(gateway.url, env));
    expect(gateway.connections).toHaveLength(2);
    expect(gateway.connect()).toHaveProperty('device');
  });

  test('is not tried again with another proof', async () => {
    const gateway = await startFakeGateway(answering(required, hello({ device_token: 'd-1' }), required));
    asConnection(await enter(gateway.url));
    expect(asRefusal(await enter(gateway.url)).reason).toBe('token_missing');
    expect(gateway.connections).toHaveLength(3);
  });
});

test.each([
  ['AUTH_TOKEN_MISSING', 'requires a token; the file of the secret is missing'],
  ['AUTH_PASSWORD_MISSING', 'requires a password; the file of the secret is missing'],
  [
    'AUTH_RATE_LIMITED',
    'blocks connections after too many failed attempts; check the token or password, and wait',
  ],
])('a secret that can not be read is reported if the gateway requires one: %s', async (code, message) => {
  const gateway = await startFakeGateway(answering(refused('INVALID_REQUEST', { code })));
  const access = {
    ...accessTo(gateway.url, {}),
    secrets: () => ({ problem: 'the file of the secret is missing' }),
  };
  const wishes = { onEvent: () => undefined, stop: new AbortController().signal };
  expect(asRefusal(await enterGateway(access, wishes)).message).toBe(message);
});

describe('an address without a ready gateway', () => {
  const CHECK = 'check the URL and what listens there';

  test.each<[string, string, Pick<Refusal, 'reason' | 'message'>]>([
    [
      'an HTTP server that answers 404',
      '404 Not Found',
      { reason: 'not_a_gateway', message: `answered HTTP 404 instead of opening a WebSocket; ${CHECK}` },
    ],
    [
      'an HTTP server that answers 200',
      '200 OK',
      { reason: 'not_a_gateway', message: `answered HTTP 200 instead of opening a WebSocket; ${CHECK}` },
    ],
    [
      'a gateway that is still starting',
      '503 Service Unavailable',
      { reason: 'busy', message: 'is not ready yet (HTTP 503)' },
    ],
  ])('%s is reported', async (_, status, expected) => {
    expect(asRefusal(await enter(await startListener(httpAnswer(status))))).toMatchObject(expected);
  });

  test('a server that speaks no WebSocket is reported', async () => {
    const url = await startListener((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n'));
    expect(asRefusal(await enter(url))).toMatchObject({
      reason: 'not_a_gateway',
      message: `does not speak WebSocket; ${CHECK}`,
    });
  });

  test('a refused connection is reported', async () => {
    expect(asRefusal(await enter('ws://127.0.0.1:1'))).toMatchObject({
      reason: 'unreachable',
      message: "can't be reached: connection refused; start it with: openclaw gateway",
    });
  });

  test('a certificate of an unknown authority is reported', async () => {
    const pem = (name: string): Buffer =>
      readFileSync(new URL(`../../../export/tls/${name}`, import.meta.url));
    const server = createServer({ key: pem('server.key'), cert: pem('server.pem') });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const { reason, message } = asRefusal(await enter(`wss://localhost:${port}`));
    expect(reason).toBe('certificate_refused');
    expect(message).toMatch(
      /^has a certificate that is not trusted \(\w+\); use the host name .* NODE_EXTRA_CA_CERTS to the file of its certificate authority$/,
    );
  });

  test('a server without TLS is reported if the URL requires TLS', async () => {
    const url = await startListener(httpAnswer('400 Bad Request'));
    expect(asRefusal(await enter(url.replace('ws:', 'wss:')))).toMatchObject({
      reason: 'not_a_gateway',
      message: 'failed the TLS handshake; use ws:// if it has no TLS',
    });
  });

  test('a WebSocket that is closed at once is reported with the code and the reason', async () => {
    const gateway = await startFakeGateway({
      onConnection: (connection) => connection.close(4001, `go away, ${TOKEN}`),
    });
    expect(asRefusal(await enter(gateway.url))).toMatchObject({
      reason: 'refused',
      message: `closed the connection during the handshake (code 4001, "go away, …"); check the gateway's log`,
    });
  });

  test('a WebSocket that breaks off at once is reported with the code', async () => {
    const gateway = await startFakeGateway({ onConnection: (connection) => connection.drop() });
    expect(asRefusal(await enter(gateway.url)).message).toBe(
      "closed the connection during the handshake (code 1006); check the gateway's log",
    );
  });

  test('a gateway that restarts during the handshake is reported as not ready', async () => {
    const gateway = await startFakeGateway({
      onConnection: (connection) => connection.close(1012, 'service restart'),
    });
    expect(asRefusal(await enter(gateway.url))).toMatchObject({
      reason: 'busy',
      message: 'is not ready yet (code 1012, "service restart")',
    });
  });
});

describe('a silent server', () => {
  const SILENT = {
    reason: 'no_answer',
    message: 'did not complete the handshake within 10 s; check that an OpenClaw gateway listens there',
  };

  function fakeTimers(): void {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  }

  test('is reported after 10 s if it accepts only the TCP connection', async () => {
    let onTaken = (): void => undefined;
    const taken = new Promise<void>((resolve) => {
      onTaken = resolve;
    });
    const url = await startListener(() => onTaken());
    fakeTimers();
    const entered = enter(url);
    await taken;
    vi.advanceTimersByTime(10_000);
    expect(asRefusal(await entered)).toMatchObject(SILENT);
  });

  test('is reported after 10 s if it sends no challenge', async () => {
    let onTaken = (): void => undefined;
    const taken = new Promise<void>((resolve) => {
      onTaken = resolve;
    });
    const gateway = await startFakeGateway({ challenge: null, onConnection: () => onTaken() });
    fakeTimers();
    const entered = enter(gateway.url);
    await taken;
    vi.advanceTimersByTime(10_000);
    expect(asRefusal(await entered)).toMatchObject(SILENT);
  });

  test('is reported after 10 s if it does not answer connect', async () => {
    let onAsked = (): void => undefined;
    const asked = new Promise<void>((resolve) => {
      onAsked = resolve;
    });
    const gateway = await startFakeGateway({
      replies: {
        connect() {
          onAsked();
          return 'silence';
        },
      },
    });
    fakeTimers();
    const entered = enter(gateway.url);
    await asked;
    vi.advanceTimersByTime(10_000);
    expect(asRefusal(await entered)).toMatchObject(SILENT);
  });
});

test.each<[string, Reply]>([
  ['that succeeds', hello()],
  ['that is refused', refused('UNAVAILABLE', {})],
])('a handshake %s leaves no timer behind, which would delay the end of the process', async (_, reply) => {
  const gateway = await startFakeGateway(answering(reply));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const entered = await enter(gateway.url);
  if ('kind' in entered) await gateway.connections[0]?.ended;
  expect(vi.getTimerCount()).toBe(0);
});

describe('a stop', () => {
  const onEvent = (): void => undefined;
  const ENDED = { reason: expect.stringMatching(/^(refused|unreachable)$/) };

  test('ends a handshake at once, before it begins or in the middle of it', async () => {
    const stop = new AbortController();
    const gateway = await startFakeGateway({ challenge: null, onConnection: () => stop.abort() });
    const early = { onEvent, stop: AbortSignal.abort() };
    expect(asRefusal(await enterGateway(accessTo(gateway.url), early))).toMatchObject(ENDED);
    const wishes = { onEvent, stop: stop.signal };
    expect(asRefusal(await enterGateway(accessTo(gateway.url), wishes))).toMatchObject(ENDED);
  });

  test('does not end an open connection', async () => {
    const gateway = await startFakeGateway();
    const stop = new AbortController();
    const connection = asConnection(
      await enterGateway(accessTo(gateway.url), { onEvent, stop: stop.signal }),
    );
    onTestFinished(() => connection.close());
    stop.abort();
    expect(await connection.call('health', {})).toEqual({ ok: true, payload: {} });
  });
});

test('a call ends with its connection', async () => {
  const gateway = await startFakeGateway({
    replies: {
      health: ({ connection }) => {
        connection.drop();
        return 'silence';
      },
    },
  });
  const connection = asConnection(await enter(gateway.url));
  expect(await connection.call('health', {})).toMatchObject({
    ok: false,
    error: { code: 'UNANSWERED', message: 'the connection was closed' },
  });
});

test('a long message from a gateway is cut to the length of a line, but not within a character', async () => {
  const error = { code: 'OTHER', message: `x${'😀'.repeat(10_000)}`, details: {} };
  const gateway = await startFakeGateway(answering({ error }));
  const { message } = asRefusal(await enter(gateway.url));
  expect(message.length).toBeLessThan(300);
  expect(message.toWellFormed()).toBe(message);
});

test('a gateway that hangs does not hold up the end of its connection', async () => {
  const gateway = await startFakeGateway();
  const connection = asConnection(await enter(gateway.url));
  gateway.connections[0]?.hang();
  connection.close();
  expect(await connection.ended).toMatchObject({ code: 1006 });
}, 10_000);

describe('a gateway from which nothing comes any more', () => {
  const TICK_MS = 1_000;

  async function connectTicking() {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const gateway = await startFakeGateway(answering(hello({ tick_interval_ms: TICK_MS })));
    return { gateway, connection: asConnection(await enter(gateway.url)) };
  }

  test('is left after three ticks in a row', async () => {
    const { connection } = await connectTicking();
    for (let answers = 0; answers < 2; answers++) {
      vi.advanceTimersByTime(2 * TICK_MS);
      expect(await connection.call('health', {})).toEqual({ ok: true, payload: {} });
    }
    vi.advanceTimersByTime(3 * TICK_MS);
    expect(await connection.ended).toEqual({ code: 4000, reason: 'tick timeout' });
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is left even if it does not answer that either', async () => {
    const { gateway, connection } = await connectTicking();
    gateway.connections[0]?.hang();
    vi.advanceTimersByTime(3 * TICK_MS);
    expect((await connection.ended).code).toBe(1006);
  });

  test('is not left while nothing is read from it', async () => {
    const { connection } = await connectTicking();
    connection.pause();
    vi.advanceTimersByTime(60 * TICK_MS);
    connection.resume();
    expect(await connection.call('health', {})).toEqual({ ok: true, payload: {} });
  });
});

test('a frame may be some MiB long, but not of any length', async () => {
  const text = 'x'.repeat(30 * 2 ** 20);
  const gateway = await startFakeGateway({ replies: { 'sessions.get': { payload: { text } } } });
  const connection = asConnection(await enter(gateway.url));
  const answer = await connection.call('sessions.get', {});
  expect(answer.ok && answer.payload.text === text).toBe(true);
  gateway.connections[0]?.say('x'.repeat(64 * 2 ** 20 + 1));
  expect(await gateway.connections[0]?.ended).toBe(1009);
  await connection.ended;
});

describe('text from a gateway', () => {
  const said = `no ${TOKEN} here \u001b[2J`;

  test('is shown without the token: in its hello, in its refusal of a call and in the reason of a close', async () => {
    const error = { code: 'UNAVAILABLE', message: said, details: { missingScope: TOKEN } };
    const gateway = await startFakeGateway({
      replies: {
        connect: hello({ version: said, scopes: ['operator.read', TOKEN] }),
        'sessions.list': { error },
      },
    });
    const connection = asConnection(await enter(gateway.url));
    expect(connection.hello).toMatchObject({
      server_version: 'no … here  [2J',
      scopes: ['operator.read', '…'],
    });
    expect(await connection.call('sessions.list', {})).toEqual({
      ok: false,
      error: { code: 'UNAVAILABLE', message: 'no … here  [2J', details: { missingScope: '…' } },
    });
    gateway.connections[0]?.close(1008, said);
    expect(await connection.ended).toEqual({ code: 1008, reason: 'no … here  [2J' });
  });

  test('is redacted before it is cut, and also if the reason of a close contains a cut token', async () => {
    for (const before of [190, 197]) {
      const error = { code: 'OTHER', message: `${'x'.repeat(before)}${TOKEN}`, details: {} };
      const long = await startFakeGateway(answering({ error }));
      expect(asRefusal(await enter(long.url)).message).toMatch(/x… \(OTHER\)$/);
    }
    const closing = await startFakeGateway({
      challenge: null,
      onConnection: ({ close }) => close(1008, TOKEN.slice(0, 12)),
    });
    expect(asRefusal(await enter(closing.url)).message).toContain('(code 1008, "…")');
  });

  test('is shown without the device token that the gateway has just issued', async () => {
    const gateway = await startFakeGateway(answering(hello({ device_token: 'given-to-this-device' })));
    const connection = asConnection(await enter(gateway.url));
    expect(connection.hello.device_token).toBe('given-to-this-device');
    gateway.connections[0]?.close(1008, 'expired: given-to-this-device');
    expect(await connection.ended).toEqual({ code: 1008, reason: 'expired: …' });
  });

  test('is shown without the password, and without the device token of an earlier connection', async () => {
    const refusing = (secret: string): Reply => refused('OTHER', {}, { message: `no ${secret} here` });
    const wanting = await startFakeGateway(answering(refusing(PASSWORD)));
    const env = { OPENCLAW_GATEWAY_PASSWORD: PASSWORD };
    expect(asRefusal(await enter(wanting.url, env)).found).toBe('rejected the connection: no … here (OTHER)');
    const paired = refused('NOT_PAIRED', { code: 'DEVICE_IDENTITY_REQUIRED' });
    const given = hello({ device_token: 'given-to-this-device' });
    const gateway = await startFakeGateway(answering(paired, given, refusing('given-to-this-device')));
    asConnection(await enter(gateway.url));
    expect(asRefusal(await enter(gateway.url, {})).found).toBe('rejected the connection: no … here (OTHER)');
  });

  test('is shown without the query values of the URL, which may be tokens for a proxy, unless they are short', async () => {
    const gateway = await startFakeGateway(answering(hello()));
    const connection = asConnection(await enter(`${gateway.url}/?key=for-the-proxy&id=12345678&v=1`));
    gateway.connections[0]?.close(1008, 'no for-the-proxy 12345678 1');
    expect(await connection.ended).toEqual({ code: 1008, reason: 'no … … 1' });
  });

  test('is not taken for a known code if it is the name of an inherited property', async () => {
    const gateway = await startFakeGateway(answering(refused('constructor', {})));
    expect(asRefusal(await enter(gateway.url))).toMatchObject({ reason: 'refused' });
  });

  test.each([
    ['PASSWORD', refused('INVALID_REQUEST', { code: 'AUTH_PASSWORD_MISMATCH' }), 'password_refused'],
    ['AVAILABLE', refused('UNAVAILABLE', {}), 'busy'],
  ])('is understood even if the password %s is part of its error code', async (password, reply, reason) => {
    const gateway = await startFakeGateway(answering(reply));
    const refusal = asRefusal(await enter(gateway.url, { OPENCLAW_GATEWAY_PASSWORD: password }));
    expect(refusal.reason).toBe(reason);
  });
});
