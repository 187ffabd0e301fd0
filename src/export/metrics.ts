/**
 * Metrics: the instruments, one OpenTelemetry `MeterProvider` for all destinations, and a reader for each, so that every
 * backend gets its own temporality from the same measurements. The bound on attribute sets holds over the whole life of the
 * process; the SDK's own holds for one collection, and a cumulative reader would grow without end.
 */
import { type Histogram, type Meter, ValueType } from '@opentelemetry/api';
import {
  CumulativeTemporalitySelector,
  DeltaTemporalitySelector,
  LowMemoryTemporalitySelector,
} from '@opentelemetry/exporter-metrics-otlp-http';
import type { Resource } from '@opentelemetry/resources';
import {
  type IMetricReader,
  MeterProvider,
  MetricReader,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics';
import type { Signal } from '../model/delivery.js';
import type { Attributes, InstrumentName, Measurement } from '../model/telemetry.js';
import { type BridgeSnapshot, registerBridgeInstruments } from './bridge-metrics.js';
import type { Temporality } from './presets.js';
import { createResource } from './resource.js';
import { SCOPE } from './scope.js';
import { cleanAttributes } from './text.js';

/** Attribute sets of one instrument, the one for all that is over the bound included. */
export const MAX_ATTRIBUTE_SETS = 2_000;
const OVERFLOW: Attributes = { 'otel.metric.overflow': true };

const doubling = (first: number, last: number): number[] => {
  const bounds = [];
  for (let bound = first; bound <= last; bound *= 2) bounds.push(bound);
  return bounds;
};

/** Seconds. */
const CALL_DURATIONS = doubling(0.01, 81.92);
const AGENT_DURATIONS = doubling(0.1, 409.6);
const CALLS_PER_RUN = doubling(1, 128);

interface InstrumentDefinition {
  unit: string;
  description: string;
  value_type: ValueType;
  /** The bounds of a histogram's buckets; a counter has none. */
  buckets?: number[];
}

const tokens = (description: string): InstrumentDefinition => ({
  unit: '{token}',
  description,
  value_type: ValueType.INT,
});
const seconds = (description: string, buckets: number[]): InstrumentDefinition => ({
  unit: 's',
  description,
  value_type: ValueType.DOUBLE,
  buckets,
});
const calls = (description: string): InstrumentDefinition => ({
  unit: '{call}',
  description,
  value_type: ValueType.INT,
  buckets: CALLS_PER_RUN,
});

const INSTRUMENTS: Readonly<Record<InstrumentName, InstrumentDefinition>> = {
  'gen_ai.client.inference.usage.input_tokens': tokens('Input tokens of model calls, cached input included.'),
  'gen_ai.client.inference.usage.output_tokens': tokens('Output tokens of model calls, reasoning included.'),
  'gen_ai.client.inference.usage.cache_read.input_tokens': tokens(
    'Input tokens that were read from a cache.',
  ),
  'gen_ai.client.inference.usage.cache_write.input_tokens': tokens(
    'Input tokens that were written to a cache.',
  ),
  'gen_ai.client.inference.usage.reasoning.output_tokens': tokens(
    'Output tokens that were spent on reasoning.',
  ),
  'gen_ai.client.inference.duration': seconds('How long a model call took.', CALL_DURATIONS),
  'gen_ai.execute_tool.duration': seconds('How long a tool call took.', CALL_DURATIONS),
  'gen_ai.invoke_agent.duration': seconds('How long an agent run took.', AGENT_DURATIONS),
  'gen_ai.invoke_agent.inference_calls': calls("Model calls of an agent run, without its sub-agents'."),
  'gen_ai.invoke_agent.tool_calls': calls("Tool calls of an agent run, without its sub-agents'."),
  'openclaw.cost': { unit: '{USD}', description: 'What model calls cost.', value_type: ValueType.DOUBLE },
};

type Recorder = (value: number, attributes: Attributes) => void;

export interface Metrics {
  record(measurements: readonly Measurement[]): void;
  /** How long a destination took to answer one request. */
  recordExport(signal: Signal, destination: string, duration_ms: number): void;
}

/**
 * Starts metering for these readers; a reader belongs to one call only. `snapshot` is read at each collection, for the
 * instruments that tell of the bridge itself.
 */
export function createMetrics(readers: IMetricReader[], snapshot: () => BridgeSnapshot): Metrics {
  const provider = new MeterProvider({ readers, resource: createResource() });
  const meter = provider.getMeter(SCOPE.name, SCOPE.version);
  const recorders = new Map<InstrumentName, Recorder>();
  for (const name of Object.keys(INSTRUMENTS) as InstrumentName[]) {
    recorders.set(name, bounded(createRecorder(meter, name)));
  }
  registerBridgeInstruments(meter, snapshot);
  const exports = createExportHistogram(meter);
  return {
    record(measurements) {
      for (const { instrument, value, attributes } of measurements) {
        recorders.get(instrument)?.(value, cleanAttributes(attributes));
      }
    },
    recordExport(signal, destination, duration_ms) {
      exports.record(duration_ms / 1000, { signal, destination });
    },
  };
}

function createRecorder(meter: Meter, name: InstrumentName): Recorder {
  const { unit, description, value_type, buckets } = INSTRUMENTS[name];
  const options = { unit, description, valueType: value_type };
  if (buckets === undefined) {
    const counter = meter.createCounter(name, options);
    return (value, attributes) => counter.add(value, attributes);
  }
  const histogram = meter.createHistogram(name, {
    ...options,
    advice: { explicitBucketBoundaries: buckets },
  });
  return (value, attributes) => histogram.record(value, attributes);
}

const createExportHistogram = (meter: Meter): Histogram =>
  meter.createHistogram('openclaw_otel_bridge.export.duration', {
    unit: 's',
    description: 'How long a destination took to answer a request.',
    advice: { explicitBucketBoundaries: CALL_DURATIONS },
  });

/** Records under the overflow set whatever comes under a new attribute set once the bound is reached. */
function bounded(record: Recorder): Recorder {
  const seen = new Set<string>();
  return (value, attributes) => {
    const key = JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (!seen.has(key)) {
      if (seen.size >= MAX_ATTRIBUTE_SETS - 1) {
        record(value, OVERFLOW);
        return;
      }
      seen.add(key);
    }
    record(value, attributes);
  };
}

const TEMPORALITY_SELECTORS = {
  cumulative: CumulativeTemporalitySelector,
  delta: DeltaTemporalitySelector,
  lowmemory: LowMemoryTemporalitySelector,
} as const;

/** Collects only when asked: metrics leave with a checkpoint, at no moment of their own. */
class PulledReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

export const createMetricReader = (temporality: Temporality): MetricReader =>
  new PulledReader({ aggregationTemporalitySelector: TEMPORALITY_SELECTORS[temporality] });

/** What has been measured, for one destination: since its last collection, or since the start, by its temporality. */
export async function collect(reader: IMetricReader, resource: Resource): Promise<ResourceMetrics> {
  const { resourceMetrics } = await reader.collect();
  return { ...resourceMetrics, resource };
}

export function countDataPoints({ scopeMetrics }: ResourceMetrics): number {
  let count = 0;
  for (const { metrics } of scopeMetrics) for (const { dataPoints } of metrics) count += dataPoints.length;
  return count;
}
