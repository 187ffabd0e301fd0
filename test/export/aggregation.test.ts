/**
 * The bridge's own aggregation gives the same result as OpenTelemetry's SDK for the same measurements, whatever is recorded
 * and whenever it is collected: values, start and end of each data point, and the description of the instruments.
 */
import { fc, test as property } from '@fast-check/vitest';
import { ValueType } from '@opentelemetry/api';
import {
  AggregationTemporality,
  type InstrumentType,
  MeterProvider,
  MetricReader,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createAggregation, type Recorder } from '../../src/export/aggregation.js';
import type { Instrument } from '../../src/export/profiles/table.js';

const INSTRUMENTS: Instrument[] = [
  { name: 'whole', unit: '{token}', description: 'Tokens.', value_type: ValueType.INT },
  { name: 'cost', unit: '{USD}', description: 'Cost.', value_type: ValueType.DOUBLE },
  { name: 'calls', unit: '{call}', description: 'Calls.', value_type: ValueType.INT, buckets: [1, 2, 4] },
  { name: 'duration', unit: 's', description: 'Time.', value_type: ValueType.DOUBLE, buckets: [0.1, 0.5, 2] },
];
const SETS = ['a', 'b', 'c'].map((model) => ({ model, count: 1 }));

class PlainReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

type Temporality = (type: InstrumentType) => AggregationTemporality;

/** Records values; `instrument` and `set` are indexes into INSTRUMENTS and SETS. */
interface Subject {
  record(instrument: number, set: number, value: number): void;
  collect(): Promise<ResourceMetrics>;
}

function openSdk(temporality: Temporality): Subject {
  const reader = new PlainReader({ aggregationTemporalitySelector: temporality });
  const meter = new MeterProvider({ readers: [reader] }).getMeter('x');
  const recorders = INSTRUMENTS.map(({ name, unit, description, value_type, buckets }) => {
    const options = { unit, description, valueType: value_type };
    if (buckets === undefined) {
      const counter = meter.createCounter(name, options);
      return (set: number, value: number) => counter.add(value, SETS[set]);
    }
    const advice = { explicitBucketBoundaries: buckets };
    const histogram = meter.createHistogram(name, { ...options, advice });
    return (set: number, value: number) => histogram.record(value, SETS[set]);
  });
  return {
    record: (instrument, set, value) => recorders[instrument]?.(set, value),
    collect: async () => (await reader.collect()).resourceMetrics,
  };
}

function openOwn(temporality: Temporality): Subject {
  const aggregation = createAggregation(temporality);
  const opened = INSTRUMENTS.map((instrument) => aggregation.open(instrument));
  const recorders = new Map<string, Recorder>();
  return {
    record(instrument, set, value) {
      const key = `${instrument} ${set}`;
      const recorder = recorders.get(key) ?? opened[instrument]!(SETS[set]!);
      recorders.set(key, recorder);
      recorder(value);
    },
    collect: async () => (await aggregation.collect()).resourceMetrics,
  };
}

/** The metrics without resource and scope, their data points in the order of their attributes. */
const told = ({ scopeMetrics }: ResourceMetrics) =>
  scopeMetrics
    .flatMap(({ metrics }) => metrics)
    .map(({ dataPoints, ...metric }) => ({
      ...metric,
      dataPoints: [...dataPoints].sort((a, b) =>
        String(a.attributes.model) < String(b.attributes.model) ? -1 : 1,
      ),
    }));

type Step =
  | { kind: 'record'; instrument: number; set: number; value: number }
  | { kind: 'collect' }
  | { kind: 'wait'; ms: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('record' as const),
        instrument: fc.nat(INSTRUMENTS.length - 1),
        set: fc.nat(SETS.length - 1),
        // Eighths: their sums are exact, in whatever order they are added.
        value: fc.integer({ min: -8, max: 80 }).map((eighths) => eighths / 8),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'collect' as const }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(5_000) }) },
  ),
  { maxLength: 120 },
);

const { DELTA, CUMULATIVE } = AggregationTemporality;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1_700_000_000_123 });
});
afterEach(() => {
  vi.useRealTimers();
});

describe.each([
  ['delta', DELTA],
  ['cumulative', CUMULATIVE],
])('%s', (_name, temporality) => {
  property.prop([steps])('gives the same points as the SDK', async (taken) => {
    const own = openOwn(() => temporality);
    const sdk = openSdk(() => temporality);
    for (const step of [...taken, { kind: 'collect' } as const]) {
      if (step.kind === 'wait') vi.setSystemTime(Date.now() + step.ms);
      else if (step.kind === 'record') {
        own.record(step.instrument, step.set, step.value);
        sdk.record(step.instrument, step.set, step.value);
      } else expect(told(await own.collect())).toEqual(told(await sdk.collect()));
    }
  });
});

test('later measurements do not change metrics that were already collected', async () => {
  const own = openOwn(() => CUMULATIVE);
  own.record(3, 0, 0.3);
  const collected = await own.collect();
  const before = JSON.stringify(collected.scopeMetrics);
  own.record(3, 0, 5);
  expect(JSON.stringify(collected.scopeMetrics)).toBe(before);
});

test('a value that is not a finite number does not spoil the sum', async () => {
  const own = openOwn(() => CUMULATIVE);
  for (const value of [1, Number.NaN, Number.POSITIVE_INFINITY, 2]) own.record(1, 0, value);
  expect(told(await own.collect())).toMatchObject([{ dataPoints: [{ value: 3 }] }]);
});

test('no data point ends before it begins when the clock is set back', async () => {
  const own = openOwn(() => CUMULATIVE);
  own.record(0, 0, 1);
  vi.setSystemTime(Date.now() - 3_600_000);
  const [metric] = told(await own.collect());
  const [point] = metric?.dataPoints ?? [];
  expect(point?.endTime).toEqual(point?.startTime);
});
