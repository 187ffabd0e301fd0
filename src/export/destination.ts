/**
 * A destination: one backend, with a lane for each signal that it takes. It gives every lane its items under the names that
 * its profile wants, and tells the log, once and not once a batch, what becomes of them.
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
import { sleep as sleepOnTimer } from '../util/within.js';
import type { DestinationConfig, EndpointConfig } from './config.js';
import { type Collected, createDivision } from './division.js';
import { logBytes, spanBytes } from './estimate.js';
import { createKeeping, type KeptLane } from './keeping.js';
import { Lane, type LaneEvent } from './lane.js';
import { collect, countDataPoints, createMetricReader, packMetrics, unpackMetrics } from './metrics.js';
import { createEncoder, type Encoder, encodeMetrics } from './otlp.js';
import { Outbox, type OutboxOptions } from './outbox.js';
import type { Encoding } from './presets.js';
import { applyToLog, applyToSpan, PROFILES, type Profile, sendsLog } from './profiles.js';
import { createItem, type LaneItem } from './queue.js';
import { createRedactor, createReporter } from './report.js';
import { createResource } from './resource.js';
import { createTransport, type Transport } from './transport.js';
import type { LaneDivision } from './waiting.js';

/** What a destination is given beside its settings. */
export interface DestinationDependencies {
  logger: Logger;
  /** What the destination may hold in memory, in estimated bytes. */
  memory_limit_bytes: number;
  /** Keeps what is pending beyond the process, and takes over what an earlier one left; absent: in memory only. */
  saved?: SavedDeliveries | undefined;
  /** Default: that of this process. */
  resource?: Resource | undefined;
  /** Called with each answered request. */
  onExport?: (signal: Signal, destination: string, duration_ms: number) => void;
  /** Milliseconds of a clock that only goes forward, for all that is measured; default `performance.now`. */
  now?: () => number;
  /** Epoch milliseconds, for all that is told; default `Date.now`. */
  wall_now?: () => number;
  /** A number in [0, 1); default `Math.random`. */
  random?: () => number;
  /** Default: `undici` over the network. */
  transport?: (endpoint: EndpointConfig) => Transport;
  /** Default: a timer. Resolves early once `signal` aborts; never rejects. */
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** `idle` waits for previews, too, and resolves when the destination is closed. */
export interface ExportDestination extends Destination {
  /** Of one signal, or of all. */
  idle(signal?: Signal): Promise<void>;
  /** Takes in what was written down of a signal before, as records hold it. Says why, where it can't. */
  takeBack(signal: Signal, packed: Uint8Array, counts: number[]): string | undefined;
  /** For `createMetrics`; absent where the destination takes no metrics. */
  reader?: IMetricReader;
}

/** The shares of the signals in a destination's memory. */
const MEMORY_SHARES: Readonly<Record<Signal, number>> = { traces: 4, logs: 4, metrics: 1 };

const MAX_SPANS = 512;
const MAX_LOGS = 512;
/** Every event has a log record: one by one, their requests would cost more than all else. */
const GATHER_LOGS_MS = 5;
/** Each collection is a request. */
const MAX_METRIC_REQUESTS = 1;

/** What the lanes of one destination have in common. */
interface Parts {
  config: DestinationConfig;
  profile: Profile;
  resource: Resource;
  encoder: Encoder;
  now: () => number;
  openLane<T>(signal: Signal, endpoint: EndpointConfig, batch: BatchForm<T>): Lane<T>;
}

/** What is particular to the items of a signal. */
interface BatchForm<T> extends Pick<OutboxOptions<T>, 'toItem' | 'identify' | 'pack' | 'unpack'> {
  max_items: number;
  in_order?: boolean;
  gather_ms?: number;
  division?: LaneDivision<T>;
  encode: (payloads: T[], encoding: Encoding) => Uint8Array;
}

/** What a destination asks of each of its signals. */
interface SignalSender {
  lane: Pick<Lane<unknown>, 'counts' | 'isCrowded' | 'idle' | 'close'>;
  takeBack: (packed: Uint8Array, counts: number[]) => string | undefined;
  accept?: (emission: Emission, is_kept?: boolean) => void;
  reader?: IMetricReader;
  collect?: (is_kept?: boolean) => Promise<void>;
  release?: () => void;
}

/**
 * A destination that sends over OTLP/HTTP: a lane for each signal that `config.endpoints` names. Each begins to send as soon as it
 * has something, and at once what `saved` has for it; what becomes of all of it is in `summary()`.
 */
export function createDestination(
  config: DestinationConfig,
  dependencies: DestinationDependencies,
): ExportDestination {
  const transports: Transport[] = [];
  const kept: KeptLane[] = [];
  const problems: Partial<Record<Signal, DeliveryProblem>> = {};
  const parts = createParts(config, dependencies, { transports, kept, problems });
  sayProxies(config, dependencies.logger);
  const senders: Partial<Record<Signal, SignalSender>> = {};
  for (const signal of SIGNALS) {
    const endpoint = config.endpoints[signal];
    if (endpoint !== undefined) senders[signal] = SENDERS[signal](parts, endpoint);
  }
  const { reader, collect: collectMetrics = async () => {}, release = () => {} } = senders.metrics ?? {};
  const lanes = Object.values(senders).map((sender) => sender.lane);
  return {
    name: config.name,
    takes_previews: config.open_spans === 'replace',
    takes_logs: senders.logs !== undefined,
    ...(reader === undefined ? {} : { reader }),
    accept(emission, is_kept) {
      senders.traces?.accept?.(emission, is_kept);
      senders.logs?.accept?.(emission, is_kept);
    },
    collectMetrics,
    sendMetrics: release,
    ...(kept.length === 0 ? {} : { keeping: createKeeping(kept) }),
    takeBack(signal, packed, counts) {
      const sender = senders[signal];
      return sender === undefined ? `${config.name} takes no ${signal}` : sender.takeBack(packed, counts);
    },
    summary: () =>
      Object.fromEntries(Object.entries(senders).map(([signal, sender]) => [signal, sender.lane.counts()])),
    problems: () => ({ ...problems }),
    pending: () => lanes.reduce((sum, lane) => sum + lane.counts().pending, 0),
    isCrowded: () => lanes.some((lane) => lane.isCrowded),
    async idle(signal) {
      if (signal !== undefined) return senders[signal]?.lane.idle();
      await Promise.all(lanes.map((lane) => lane.idle()));
    },
    async close() {
      await Promise.all(lanes.map((lane) => lane.close()));
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}

/** Who wonders where data has gone should know of it. */
function sayProxies({ name, endpoints }: DestinationConfig, logger: Logger): void {
  const proxies = Object.values(endpoints).flatMap(({ proxy }) => proxy ?? []);
  for (const said of new Set(proxies.map(({ url, variable }) => `${url} (${variable})`)))
    logger.info({ destination: name }, `${name} is reached through the proxy ${said}`);
}

/** What opening lanes leaves to be closed, kept and told. */
interface Opened {
  transports: Transport[];
  kept: KeptLane[];
  problems: Partial<Record<Signal, DeliveryProblem>>;
}

function createParts(
  config: DestinationConfig,
  dependencies: DestinationDependencies,
  { transports, kept, problems }: Opened,
): Parts {
  const {
    logger,
    memory_limit_bytes,
    saved,
    resource = createResource(),
    onExport,
    now = () => performance.now(),
    wall_now = Date.now,
    random = Math.random,
    sleep = sleepOnTimer,
    transport: openTransport = createTransport,
  } = dependencies;
  const taken = SIGNALS.filter((signal) => config.endpoints[signal] !== undefined);
  const shares = taken.reduce((sum, signal) => sum + MEMORY_SHARES[signal], 0);
  const reporter = createReporter(config, {
    logger,
    memory_limit_bytes,
    is_kept: saved !== undefined,
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
    now,
    openLane(signal, endpoint, form) {
      const transport = openTransport(endpoint);
      transports.push(transport);
      const report = (event: LaneEvent) => {
        if (event.kind === 'answered') onExport?.(signal, config.name, event.duration_ms);
        else reporter(signal, event);
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
        kept.push({ signal, memory_limit_bytes: limit_bytes, lane, outbox });
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

/** Queues what was written down before, as if it had just been produced. */
const takeBackInto =
  <T>(lane: Lane<T>, { unpack, toItem }: BatchForm<T>): SignalSender['takeBack'] =>
  (packed, counts) => {
    try {
      lane.offer(unpack(packed).map((payload, place) => toItem(payload, counts[place] ?? 1)));
      return undefined;
    } catch {
      return 'it is of another version, and can not be read';
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
    // Without an id what does not count is a correction: what has ended takes no more copies, but for this one.
    toItem: (span, count) =>
      createItem(span, spanBytes(span), count, replaces && count > 0 ? span.span_id : undefined),
  };
  const lane = openLane('traces', endpoint, form);
  return {
    lane,
    takeBack: takeBackInto(lane, form),
    accept({ previews, corrections, spans }, is_kept) {
      if (replaces) {
        lane.offer(previews.map((span) => createItem(span, spanBytes(span), 0, span.span_id)));
      }
      lane.offer(
        spans.map((span) => form.toItem(span, 1)),
        is_kept,
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
    takeBack: takeBackInto(lane, form),
    accept({ logs }, is_kept) {
      const items: LaneItem<LogRecord>[] = [];
      for (const log of logs) if (sendsLog(profile, log)) items.push(form.toItem(log, 1));
      lane.offer(items, is_kept);
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
    // A backend that adds up what it gets takes no point that is older than one before it.
    in_order: true,
    encode: (one, encoding) => encodeMetrics(unpackMetrics(Buffer.concat(one)), encoding),
    pack: (one) => Buffer.concat(one),
    unpack(bytes) {
      unpackMetrics(bytes);
      return [bytes];
    },
    // Each is written down before it is sent, as long as anything can be, and so never told by what it is.
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
    takeBack: takeBackInto(lane, form),
    async collect(is_kept) {
      const metrics = await collect(reader, resource);
      const count = countDataPoints(metrics);
      lane.hold(count > 0 ? separate({ packed: packMetrics(metrics), count }).map(itemOf) : [], is_kept);
    },
    release: () => lane.release(),
  };
}
