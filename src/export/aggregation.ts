/**
 * Aggregates measurements into sums and histograms for one reader, with the same results as OpenTelemetry's SDK. The SDK looks
 * up a set of attributes by its JSON at every measurement, which costs more than all the rest; here the caller opens a series
 * once and holds on to it. Readers, temporalities and serializers are OpenTelemetry's.
 */
import { ValueType } from '@opentelemetry/api';
import { millisToHrTime } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  InstrumentType,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { Attributes } from '../model/telemetry.js';
import type { Instrument } from './profiles/table.js';
import { SCOPE } from './scope.js';

/** Records one value for one set of attributes. */
export type Recorder = (value: number) => void;
/** Opens a series; to be called once for each set of attributes. */
export type OpenSeries = (attributes: Attributes) => Recorder;

export interface Aggregation extends MetricProducer {
  /** To be called once for each instrument name. */
  open(instrument: Instrument): OpenSeries;
}

interface Series<V> {
  attributes: Attributes;
  /** Undefined if nothing was measured that is not reported yet. */
  value: V | undefined;
  /** Epoch milliseconds of the first measurement in `value`, or of the collection that it continues from. */
  start_ms: number;
}

/** How measurements are aggregated. `add` may mutate its argument; `snapshot` returns a value that no later `add` changes. */
interface Form<V> {
  first(): V;
  add(value: V, measured: number): V;
  snapshot(value: V): V;
}

const SUM: Form<number> = {
  first: () => 0,
  add: (sum, measured) => sum + measured,
  snapshot: (sum) => sum,
};

function bucketOf(boundaries: number[], measured: number): number {
  let place = 0;
  while (place < boundaries.length && (boundaries[place] as number) < measured) place++;
  return place;
}

const histogramOf = (boundaries: number[]): Form<Required<Histogram>> => ({
  first: () => ({
    min: Infinity,
    max: -Infinity,
    sum: 0,
    buckets: { boundaries, counts: new Array(boundaries.length + 1).fill(0) },
    count: 0,
  }),
  add(value, measured) {
    const { counts } = value.buckets;
    const place = bucketOf(boundaries, measured);
    counts[place] = (counts[place] as number) + 1;
    value.count += 1;
    value.sum += measured;
    if (measured < value.min) value.min = measured;
    if (measured > value.max) value.max = measured;
    return value;
  },
  snapshot: ({ buckets, ...rest }) => ({ ...rest, buckets: { boundaries, counts: [...buckets.counts] } }),
});

/** All series of one instrument. */
function createSeries<V>(form: Form<V>, { value_type }: Instrument, is_delta: boolean) {
  const all: Series<V>[] = [];
  const is_whole = value_type === ValueType.INT;
  return {
    open(attributes: Attributes): Recorder {
      const series: Series<V> = { attributes, value: undefined, start_ms: NaN };
      all.push(series);
      return (measured) => {
        // Counters only grow, durations are not negative, and NaN or Infinity would stay in a sum for ever.
        if (!(measured >= 0 && measured < Infinity)) return;
        if (series.value === undefined) {
          series.value = form.first();
          if (Number.isNaN(series.start_ms)) series.start_ms = Date.now();
        }
        series.value = form.add(series.value, is_whole ? Math.trunc(measured) : measured);
      };
    },
    collect(now_ms: number): DataPoint<V>[] {
      const points: DataPoint<V>[] = [];
      for (const series of all) {
        const { attributes, value, start_ms } = series;
        if (value !== undefined)
          points.push({
            attributes,
            startTime: millisToHrTime(start_ms),
            // The clock may have been set back.
            endTime: millisToHrTime(Math.max(start_ms, now_ms)),
            value: form.snapshot(value),
          });
        if (!is_delta) continue;
        // A delta point starts where the last one ended; after a collection without measurements, at the next measurement.
        series.start_ms = value === undefined ? NaN : now_ms;
        series.value = undefined;
      }
      return points;
    },
  };
}

/** Returns undefined if there are no points. */
type Collect = (now_ms: number) => MetricData | undefined;

function openSum(
  instrument: Instrument,
  aggregationTemporality: AggregationTemporality,
): [OpenSeries, Collect] {
  const is_delta = aggregationTemporality === AggregationTemporality.DELTA;
  const { open, collect } = createSeries(SUM, instrument, is_delta);
  const metric = {
    descriptor: describe(instrument, InstrumentType.COUNTER),
    aggregationTemporality,
    dataPointType: DataPointType.SUM,
    isMonotonic: true,
  } as const;
  return [open, (now_ms) => withPoints(metric, collect(now_ms))];
}

function openHistogram(
  instrument: Instrument,
  buckets: number[],
  aggregationTemporality: AggregationTemporality,
): [OpenSeries, Collect] {
  const is_delta = aggregationTemporality === AggregationTemporality.DELTA;
  const { open, collect } = createSeries(histogramOf(buckets), instrument, is_delta);
  const metric = {
    descriptor: describe(instrument, InstrumentType.HISTOGRAM),
    aggregationTemporality,
    dataPointType: DataPointType.HISTOGRAM,
  } as const;
  return [open, (now_ms) => withPoints(metric, collect(now_ms))];
}

const withPoints = <T extends object, P>(
  metric: T,
  dataPoints: P[],
): (T & { dataPoints: P[] }) | undefined => (dataPoints.length === 0 ? undefined : { ...metric, dataPoints });

const describe = ({ name, description, unit, value_type, buckets }: Instrument, type: InstrumentType) => ({
  name,
  type,
  description,
  unit,
  valueType: value_type,
  advice: buckets === undefined ? {} : { explicitBucketBoundaries: buckets },
});

export function createAggregation(
  temporalityOf: (type: InstrumentType) => AggregationTemporality,
): Aggregation {
  const collectors: Collect[] = [];
  return {
    open(instrument) {
      const { buckets } = instrument;
      const [open, collect] =
        buckets === undefined
          ? openSum(instrument, temporalityOf(InstrumentType.COUNTER))
          : openHistogram(instrument, buckets, temporalityOf(InstrumentType.HISTOGRAM));
      collectors.push(collect);
      return open;
    },
    async collect() {
      const now_ms = Date.now();
      const metrics = collectors.flatMap((collect) => collect(now_ms) ?? []);
      const scopeMetrics = metrics.length === 0 ? [] : [{ scope: SCOPE, metrics }];
      return { resourceMetrics: { resource: resourceFromAttributes({}), scopeMetrics }, errors: [] };
    },
  };
}
