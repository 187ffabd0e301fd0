/**
 * A destination inside the program around the bridge: its span processor, log record processor, metric reader, or several of
 * them. They get records after profile `latest`, and are responsible for them: a record that was handed over counts as
 * delivered. Whatever one of them throws is counted and logged, and stops nothing.
 */
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import { LoggerProvider, type LogRecordProcessor } from '@opentelemetry/sdk-logs';
import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import type { SpanProcessor } from '@opentelemetry/sdk-trace-base';
import type {
  DeliveryProblem,
  Destination,
  DestinationCounts,
  Signal,
  SignalCounts,
} from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { Emission, LogRecord, SpanRecord } from '../model/telemetry.js';
import { onRejection } from '../util/callback.js';
import { errorReason } from '../util/errors.js';
import { within } from '../util/within.js';
import { logBytes, spanBytes } from './estimate.js';
import { createHandover, type Handover, type Receiver } from './handover.js';
import { toReadableLogRecord, toReadableSpan } from './otlp/readable.js';
import { createLossLog, createRedactor, REPEAT_AFTER_MS } from './report.js';
import { createResource } from './resource.js';
import { SCOPE } from './scope.js';
import { oneLine } from './verdict.js';

/** The used part of a span processor. Spans are handed over when they have ended, so `onStart` is never called. */
export type SpanSink = Pick<SpanProcessor, 'onEnd' | 'forceFlush' | 'shutdown'>;

export interface ProcessorsConfig {
  /** The key in the summary. */
  name: string;
  span_processor?: SpanSink | undefined;
  log_record_processor?: LogRecordProcessor | undefined;
  metric_reader?: IMetricReader | undefined;
}

export interface ProcessorDependencies {
  logger: Logger;
  /** The limit on the estimated bytes that wait for the processors. */
  memory_limit_bytes: number;
  /** Default: this process's resource. */
  resource?: Resource | undefined;
}

export interface ProcessorDestination extends Destination {
  /** For `createMetrics`. */
  reader?: IMetricReader;
}

/** Longer than the default time limit that OpenTelemetry's processors set for one export. */
const FLUSH_LIMIT_MS = 35_000;

/** Their contents were flushed before, as far as there was time. */
const SHUTDOWN_LIMIT_MS = 1_000;

/** What OpenTelemetry's processors and readers have in common. */
interface Flushable {
  forceFlush(): Promise<void>;
  shutdown(): Promise<void>;
}

/** Reports a failed call. */
type Fail = (signal: Signal, what: string, error: unknown) => void;

/** Wraps a part so that neither call rejects, and each has a time limit. */
type Guard = (signal: Signal, part: Flushable) => Flushable;

function createGuard(fail: Fail): Guard {
  async function attempt(signal: Signal, what: keyof Flushable, limit_ms: number, act: () => Promise<void>) {
    let is_done = false;
    const acting = (async () => act())()
      .catch((error: unknown) => fail(signal, what, error))
      .finally(() => {
        is_done = true;
      });
    // A flush may still be waited for when the bridge has stopped; what waits for it before that has limits of its own.
    await within(limit_ms, acting, { keeps_alive: what === 'shutdown' });
    if (!is_done) fail(signal, what, new Error(`timed out after ${limit_ms / 1000} s`));
  }
  return (signal, part) => ({
    forceFlush: () => attempt(signal, 'forceFlush', FLUSH_LIMIT_MS, () => part.forceFlush()),
    shutdown: () => attempt(signal, 'shutdown', SHUTDOWN_LIMIT_MS, () => part.shutdown()),
  });
}

/** Logs failures, at most once a minute for each signal, and remembers the last one. */
function createProblems(name: string, logger: Logger, redact: (text: string) => string) {
  const problems: Partial<Record<Signal, DeliveryProblem>> = {};
  const logged_ms: Partial<Record<Signal, number>> = {};
  return {
    problems,
    fail(signal: Signal, what: string, error: unknown): void {
      const message = redact(oneLine(errorReason(error)));
      problems[signal] = { at_ms: Date.now(), message };
      const now_ms = performance.now();
      if (now_ms - (logged_ms[signal] ?? Number.NEGATIVE_INFINITY) < REPEAT_AFTER_MS) return;
      logged_ms[signal] = now_ms;
      logger.warn({ destination: name, signal }, `${name}: ${what} for ${signal} failed: ${message}`);
    },
  };
}

