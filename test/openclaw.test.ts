/**
 * The secret of the gateway on this machine, as read from OpenClaw's own configuration, and to which gateways it is given.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are OpenClaw's own
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findGatewayUrl, findSecrets, gatewayAccess } from '../src/start/gateway.js';
import { openclawDirectory, readGatewaySecrets } from '../src/start/openclaw.js';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'openclaw-'));
  path = join(directory, 'openclaw.json');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

type Environment = Record<string, string>;

/** The result of reading an `openclaw.json` with this content. */
function read(content: string, env: Environment = {}) {
  writeFileSync(path, content);
  return readGatewaySecrets({ OPENCLAW_STATE_DIR: directory, ...env });
}

const withToken = (token: string): string => `{ gateway: { auth: { token: ${token} } } }`;

test('JSON5 with comments and trailing commas is read', () => {
  const content = `// our gateway
{
  gateway: { auth: { /* mode */ mode: 'token', token: 'abc', }, },
}`;
  expect(read(content)).toEqual({ token: 'abc' });
});

test.each<[string, string, object]>([
  ['a variable', '"${GATEWAY_TOKEN}"', { token: 'abc' }],
  ['a variable within a string', '"x-${GATEWAY_TOKEN}-${GATEWAY_TOKEN}"', { token: 'x-abc-abc' }],
  [
    'text that only looks like a variable',
    '"$${GATEWAY_TOKEN} ${lower} $X"',
    { token: '${GATEWAY_TOKEN} ${lower} $X' },
  ],
  [
    'a reference to a variable',
    '{ source: "env", provider: "default", id: "GATEWAY_TOKEN" }',
    { token: 'abc' },
  ],
  ['an empty string', '""', {}],
  ['a number', '5', {}],
])('a token that is %s is resolved', (_, token, secrets) => {
  expect(read(withToken(token), { GATEWAY_TOKEN: 'abc' })).toEqual(secrets);
});

test.each([['"${GATEWAY_TOKEN}"'], ['{ source: "env", id: "GATEWAY_TOKEN" }']])(
  'a missing or empty variable is a problem: %s',
  (token) => {
    const problem = `gateway.auth.token in ${path} refers to the environment variable GATEWAY_TOKEN, which is not set; set it`;
    expect(read(withToken(token))).toEqual({ problem });
    expect(read(withToken(token), { GATEWAY_TOKEN: '' })).toEqual({ problem });
  },
);

test('a reference to a secret store is a problem', () => {
  expect(read(withToken('{ source: "exec", provider: "vault", id: "gateway" }'))).toEqual({
    problem: `gateway.auth.token in ${path} is a SecretRef, which the bridge can't resolve; set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD to its value`,
  });
});

test('a usable token is returned beside the problem of an unusable password', () => {
  const content = '{ gateway: { auth: { token: "abc", password: "${GATEWAY_PASSWORD}" } } }';
  expect(read(content)).toEqual({
    token: 'abc',
    problem: `gateway.auth.password in ${path} refers to the environment variable GATEWAY_PASSWORD, which is not set; set it`,
  });
});

test('an invalid file is a problem, and its content is not repeated', () => {
  expect(read('{ gateway: { auth: { token: "abc" "def" } } }')).toEqual({
    problem: `can't read ${path}: not valid JSON5; fix the file, or set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD`,
  });
});

test.each([['[]'], ['{}'], ['{ gateway: 5 }'], ['{ gateway: { auth: [] } }'], ['null']])(
  'a file without secrets gives none: %s',
  (content) => {
    expect(read(content)).toEqual({});
  },
);

test('without openclaw.json there are no secrets and no problem', () => {
  expect(readGatewaySecrets({ OPENCLAW_STATE_DIR: directory })).toEqual({});
});

