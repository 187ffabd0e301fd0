import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { discoverDestination } from '../src/start/discover.js';

const servers: Server[] = [];
beforeEach(() => {
  for (const name of ['ENDPOINT', 'TRACES_ENDPOINT', 'METRICS_ENDPOINT', 'LOGS_ENDPOINT'])
    vi.stubEnv(`OTEL_EXPORTER_OTLP_${name}`, undefined);
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  vi.unstubAllEnvs();
});

/** A backend that answers 200 to these paths and 404 to all others; without any paths it is unreachable. */
async function backend(...paths: string[]): Promise<string> {
  const server = createServer((asked, answer) => {
    answer.writeHead(paths.includes(asked.url ?? '') ? 200 : 404).end('{}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  if (paths.length > 0) servers.push(server);
  else server.close();
  return `http://127.0.0.1:${port}`;
}

test.each([
  ['ClawMetry that answers its status', ['/api/otel-status'], ['/v1/traces', '/v1/metrics'], 'clawmetry'],
  ['ClawMetry that accepts traces', ['/v1/traces'], [], 'clawmetry'],
  ['another server on its port', ['/'], ['/v1/traces', '/v1/metrics'], 'collector'],
  ['a backend that only accepts traces', [], ['/v1/traces'], 'jaeger'],
  ['no backend', [], [], 'console'],
])('the preset is found for %s', async (_, clawmetry, otlp, to) => {
  const found = await discoverDestination({
    clawmetry: await backend(...clawmetry),
    otlp: await backend(...otlp),
  });
  expect(found.to).toBe(to);
});

test('an endpoint in the environment takes precedence', async () => {
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://127.0.0.1:1');
  expect((await discoverDestination({ clawmetry: await backend('/v1/traces'), otlp: '' })).to).toBe('otlp');
});

test('a web server that answers everything with an HTML page is no OTLP backend', async () => {
  const server = createServer((_, answer) => answer.writeHead(200).end('<!doctype html>'));
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  expect((await discoverDestination({ clawmetry: url, otlp: url })).to).toBe('console');
});

test('an endless response is read only as far as needed', async () => {
  const server = createServer((asked, answer) => {
    if (asked.url !== '/api/otel-status') return answer.writeHead(404).end();
    answer.writeHead(200).write('{');
    const filling = setInterval(() => answer.write(' '.repeat(4_096)), 1);
    answer.on('close', () => clearInterval(filling));
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const found = await discoverDestination({ clawmetry: `http://127.0.0.1:${port}`, otlp: '' });
  expect(found.to).toBe('clawmetry');
});

test('no connection is kept open after the discovery', async () => {
  const headers: (string | undefined)[] = [];
  const server = createServer((asked, answer) => {
    headers.push(asked.headers.connection);
    answer.writeHead(404).end('no');
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await discoverDestination({ clawmetry: `http://127.0.0.1:${port}`, otlp: `http://127.0.0.1:${port}` });
  expect(headers).toEqual(['close', 'close', 'close']);
});

test('a server that never answers is no backend, and does not delay the start for long', async () => {
  const shorten = AbortSignal.timeout.bind(AbortSignal, 20);
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockImplementation(shorten);
  onTestFinished(() => timeout.mockRestore());
  const server = createServer(() => undefined);
  onTestFinished(() => server.closeAllConnections());
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  expect((await discoverDestination({ clawmetry: url, otlp: url })).to).toBe('console');
  expect(timeout.mock.calls).toEqual([[1_000], [1_000], [1_000]]);
});
