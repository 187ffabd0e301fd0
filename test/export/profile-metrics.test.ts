/**
 * The metrics under the names of each profile: the sums are the same, and no backend can add reasoning tokens to the output
 * tokens that include them.
 */
import { fc, test as property } from '@fast-check/vitest';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { describe, expect, test } from 'vitest';
import { collect, createMetricReader, createMetrics, MAX_ATTRIBUTE_SETS } from '../../src/export/metrics.js';
import { PROFILE_NAMES, type ProfileName } from '../../src/export/profiles.js';
import type { Attributes, InstrumentName, Measurement } from '../../src/model/telemetry.js';
import { requests } from '../correlate/stories.js';
import { correlate } from '../helpers.js';

const USAGE = 'gen_ai.client.inference.usage';
const CALL: Attributes = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': 'anthropic',
  'gen_ai.request.model': 'opus',
  'gen_ai.agent.name': 'main',
};
const OLD_CALL: Attributes = {
  'gen_ai.operation.name': 'chat',
  'gen_ai.system': 'anthropic',
  'gen_ai.request.model': 'opus',
  'gen_ai.agent.name': 'main',
};
const of = (instrument: InstrumentName, value: number, attributes = CALL): Measurement => ({
  instrument,
  value,
  attributes,
});
const EACH: Measurement[] = [
  of(`${USAGE}.input_tokens`, 1_200),
  of(`${USAGE}.output_tokens`, 80),
  of(`${USAGE}.cache_read.input_tokens`, 800),
  of(`${USAGE}.cache_write.input_tokens`, 100),
  of(`${USAGE}.reasoning.output_tokens`, 32),
  of('gen_ai.client.inference.duration', 1.5),
  of('gen_ai.execute_tool.duration', 0.2, { 'gen_ai.tool.name': 'exec' }),
  of('gen_ai.invoke_agent.duration', 4, { 'gen_ai.agent.name': 'main' }),
  of('gen_ai.invoke_agent.inference_calls', 2, { 'gen_ai.agent.name': 'main' }),
  of('gen_ai.invoke_agent.tool_calls', 3, { 'gen_ai.agent.name': 'main' }),
  of('openclaw.cost', 0.25),
];

/** The metrics of each of these profiles for the same measurements, by name, without the bridge's own metrics. */
async function measure(measurements: Measurement[], profiles: readonly ProfileName[] = PROFILE_NAMES) {
  const readers = profiles.map((profile) => createMetricReader('cumulative', profile));
  createMetrics(readers, () => ({ source: { events: 0, rejected: {} }, destinations: {} })).record(
    measurements,
  );
  const resource = resourceFromAttributes({});
  const collected = await Promise.all(readers.map((reader) => collect(reader, resource)));
  return collected.map(({ scopeMetrics }) => {
    const metrics = scopeMetrics.flatMap(({ metrics }) => metrics);
    const named = metrics.map((metric): [string, MetricData] => [metric.descriptor.name, metric]);
    return new Map(named.filter(([name]) => !name.startsWith('openclaw_otel_bridge.')));
  });
}

const totalOf = (metric: MetricData | undefined, type?: string): number =>
  (metric?.dataPoints ?? [])
    .filter(({ attributes }) => type === undefined || attributes['gen_ai.token.type'] === type)
    .reduce((sum, { value }) => sum + (typeof value === 'number' ? value : (value.sum ?? 0)), 0);

const pointsOf = (metric: MetricData | undefined) =>
  metric?.dataPoints.map(({ attributes, value }) => ({
    attributes,
    value: typeof value === 'number' ? value : value.sum,
  }));

describe('latest', () => {
  test('every measurement is a metric of its own name; token counts have a modality', async () => {
    const [metrics] = await measure(EACH, ['latest']);
    expect([...metrics!.keys()]).toEqual(EACH.map(({ instrument }) => instrument));
    for (const { instrument, value, attributes } of EACH) {
      const modality = instrument.startsWith(USAGE) ? { 'gen_ai.token.modality': 'unknown' } : {};
      const expected = [{ attributes: { ...attributes, ...modality }, value }];
      expect(pointsOf(metrics!.get(instrument)), instrument).toEqual(expected);
    }
  });
});

