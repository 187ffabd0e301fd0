/**
 * Metrics: the instruments of each profile in use, and a reader of OpenTelemetry's SDK for each destination, so that every
 * backend gets its own names and temporality from the same measurements. Attribute sets are limited over the whole life of the
 * process; the SDK limits them per collection, with which a cumulative reader would grow without end.
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
import { type Aggregation, createAggregation, type OpenSeries, type Recorder } from './aggregation.js';
import { createAttributeCache } from './attribute-cache.js';
import { type BridgeSnapshot, registerBridgeInstruments } from './bridge-metrics.js';
import type { Temporality } from './presets.js';
import { CALL_DURATIONS } from './profiles/latest.js';
import type { Instrument, MetricTable } from './profiles/table.js';
import { PROFILES, type ProfileName } from './profiles.js';
import { createResource } from './resource.js';
import { SCOPE } from './scope.js';
import { cleanAttributes } from './text.js';

/** The limit on attribute sets of an instrument, including the one for all sets over the limit. */
export const MAX_ATTRIBUTE_SETS = 2_000;
const OVERFLOW: Attributes = { 'otel.metric.overflow': true };

/** Records measurements for every reader. */
export interface Metrics {
  /** Records the correlator's measurements; never throws. */
  record(measurements: readonly Measurement[]): void;
  /** Records how long a destination took to answer a request. */
  recordExport(signal: Signal, destination: string, duration_ms: number): void;
}

/** Returns the recorder for a set of attributes. */
type Find = (instrument: InstrumentName, attributes: Attributes) => Recorder;

/** Records for readers that use the same profile. */
interface Metering {
  find: Find;
  recordExport: Metrics['recordExport'];
}

/**
 * Starts metering for these readers; a reader belongs to one call only. `snapshot` is called at each collection, for the
 * instruments about the bridge itself.
 */
export function createMetrics(
  readers: IMetricReader[],
  snapshot: () => BridgeSnapshot,
  resource = createResource(),
): Metrics {
  const meterings = openMeterings(readers, { snapshot, resource });
  const recordersOf = createAttributeCache((attributes) =>
    createRecorders((instrument) => toAll(meterings.map(({ find }) => find(instrument, attributes)))),
  );
  return {
    record(measurements) {
      if (meterings.length === 0) return;
      let last: Attributes | undefined;
      let recorders = NO_RECORDERS;
      for (const { instrument, value, attributes } of measurements) {
        // Consecutive measurements often share one attributes object.
        if (attributes !== last) recorders = recordersOf(attributes);
        last = attributes;
        recorders(instrument)(value);
      }
    },
    recordExport(...values) {
      for (const { recordExport } of meterings) recordExport(...values);
    },
  };
}

/** What every meter needs besides measurements. */
interface MeteringContext {
  snapshot: () => BridgeSnapshot;
  resource: Resource;
}

type Recorders = (instrument: InstrumentName) => Recorder;

const NO_RECORDERS: Recorders = () => () => undefined;

/** The recorders of one set of attributes; there are few, and each is looked up once. */
function createRecorders(find: Recorders): Recorders {
  const found = new Map<InstrumentName, Recorder>();
  return (instrument) => {
    let recorder = found.get(instrument);
    if (recorder === undefined) {
      recorder = find(instrument);
      found.set(instrument, recorder);
    }
    return recorder;
  };
}

/** Opens one metering for each profile in use. Readers that a program brings get the names of `latest`. */
function openMeterings(readers: IMetricReader[], context: MeteringContext): Metering[] {
  const own = readers.filter((reader) => reader instanceof PulledReader);
  const others = readers.filter((reader) => !(reader instanceof PulledReader));
  const meterings = [...new Set(own.map(({ profile }) => profile))].map((profile) => {
    const same = own.filter((reader) => reader.profile === profile);
    const open: OpenInstrument = (instrument) => {
      const opens = same.map(({ aggregation }) => aggregation.open(instrument));
      return (attributes) => toAll(opens.map((openSeries) => openSeries(attributes)));
    };
    return createMetering(same, PROFILES[profile].metrics, context, () => open);
  });
  if (others.length === 0) return meterings;
  return [...meterings, createMetering(others, PROFILES.latest.metrics, context, openInSdk)];
}

function toAll(recorders: Recorder[]): Recorder {
  const [only] = recorders;
  if (only !== undefined && recorders.length === 1) return only;
  return (value) => {
    for (const record of recorders) record(value);
  };
}

type OpenInstrument = (instrument: Instrument) => OpenSeries;

