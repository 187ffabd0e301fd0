/** A backend that refuses everything for a while: nothing is lost, and it is not asked again before it says. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EXAMPLE, lawBreakers, parentsOf, replay, treeOf } from './bridge.js';
import { type OtlpRequest, pointsOf, unwrap } from './collector.js';

const OUTAGE_MS = 3_000;
const RETRY_AFTER_S = 1;
/** Timers may be early by this much. */
const TOLERANCE_MS = 50;

interface SeenRequest {
  path: string;
  at_ms: number;
  status: number;
  body: OtlpRequest;
}

const seen: SeenRequest[] = [];

/** Refuses for a while, counted from the first request; then accepts everything. */
const server = createServer(async (request, response) => {
  const at_ms = performance.now();
  const began_ms = seen[0]?.at_ms ?? at_ms;
  const status = at_ms - began_ms < OUTAGE_MS ? 503 : 200;
  const seen_request = { path: request.url ?? '', at_ms, status, body: {} };
  seen.push(seen_request);
  seen_request.body = (await json(request)) as OtlpRequest;
  response.writeHead(status, status === 503 ? { 'Retry-After': String(RETRY_AFTER_S) } : {}).end('{}');
});

beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'));
afterAll(() => server.close());

test('nothing is lost in an outage, and Retry-After is honoured', async () => {
  const { port } = server.address() as AddressInfo;
  const to = `collector=http://127.0.0.1:${port}`;
  const { status, summary } = await replay(to, EXAMPLE, {
    env: { OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
  });
  expect(status).toBe(0);
  expect(lawBreakers(summary)).toEqual([]);

  const { spans, metrics, logs } = unwrap(seen.filter((each) => each.status === 200).map(({ body }) => body));
  const parents = spans.map((span) => [span.spanId, span.parentSpanId]);
  expect(Object.fromEntries(parents)).toEqual(parentsOf(await treeOf(EXAMPLE)));
  expect(spans).toHaveLength(27);
  const delivered = summary.destinations.collector;
  expect(logs).toHaveLength(delivered?.logs?.delivered ?? 0);
  expect(metrics.flatMap(pointsOf)).toHaveLength(delivered?.metrics?.delivered ?? 0);

  for (const path of ['/v1/traces', '/v1/metrics', '/v1/logs']) {
    const requests = seen.filter((each) => each.path === path);
    const refused = requests.filter((each) => each.status === 503);
    expect(refused.length, path).toBeGreaterThan(0);
    for (const [index, { at_ms }] of refused.entries()) {
      const next = requests[index + 1];
      expect((next?.at_ms ?? 0) - at_ms, path).toBeGreaterThan(RETRY_AFTER_S * 1_000 - TOLERANCE_MS);
    }
  }
});