/** A processor may change a record while it has it, so it gets one made by OpenTelemetry's SDK. */
function emitTo(processor: LogRecordProcessor, { resource, fail }: Parts): (log: LogRecord) => void {
  const guarded: LogRecordProcessor = {
    onEmit: (record, context) =>
      onRejection(processor.onEmit(record, context), (error) => fail('logs', 'onEmit', error)),
    enabled: (options) => processor.enabled?.(options) ?? true,
    forceFlush: () => processor.forceFlush(),
    shutdown: () => processor.shutdown(),
  };
  const provider = new LoggerProvider({ resource, processors: [guarded] });
  const logger = provider.getLogger(SCOPE.name, SCOPE.version);
  return (log) => {
    const { hrTime, hrTimeObserved, spanContext, ...rest } = toReadableLogRecord(log, resource);
    const context =
      spanContext === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, spanContext);
    logger.emit({ ...rest, timestamp: hrTime, observedTimestamp: hrTimeObserved, context });
  };
}

/** A processor or reader, as the destination uses it. */
interface Sender {
  signal: Signal;
  accept(emission: Emission): void;
  /** Absent if nothing is handed over. */
  counts?(): SignalCounts;
  idle(): Promise<void>;
  close(): Promise<void>;
}

interface Parts {
  resource: Resource;
  fail: Fail;
  guard: Guard;
  openHandover<R>(receiver: Receiver<R>): Handover<R>;
}

function openSender<R>(
  { guard, openHandover }: Parts,
  part: Flushable,
  { pick, ...receiver }: Omit<Receiver<R>, 'flush'> & { pick(emission: Emission): R[] },
): Sender {
  const { signal } = receiver;
  const { forceFlush, shutdown } = guard(signal, part);
  const handover = openHandover<R>({ ...receiver, flush: forceFlush });
  return {
    signal,
    accept: (emission) => handover.offer(pick(emission)),
    counts: handover.counts,
    idle: handover.idle,
    close() {
      handover.close();
      return shutdown();
    },
  };
}

const openSpans = (parts: Parts, processor: SpanSink): Sender =>
  openSender<SpanRecord>(parts, processor, {
    signal: 'traces',
    pick: ({ spans }) => spans,
    hand: (span) =>
      onRejection(processor.onEnd(toReadableSpan(span, parts.resource)), (error) =>
        parts.fail('traces', 'onEnd', error),
      ),
    bytesOf: spanBytes,
  });

const openLogs = (parts: Parts, processor: LogRecordProcessor): Sender =>
  openSender<LogRecord>(parts, processor, {
    signal: 'logs',
    pick: ({ logs }) => logs,
    hand: emitTo(processor, parts),
    bytesOf: logBytes,
  });

/** A reader collects on its own schedule, so nothing is handed over or counted. */
function openMetrics({ guard }: Parts, reader: IMetricReader): Sender {
  const { forceFlush, shutdown } = guard('metrics', reader);
  return { signal: 'metrics', accept: () => undefined, idle: forceFlush, close: shutdown };
}

export function createProcessorDestination(
  { name, span_processor, log_record_processor, metric_reader }: ProcessorsConfig,
  { logger, memory_limit_bytes, resource = createResource() }: ProcessorDependencies,
): ProcessorDestination {
  const redact = createRedactor({ endpoints: {} });
  const { problems, fail } = createProblems(name, logger, redact);
  const losses = createLossLog({ name, endpoints: {} }, { logger, now: () => performance.now() }, redact);
  const limit_bytes = span_processor && log_record_processor ? memory_limit_bytes / 2 : memory_limit_bytes;
  const parts: Parts = {
    resource,
    fail,
    guard: createGuard(fail),
    openHandover: (receiver) =>
      createHandover(receiver, { limit_bytes, onLoss: (event) => losses.report(receiver.signal, event) }),
  };
  const senders = [
    ...(span_processor ? [openSpans(parts, span_processor)] : []),
    ...(metric_reader ? [openMetrics(parts, metric_reader)] : []),
    ...(log_record_processor ? [openLogs(parts, log_record_processor)] : []),
  ];
  const summary = (): DestinationCounts =>
    Object.fromEntries(senders.flatMap(({ signal, counts }) => (counts ? [[signal, counts()]] : [])));
  return {
    name,
    takes_previews: false,
    takes_logs: log_record_processor !== undefined,
    ...(metric_reader ? { reader: metric_reader } : {}),
    accept(emission) {
      for (const sender of senders) sender.accept(emission);
    },
    collectMetrics: async () => undefined,
    sendMetrics: () => undefined,
    summary,
    problems: () => ({ ...problems }),
    pending: () => Object.values(summary()).reduce((total, { pending }) => total + pending, 0),
    async idle() {
      await Promise.all(senders.map((sender) => sender.idle()));
    },
    async close() {
      await Promise.all(senders.map((sender) => sender.close()));
      losses.end();
    },
  };
}
