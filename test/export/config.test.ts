import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type DestinationConfig,
  type DestinationRecord,
  destinationSchema,
  resolveDestinations,
} from '../../src/export/config.js';
import { environmentNamesEndpoint } from '../../src/export/environment.js';
import type { DestinationOption } from '../../src/export/parse.js';
import type { OtlpPresetName } from '../../src/export/presets.js';
import { createResource, resourceProblem } from '../../src/export/resource.js';

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (/^OTEL_|_proxy$/i.test(name)) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const OTLP: DestinationOption = { name: 'otlp', preset: 'otlp' };

function resolve(option: DestinationOption, record?: DestinationRecord): DestinationConfig {
  const resolved = resolveDestinations([option], record === undefined ? [] : [record]);
  if ('error' in resolved) throw new Error(resolved.error);
  return resolved.destinations[0] as DestinationConfig;
}
const of = (preset: OtlpPresetName, url?: string): DestinationConfig =>
  resolve(url === undefined ? { name: preset, preset } : { name: preset, preset, url });
const error = (option: DestinationOption, ...records: DestinationRecord[]) =>
  resolveDestinations([option], records);
function expectErrorWithoutSecret(text: string): void {
  const resolved = error(OTLP);
  expect(resolved).toEqual({ error: expect.stringContaining(text) });
  expect(JSON.stringify(resolved)).not.toContain('hunter2');
}
const urls = ({ endpoints }: DestinationConfig) => Object.values(endpoints).map(({ url }) => url);

describe('presets', () => {
  test('clawmetry', () => {
    const { endpoints, ...rest } = of('clawmetry');
    expect(rest).toEqual({
      name: 'clawmetry',
      preset: 'clawmetry',
      temporality: 'delta',
      profile: 'clawmetry',
      open_spans: 'replace',
    });
    expect(Object.keys(endpoints)).toEqual(['traces', 'metrics', 'logs']);
    expect(endpoints.logs).toEqual({
      url: 'http://127.0.0.1:8900/v1/logs',
      encoding: 'json',
      compression: 'none',
      headers: {},
      tls: {},
      timeout_ms: 30_000,
    });
  });

  test.each([
    ['jaeger', ['http://127.0.0.1:4318/v1/traces']],
    ['prometheus', ['http://127.0.0.1:9090/api/v1/otlp/v1/metrics']],
    ['collector', ['traces', 'metrics', 'logs'].map((signal) => `http://127.0.0.1:4318/v1/${signal}`)],
  ] as const)('%s', (preset, expected) => {
    const config = of(preset);
    expect(urls(config)).toEqual(expected);
    expect(config).toMatchObject({ temporality: 'cumulative', profile: 'latest', open_spans: 'none' });
    expect(Object.values(config.endpoints).map(({ encoding }) => encoding)).toEqual(
      expected.map(() => 'protobuf'),
    );
  });

  test.each(['grafana', 'otlp'] as const)('%s has the settings of the preset collector', (preset) => {
    const { name: _, preset: __, ...settings } = of(preset);
    const { name: ___, preset: ____, ...expected } = of('collector');
    expect(settings).toEqual(expected);
  });

  test('a preset may be used several times under different names, each with its own settings', () => {
    const options = ['here', 'there'].map((name) => ({
      name,
      preset: 'prometheus' as const,
      url: `http://${name}:9090/api/v1/otlp`,
    }));
    const resolved = resolveDestinations(options, [
      { name: 'there', preset: 'prometheus', profile: 'legacy', timeout_ms: 7 },
    ]);
    expect(resolved).toMatchObject({
      destinations: [
        { name: 'here', profile: 'latest', endpoints: { metrics: { timeout_ms: 10_000 } } },
        {
          name: 'there',
          profile: 'legacy',
          endpoints: { metrics: { url: 'http://there:9090/api/v1/otlp/v1/metrics', timeout_ms: 7 } },
        },
      ],
    });
  });

  test('the console has no settings', () => {
    expect(resolveDestinations([{ name: 'here', preset: 'console' }])).toEqual({
      destinations: [{ name: 'here', preset: 'console' }],
    });
  });
});

