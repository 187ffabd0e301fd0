/** The bridge and a real Collector, which writes down what it takes. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freePorts } from './backends.js';
import {
  type EndedBridge,
  EXAMPLE,
  isChat,
  isRun,
  isTool,
  lawBreakers,
  parentsOf,
  replay,
  startBridge,
  sumOf,
  type TreeSpan,
  treeOf,
} from './bridge.js';
import { type Collector, type OtlpSpan, pointsOf, type Received, startCollector } from './collector.js';
import { isSkipped } from './installed.js';

const CUMULATIVE = 2;

const parents = (spans: OtlpSpan[]) =>
  Object.fromEntries(spans.map((span) => [span.spanId, span.parentSpanId || undefined]));

describe.skipIf(isSkipped('collector')).each([
  ['protobuf', 'http/protobuf'],
  ['JSON', 'http/json'],
])('a Collector, by OTLP as %s,', (_, protocol) => {
  let collector: Collector;
  let expected: TreeSpan[];
  let ended: EndedBridge;
  let received: Received;

  beforeAll(async () => {
    [collector, expected] = await Promise.all([startCollector(), treeOf(EXAMPLE)]);
    const to = `collector=${collector.otlp_url}`;
    ended = await replay(to, EXAMPLE, { env: { OTEL_EXPORTER_OTLP_PROTOCOL: protocol } });
    received = await collector.stopAndRead();
  });
  afterAll(() => collector?.stop());

  /** The last that was told of a counter, which is all of it: it is cumulative. */
  function counter(name: string): number {
    const sum = received.metrics.findLast((metric) => metric.name === name)?.sum;
    expect(sum, name).toMatchObject({ aggregationTemporality: CUMULATIVE, isMonotonic: true });
    return (sum?.dataPoints ?? []).reduce((total, { asInt }) => total + Number(asInt), 0);
  }

  test('acknowledges all', () => {
    expect(ended.status).toBe(0);
    expect(lawBreakers(ended.summary)).toEqual([]);
    const { traces, metrics, logs } = ended.summary.destinations.collector ?? {};
    const points = received.metrics.flatMap(pointsOf);
    expect([traces?.delivered, metrics?.delivered, logs?.delivered]).toEqual([
      received.spans.length,
      points.length,
      received.logs.length,
    ]);
  });

  test('has the whole tree', () => {
    expect(received.spans).toHaveLength(27);
    expect(parents(received.spans)).toEqual(parentsOf(expected));
  });

  test('has the tokens, reasoning in a counter of its own', () => {
    const usage = 'gen_ai.client.inference.usage';
    for (const kind of [
      'input_tokens',
      'output_tokens',
      'cache_read.input_tokens',
      'reasoning.output_tokens',
    ]) {
      expect(counter(`${usage}.${kind}`), kind).toBe(sumOf(expected, `gen_ai.usage.${kind}`));
    }
    expect(counter(`${usage}.reasoning.output_tokens`)).toBe(28);
  });

  test('has a log record for each event, on the span that it belongs to', () => {
    const count = (name: string) => received.logs.filter(({ eventName }) => eventName === name).length;
    const tools = expected.filter(isTool).length;
    const runs = expected.filter(isRun).length;
    expect(count('openclaw.tool_call')).toBe(tools);
    expect(count('openclaw.tool_result')).toBe(tools);
    expect(count('openclaw.agent_started')).toBe(runs);
    expect(count('openclaw.agent_finished')).toBe(runs);
    expect(count('openclaw.llm_tokens')).toBe(expected.filter(isChat).length);
    const spans = new Set(expected.map(({ trace_id, span_id }) => `${trace_id} ${span_id}`));
    expect(received.logs.filter(({ traceId, spanId }) => !spans.has(`${traceId} ${spanId}`))).toEqual([]);
  });
});

describe.skipIf(isSkipped('collector'))('a Collector that is not there yet', () => {
  test('gets everything once it is', async () => {
    const [port] = await freePorts(1);
    const to = `collector=http://127.0.0.1:${port}`;
    const bridge = await startBridge(['replay', '--rebase-time', '--to', to, EXAMPLE]);
    onTestFinished(async () => void (await bridge.stop()));
    await bridge.said('does not take data');
    const collector = await startCollector(port);
    onTestFinished(() => collector.stop());
    const { status, summary } = await bridge.ended;
    expect(status).toBe(0);
    expect(lawBreakers(summary)).toEqual([]);
    const { spans, logs } = await collector.stopAndRead();
    expect(parents(spans)).toEqual(parentsOf(await treeOf(EXAMPLE)));
    expect(spans).toHaveLength(27);
    expect(logs).toHaveLength(summary.destinations.collector?.logs?.produced ?? 0);
  });
});
