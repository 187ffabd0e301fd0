/**
 * A destination: one backend, with a lane for each signal that it takes. It gives every lane its items under the names that
 * its profile wants, and tells the log, once and not once a batch, what becomes of them.
 */
import { setTimeout as wait } from 'node:timers/promises';
import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import { type Destination, SIGNALS, type Signal } from '../model/delivery.js';
import type { Emission, LogRecord, SpanRecord } from '../model/telemetry.js';
import type { DestinationConfig, EndpointConfig } from './config.js';
import { logBytes, spanBytes } from './estimate.js';
import { Lane, type LaneEvent } from './lane.js';
import { collect, countDataPoints, createMetricReader } from './metrics.js';
import { encodeLogs, encodeMetrics, encodeSpans, toReadableLogRecord, toReadableSpan } from './otlp.js';
import { applyToLog, applyToSpan, PROFILES, type Profile, sendsLog } from './profiles.js';
import type { LaneItem } from './queue.js';
import { createReporter, type Logger } from './report.js';
import { createResource } from './resource.js';
import { createTransport, type Transport } from './transport.js';

export interface DestinationDependencies {
  logger: Logger;
  /** What the destination may hold in memory, in estimated bytes. */
  memory_limit_bytes: number;
  /** Called with each answered request. */
  onExport?: (signal: Signal, destination: string, duration_ms: number) => void;
  /** Milliseconds of a clock that only goes forward, for all that is measured; default `performance.now`. */
  now?: () => number;
  /** A number in [0, 1); default `Math.random`. */
  random?: () => number;
  /** Default: `undici` over the network. */
  transport?: (endpoint: EndpointConfig) => Transport;
  /** Default: a timer. Resolves early once `signal` aborts; never rejects. */
  sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** `idle` waits for previews, too, and resolves when the destination is closed. */
export interface ExportDestination extends Destination {
  /** For `createMetrics`; absent where the destination takes no metrics. */
  reader?: IMetricReader;
}

/** The shares of the signals in a destination's memory. */
const MEMORY_SHARES: Readonly<Record<Signal, number>> = { traces: 4, logs: 4, metrics: 1 };

const MAX_SPANS = 512;
const MAX_LOGS = 512;
/** A metrics request goes as it was collected. */
const MAX_METRIC_REQUESTS = 1;

/** The longest that one timer can wait: 2³¹ − 1 ms. */
const MAX_TIMER_MS = 2_147_483_647;

async function sleepOnTimer(ms: number, signal: AbortSignal): Promise<void> {
  for (let left_ms = ms; left_ms > 0 && !signal.aborted; left_ms -= MAX_TIMER_MS) {
    await wait(Math.min(left_ms, MAX_TIMER_MS), undefined, { signal }).catch(() => undefined);
  }
}

/** What the lanes of one destination have in common. */
interface Parts {
  config: DestinationConfig;
  profile: Profile;
  resource: ReturnType<typeof createResource>;
  now: () => number;
  openLane<T>(signal: Signal, endpoint: EndpointConfig, batch: BatchForm<T>): Lane<T>;
}

interface BatchForm<T> {
  max_items: number;
  encode: (payloads: T[]) => Uint8Array;
}

/** What a destination asks of each of its signals. */
interface SignalSender {
  lane: Pick<Lane<unknown>, 'counts' | 'idle' | 'close'>;
  accept?: (emission: Emission) => void;
  reader?: IMetricReader;
  collect?: () => Promise<void>;
}

export function createDestination(
  config: DestinationConfig,
  dependencies: DestinationDependencies,
): ExportDestination {
  const transports: Transport[] = [];
  const parts = createParts(config, dependencies, transports);
  const senders: Partial<Record<Signal, SignalSender>> = {};
  for (const signal of SIGNALS) {
    const endpoint = config.endpoints[signal];
    if (endpoint !== undefined) senders[signal] = SENDERS[signal](parts, endpoint);
  }
  const { reader, collect: collectMetrics = async () => {} } = senders.metrics ?? {};
  const lanes = Object.values(senders).map((sender) => sender.lane);
  return {
    name: config.name,
    ...(reader === undefined ? {} : { reader }),
    accept(emission) {
      senders.traces?.accept?.(emission);
      senders.logs?.accept?.(emission);
    },
    collectMetrics,
    summary: () =>
      Object.fromEntries(Object.entries(senders).map(([signal, sender]) => [signal, sender.lane.counts()])),
    pending: () => lanes.reduce((sum, lane) => sum + lane.counts().pending, 0),
    async idle() {
      await Promise.all(lanes.map((lane) => lane.idle()));
    },
    async close() {
      await Promise.all(lanes.map((lane) => lane.close()));
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}

function createParts(
  config: DestinationConfig,
  dependencies: DestinationDependencies,
  transports: Transport[],
): Parts {
  const {
    logger,
    memory_limit_bytes,
    onExport,
    now = () => performance.now(),
    random = Math.random,
    sleep = sleepOnTimer,
    transport: openTransport = createTransport,
  } = dependencies;
  const taken = SIGNALS.filter((signal) => config.endpoints[signal] !== undefined);
  const shares = taken.reduce((sum, signal) => sum + MEMORY_SHARES[signal], 0);
  const reporter = createReporter(config, { logger, memory_limit_bytes, now });
  return {
    config,
    profile: PROFILES[config.profile],
    resource: createResource(),
    now,
    openLane(signal, endpoint, batch) {
      const transport = openTransport(endpoint);
      transports.push(transport);
      const report = (event: LaneEvent) => {
        if (event.kind === 'answered') onExport?.(signal, config.name, event.duration_ms);
        else reporter(signal, event);
      };
      const limit_bytes = (memory_limit_bytes * MEMORY_SHARES[signal]) / shares;
      return new Lane({ signal, ...batch, post: transport.post, limit_bytes, now, random, sleep, report });
    },
  };
}

const SENDERS: Readonly<Record<Signal, (parts: Parts, endpoint: EndpointConfig) => SignalSender>> = {
  traces: openTraces,
  metrics: openMetrics,
  logs: openLogs,
};

function openTraces({ config, profile, resource, openLane }: Parts, endpoint: EndpointConfig): SignalSender {
  const lane = openLane<SpanRecord>('traces', endpoint, {
    max_items: MAX_SPANS,
    encode: (spans) =>
      encodeSpans(
        spans.map((span) => toReadableSpan(applyToSpan(profile, span), resource)),
        endpoint.encoding,
      ),
  });
  const replaces = config.open_spans === 'replace';
  const toItem = (span: SpanRecord, count: number): LaneItem<SpanRecord> => {
    const item = { payload: span, bytes: spanBytes(span), count };
    return replaces ? { ...item, id: span.span_id } : item;
  };
  return {
    lane,
    accept({ previews, corrections, spans }) {
      if (replaces) lane.offer(previews.map((span) => toItem(span, 0)));
      lane.offer(spans.map((span) => toItem(span, 1)));
      // Without an id: what has ended takes no more copies, but for this one.
      if (replaces)
        lane.offer(corrections.map((span) => ({ payload: span, bytes: spanBytes(span), count: 0 })));
    },
  };
}

function openLogs({ profile, resource, openLane }: Parts, endpoint: EndpointConfig): SignalSender {
  const lane = openLane<LogRecord>('logs', endpoint, {
    max_items: profile.log?.batch_items ?? MAX_LOGS,
    encode: (logs) =>
      encodeLogs(
        logs.map((log) => toReadableLogRecord(applyToLog(profile, log), resource)),
        endpoint.encoding,
      ),
  });
  return {
    lane,
    accept({ logs }) {
      const sent = logs.filter((log) => sendsLog(profile, log));
      lane.offer(sent.map((log) => ({ payload: log, bytes: logBytes(log), count: 1 })));
    },
  };
}

/** A metrics request is encoded when it is collected: what is sent again, at any time, is the same bytes. */
function openMetrics({ config, resource, openLane }: Parts, endpoint: EndpointConfig): SignalSender {
  const lane = openLane<Uint8Array>('metrics', endpoint, {
    max_items: MAX_METRIC_REQUESTS,
    encode: ([body = new Uint8Array()]) => body,
  });
  const reader = createMetricReader(config.temporality);
  return {
    lane,
    reader,
    async collect() {
      const metrics = await collect(reader, resource);
      const count = countDataPoints(metrics);
      if (count === 0) return;
      const payload = encodeMetrics(metrics, endpoint.encoding);
      lane.offer([{ payload, bytes: payload.length, count }]);
    },
  };
}