/** A reader that a program brings may want any aggregation that OpenTelemetry has. */
const openInSdk =
  (meter: Meter): OpenInstrument =>
  ({ name, unit, description, value_type, buckets }) => {
    const options = { unit, description, valueType: value_type };
    if (buckets === undefined) {
      const counter = meter.createCounter(name, options);
      return (attributes) => (value) => counter.add(value, attributes);
    }
    const advice = { explicitBucketBoundaries: buckets };
    const histogram = meter.createHistogram(name, { ...options, advice });
    return (attributes) => (value) => histogram.record(value, attributes);
  };

function createMetering(
  readers: IMetricReader[],
  table: MetricTable,
  { snapshot, resource }: MeteringContext,
  openIn: (meter: Meter) => OpenInstrument,
): Metering {
  const provider = new MeterProvider({ readers, resource });
  const meter = provider.getMeter(SCOPE.name, SCOPE.version);
  registerBridgeInstruments(meter, snapshot);
  return { find: createFind(table, openIn(meter)), recordExport: createExportRecorder(meter) };
}

/** Measurements that share an instrument share its limit on attribute sets. */
function createFind({ instruments, attributes: names }: MetricTable, open: OpenInstrument): Find {
  const opened = new Map<string, OpenSeries>();
  for (const instrument of Object.values(instruments))
    if (!opened.has(instrument.name)) opened.set(instrument.name, bounded(open(instrument)));
  return (measured, attributes) => {
    const { name, added } = instruments[measured];
    const find = opened.get(name) as OpenSeries;
    return find({ ...renamed(cleanAttributes(attributes), names), ...added });
  };
}

const renamed = (attributes: Attributes, names: MetricTable['attributes']): Attributes =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [names[name] ?? name, value]));

/** Opens each set once, whatever the order of its attributes; over the limit, returns the recorder for all other sets. */
function bounded(open: OpenSeries): OpenSeries {
  const opened = new Map<string, Recorder>();
  let overflow: Recorder | undefined;
  return (attributes) => {
    const key = JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
    const known = opened.get(key);
    if (known !== undefined) return known;
    if (opened.size >= MAX_ATTRIBUTE_SETS - 1) {
      overflow ??= open(OVERFLOW);
      return overflow;
    }
    const recorder = open(attributes);
    opened.set(key, recorder);
    return recorder;
  };
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

/** Collects only when asked: metrics are sent with a checkpoint, not on a timer. */
class PulledReader extends MetricReader {
  readonly profile: ProfileName;
  readonly aggregation: Aggregation;

  constructor(temporality: Temporality, profile: ProfileName) {
    const aggregationTemporalitySelector = TEMPORALITY_SELECTORS[temporality];
    const aggregation = createAggregation(aggregationTemporalitySelector);
    super({ aggregationTemporalitySelector, metricProducers: [aggregation] });
    this.profile = profile;
    this.aggregation = aggregation;
  }

  protected override async onShutdown(): Promise<void> {}
  protected override async onForceFlush(): Promise<void> {}
}

export const createMetricReader = (temporality: Temporality, profile: ProfileName = 'latest'): MetricReader =>
  new PulledReader(temporality, profile);

/** Collects one destination's measurements: since its last collection or since the start, by its temporality. */
export async function collect(reader: IMetricReader, resource: Resource): Promise<ResourceMetrics> {
  const { resourceMetrics } = await reader.collect();
  const [first, ...others] = resourceMetrics.scopeMetrics;
  if (first === undefined) return { resource, scopeMetrics: [] };
  // Both parts have the same scope: one is from the SDK, the other from the reader's own aggregation.
  const metrics = [first, ...others].flatMap((part) => part.metrics);
  return { resource, scopeMetrics: [{ ...first, metrics }] };
}

/**
 * Packs collected metrics as bytes. They are queued as data, like spans and log records, so that they can be encoded as the
 * backend turns out to want them, and a retry is the same request.
 */
export function packMetrics({ resource, scopeMetrics }: ResourceMetrics): Uint8Array {
  return Buffer.from(JSON.stringify({ resource: resource.attributes, scopeMetrics }));
}

/** Throws if these bytes are not packed metrics. */
export function unpackMetrics(bytes: Uint8Array): ResourceMetrics {
  const { resource, scopeMetrics } = JSON.parse(Buffer.from(bytes).toString());
  if (typeof resource !== 'object' || resource === null || !Array.isArray(scopeMetrics))
    throw new Error('not a packed collection of metrics');
  return { resource: resourceFromAttributes(resource), scopeMetrics };
}

export function countDataPoints({ scopeMetrics }: ResourceMetrics): number {
  let count = 0;
  for (const { metrics } of scopeMetrics) for (const { dataPoints } of metrics) count += dataPoints.length;
  return count;
}