describe('the environment', () => {
  test("the general endpoint applies to preset otlp; a signal's own endpoint is used unchanged", () => {
    expect(environmentNamesEndpoint()).toBe(false);
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://general:4318/');
    vi.stubEnv('OTEL_EXPORTER_OTLP_LOGS_ENDPOINT', 'http://own:1/here');
    expect(environmentNamesEndpoint()).toBe(true);
    expect(urls(of('otlp'))).toEqual([
      'http://general:4318/v1/traces',
      'http://general:4318/v1/metrics',
      'http://own:1/here',
    ]);
    expect(urls(of('jaeger'))).toEqual(['http://127.0.0.1:4318/v1/traces']);
    expect(urls(of('otlp', 'http://given'))[0]).toBe('http://given/v1/traces');
  });

  test('timeout, compression and protocol can be set in general and for one signal', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_TIMEOUT', '1500');
    vi.stubEnv('OTEL_EXPORTER_OTLP_LOGS_TIMEOUT', '7');
    vi.stubEnv('OTEL_EXPORTER_OTLP_COMPRESSION', 'gzip');
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/json');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_PROTOCOL', 'http/protobuf');
    const { traces, metrics, logs } = of('collector').endpoints;
    expect(traces).toMatchObject({ timeout_ms: 1_500, compression: 'gzip', encoding: 'json' });
    expect(metrics).toMatchObject({ encoding: 'protobuf' });
    expect(logs).toMatchObject({ timeout_ms: 7, encoding: 'json' });
    expect(of('clawmetry').endpoints.traces).toMatchObject({ timeout_ms: 1_500, compression: 'gzip' });
  });

  test('ClawMetry still gets JSON if the protocol is set to protobuf', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf');
    expect(of('clawmetry').endpoints.traces?.encoding).toBe('json');
  });

  test.each(['grpc', 'carrier pigeon'])('the protocol %s is an error', (protocol) => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', protocol);
    expect(error(OTLP)).toEqual({
      error: expect.stringMatching(/OTEL_EXPORTER_OTLP_PROTOCOL.*http\/protobuf/),
    });
  });

  test.each([
    ['TIMEOUT', '10s', 'milliseconds'],
    ['LOGS_TIMEOUT', '0', 'milliseconds'],
    ['COMPRESSION', 'zstd', 'gzip or none'],
  ])('%s=%s is an error', (setting, value, advice) => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_TIMEOUT', '1500');
    vi.stubEnv(`OTEL_EXPORTER_OTLP_${setting}`, value);
    expect(error(OTLP)).toEqual({
      error: expect.stringMatching(new RegExp(`^OTEL_EXPORTER_OTLP_${setting}: .*${advice}`)),
    });
  });

  test('an unusable endpoint is an error that does not repeat the value', () => {
    for (const url of ['http://me:hunter2@host', 'hunter2', 'http://host?key=hunter2']) {
      vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url);
      expectErrorWithoutSecret('OTEL_EXPORTER_OTLP_ENDPOINT');
    }
  });

  test('the temporality preference applies where the backend supports it', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'Delta');
    expect(of('otlp').temporality).toBe('delta');
    expect(of('prometheus').temporality).toBe('cumulative');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'cumulative');
    expect(of('clawmetry').temporality).toBe('delta');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'sometimes');
    expect(error(OTLP)).toEqual({ error: expect.stringContaining('TEMPORALITY_PREFERENCE') });
  });

  test('the resource is read from the environment', () => {
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'deployment.environment=test,service.instance.id=replica-1');
    expect(createResource().attributes).toEqual({
      'service.name': 'openclaw',
      'service.instance.id': 'replica-1',
      'host.name': expect.any(String),
      ip: expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/),
      'deployment.environment': 'test',
    });
    vi.stubEnv('OTEL_SERVICE_NAME', 'gateway-7');
    expect(createResource().attributes['service.name']).toBe('gateway-7');
    expect(resourceProblem()).toBeUndefined();
  });

  test.each([
    ['without "="', 'hunter2', 'part 2'],
    ['with two', 'token=hunter2=hunter2', 'part 2 ("token")'],
    ['without a key', '=hunter2', 'part 2'],
    ['badly encoded', 'token=100%hunter2', 'part 2 ("token")'],
    ['badly encoded in its key', '%hunter2%=a', 'part 2'],
  ])(
    'a resource attribute %s is left out and reported without its value; the others are used',
    (_, part, said) => {
      vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', ` team = blue%20one ,${part},, region=eu,empty=,more`);
      expect(createResource().attributes).toMatchObject({ team: 'blue one', region: 'eu', empty: '' });
      const problem = resourceProblem();
      expect(problem).toMatch(/^OTEL_RESOURCE_ATTRIBUTES: .* KEY=VALUE,KEY=VALUE/);
      expect(problem).toContain(`${said}, part 6;`);
      expect(problem).not.toContain('hunter2');
    },
  );

  test('only the first of many unusable resource attributes are named', () => {
    const parts = Array.from({ length: 300 }, (_, index) => `part${index}`);
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', [`${'k'.repeat(10_000)}=1=2`, ...parts].join());
    const problem = resourceProblem() ?? '';
    expect(problem).toContain('part 1, part 2, part 3,');
    expect(problem).toContain(' and 291 more;');
    expect(problem.length).toBeLessThan(400);
  });
});

