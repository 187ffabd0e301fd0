import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type DestinationConfig,
  type DestinationRecord,
  destinationSchema,
  resolveDestinations,
} from '../../src/export/config.js';
import { environmentNamesEndpoint } from '../../src/export/environment.js';
import type { DestinationOption } from '../../src/export/parse.js';
import type { OtlpPresetName } from '../../src/export/presets.js';
import { createResource } from '../../src/export/resource.js';

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) vi.stubEnv(name, undefined);
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

  test('console has no settings', () => {
    expect(resolveDestinations([{ name: 'here', preset: 'console' }])).toEqual({
      destinations: [{ name: 'here', preset: 'console' }],
    });
  });
});

describe('the environment', () => {
  test("its endpoint is preset otlp's, a signal's own as it is", () => {
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

  test('timeout, compression and protocol, general and of one signal', () => {
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

  test('a wish for protobuf leaves ClawMetry its JSON', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', 'http/protobuf');
    expect(of('clawmetry').endpoints.traces?.encoding).toBe('json');
  });

  test.each(['grpc', 'carrier pigeon'])('the protocol %s is an error', (protocol) => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_PROTOCOL', protocol);
    expect(error(OTLP)).toEqual({
      error: expect.stringMatching(/OTEL_EXPORTER_OTLP_PROTOCOL.*http\/protobuf/),
    });
  });

  test('an endpoint that cannot be used is an error that does not repeat it', () => {
    for (const url of ['http://me:hunter2@host', 'hunter2', 'http://host?key=hunter2']) {
      vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', url);
      const resolved = error(OTLP);
      expect(resolved).toEqual({ error: expect.stringContaining('OTEL_EXPORTER_OTLP_ENDPOINT') });
      expect(JSON.stringify(resolved)).not.toContain('hunter2');
    }
  });

  test('the temporality, where the backend can take it', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'Delta');
    expect(of('otlp').temporality).toBe('delta');
    expect(of('prometheus').temporality).toBe('cumulative');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'cumulative');
    expect(of('clawmetry').temporality).toBe('delta');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE', 'sometimes');
    expect(error(OTLP)).toEqual({ error: expect.stringContaining('TEMPORALITY_PREFERENCE') });
  });

  test('the resource', () => {
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
  });
});

describe("the environment's headers", () => {
  beforeEach(() => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'Authorization=Bearer%20hunter2,X-Team=a');
    vi.stubEnv('OTEL_EXPORTER_OTLP_METRICS_HEADERS', 'x-team=b');
  });

  test('go to every destination but ClawMetry, each signal with its own', () => {
    const { traces, metrics } = of('collector').endpoints;
    expect(traces?.headers).toEqual({ authorization: 'Bearer hunter2', 'x-team': 'a' });
    expect(metrics?.headers).toEqual({ authorization: 'Bearer hunter2', 'x-team': 'b' });
    expect(of('clawmetry').endpoints.traces?.headers).toEqual({});
  });

  test('go to the server of the endpoint alone, where the environment names one', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'https://vendor:443');
    expect(of('otlp').endpoints.traces?.headers).toHaveProperty('authorization');
    expect(of('otlp', 'https://vendor/other').endpoints.traces?.headers).toHaveProperty('authorization');
    expect(of('clawmetry', 'https://vendor').endpoints.traces?.headers).toHaveProperty('authorization');
    expect(of('jaeger').endpoints.traces?.headers).toEqual({});
    expect(of('otlp', 'http://vendor:443').endpoints.traces?.headers).toEqual({});
  });

  test.each(['x-key=a%0Ahunter2', 'bad name=hunter2', 'content-length=12'])(
    'that HTTP does not allow are an error',
    (text) => {
      vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', text);
      const resolved = error(OTLP);
      expect(resolved).toEqual({ error: expect.stringContaining('OTEL_EXPORTER_OTLP_HEADERS') });
      expect(JSON.stringify(resolved)).not.toContain('hunter2');
    },
  );
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

  test('says what nobody else says', () => {
    const config = resolve(OTLP, FILE);
    expect(config).toMatchObject({ temporality: 'delta', profile: 'clawmetry', open_spans: 'replace' });
    expect(config.endpoints).toEqual({
      traces: {
        url: 'http://file:1/base/v1/traces',
        encoding: 'json',
        compression: 'gzip',
        headers: { authorization: 'from file', 'x-other': 'kept' },
        tls: {},
        timeout_ms: 1_234,
      },
      metrics: expect.objectContaining({ url: 'http://file:1/base/v1/metrics' }),
    });
  });

  test('comes after the environment, and that after the option', () => {
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

  test('names the destinations where no option does; a record of another name is not used', () => {
    const records: DestinationRecord[] = [FILE, { preset: 'otlp' }, { preset: 'console' }];
    const resolved = resolveDestinations([], records);
    expect('destinations' in resolved && resolved.destinations.map(({ name }) => name)).toEqual([
      'otlp',
      'otlp-2',
      'console',
    ]);
    expect(resolve({ name: 'mine', preset: 'otlp' }, FILE).profile).toBe('latest');
  });

  test('is checked, unknown keys are errors, and no secret is repeated', () => {
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

describe('TLS files', () => {
  const file = (name: string) => fileURLToPath(new URL(`tls/${name}`, import.meta.url));
  const https = { ...OTLP, url: 'https://host' };

  test('are read, from the environment before the file, and not where there is no TLS', () => {
    vi.stubEnv('OTEL_EXPORTER_OTLP_CERTIFICATE', file('server.pem'));
    const tls = { ca: '/no/such', cert: file('server.pem'), key: file('server.key') };
    const config = resolve(https, { preset: 'otlp', tls });
    expect(Object.keys(config.endpoints.traces?.tls ?? {})).toEqual(['ca', 'cert', 'key']);
    expect(resolve(OTLP, { preset: 'otlp', tls }).endpoints.traces?.tls).toEqual({});
  });

  test.each([
    { ca: '/no/such' },
    { ca: fileURLToPath(import.meta.url) },
    { cert: fileURLToPath(import.meta.url) },
    { key: fileURLToPath(import.meta.url) },
  ])('that cannot be used are an error that names the file: %o', (tls) => {
    const [path = ''] = Object.values(tls);
    expect(error(https, { preset: 'otlp', tls })).toEqual({ error: expect.stringContaining(path) });
  });

  test('that do not belong together are an error', () => {
    const tls = { cert: file('server.pem'), key: file('other.key') };
    expect(error(https, { preset: 'otlp', tls })).toEqual({
      error: expect.stringContaining('belong together'),
    });
  });
});
