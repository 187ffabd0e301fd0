import { resourceFromAttributes } from '@opentelemetry/resources';
import type { MetricReader, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { describe, expect, test } from 'vitest';
import type { BridgeSnapshot } from '../../src/export/bridge-metrics.js';
import {
  collect,
  countDataPoints,
  createMetricReader,
  createMetrics,
  MAX_ATTRIBUTE_SETS,
  packMetrics,
  unpackMetrics,
} from '../../src/export/metrics.js';
import { encodeMetrics } from '../../src/export/otlp.js';
import type { Temporality } from '../../src/export/presets.js';
import type { InstrumentName, Measurement } from '../../src/model/telemetry.js';

const RESOURCE = resourceFromAttributes({ 'service.name': 'here' });
const NOTHING: BridgeSnapshot = { source: { events: 0, rejected: {} }, destinations: {} };
const REASONING = 'gen_ai.client.inference.usage.reasoning.output_tokens';

function open(temporalities: Temporality[], snapshot: () => BridgeSnapshot = () => NOTHING) {
  const readers = temporalities.map((temporality) => createMetricReader(temporality));
  return { readers, metrics: createMetrics(readers, snapshot) };
}

interface JsonMetric {
  name: string;
  unit: string;
  description: string;
  sum?: { aggregationTemporality: number; isMonotonic: boolean; dataPoints: JsonPoint[] };
  histogram?: { aggregationTemporality: number; dataPoints: JsonPoint[] };
}
type JsonPoint = Record<string, unknown> & { attributes: { key: string; value: Record<string, unknown> }[] };

const asJson = (metrics: ResourceMetrics): { resource: unknown; metrics: JsonMetric[] } => {
  const request = JSON.parse(Buffer.from(encodeMetrics(metrics, 'json')).toString());
  const [{ resource, scopeMetrics }] = request.resourceMetrics;
  return { resource, metrics: scopeMetrics[0]?.metrics ?? [] };
};
async function read(reader: MetricReader, name: string): Promise<JsonMetric | undefined> {
  return asJson(await collect(reader, RESOURCE)).metrics.find((metric) => metric.name === name);
}
/** An attribute of every token count. */
const MODALITY = 'gen_ai.token.modality';
const values = (metric: JsonMetric | undefined) =>
  Object.fromEntries(
    (metric?.sum?.dataPoints ?? []).map(({ attributes, asInt, asDouble }) => [
      attributes
        .filter(({ key }) => key !== MODALITY)
        .map(({ value }) => Object.values(value)[0])
        .join(' '),
      asInt ?? asDouble,
    ]),
  );
const add = (value: number, model = 'opus', instrument: InstrumentName = REASONING): Measurement => ({
  instrument,
  value,
  attributes: { 'gen_ai.request.model': model },
});

const DELTA = 1;
const CUMULATIVE = 2;

describe('temporality', () => {
  test('each reader has its own, from the same measurements', async () => {
    const { readers, metrics } = open(['delta', 'cumulative']);
    const [delta, cumulative] = readers as [MetricReader, MetricReader];
    metrics.record([add(5), add(2, 'haiku')]);
    expect(values(await read(delta, REASONING))).toEqual({ opus: 5, haiku: 2 });
    expect(values(await read(cumulative, REASONING))).toEqual({ opus: 5, haiku: 2 });
    metrics.record([add(3)]);
    const second_delta = await read(delta, REASONING);
    const second_cumulative = await read(cumulative, REASONING);
    expect(values(second_delta)).toEqual({ opus: 3 });
    expect(second_delta?.sum).toMatchObject({ aggregationTemporality: DELTA, isMonotonic: true });
    expect(values(second_cumulative)).toEqual({ opus: 8, haiku: 2 });
    expect(second_cumulative?.sum).toMatchObject({ aggregationTemporality: CUMULATIVE, isMonotonic: true });
  });
});

describe('instruments', () => {
  const doubling = (first: number, count: number) =>
    Array.from({ length: count }, (_, index) => first * 2 ** index);

  test.each([
    ['gen_ai.client.inference.duration', 's', doubling(0.01, 14)],
    ['gen_ai.execute_tool.duration', 's', doubling(0.01, 14)],
    ['gen_ai.invoke_agent.duration', 's', doubling(0.1, 13)],
    ['gen_ai.invoke_agent.inference_calls', '{call}', doubling(1, 8)],
    ['gen_ai.invoke_agent.tool_calls', '{call}', doubling(1, 8)],
  ] as const)('%s is a histogram in %s', async (name, unit, explicitBounds) => {
    const { readers, metrics } = open(['cumulative']);
    metrics.record([add(3, 'opus', name)]);
    const metric = await read(readers[0]!, name);
    expect(metric).toMatchObject({ unit, description: expect.stringMatching(/\w/) });
    expect(metric?.histogram?.dataPoints).toMatchObject([{ explicitBounds, sum: 3, count: 1 }]);
  });

  test.each([
    ['gen_ai.client.inference.usage.input_tokens', '{token}', 3],
    ['openclaw.cost', '{USD}', 0.125],
  ] as const)('%s is a counter in %s', async (name, unit, value) => {
    const { readers, metrics } = open(['cumulative']);
    metrics.record([add(value, 'opus', name)]);
    const metric = await read(readers[0]!, name);
    expect(metric).toMatchObject({ unit, description: expect.stringMatching(/\w/) });
    expect(values(metric)).toEqual({ opus: value });
  });

  test('attributes are made well-formed', async () => {
    const { readers, metrics } = open(['delta']);
    metrics.record([add(1, 'a\ud800')]);
    expect(values(await read(readers[0]!, REASONING))).toEqual({ 'a\ufffd': 1 });
  });
});

test('collected metrics have the resource of the destination', async () => {
  const { readers } = open(['delta']);
  expect(asJson(await collect(readers[0]!, RESOURCE)).resource).toMatchObject({
    attributes: [{ key: 'service.name', value: { stringValue: 'here' } }],
  });
});

describe.each(['cumulative', 'delta'] as const)('the limit on attribute sets, %s', (temporality) => {
  test('holds over the life of the process, and measurements over it are not lost', async () => {
    const { readers, metrics } = open([temporality]);
    const seen = new Map<string, number>();
    for (let round = 0; round < 5; round += 1) {
      metrics.record(Array.from({ length: 1_000 }, (_, index) => add(1, `model-${round * 1_000 + index}`)));
      const metric = await read(readers[0]!, REASONING);
      for (const [model, value] of Object.entries(values(metric))) {
        const before = temporality === 'delta' ? (seen.get(model) ?? 0) : 0;
        seen.set(model, before + Number(value));
      }
    }
    expect(seen.size).toBe(MAX_ATTRIBUTE_SETS);
    expect(seen.get('true')).toBe(5_000 - (MAX_ATTRIBUTE_SETS - 1));
    metrics.record([add(1, 'model-3'), add(1, 'model-4999')]);
    expect(values(await read(readers[0]!, REASONING))).toMatchObject(
      temporality === 'delta' ? { 'model-3': 1, true: 1 } : { 'model-3': 2, true: 3_002 },
    );
  });

  test('does not count a different order of attributes as another set', async () => {
    const { readers, metrics } = open([temporality]);
    metrics.record([
      { instrument: REASONING, value: 1, attributes: { a: 1, b: 2 } },
      { instrument: REASONING, value: 1, attributes: { b: 2, a: 1 } },
    ]);
    expect((await read(readers[0]!, REASONING))?.sum?.dataPoints).toHaveLength(1);
  });
});

describe("the bridge's own metrics", () => {
  test('show the counts of the snapshot', async () => {
    const traces = {
      produced: 10,
      delivered: 6,
      pending: 1,
      rejected: { http_400: 2 },
      dropped: { memory_full: 1 },
    };
    const snapshot = { source: { events: 7, rejected: { bad_json: 3 } }, destinations: { here: { traces } } };
    const { readers, metrics } = open(['cumulative'], () => snapshot);
    metrics.recordExport('traces', 'here', 250);
    const all = asJson(await collect(readers[0]!, RESOURCE)).metrics;
    const own = (name: string) => all.find((metric) => metric.name === `openclaw_otel_bridge.${name}`);
    expect(values(own('events'))).toEqual({ '': 7 });
    expect(values(own('rejected'))).toEqual({ bad_json: 3, 'traces here http_400': 2 });
    expect(values(own('produced'))).toEqual({ 'traces here': 10 });
    expect(values(own('delivered'))).toEqual({ 'traces here': 6 });
    expect(values(own('dropped'))).toEqual({ 'traces here memory_full': 1 });
    expect(values(own('pending'))).toEqual({ 'traces here': 1 });
    expect(own('pending')?.sum?.isMonotonic).toBe(false);
    expect(own('export.duration')).toMatchObject({
      unit: 's',
      histogram: { dataPoints: [{ sum: 0.25, count: 1 }] },
    });
    expect(own('produced')?.sum?.dataPoints[0]?.attributes.map(({ key }) => key)).toEqual([
      'signal',
      'destination',
    ]);
  });
});

describe('collected metrics', () => {
  const EACH: Measurement[] = [
    add(1),
    add(2, '\u00e4 "\ud83d\ude00"'),
    add(0.25, 'opus', 'openclaw.cost'),
    add(7.5, 'opus', 'gen_ai.execute_tool.duration'),
    { instrument: REASONING, value: 3, attributes: { list: ['a', 'b'], flag: true, number: 1.5 } },
  ];

  test.each(['json', 'protobuf'] as const)(
    'give the same request when packed and encoded later: %s',
    async (encoding) => {
      const { readers, metrics } = open(['cumulative']);
      metrics.record(EACH);
      const collected = await collect(readers[0]!, RESOURCE);
      const packed = packMetrics(collected);
      const expected = encodeMetrics(collected, encoding);
      // Later measurements are not part of it.
      metrics.record(EACH);
      expect(encodeMetrics(unpackMetrics(packed), encoding)).toEqual(expected);
      expect(packMetrics(unpackMetrics(packed))).toEqual(packed);
    },
  );

  test.each(['', '[]', '{}', '{"resourceMetrics":[]}', '{"resource":null,"scopeMetrics":[]}'])(
    "can't be unpacked from %j",
    (text) => {
      expect(() => unpackMetrics(Buffer.from(text))).toThrow();
    },
  );
});

test('data points are counted over all metrics', async () => {
  const { readers, metrics } = open(['delta']);
  metrics.record([add(1), add(1, 'haiku'), add(1, 'opus', 'gen_ai.execute_tool.duration')]);
  const collected = await collect(readers[0]!, RESOURCE);
  // Three, and the bridge's own counter of events.
  expect(countDataPoints(collected)).toBe(4);
});