describe("the environment's headers", () => {
  beforeEach(() => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'Authorization=Bearer%20hunter2,X-Team=a');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_HEADERS', 'x-team=b');
  });

  test("go to every destination except ClawMetry, with each signal's own", () => {
    const { traces, metrics } = of('collector').endpoints;
    expect(traces?.headers).toEqual({ authorization: 'Bearer hunter2', 'x-team': 'a' });
    expect(metrics?.headers).toEqual({ authorization: 'Bearer hunter2', 'x-team': 'b' });
    expect(of('clawmetry').endpoints.traces?.headers).toEqual({});
  });

  test("go only to the endpoint's server if the environment names an endpoint", () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'https://vendor:443');
    expect(of('otlp').endpoints.traces?.headers).toHaveProperty('authorization');
    expect(of('otlp', 'https://vendor/other').endpoints.traces?.headers).toHaveProperty('authorization');
    expect(of('clawmetry', 'https://vendor').endpoints.traces?.headers).toHaveProperty('authorization');
    expect(of('jaeger').endpoints.traces?.headers).toEqual({});
    expect(of('otlp', 'http://vendor:443').endpoints.traces?.headers).toEqual({});
  });

  test("that are general go to the server of one signal's endpoint and to no other", () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'https://vendor/v1/traces');
    const same = of('otlp', 'https://vendor').endpoints;
    const other = of('otlp', 'https://other').endpoints;
    for (const signal of ['traces', 'logs', 'metrics'] as const) {
      expect(same[signal]?.headers).toHaveProperty('authorization');
      expect(other[signal]?.headers).toEqual({});
    }
    expect(of('otlp').endpoints.logs?.headers).toEqual({});
  });

  test("of a signal with its own endpoint do not go to another signal's endpoint", () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'https://vendor/v1/traces');
    vi.stubEnv('OTEL_EXPORTER_OTLP_LOGS_ENDPOINT', 'https://other/v1/logs');
    const { traces, logs, metrics } = of('otlp', 'https://other').endpoints;
    expect(traces?.headers).toEqual({});
    expect(logs?.headers).toHaveProperty('authorization');
    expect(metrics?.headers).toHaveProperty('authorization');
  });

  test.each(['x-key=a%0Ahunter2', 'bad name=hunter2', 'content-length=12'])(
    'that HTTP does not allow are an error',
    (text) => {
      vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', text);
      expectErrorWithoutSecret('OTEL_EXPORTER_OTLP_HEADERS');
    },
  );

  test.each(['hunter2', 'x-key=100%hunter2', 'x-key=a,b hunter2'])(
    'that would be ignored are an error that names their variable',
    (text) => {
      vi.stubEnv('OTEL_EXPORTER_OTLP_LOGS_HEADERS', text);
      expectErrorWithoutSecret('OTEL_EXPORTER_OTLP_LOGS_HEADERS: ');
    },
  );

  test('may be blank or have no value', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', ' x-key = , , x-team=a,');
    expect(of('otlp').endpoints.traces?.headers).toEqual({ 'x-team': 'a' });
  });
});

