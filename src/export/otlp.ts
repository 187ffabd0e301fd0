/**
 * Spans and log records as OpenTelemetry's own data types, and those as OTLP request bodies by OpenTelemetry's own
 * serializers. Also reads the one thing that an OTLP answer says: how much of the request was not taken.
 */
import { type HrTime, type SpanContext, SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { hrTimeDuration } from '@opentelemetry/core';
import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ResourceMetrics } from '@opentelemetry/sdk-metrics';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import type { Signal } from '../model/delivery.js';
import type { LogRecord, SpanEvent, SpanRecord, SpanReference } from '../model/telemetry.js';
import type { Encoding } from './presets.js';
import { SCOPE } from './scope.js';
import { cleanAttributes, cleanText } from './text.js';

const MS_PER_SECOND = 1000;
const NS_PER_MS = 1_000_000;
const NS_PER_SECOND = 1_000_000_000;

/** OTLP's instants are 64-bit nanoseconds, which end in the year 2554; a later one would make a request unreadable. */
const MAX_EPOCH_MS = 18_446_744_073_709;

/** How OTLP says that a span has not ended. */
const NOT_ENDED: HrTime = [0, 0];
/** The end of a span that ended at the epoch itself, which would read as not ended. */
const FIRST_END: HrTime = [0, 1];

/** Seconds and nanoseconds since the epoch, rounded to the nearest nanosecond; what OTLP can't hold is clamped. */
export function toHrTime(epoch_ms: number): HrTime {
  const ms = Math.min(Math.max(epoch_ms, 0), MAX_EPOCH_MS);
  // Subtracting whole milliseconds first keeps every bit of the fraction.
  const whole_ms = Math.floor(ms);
  const seconds = Math.floor(whole_ms / MS_PER_SECOND);
  const nanoseconds =
    (whole_ms - seconds * MS_PER_SECOND) * NS_PER_MS + Math.round((ms - whole_ms) * NS_PER_MS);
  return nanoseconds < NS_PER_SECOND ? [seconds, nanoseconds] : [seconds + 1, 0];
}

const toSpanContext = ({ trace_id, span_id }: SpanReference): SpanContext => ({
  traceId: trace_id,
  spanId: span_id,
  traceFlags: TraceFlags.SAMPLED,
});

const toTimedEvent = ({ name, ts_ms, attributes }: SpanEvent) => ({
  name: cleanText(name),
  time: toHrTime(ts_ms),
  attributes: cleanAttributes(attributes),
});

/** A span that ends before it starts is clamped to its start, and tells by how much: `openclaw.clock_skew_ms` is end − start. */
function toEnd({ start_ms, end_ms }: SpanRecord): { end_time: HrTime; skew_ms?: number } {
  if (end_ms === undefined) return { end_time: NOT_ENDED };
  const [seconds, nanoseconds] = toHrTime(Math.max(start_ms, end_ms));
  const end_time: HrTime = seconds === 0 && nanoseconds === 0 ? FIRST_END : [seconds, nanoseconds];
  return end_ms < start_ms ? { end_time, skew_ms: end_ms - start_ms } : { end_time };
}

function toStatus({ error }: SpanRecord): ReadableSpan['status'] {
  if (error === undefined) return { code: SpanStatusCode.UNSET };
  if (error.message === undefined) return { code: SpanStatusCode.ERROR };
  return { code: SpanStatusCode.ERROR, message: cleanText(error.message) };
}

