/**
 * Metrics: for each profile in use the instruments that it names, under one OpenTelemetry `MeterProvider`, and a reader for
 * each destination, so that every backend gets its own names and its own temporality from the same measurements. The bound
 * on attribute sets holds over the whole life of the process; the SDK's own holds for one collection, and a cumulative reader
 * would grow without end.
 */
import type { Meter } from '@opentelemetry/api';
import {
  CumulativeTemporalitySelector,
  DeltaTemporalitySelector,
  LowMemoryTemporalitySelector,
} from '@opentelemetry/exporter-metrics-otlp-http';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
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
import { CALL_DURATIONS } from './profiles/latest.js';
import type { Instrument, MetricTable } from './profiles/table.js';
import { PROFILES, type ProfileName } from './profiles.js';
import { createResource } from './resource.js';
import { SCOPE } from './scope.js';
import { cleanAttributes } from './text.js';

/** Attribute sets of one instrument, the one for all that is over the bound included. */
export const MAX_ATTRIBUTE_SETS = 2_000;
const OVERFLOW: Attributes = { 'otel.metric.overflow': true };

/** What is longer is not worth its memory: names are short, and a set of attributes is three or four of them. */
const MAX_REMEMBERED_LENGTH = 1_024;

export interface Metrics {
  record(measurements: readonly Measurement[]): void;
  /** How long a destination took to answer one request. */
  recordExport(signal: Signal, destination: string, duration_ms: number): void;
}

/** `key` tells the attributes from others. */
type Recorder = (value: number, attributes: Attributes, key: string) => void;

/** What is measured for the destinations of one profile. */
interface Metering {
  recorders: ReadonlyMap<InstrumentName, Recorder>;
  recordExport: Metrics['recordExport'];
}

/**
 * Starts metering for these readers; a reader belongs to one call only. `snapshot` is read at each collection, for the
 * instruments that tell of the bridge itself.
 */
export function createMetrics(readers: IMetricReader[], snapshot: () => BridgeSnapshot): Metrics {
  const meterings = [...new Set(readers.map(profileOf))].map((profile) =>
    createMetering(
      readers.filter((reader) => profileOf(reader) === profile),
      PROFILES[profile].metrics,
      snapshot,
    ),
  );
  return {
    record(measurements) {
      if (meterings.length === 0) return;
      for (const { instrument, value, attributes } of measurements) {
        const key = JSON.stringify(attributes);
        for (const { recorders } of meterings) recorders.get(instrument)?.(value, attributes, key);
      }
    },
    recordExport(...told) {
      for (const { recordExport } of meterings) recordExport(...told);
    },
  };
}

function createMetering(
  readers: IMetricReader[],
  table: MetricTable,
  snapshot: () => BridgeSnapshot,
): Metering {
  const provider = new MeterProvider({ readers, resource: createResource() });
  const meter = provider.getMeter(SCOPE.name, SCOPE.version);
  registerBridgeInstruments(meter, snapshot);
  return { recorders: createRecorders(meter, table), recordExport: createExportRecorder(meter) };
}

/** Measurements that share an instrument share its bound. */
function createRecorders(meter: Meter, { instruments, attributes }: MetricTable): Metering['recorders'] {
  const opened = new Map<string, BoundedInstrument>();
  const recorders = new Map<InstrumentName, Recorder>();
  for (const [measured, instrument] of Object.entries(instruments)) {
    const own = opened.get(instrument.name) ?? openInstrument(meter, instrument);
    opened.set(instrument.name, own);
    recorders.set(measured as InstrumentName, createRecorder(own, attributes, instrument.added));
  }
  return recorders;
}

/** There are few sets of attributes: what an instrument gets for one is worked out once. */
function createRecorder(
  { record, admit }: BoundedInstrument,
  names: MetricTable['attributes'],
  added: Attributes = {},
): Recorder {
  const known = new Map<string, Attributes>();
  return (value, attributes, key) => {
    const remembered = known.get(key);
    if (remembered !== undefined) {
      record(value, remembered);
      return;
    }
    const admitted = admit({ ...renamed(cleanAttributes(attributes), names), ...added });
    if (key.length <= MAX_REMEMBERED_LENGTH && known.size < MAX_ATTRIBUTE_SETS) known.set(key, admitted);
    record(value, admitted);
  };
}