describe('the configuration file', () => {
  const FILE: DestinationRecord = {
    preset: 'otlp',
    url: 'http://file:1/base',
    signals: ['traces', 'metrics'],
    encoding: 'json',
    compression: 'gzip',
    headers: { Authorization: 'from file', 'X-Other': 'kept' },
    temporality: 'delta',
    profile: 'clawmetry',
    open_spans: 'replace',
    timeout_ms: 1_234,
  };

  test('provides whatever neither an option nor the environment sets', () => {
    const config = resolve(OTLP, FILE);
    expect(config).toMatchObject({ temporality: 'delta', profile: 'clawmetry', open_spans: 'replace' });
    expect(config.endpoints).toEqual({
      traces: {
        url: 'http://file:1/base/v1/traces',
        encoding: 'json',
        compression: 'gzip',
        headers: { authorization: 'from file', 'x-other': 'kept' },
        environment_headers: { variable: 'OTEL_EXPORTER_OTLP_HEADERS', names: [] },
        tls: {},
        timeout_ms: 1_234,
      },
      metrics: expect.objectContaining({ url: 'http://file:1/base/v1/metrics' }),
    });
  });

  test('has lower precedence than the environment, and the environment lower than an option', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://environment:2');
    vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'authorization=from environment');
    vi.stubEnv('OTEL_EXPORTER_OTLP_COMPRESSION', 'none');
    vi.stubEnv('OTEL_EXPORTER_OTLP_TIMEOUT', '99');
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'cumulative');
    const config = resolve(OTLP, FILE);
    expect(config.temporality).toBe('cumulative');
    expect(config.endpoints.traces).toMatchObject({
      url: 'http://environment:2/v1/traces',
      encoding: 'protobuf',
      compression: 'none',
      headers: { authorization: 'from environment', 'x-other': 'kept' },
      timeout_ms: 99,
    });
    expect(resolve({ ...OTLP, url: 'http://option:3' }, FILE).endpoints.traces?.url).toBe(
      'http://option:3/v1/traces',
    );
  });

  test('names the destinations if no option does; a record under another name is not used', () => {
    const records: DestinationRecord[] = [FILE, { preset: 'otlp' }, { preset: 'console' }];
    const resolved = resolveDestinations([], records);
    expect('destinations' in resolved && resolved.destinations.map(({ name }) => name)).toEqual([
      'otlp',
      'otlp-2',
      'console',
    ]);
    expect(resolve({ name: 'mine', preset: 'otlp' }, FILE).profile).toBe('latest');
  });

  test('is checked: unknown keys are errors, and no secret is repeated', () => {
    expect(destinationSchema.safeParse(FILE).success).toBe(true);
    const bad = [
      { preset: 'otlp', colour: 'red' },
      { preset: 'nothing' },
      { preset: 'console', url: 'http://host' },
      { preset: 'otlp', url: 'http://me:hunter2@host' },
      { preset: 'otlp', headers: { 'x-key': 'hunter2\n' } },
      { preset: 'otlp', headers: { 'bad name': 'hunter2' } },
      { preset: 'otlp', signals: [] },
      { preset: 'otlp', tls: { password: 'hunter2' } },
      { preset: 'otlp', timeout_ms: 0 },
      { preset: 'otlp', name: 'two words' },
    ];
    for (const record of bad) {
      const { error } = destinationSchema.safeParse(record);
      expect(error, JSON.stringify(record)).toBeDefined();
      expect(error?.message).not.toContain('hunter2');
    }
  });
});