/** The span as OpenTelemetry's exporters and processors take it. An open span has `endTime` 0 and `ended` false. */
export function toReadableSpan(span: SpanRecord, resource: Resource): ReadableSpan {
  const start_time = toHrTime(span.start_ms);
  const { end_time, skew_ms } = toEnd(span);
  const ended = span.end_ms !== undefined;
  const attributes = cleanAttributes(span.attributes);
  if (span.error !== undefined) attributes['error.type'] = cleanText(span.error.type);
  if (skew_ms !== undefined) attributes['openclaw.clock_skew_ms'] = skew_ms;
  const context = toSpanContext(span);
  const parent = span.parent_span_id;
  return {
    name: cleanText(span.name),
    kind: span.kind === 'chat' ? SpanKind.CLIENT : SpanKind.INTERNAL,
    spanContext: () => context,
    ...(parent === undefined ? {} : { parentSpanContext: { ...context, spanId: parent } }),
    startTime: start_time,
    endTime: end_time,
    duration: ended ? hrTimeDuration(start_time, end_time) : [0, 0],
    ended,
    status: toStatus(span),
    attributes,
    links: span.links.map((link) => ({ context: toSpanContext(link) })),
    events: span.events.map(toTimedEvent),
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** The log record as OpenTelemetry's exporters and processors take it. */
export function toReadableLogRecord(log: LogRecord, resource: Resource): ReadableLogRecord {
  return {
    hrTime: toHrTime(log.ts_ms),
    hrTimeObserved: toHrTime(log.observed_ms),
    spanContext: toSpanContext(log),
    severityText: log.severity,
    severityNumber: log.severity === 'ERROR' ? SeverityNumber.ERROR : SeverityNumber.INFO,
    eventName: cleanText(log.event_name),
    attributes: cleanAttributes(log.attributes),
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
  };
}

/** An unescaped quote stands before a key only, so this can't be a part of what somebody wrote into an attribute. */
const NO_END_JSON = '"endTimeUnixNano":"0",';

/** A backend that replaces open spans by id knows them by their missing end: a zero would be an end in 1970. */
function withoutZeroEnds(body: Uint8Array): Uint8Array {
  return Buffer.from(
    Buffer.from(body.buffer, body.byteOffset, body.length).toString().replaceAll(NO_END_JSON, ''),
  );
}

export function encodeSpans(spans: ReadableSpan[], encoding: Encoding): Uint8Array {
  // A zero end is the same as none in protobuf.
  if (encoding === 'protobuf') return serialized(ProtobufTraceSerializer.serializeRequest(spans));
  const body = serialized(JsonTraceSerializer.serializeRequest(spans));
  return spans.every((span) => span.ended) ? body : withoutZeroEnds(body);
}

export function encodeLogs(logs: ReadableLogRecord[], encoding: Encoding): Uint8Array {
  const serializer = encoding === 'json' ? JsonLogsSerializer : ProtobufLogsSerializer;
  return serialized(serializer.serializeRequest(logs));
}

export function encodeMetrics(metrics: ResourceMetrics, encoding: Encoding): Uint8Array {
  const serializer = encoding === 'json' ? JsonMetricsSerializer : ProtobufMetricsSerializer;
  return serialized(serializer.serializeRequest(metrics));
}

function serialized(body: Uint8Array | undefined): Uint8Array {
  if (body === undefined) throw new Error('the OTLP serializer gave no body');
  return body;
}

export const CONTENT_TYPES: Readonly<Record<Encoding, string>> = {
  json: 'application/json',
  protobuf: 'application/x-protobuf',
};

/** The part of a request that the backend did not take. */
export interface PartialSuccess {
  rejected: number;
  message: string;
}

const ANSWER_READERS = {
  traces: { json: JsonTraceSerializer, protobuf: ProtobufTraceSerializer, count: 'rejectedSpans' },
  metrics: { json: JsonMetricsSerializer, protobuf: ProtobufMetricsSerializer, count: 'rejectedDataPoints' },
  logs: { json: JsonLogsSerializer, protobuf: ProtobufLogsSerializer, count: 'rejectedLogRecords' },
} as const;

const OPENING_BRACE = 0x7b;

/**
 * What a 200 says was rejected; `undefined` where nothing was. An empty body and one that can't be read mean that all was
 * taken. JSON is told from protobuf by its first byte, which in protobuf would be a field that no answer has.
 */
export function readPartialSuccess(signal: Signal, body: Uint8Array): PartialSuccess | undefined {
  const { json, protobuf, count } = ANSWER_READERS[signal];
  const reader = body[0] === OPENING_BRACE ? json : protobuf;
  let partial: Record<string, unknown> | null | undefined;
  try {
    partial = reader.deserializeResponse(body)?.partialSuccess as Record<string, unknown> | null | undefined;
  } catch {
    return undefined;
  }
  // JSON writes 64-bit numbers as text.
  const rejected = Number(partial?.[count] ?? 0);
  const message = typeof partial?.errorMessage === 'string' ? partial.errorMessage : '';
  return Number.isFinite(rejected) && rejected > 0 ? { rejected, message } : undefined;
}