const renamed = (attributes: Attributes, names: MetricTable['attributes']): Attributes =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [names[name] ?? name, value]));

interface BoundedInstrument {
  record: (value: number, attributes: Attributes) => void;
  /** The set under which a new set is recorded: itself, or once the bound is reached the one for all others. */
  admit: (attributes: Attributes) => Attributes;
}

function openInstrument(
  meter: Meter,
  { name, unit, description, value_type, buckets }: Instrument,
): BoundedInstrument {
  const seen = new Set<string>();
  const admit = (attributes: Attributes): Attributes => {
    const key = JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
    if (seen.has(key)) return attributes;
    if (seen.size >= MAX_ATTRIBUTE_SETS - 1) return OVERFLOW;
    seen.add(key);
    return attributes;
  };
  const options = { unit, description, valueType: value_type };
  if (buckets === undefined) {
    const counter = meter.createCounter(name, options);
    return { admit, record: (value, attributes) => counter.add(value, attributes) };
  }
  const advice = { explicitBucketBoundaries: buckets };
  const histogram = meter.createHistogram(name, { ...options, advice });
  return { admit, record: (value, attributes) => histogram.record(value, attributes) };
}

function createExportRecorder(meter: Meter): Metrics['recordExport'] {
  const histogram = meter.createHistogram('openclaw_otel_bridge.export.duration', {
    unit: 's',
    description: 'How long a destination took to answer a request.',
    advice: { explicitBucketBoundaries: CALL_DURATIONS },
  });
  return (signal, destination, duration_ms) => histogram.record(duration_ms / 1000, { signal, destination });
}

const TEMPORALITY_SELECTORS = {
  cumulative: CumulativeTemporalitySelector,
  delta: DeltaTemporalitySelector,
  lowmemory: LowMemoryTemporalitySelector,
} as const;

/** Collects only when asked: metrics leave with a checkpoint, at no moment of their own. */
class PulledReader extends MetricReader {
  readonly profile: ProfileName;

  constructor(temporality: Temporality, profile: ProfileName) {
    super({ aggregationTemporalitySelector: TEMPORALITY_SELECTORS[temporality] });
    this.profile = profile;
  }

  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

export const createMetricReader = (temporality: Temporality, profile: ProfileName = 'latest'): MetricReader =>
  new PulledReader(temporality, profile);

/** A reader that somebody else made gets the current names. */
const profileOf = (reader: IMetricReader): ProfileName =>
  reader instanceof PulledReader ? reader.profile : 'latest';

/** What has been measured, for one destination: since its last collection, or since the start, by its temporality. */
export async function collect(reader: IMetricReader, resource: Resource): Promise<ResourceMetrics> {
  const { resourceMetrics } = await reader.collect();
  return { ...resourceMetrics, resource };
}

/**
 * What was collected, as bytes and back: it waits as data, like spans and log records, so that it can be encoded as the
 * backend turns out to want it, and is the same request however often that is done.
 */
export function packMetrics({ resource, scopeMetrics }: ResourceMetrics): Uint8Array {
  return Buffer.from(JSON.stringify({ resource: resource.attributes, scopeMetrics }));
}

/** Throws where these are no such bytes. */
export function unpackMetrics(bytes: Uint8Array): ResourceMetrics {
  const { resource, scopeMetrics } = JSON.parse(Buffer.from(bytes).toString());
  if (typeof resource !== 'object' || resource === null || !Array.isArray(scopeMetrics))
    throw new Error('not what was collected');
  return { resource: resourceFromAttributes(resource), scopeMetrics };
}

export function countDataPoints({ scopeMetrics }: ResourceMetrics): number {
  let count = 0;
  for (const { metrics } of scopeMetrics) for (const { dataPoints } of metrics) count += dataPoints.length;
  return count;
}