describe('a bearer token', () => {
  const directory = mkdtempSync(join(tmpdir(), 'openclaw-otel-bridge-config-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const fileOf = (content: string): string => {
    const path = join(directory, 'token');
    writeFileSync(path, content);
    return path;
  };
  const bearerOf = ({ endpoints }: DestinationConfig) => endpoints.traces?.bearer;

  test('comes from an environment variable or a file', () => {
    vi.stubEnv('MY_TOKEN', 'hunter2');
    const from_env = bearerOf(resolve(OTLP, { preset: 'otlp', bearer: { env: 'MY_TOKEN' } }));
    expect(from_env).toMatchObject({ token: 'hunter2', place: 'the environment variable MY_TOKEN' });
    const path = fileOf('  hunter3\n');
    const from_file = bearerOf(resolve(OTLP, { preset: 'otlp', bearer: { file: path } }));
    expect(from_file).toMatchObject({ token: 'hunter3', place: `the file ${path}` });
  });

  test("gives way to the environment's authorization header if that goes to the same server", () => {
    vi.stubEnv('MY_TOKEN', 'hunter2');
    vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'authorization=Bearer%20hunter3');
    const record = { bearer: { env: 'MY_TOKEN' } };
    const { traces } = resolve(OTLP, { preset: 'otlp', ...record }).endpoints;
    expect(traces).toMatchObject({ headers: { authorization: 'Bearer hunter3' } });
    expect(traces).not.toHaveProperty('bearer');
    const option: DestinationOption = { name: 'clawmetry', preset: 'clawmetry' };
    const clawmetry = resolve(option, { preset: 'clawmetry', ...record });
    expect(bearerOf(clawmetry)?.token).toBe('hunter2');
    expect(clawmetry.endpoints.traces?.headers).toEqual({});
  });

  test.each([
    ['in an unset variable', { env: 'NO_SUCH_TOKEN' }, /otlp: bearer: .*NO_SUCH_TOKEN is not set/],
    ['in an empty variable', { env: 'EMPTY_TOKEN' }, /EMPTY_TOKEN is empty/],
    ['with more than one word', { env: 'LONG_TOKEN' }, /LONG_TOKEN contains more than a token/],
    ['with characters that HTTP does not allow', { env: 'ODD_TOKEN' }, /ODD_TOKEN contains characters/],
    [
      'in a missing file',
      { file: '/no/such/token' },
      /can't read the file \/no\/such\/token: it does not exist/,
    ],
    ['in a directory', { file: tmpdir() }, /can't read the file .*: it is a directory/],
  ] as const)('%s is an error that names its origin', (_, bearer, expected) => {
    vi.stubEnv('EMPTY_TOKEN', ' ');
    vi.stubEnv('LONG_TOKEN', 'Bearer hunter2');
    vi.stubEnv('ODD_TOKEN', 'hunter2-\u{1f600}');
    const resolved = error(OTLP, { preset: 'otlp', bearer });
    expect(resolved).toEqual({ error: expect.stringMatching(expected) });
    expect(JSON.stringify(resolved)).not.toContain('hunter');
  });

  test('in an empty file is an error', () => {
    expect(error(OTLP, { preset: 'otlp', bearer: { file: fileOf('\n') } })).toEqual({
      error: expect.stringMatching(/the file .*token is empty/),
    });
  });

  test.each([
    'hunter2',
    {},
    { token: 'hunter2' },
    { env: 'hunter2-hunter2' },
    { env: 'A', file: 'hunter2' },
    { file: '' },
  ])("can't be named by %o, and the error does not repeat the value", (bearer) => {
    const { error: problem } = destinationSchema.safeParse({ preset: 'otlp', bearer });
    expect(problem?.issues[0]?.path[0]).toBe('bearer');
    expect(problem?.message).not.toContain('hunter2');
  });

  test("can't be combined with an authorization header", () => {
    const record = { preset: 'otlp', bearer: { env: 'A' }, headers: { Authorization: 'Basic hunter2' } };
    const { error: problem } = destinationSchema.safeParse(record);
    expect(problem?.message).toMatch(/header authorization.*remove one of them/);
    expect(problem?.message).not.toContain('hunter2');
    const other = { ...record, headers: { 'x-team': 'a' } };
    expect(destinationSchema.safeParse(other).success).toBe(true);
  });
});

describe('a proxy', () => {
  const proxyOf = (url: string) => of('otlp', url).endpoints.traces?.proxy;

  test('is chosen by scheme, lower-case variables before upper-case ones, and not used for loopback addresses', () => {
    vi.stubEnv('HTTP_PROXY', 'http://plain:3128');
    vi.stubEnv('HTTPS_PROXY', 'http://large:3128/');
    expect(proxyOf('http://backend')).toEqual({ url: 'http://plain:3128', variable: 'HTTP_PROXY' });
    expect(proxyOf('https://backend')).toEqual({ url: 'http://large:3128', variable: 'HTTPS_PROXY' });
    vi.stubEnv('https_proxy', 'small:8080');
    expect(proxyOf('https://backend')).toEqual({ url: 'http://small:8080', variable: 'https_proxy' });
    for (const host of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]'])
      expect(proxyOf(`http://${host}:4318`), host).toBeUndefined();
    expect(proxyOf('http://127.example.com')).toBeDefined();
    vi.stubEnv('HTTP_PROXY', '');
    expect(proxyOf('http://backend')).toBeUndefined();
  });

  test('keeps its user and password out of its URL', () => {
    vi.stubEnv('HTTPS_PROXY', 'https://me:hunter%3A2@proxy');
    expect(proxyOf('https://backend')).toEqual({
      url: 'https://proxy',
      variable: 'HTTPS_PROXY',
      authorization: `Basic ${Buffer.from('me:hunter:2').toString('base64')}`,
    });
  });

  test.each([
    ['*', 'https://backend', true],
    ['backend', 'https://backend:4318', true],
    ['BACKEND', 'https://backend', true],
    ['example.com', 'https://otlp.example.com', true],
    ['.example.com', 'https://otlp.example.com', true],
    ['*.example.com', 'https://otlp.example.com', true],
    ['.example.com', 'https://otlpexample.com', false],
    ['other, backend:443', 'https://backend', true],
    ['other backend:4318', 'https://backend', false],
    ['backend:4318', 'https://backend:4318', true],
    ['10.0.0.0/8', 'https://10.1.2.3', true],
    ['10.0.0.0/8', 'https://11.1.2.3', false],
    ['10.0.0.0/99,fd00::/8', 'https://[fd00::7]', true],
    ['fd00::7', 'https://[fd00::7]', true],
    ['[fd00::7]:443', 'https://[fd00::7]', true],
    ['[fd00::7]:444', 'https://[fd00::7]', false],
    [' ,, ', 'https://backend', false],
  ])('with NO_PROXY=%s, %s is reached directly: %s', (exceptions, url, is_direct) => {
    vi.stubEnv('HTTPS_PROXY', 'http://proxy');
    vi.stubEnv('no_proxy', exceptions);
    expect(proxyOf(url) === undefined).toBe(is_direct);
  });

  test.each(['socks5://hunter2', 'http://me:%zz@hunter2', 'http://'])(
    '%s is an error that does not repeat the value',
    (url) => {
      vi.stubEnv('https_proxy', url);
      const resolved = error({ ...OTLP, url: 'https://backend' });
      expect(resolved).toEqual({ error: expect.stringMatching(/otlp: the .*https_proxy/) });
      expect(JSON.stringify(resolved)).not.toContain('hunter2');
      // A bad proxy only matters to a destination that would use it.
      expect(of('clawmetry').endpoints.traces).not.toHaveProperty('proxy');
    },
  );
});

describe('TLS files', () => {
  const file = (name: string) => fileURLToPath(new URL(`tls/${name}`, import.meta.url));
  const https = { ...OTLP, url: 'https://host' };

  test('are read from the environment before the configuration file, and only for an https URL', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_CERTIFICATE', file('server.pem'));
    const tls = { ca: '/no/such', cert: file('server.pem'), key: file('server.key') };
    const config = resolve(https, { preset: 'otlp', tls });
    expect(Object.keys(config.endpoints.traces?.tls ?? {})).toEqual(['ca', 'cert', 'key']);
    expect(resolve(OTLP, { preset: 'otlp', tls }).endpoints.traces?.tls).toEqual({});
  });

  test('are read whatever the case of the scheme', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'HTTPS://host/v1/traces');
    vi.stubEnv('OTEL_EXPORTER_OTLP_CERTIFICATE', file('server.pem'));
    expect(Object.keys(resolve(OTLP).endpoints.traces?.tls ?? {})).toEqual(['ca']);
  });

  test.each([
    { ca: '/no/such' },
    { ca: fileURLToPath(import.meta.url) },
    { cert: fileURLToPath(import.meta.url) },
    { key: fileURLToPath(import.meta.url) },
  ])("that can't be used are an error that names the file: %o", (tls) => {
    const [path = ''] = Object.values(tls);
    expect(error(https, { preset: 'otlp', tls })).toEqual({ error: expect.stringContaining(path) });
  });

  test.each([{ cert: file('client.pem') }, { key: file('client.key') }])(
    'that lack their counterpart are an error: %o',
    (tls) => {
      const [path = ''] = Object.values(tls);
      expect(error(https, { preset: 'otlp', tls })).toEqual({
        error: expect.stringContaining(
          `${path}: a client certificate and its client key must be set together`,
        ),
      });
    },
  );

  test('that do not match each other are an error', () => {
    const tls = { cert: file('server.pem'), key: file('other.key') };
    expect(error(https, { preset: 'otlp', tls })).toEqual({
      error: expect.stringContaining('does not match the client certificate'),
    });
  });
});