describe('legacy', () => {
  test('tokens are one histogram with two token types, and the others keep their names', async () => {
    const [metrics] = await measure(EACH, ['legacy']);
    const usage = metrics!.get('gen_ai.client.token.usage');
    expect(usage).toMatchObject({ dataPointType: DataPointType.HISTOGRAM, descriptor: { unit: '{token}' } });
    expect(pointsOf(usage)).toEqual([
      { attributes: { ...OLD_CALL, 'gen_ai.token.type': 'input' }, value: 1_200 },
      { attributes: { ...OLD_CALL, 'gen_ai.token.type': 'output' }, value: 80 },
    ]);
    expect(usage?.dataPoints[0]?.value).toMatchObject({
      buckets: { boundaries: Array.from({ length: 14 }, (_, index) => 4 ** index) },
    });
    const duration = metrics!.get('gen_ai.client.operation.duration');
    expect(duration?.descriptor.unit).toBe('s');
    expect(pointsOf(duration)).toEqual([{ attributes: OLD_CALL, value: 1.5 }]);
    const renamed = [`${USAGE}.input_tokens`, `${USAGE}.output_tokens`, 'gen_ai.client.inference.duration'];
    const kept = EACH.map(({ instrument }) => instrument).filter((name) => !renamed.includes(name));
    expect(new Set(metrics!.keys())).toEqual(
      new Set(['gen_ai.client.token.usage', 'gen_ai.client.operation.duration', ...kept]),
    );
  });

  test('reasoning tokens are a separate counter, not a token type', async () => {
    const [metrics] = await measure([of(`${USAGE}.reasoning.output_tokens`, 32)], ['legacy']);
    expect([...metrics!.keys()]).toEqual([`${USAGE}.reasoning.output_tokens`]);
    const [metric] = metrics!.values();
    expect(metric).toMatchObject({ dataPointType: DataPointType.SUM, isMonotonic: true });
    expect(pointsOf(metric)).toEqual([
      { attributes: { ...OLD_CALL, 'gen_ai.token.modality': 'unknown' }, value: 32 },
    ]);
  });

  test('the limit on attribute sets applies to an instrument, however many kinds of measurements it takes', async () => {
    const measurements = Array.from({ length: MAX_ATTRIBUTE_SETS }, (_, index) => [
      of(`${USAGE}.input_tokens`, 1, { 'gen_ai.request.model': `m${index}` }),
      of(`${USAGE}.output_tokens`, 1, { 'gen_ai.request.model': `m${index}` }),
    ]).flat();
    const [metrics] = await measure(measurements, ['legacy']);
    const usage = metrics!.get('gen_ai.client.token.usage');
    expect(usage?.dataPoints).toHaveLength(MAX_ATTRIBUTE_SETS);
    expect(totalOf(usage)).toBe(2 * MAX_ATTRIBUTE_SETS);
  });
});

/** ClawMetry adds each data point of these metrics to its tiles, on top of what it finds on spans. */
const ADDED_UP_BY_CLAWMETRY =
  /^(openclaw\.(tokens|cost\.usd|run\.duration_ms|context\.tokens)|openclaw\.(message|webhook)\..*|gen_ai\.client\.(token\.usage|operation\.duration))$/;

test('clawmetry: no metric that ClawMetry would add to its tiles', async () => {
  const [clawmetry, legacy] = await measure(EACH, ['clawmetry', 'legacy']);
  expect([...clawmetry!.keys()].filter((name) => ADDED_UP_BY_CLAWMETRY.test(name))).toEqual([]);
  expect([...legacy!.keys()].filter((name) => ADDED_UP_BY_CLAWMETRY.test(name))).toHaveLength(2);
  expect(totalOf(clawmetry!.get(`${USAGE}.reasoning.output_tokens`))).toBe(32);
});

property.prop([requests], { numRuns: 50 })(
  'whatever agents do, the token sums are the same under all names, and reasoning counts once',
  async (events) => {
    const { measurements } = correlate(events);
    const [latest, legacy, clawmetry] = await measure(measurements, ['latest', 'legacy', 'clawmetry']);
    const usage = legacy!.get('gen_ai.client.token.usage');
    for (const type of ['input', 'output'])
      expect(totalOf(usage, type)).toBe(totalOf(latest!.get(`${USAGE}.${type}_tokens`)));
    expect(totalOf(usage)).toBe(totalOf(usage, 'input') + totalOf(usage, 'output'));
    for (const name of ['cache_read.input_tokens', 'cache_write.input_tokens', 'reasoning.output_tokens'])
      expect(pointsOf(legacy!.get(`${USAGE}.${name}`))?.map(({ value }) => value)).toEqual(
        pointsOf(latest!.get(`${USAGE}.${name}`))?.map(({ value }) => value),
      );
    for (const [name, metric] of latest!) expect(totalOf(clawmetry!.get(name))).toBe(totalOf(metric));
    expect(totalOf(legacy!.get('gen_ai.client.operation.duration'))).toBe(
      totalOf(latest!.get('gen_ai.client.inference.duration')),
    );
  },
);

property.prop([fc.array(fc.record({ model: fc.string(), value: fc.nat(1_000) }), { maxLength: 50 })])(
  'the cache of attributes changes no sum',
  async (calls) => {
    const measurements = calls.map(({ model, value }) =>
      of(`${USAGE}.input_tokens`, value, { 'gen_ai.request.model': model }),
    );
    const [metrics] = await measure([...measurements, ...measurements], ['latest']);
    const expected = new Map<string, number>();
    for (const { model, value } of calls) {
      const key = model.toWellFormed();
      expected.set(key, (expected.get(key) ?? 0) + 2 * value);
    }
    const points = pointsOf(metrics!.get(`${USAGE}.input_tokens`)) ?? [];
    const found = points.map(({ attributes, value }) => [attributes['gen_ai.request.model'], value]);
    expect(new Map(found as [string, number][])).toEqual(expected);
  },
);
