/**
 * A destination: one backend, with a lane for each of its signals. It renames items after its profile, passes them to the
 * lanes, and logs what becomes of them: once, not once per batch.
 */
import type { Resource } from '@opentelemetry/resources';
import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import {
  type DeliveryProblem,
  type Destination,
  type SavedDeliveries,
  SIGNALS,
  type Signal,
} from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { Emission, LogRecord, SpanRecord } from '../model/telemetry.js';
import { sleep } from '../util/within.js';
import type { DestinationConfig, EndpointConfig } from './config.js';
import { createDestinationOutbox, type StoredLane } from './destination-outbox.js';
import { type Collected, createDivision } from './division.js';
import { logBytes, spanBytes } from './estimate.js';
import { createItem, type LaneItem } from './item.js';
import { Lane, type LaneEvent } from './lane.js';
import { collect, countDataPoints, createMetricReader, packMetrics, unpackMetrics } from './metrics.js';
import { createEncoder, type Encoder, encodeMetrics } from './otlp.js';
import { Outbox, type OutboxOptions } from './outbox.js';
import type { LaneDivision } from './parts.js';
import type { Encoding } from './presets.js';
import { applyToLog, applyToSpan, PROFILES, type Profile, sendsLog } from './profiles.js';
import { nameProxy } from './proxy.js';
import { createRedactor, createReporter } from './report.js';
import { createResource } from './resource.js';
import { createTransport, type Transport } from './transport.js';

/** What a destination needs besides its settings. */
export interface DestinationDependencies {
  logger: Logger;
  /** The limit on estimated bytes in memory. */
  memory_limit_bytes: number;
  /** Persists pending items, and restores those of the previous process. If absent, they are in memory only. */
  saved?: SavedDeliveries | undefined;
  /** Default: this process's resource. */
  resource?: Resource | undefined;
  /** Called for each answered request. */
  onExport?: (signal: Signal, destination: string, duration_ms: number) => void;
}

