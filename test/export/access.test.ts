/** The advice for a backend that refuses access names a place that counts: what is set there is what the backend gets. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { accessAdvice } from '../../src/export/access.js';
import { type DestinationRecord, resolveDestinations } from '../../src/export/config.js';

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) vi.stubEnv(name, undefined);
});
afterEach(() => void vi.unstubAllEnvs());

function adviceFor(record: DestinationRecord, env: Record<string, string>): string {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(`OTEL_EXPORTER_OTLP_${name}`, value);
  const resolved = resolveDestinations([], [record]);
  if ('error' in resolved) throw new Error(resolved.error);
  const [config] = resolved.destinations;
  if (config === undefined || config.preset === 'console') throw new Error('no endpoint');
  return accessAdvice(config, config.endpoints.traces ?? expect.fail());
}

const BEARER = '"bearer: {env: NAME}" (or {file: PATH}) for destination otlp in the configuration file';
const HEADERS = '"headers" of destination otlp in the configuration file';
const HERE: DestinationRecord = { preset: 'otlp', url: 'http://backend' };
const ELSEWHERE = { ENDPOINT: 'http://elsewhere' };
const TOKEN = 'authorization=Bearer%20wrong';

test.each<[string, DestinationRecord, Record<string, string>, string]>([
  [
    'without a token, where the headers of the environment go',
    HERE,
    {},
    `set its token with ${BEARER}, or authorization=Bearer%20… in OTEL_EXPORTER_OTLP_HEADERS`,
  ],
  [
    'without a token, where the signal has headers of its own',
    HERE,
    { TRACES_HEADERS: '' },
    `set its token with ${BEARER}, or authorization=Bearer%20… in OTEL_EXPORTER_OTLP_HEADERS`,
  ],
  [
    'without a token, where they go to another server',
    { ...HERE, preset: 'jaeger', name: 'otlp' },
    { ...ELSEWHERE, HEADERS: TOKEN },
    `set its token with ${BEARER}`,
  ],
  [
    'with a token of the environment',
    HERE,
    { HEADERS: TOKEN },
    'it refused the headers that it was sent (authorization); set a token that it accepts in OTEL_EXPORTER_OTLP_HEADERS',
  ],
  [
    'with a token of the signal',
    HERE,
    { HEADERS: 'x-team=a', TRACES_HEADERS: TOKEN },
    'it refused the headers that it was sent (x-team, authorization); set a token that it accepts in OTEL_EXPORTER_OTLP_TRACES_HEADERS',
  ],
  [
    'with a token of the file, where the headers of the environment go',
    { ...HERE, headers: { authorization: 'wrong' } },
    {},
    `it refused the headers that it was sent (authorization); set a token that it accepts in OTEL_EXPORTER_OTLP_HEADERS, or in ${HEADERS}`,
  ],
  [
    'with a token of the file, where they go to another server',
    { ...HERE, preset: 'jaeger', name: 'otlp', headers: { authorization: 'wrong' } },
    ELSEWHERE,
    `it refused the headers that it was sent (authorization); set a token that it accepts in ${HEADERS}`,
  ],
  [
    'of ClawMetry, whose endpoint the environment names',
    { preset: 'clawmetry', url: 'http://agents' },
    { ENDPOINT: 'http://agents' },
    'set the token of its OpenClaw gateway with "bearer: {env: OPENCLAW_GATEWAY_TOKEN}" (or {file: PATH}) for destination clawmetry in the configuration file, or authorization=Bearer%20… in OTEL_EXPORTER_OTLP_HEADERS',
  ],
])('%s', (_, record, env, advice) => {
  expect(adviceFor(record, env)).toBe(advice);
});
