/** What `doctor` says about a backend's answer to an empty export, and about a request that failed. */
import { expect, test } from 'vitest';
import { describeOutcome } from '../../src/commands/doctor/answers.js';
import type { DestinationConfig, EndpointConfig, ExportOutcome } from '../../src/export/index.js';

const endpoint: EndpointConfig = {
  url: 'https://backend.test/v1/traces',
  encoding: 'json',
  compression: 'none',
  headers: {},
  tls: {},
  timeout_ms: 1_000,
};
const proxied: EndpointConfig = {
  ...endpoint,
  proxy: { url: 'http://proxy.test', variable: 'https_proxy' },
};

const config: DestinationConfig = {
  name: 'otlp',
  preset: 'otlp',
  endpoints: { traces: endpoint },
  temporality: 'delta',
  profile: 'latest',
  open_spans: 'none',
};

function findingOf(outcome: ExportOutcome, at = endpoint): unknown[] {
  const { level, found, advice } = describeOutcome(outcome, at, config);
  return [level, found, advice];
}

const answer = (status: number, body = '', fields: object = {}): ExportOutcome => ({
  kind: 'answered',
  status,
  body: Buffer.from(body),
  ...fields,
});

const failure = (message: string, reason: 'connection' | 'timeout' = 'connection'): ExportOutcome => ({
  kind: 'failed',
  reason,
  message,
  may_be_taken: false,
});

const SEE_LOG = "check the backend's log";
const USE_PROTOBUF =
  'set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or "encoding: protobuf" for this destination in the configuration file';

test.each<[string, ExportOutcome, unknown[]]>([
  ['299', answer(299, '{}'), ['ok', 'accepts JSON', undefined]],
  [
    'a redirect without a target',
    answer(300),
    ['problem', 'redirects without a usable URL (HTTP 300)', 'check the URL'],
  ],
  ['415', answer(415), ['problem', 'does not accept JSON (HTTP 415)', USE_PROTOBUF]],
  ['501', answer(501), ['problem', 'does not accept JSON (HTTP 501)', USE_PROTOBUF]],
  ['429', answer(429), ['warning', 'HTTP 429', `${SEE_LOG}; the bridge would retry`]],
  [
    '503 with a message',
    answer(503, 'oh\nno'),
    ['warning', 'HTTP 503: oh no', `${SEE_LOG}; the bridge would retry`],
  ],
  ['500, which is not retried', answer(500), ['problem', 'HTTP 500', SEE_LOG]],
  ['499', answer(499), ['problem', 'HTTP 499', SEE_LOG]],
  [
    'a server with TLS that is asked without',
    answer(400, 'Client sent an HTTP request to an HTTPS server.'),
    ['problem', 'HTTP 400: Client sent an HTTP request to an HTTPS server.', 'use https:// in its URL'],
  ],
  ['a long message', answer(400, 'x'.repeat(999)), ['problem', `HTTP 400: ${'x'.repeat(200)}`, SEE_LOG]],
])('an answer is explained: %s', (_, outcome, expected) => {
  expect(findingOf(outcome)).toEqual(expected);
});

test.each([
  ['connect ECONNREFUSED 127.0.0.1:4318', 'connection refused', 'start the backend, or check the address'],
  ['getaddrinfo ENOTFOUND backend.test', 'host name not found', 'check the address'],
  ['getaddrinfo EAI_AGAIN backend.test', 'host name not found', 'check the address'],
  [
    "Hostname/IP does not match certificate's altnames: Host: localhost. is not in the cert's altnames",
    'TLS: its certificate is for another host name',
    'use the host name in the certificate',
  ],
  ['certificate has expired', 'TLS: its certificate has expired', 'renew the certificate'],
  [
    'unable to get local issuer certificate',
    'TLS: its certificate is not signed by a trusted authority',
    'set OTEL_EXPORTER_OTLP_CERTIFICATE, or "tls: {ca: …}" in the configuration file, to the CA certificate file',
  ],
  [
    'write EPROTO 00:error:0A00010B:SSL routines:ssl3_get_record:wrong version number',
    'the server does not speak TLS',
    'use http:// in its URL',
  ],
  [
    'Proxy response (407) !== 200 when HTTP Tunneling',
    'the proxy requires a user name and password',
    'add them to the proxy URL in that variable',
  ],
  [
    'Proxy response (403) !== 200 when HTTP Tunneling',
    'the proxy refuses the connection',
    "check the proxy's rules, or add the host to NO_PROXY",
  ],
])('a failure is explained, with the proxy in between: %s', (message, found, advice) => {
  expect(findingOf(failure(message))).toEqual(['problem', found, advice]);
  const through = `${found}, through the proxy http://proxy.test (https_proxy)`;
  expect(findingOf(failure(message), proxied)).toEqual(['problem', through, advice]);
});

test('a failure that is not known is shown as it is', () => {
  const expected = [
    'problem',
    'socket hang up',
    'check the address, and whether it needs http:// or https://',
  ];
  expect(findingOf(failure('socket hang up'))).toEqual(expected);
  expect(findingOf(failure('socket hang up'), proxied)).toEqual(expected);
});

test('a backend that takes too long may be busy', () => {
  expect(findingOf(failure('no answer within 5000 ms', 'timeout'))).toEqual([
    'problem',
    'no answer within 5000 ms',
    "check the address and the backend's load",
  ]);
});