/** Time, randomness and the network, as a destination uses them. */
export interface Surroundings {
  /** Milliseconds of a monotonic clock, for durations. */
  now: () => number;
  /** Epoch milliseconds, for reported times. */
  wall_now: () => number;
  /** A number in [0, 1). */
  random: () => number;
  transport: (endpoint: EndpointConfig) => Transport;
  /** Resolves early once `signal` aborts; never rejects. */
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Those of this machine. */
export const MACHINE: Surroundings = {
  now: () => performance.now(),
  wall_now: () => Date.now(),
  random: () => Math.random(),
  transport: createTransport,
  sleep,
};

/** `idle` also waits for previews, and resolves when the destination is closed. */
export interface ExportDestination extends Destination {
  /** Waits for one signal, or for all. */
  idle(signal?: Signal): Promise<void>;
  /** Queues items from a dead letter, in their packed form. Returns the reason if it can't. */
  requeue(signal: Signal, packed: Uint8Array, counts: number[]): string | undefined;
  /** For `createMetrics`; absent where the destination takes no metrics. */
  reader?: IMetricReader;
}

/** How the signals share a destination's memory. */
const MEMORY_SHARES: Readonly<Record<Signal, number>> = { traces: 4, logs: 4, metrics: 1 };

const MAX_SPANS = 512;
const MAX_LOGS = 512;
/** Every event has a log record; sending each on its own would cost more than everything else. */
const GATHER_LOGS_MS = 5;
/** Each collection is one request. */
const MAX_METRIC_REQUESTS = 1;

/** What all lanes of a destination use. */
interface Parts {
  config: DestinationConfig;
  profile: Profile;
  resource: Resource;
  encoder: Encoder;
  /** Logs what has not been logged of losses. */
  endReport: () => void;
  now: () => number;
  openLane<T>(signal: Signal, endpoint: EndpointConfig, batch: BatchForm<T>): Lane<T>;
}

/** What differs between signals. */
interface BatchForm<T> extends Pick<OutboxOptions<T>, 'toItem' | 'identify' | 'pack' | 'unpack'> {
  max_items: number;
  in_order?: boolean;
  gather_ms?: number;
  division?: LaneDivision<T>;
  encode: (payloads: T[], encoding: Encoding) => Uint8Array;
}

/** How a destination uses each of its signals. */
interface SignalSender {
  lane: Pick<Lane<unknown>, 'counts' | 'load' | 'idle' | 'close'>;
  requeue: (packed: Uint8Array, counts: number[]) => string | undefined;
  accept?: (emission: Emission, is_recoverable?: boolean) => void;
  reader?: IMetricReader;
  collect?: (is_recoverable?: boolean) => Promise<void>;
  release?: () => void;
}

/**
 * Creates a destination that sends over OTLP/HTTP, with a lane for each signal in `config.endpoints`. Lanes send as soon as
 * they have items, which may be from `saved`; `summary()` counts what becomes of them.
 */
export const createDestination = (
  config: DestinationConfig,
  dependencies: DestinationDependencies,
): ExportDestination => openDestination(config, { ...dependencies, ...MACHINE });

/** The same in surroundings of the caller's. */
export function openDestination(
  config: DestinationConfig,
  dependencies: DestinationDependencies & Surroundings,
): ExportDestination {
  const transports: Transport[] = [];
  const stored_lanes: StoredLane[] = [];
  const problems: Partial<Record<Signal, DeliveryProblem>> = {};
  const parts = createParts(config, dependencies, { transports, stored_lanes, problems });
  logProxies(config, dependencies.logger);
  const senders: Partial<Record<Signal, SignalSender>> = {};
  for (const signal of SIGNALS) {
    const endpoint = config.endpoints[signal];
    if (endpoint !== undefined) senders[signal] = SENDERS[signal](parts, endpoint);
  }
  const { reader, collect: collectMetrics = async () => {}, release = () => {} } = senders.metrics ?? {};
  const lanes = Object.values(senders).map((sender) => sender.lane);
  const bySignal = <V>(read: (lane: SignalSender['lane']) => V): Partial<Record<Signal, V>> =>
    Object.fromEntries(Object.entries(senders).map(([signal, { lane }]) => [signal, read(lane)]));
  return {
    name: config.name,
    takes_previews: config.open_spans === 'replace',
    takes_logs: senders.logs !== undefined,
    ...(reader === undefined ? {} : { reader }),
    accept(emission, is_recoverable) {
      senders.traces?.accept?.(emission, is_recoverable);
      senders.logs?.accept?.(emission, is_recoverable);
    },
    collectMetrics,
    sendMetrics: release,
    ...(stored_lanes.length === 0 ? {} : { outbox: createDestinationOutbox(stored_lanes) }),
    requeue(signal, packed, counts) {
      const sender = senders[signal];
      return sender === undefined
        ? `${config.name} does not accept ${signal}`
        : sender.requeue(packed, counts);
    },
    summary: () => bySignal((lane) => lane.counts()),
    problems: () => ({ ...problems }),
    pending: () => lanes.reduce((sum, lane) => sum + lane.counts().pending, 0),
    load: () => bySignal((lane) => lane.load()),
    async idle(signal) {
      if (signal !== undefined) return senders[signal]?.lane.idle();
      await Promise.all(lanes.map((lane) => lane.idle()));
    },
    async close() {
      await Promise.all(lanes.map((lane) => lane.close()));
      await Promise.all(transports.map((transport) => transport.close()));
      parts.endReport();
    },
  };
}

/** Logs the proxies in use, since they may explain missing data. */
function logProxies({ name, endpoints }: DestinationConfig, logger: Logger): void {
  const proxies = Object.values(endpoints).flatMap(({ proxy }) => proxy ?? []);
  for (const proxy of new Set(proxies.map(nameProxy)))
    logger.info({ destination: name }, `${name} is reached through ${proxy}`);
}

/** What opening the lanes fills in: transports to close, lanes to persist, and the last problems. */
interface Opened {
  transports: Transport[];
  stored_lanes: StoredLane[];
  problems: Partial<Record<Signal, DeliveryProblem>>;
}

function createParts(
  config: DestinationConfig,
  dependencies: DestinationDependencies & Surroundings,
  { transports, stored_lanes, problems }: Opened,
): Parts {
  const {
    logger,
    memory_limit_bytes,
    saved,
    resource = createResource(),
    onExport,
    now,
    wall_now,
    random,
    sleep,
    transport: openTransport,
  } = dependencies;
  const taken = SIGNALS.filter((signal) => config.endpoints[signal] !== undefined);
  const shares = taken.reduce((sum, signal) => sum + MEMORY_SHARES[signal], 0);
  const reporter = createReporter(config, {
    logger,
    memory_limit_bytes,
    is_persisted: saved !== undefined,
    isWritable: () => stored_lanes.every(({ lane }) => lane.isWritable),
    now,
  });
  const redact = createRedactor(config);

  function openOutbox<T>(signal: Signal, form: BatchForm<T>): Outbox<T> | undefined {
    if (saved === undefined) return undefined;
    return new Outbox({ ...form, destination: config.name, signal, read: saved.read, redact, now: wall_now });
  }

  return {
    config,
    profile: PROFILES[config.profile],
    resource,
    encoder: createEncoder(resource),
    endReport: reporter.end,
    now,
    openLane(signal, endpoint, form) {
      const transport = openTransport(endpoint);
      transports.push(transport);
      const report = (event: LaneEvent) => {
        if (event.kind === 'answered') onExport?.(signal, config.name, event.duration_ms);
        else reporter.report(signal, event);
        if ('message' in event) problems[signal] = { at_ms: wall_now(), message: redact(event.message) };
      };
      const limit_bytes = (memory_limit_bytes * MEMORY_SHARES[signal]) / shares;
      const outbox = openOutbox(signal, form);
      const { max_items, encode, gather_ms, division, in_order = false } = form;
      const lane = new Lane({
        signal,
        max_items,
        gather_ms,
        encode,
        encoding: endpoint.encoding,
        in_order,
        post: transport.post,
        limit_bytes,
        now,
        random,
        sleep,
        report,
        ...(division === undefined ? {} : { division }),
        ...(outbox === undefined ? {} : { outbox }),
      });
      if (saved !== undefined && outbox !== undefined) {
        stored_lanes.push({ signal, memory_limit_bytes: limit_bytes, lane, outbox });
        lane.restore(outbox.restore(saved.entries(outbox.prefix), saved.answers(config.name, signal)));
      }
      return lane;
    },
  };
}

const SENDERS: Readonly<Record<Signal, (parts: Parts, endpoint: EndpointConfig) => SignalSender>> = {
  traces: openTraces,
  metrics: openMetrics,
  logs: openLogs,
};

const packJson = (payloads: unknown[]): Uint8Array => Buffer.from(JSON.stringify(payloads));
const unpackJson = <T>(bytes: Uint8Array): T[] => JSON.parse(Buffer.from(bytes).toString()) as T[];

/** Queues packed items as if they had just been produced. */
const requeueInto =
  <T>(lane: Lane<T>, { unpack, toItem }: BatchForm<T>): SignalSender['requeue'] =>
  (packed, counts) => {
    try {
      lane.offer(unpack(packed).map((payload, place) => toItem(payload, counts[place] ?? 1)));
      return undefined;
    } catch {
      return "it was written by another version and can't be read; resend it with that version, or purge it";
    }
  };

function openTraces({ config, profile, encoder, openLane }: Parts, endpoint: EndpointConfig): SignalSender {
  const replaces = config.open_spans === 'replace';
  const form: BatchForm<SpanRecord> = {
    max_items: MAX_SPANS,
    encode: (spans, encoding) =>
      encoder.encodeSpans(
        spans.map((span) => applyToSpan(profile, span)),
        encoding,
      ),
    pack: packJson,
    unpack: unpackJson,
    identify: ({ payload: { span_id }, count }) => (count === 0 ? ['+', span_id] : [span_id]),
    // A correction has count 0 and no id. With an id it would pass for a preview, and be discarded because its span has ended.
    toItem: (span, count) =>
      createItem(span, spanBytes(span), count, replaces && count > 0 ? span.span_id : undefined),
  };
  const lane = openLane('traces', endpoint, form);
  return {
    lane,
    requeue: requeueInto(lane, form),
    accept({ previews, corrections, spans }, is_recoverable) {
      if (replaces) {
        lane.offer(previews.map((span) => createItem(span, spanBytes(span), 0, span.span_id)));
      }
      lane.offer(
        spans.map((span) => form.toItem(span, 1)),
        is_recoverable,
      );
      if (replaces) lane.offer(corrections.map((span) => form.toItem(span, 0)));
    },
  };
}

function openLogs({ profile, encoder, openLane }: Parts, endpoint: EndpointConfig): SignalSender {
  const form: BatchForm<LogRecord> = {
    max_items: profile.log?.batch_items ?? MAX_LOGS,
    gather_ms: GATHER_LOGS_MS,
    encode: (logs, encoding) =>
      encoder.encodeLogs(
        logs.map((log) => applyToLog(profile, log)),
        encoding,
      ),
    pack: packJson,
    unpack: unpackJson,
    identify: ({ payload: { span_id, event_name, ts_ms } }) => [span_id, event_name, ts_ms],
    toItem: (log, count) => createItem(log, logBytes(log), count),
  };
  const lane = openLane('logs', endpoint, form);
  return {
    lane,
    requeue: requeueInto(lane, form),
    accept({ logs }, is_recoverable) {
      const items: LaneItem<LogRecord>[] = [];
      for (const log of logs) if (sendsLog(profile, log)) items.push(form.toItem(log, 1));
      lane.offer(items, is_recoverable);
    },
  };
}

function openMetrics({ config, resource, now, openLane }: Parts, endpoint: EndpointConfig): SignalSender {
  const { divide, series, split, separate, isKnown, remember, shrink } = createDivision(now);
  const itemOf = ({ packed, count }: Collected): LaneItem<Uint8Array> =>
    createItem(packed, packed.length, count);
  const maybeItemOf = (part: Collected | undefined) => (part === undefined ? undefined : itemOf(part));
  const form: BatchForm<Uint8Array> = {
    max_items: MAX_METRIC_REQUESTS,
    // A backend that adds up points ignores one that is older than an earlier one.
    in_order: true,
    encode: (one, encoding) => encodeMetrics(unpackMetrics(Buffer.concat(one)), encoding),
    pack: (one) => Buffer.concat(one),
    unpack(bytes) {
      unpackMetrics(bytes);
      return [bytes];
    },
    // A request is stored before it is sent, as long as the store is writable, so it is recognised by its place in a record.
    identify: () => [],
    toItem: (packed, count) => itemOf({ packed, count }),
    division: {
      divide: (packed, most) => divide(packed, most).map(itemOf),
      split(packed, blocked) {
        const { free, bound } = split(packed, blocked);
        return { free: maybeItemOf(free), bound: maybeItemOf(bound) };
      },
      series,
      isKnown,
      remember,
      shrink,
    },
  };
  const lane = openLane('metrics', endpoint, form);
  const reader = createMetricReader(config.temporality, config.profile);
  return {
    lane,
    reader,
    requeue: requeueInto(lane, form),
    async collect(is_recoverable) {
      const metrics = await collect(reader, resource);
      const count = countDataPoints(metrics);
      lane.hold(
        count > 0 ? separate({ packed: packMetrics(metrics), count }).map(itemOf) : [],
        is_recoverable,
      );
    },
    release: () => lane.release(),
  };
}
