/**
 * The options of the library, checked once and turned into what a start needs. Destinations are records as in the configuration
 * file, and documented there; OpenTelemetry's own processors and readers can be given as well.
 */
import type { LogRecordProcessor } from '@opentelemetry/sdk-logs';
import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import { z } from 'zod';
import { DEFAULT_LIMITS, type GivenLimits, type Limits } from '../correlate/index.js';
import {
  type ConsoleConfig,
  type DestinationConfig,
  type DestinationRecord,
  destinationName,
  destinationSchema,
  nameDestinations,
  type ProcessorsConfig,
  resolveDestinations,
  type SpanSink,
} from '../export/index.js';
import type { Source } from '../model/source.js';
import { PUSHED } from '../source/index.js';
import { limitsSchema, storeSchema } from '../start/limits.js';
import type { StartSettings } from '../start/settings.js';
import { isObject, withoutUndefined } from '../util/json.js';
import { flag, strictSettings } from '../util/schema.js';
import { check, wrong } from './configuration-error.js';
import { type LibrarySource, readSources, type SourceRecord } from './sources.js';

/** Takes complete messages; `console`, pino and winston qualify. */
export interface MessageLogger {
  info(message: string): unknown;
  warn(message: string): unknown;
  error(message: string): unknown;
}

/** OpenTelemetry's processors and readers of the embedding program. At least one of the three. */
export interface ProcessorRecord {
  /** The key in the counters; `otel`, then `otel-2`, … by default. */
  name?: string | undefined;
  /** Receives every span when it has ended: `onEnd`, never `onStart`. */
  span_processor?: SpanSink | undefined;
  /** Receives every log record. */
  log_record_processor?: LogRecordProcessor | undefined;
  /** Collects the metrics at its own pace. It must not belong to another `MeterProvider`. */
  metric_reader?: IMetricReader | undefined;
}

/** The options of `createBridge`, which throws a `ConfigurationError` if one is wrong. */
export interface BridgeOptions {
  /** Where events come from, besides `push`: records, or sources of your own. */
  sources?: readonly (SourceRecord | Source)[] | undefined;
  /** Where telemetry goes: records as in the configuration file's `to`, and OpenTelemetry's processors. At least one. */
  destinations: readonly (DestinationRecord | ProcessorRecord)[];
  /** Record inputs, outputs and reasoning text, with secrets redacted. Default: false. */
  content?: boolean | undefined;
  /** Where to store what the next start needs; if absent, nothing is stored. Only one bridge at a time may use it. */
  data_dir?: string | undefined;
  /** Whether existing transcripts are read from their start. Default: false. */
  from_start?: boolean | undefined;
  /** As in the configuration file. */
  limits?: z.input<typeof limitsSchema> | undefined;
  /** As in the configuration file. */
  store?: z.input<typeof storeSchema> | undefined;
  /** How long events wait for each other, and how much is remembered; `DEFAULT_LIMITS` by default. */
  correlator?: GivenLimits | undefined;
  /** If absent, nothing is logged. */
  logger?: MessageLogger | undefined;
}

/** The checked options. */
export interface BridgePlan {
  settings: StartSettings;
  sources: LibrarySource[];
  configs: (DestinationConfig | ConsoleConfig)[];
  processors: ProcessorsConfig[];
  correlator_limits: GivenLimits;
  logger: MessageLogger | undefined;
}

const has = <T>(...methods: (keyof T & string)[]) =>
  z.custom<T>(
    (value) => isObject(value) && methods.every((method) => typeof value[method] === 'function'),
    `must be an object with the methods ${methods.join(', ')}`,
  );

const LIMIT_NAMES = Object.keys(DEFAULT_LIMITS) as [keyof Limits, ...(keyof Limits)[]];

const optionsSchema = strictSettings({
  sources: z.array(z.unknown()).default([]),
  destinations: z
    .array(z.unknown())
    .min(1, 'must have at least one destination, such as { preset: "clawmetry" }'),
  content: flag.default(false),
  data_dir: z.string().min(1, 'must not be empty').optional(),
  from_start: flag.default(false),
  limits: limitsSchema.prefault({}),
  store: storeSchema.prefault({}),
  correlator: z.partialRecord(z.enum(LIMIT_NAMES), z.number().min(0).optional()).default({}),
  logger: has<MessageLogger>('info', 'warn', 'error').optional(),
});

const processorSchema = strictSettings({
  name: destinationName.optional(),
  span_processor: has<SpanSink>('onEnd', 'forceFlush', 'shutdown').optional(),
  log_record_processor: has<LogRecordProcessor>('onEmit', 'forceFlush', 'shutdown').optional(),
  metric_reader: has<IMetricReader>('setMetricProducer', 'collect', 'forceFlush', 'shutdown').optional(),
});

const PROCESSOR_KEYS = ['span_processor', 'log_record_processor', 'metric_reader'] as const;

/** The name of processors without one, as other destinations are named by their preset. */
const OTEL = 'otel';

type NamedProcessors = ProcessorRecord & { preset: typeof OTEL };

function readDestination(record: unknown, place: string): DestinationRecord | NamedProcessors {
  // Each of the two kinds rejects the other's keys, which are allowed here if undefined.
  const value = isObject(record) ? withoutUndefined(record) : {};
  const is_processor = PROCESSOR_KEYS.some((key) => key in value);
  if (is_processor) return { ...check(processorSchema, value, place), preset: OTEL };
  if ('preset' in value) return check(destinationSchema, value, place);
  throw wrong(place, `must have a preset, such as "clawmetry", or one of ${PROCESSOR_KEYS.join(', ')}`);
}

function readDestinations(values: unknown[]): Pick<BridgePlan, 'configs' | 'processors'> {
  const read = values.map((value, index) => readDestination(value, `destinations.${index}`));
  const named = nameDestinations(read);
  if ('error' in named) throw wrong('destinations', named.error);
  const processors = named.destinations.filter((each) => each.preset === OTEL);
  const resolved = resolveDestinations(
    [],
    named.destinations.filter((each) => each.preset !== OTEL),
  );
  if ('error' in resolved) throw wrong('destinations', resolved.error);
  return { configs: resolved.destinations, processors };
}

/** Reads the environment too, as the program does. Throws a `ConfigurationError`. */
export function readOptions(options: BridgeOptions): BridgePlan {
  const { sources, destinations, correlator, logger, ...rest } = check(optionsSchema, options, '');
  const read = readSources(sources, PUSHED);
  return {
    settings: {
      ...rest,
      from: read.map(({ name }) => name),
      dialect: 'auto',
      no_store: rest.data_dir === undefined,
      gateway: {},
    },
    sources: read,
    ...readDestinations(destinations),
    correlator_limits: correlator,
    logger,
  };
}