test.skipIf(process.getuid?.() === 0)('an unreadable file is a problem', () => {
  writeFileSync(path, withToken('"abc"'));
  chmodSync(path, 0);
  expect(readGatewaySecrets({ OPENCLAW_STATE_DIR: directory })).toEqual({
    problem: `can't read ${path}: permission denied; fix the file, or set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD`,
  });
});

test('a directory at OPENCLAW_CONFIG_PATH is a problem', () => {
  expect(readGatewaySecrets({ OPENCLAW_CONFIG_PATH: directory })).toEqual({
    problem: `can't read ${directory}: it is a directory; fix the file, or set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD`,
  });
});

test.each<[string, boolean]>([
  ['ws://127.0.0.1:18789', true],
  ['ws://127.1:18789', true],
  ['ws://LOCALHOST', true],
  ['wss://[::1]:18789/gateway', true],
  ['ws://10.0.0.1:18789', false],
  ['ws://127.0.0.1.example.com', false],
  ['ws://localhost.example.com', false],
  ['ws://localhost@example.com', false],
])("whether %s gets this machine's secret: %s", (url, is_given) => {
  writeFileSync(path, withToken('"abc"'));
  const settings = { gateway: {}, no_store: true };
  const { secrets } = gatewayAccess({ url, name: url }, settings, { OPENCLAW_STATE_DIR: directory });
  expect(secrets()).toEqual(is_given ? { token: 'abc' } : {});
});

test("the environment's token overrides the configuration file's, and that overrides OpenClaw's", () => {
  writeFileSync(path, withToken('"of openclaw"'));
  const access = (gateway: { token?: string }, env: Environment) =>
    gatewayAccess(
      { url: 'ws://127.0.0.1', name: '' },
      { gateway, no_store: true },
      { OPENCLAW_STATE_DIR: directory, ...env },
    );
  const named = { OPENCLAW_GATEWAY_TOKEN: 'of the environment' };
  expect(access({ token: 'of the file' }, named).secrets()).toEqual({ token: 'of the environment' });
  expect(access({ token: 'of the file' }, {}).secrets()).toEqual({ token: 'of the file' });
  expect(access({}, {}).secrets()).toEqual({ token: 'of openclaw' });
});

test.each<[{ token?: string; password?: string }, Environment, object, string]>([
  [{}, { OPENCLAW_GATEWAY_PASSWORD: 'e' }, { password: 'e' }, 'OPENCLAW_GATEWAY_PASSWORD'],
  [{ password: 'f' }, {}, { password: 'f' }, 'the configuration file'],
  [{ password: 'f' }, { OPENCLAW_GATEWAY_PASSWORD: 'e' }, { password: 'e' }, 'OPENCLAW_GATEWAY_PASSWORD'],
  [
    { password: 'f' },
    { OPENCLAW_GATEWAY_TOKEN: 'e' },
    { token: 'e', password: 'f' },
    'OPENCLAW_GATEWAY_TOKEN',
  ],
])('with the secrets %j of the configuration file and %j, that of OpenClaw is not used', (...given) => {
  const [gateway, env, value, origin] = given;
  writeFileSync(path, withToken('"of openclaw"'));
  const places = { OPENCLAW_STATE_DIR: directory, ...env };
  expect(findSecrets('ws://127.0.0.1', { gateway }, places)).toEqual({ value, origin });
});

test("the environment's gateway overrides the configuration file's, and an empty variable counts as not set", () => {
  const find = (env: Environment, gateway = {}) => findGatewayUrl({ gateway }, env).value;
  expect(find({ OPENCLAW_GATEWAY_URL: 'ws://e' }, { url: 'ws://f' })).toBe('ws://e');
  expect(find({ OPENCLAW_GATEWAY_URL: '' }, { url: 'ws://f' })).toBe('ws://f');
  expect(find({})).toBe('ws://127.0.0.1:18789');
  expect(openclawDirectory({ OPENCLAW_STATE_DIR: '' })).toBe(join(homedir(), '.openclaw'));
});
