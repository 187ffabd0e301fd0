/**
 * Spans and log records as OpenTelemetry's own data types, which its processors and exporters take. The OTLP writers do not use
 * them, but follow the same rules.
 */
import type { HrTime, SpanContext } from '@opentelemetry/api';
import { hrTimeDuration } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { attributesOf } from '../../model/span-attributes.js';
import type { LogRecord, SpanEvent, SpanRecord, SpanReference } from '../../model/telemetry.js';
import { SCOPE } from '../scope.js';
import { cleanAttributes, cleanText } from '../text.js';
import {
  endOf,
  type Instant,
  kindOf,
  NS_PER_MS,
  severityOf,
  statusOf,
  TRACE_FLAGS,
  toInstant,
} from './fields.js';

const MS_PER_SECOND = 1000;

/** OpenTelemetry's end time of an open span. */
const NOT_ENDED: HrTime = [0, 0];

/** Seconds and nanoseconds. */
function toHrTime({ whole_ms, rest_ns }: Instant): HrTime {
  const seconds = Math.floor(whole_ms / MS_PER_SECOND);
  return [seconds, (whole_ms - seconds * MS_PER_SECOND) * NS_PER_MS + rest_ns];
}

const toSpanContext = ({ trace_id, span_id }: SpanReference): SpanContext => ({
  traceId: trace_id,
  spanId: span_id,
  traceFlags: TRACE_FLAGS,
});

const toTimedEvent = ({ name, ts_ms, attributes }: SpanEvent) => ({
  name: cleanText(name),
  time: toHrTime(toInstant(ts_ms)),
  attributes: cleanAttributes(attributes),
});

function toStatus(span: SpanRecord): ReadableSpan['status'] {
  const code = statusOf(span);
  const message = span.error?.message;
  return message === undefined ? { code } : { code, message: cleanText(message) };
}

/** Converts a span for OpenTelemetry's exporters and processors. An open span has `endTime` 0 and `ended` false. */
export function toReadableSpan(span: SpanRecord, resource: Resource): ReadableSpan {
  const start_time = toHrTime(toInstant(span.start_ms));
  const end = endOf(span);
  const end_time = end === undefined ? NOT_ENDED : toHrTime(end);
  const context = toSpanContext(span);
  const parent = span.parent_span_id;
  return {
    name: cleanText(span.name),
    kind: kindOf(span),
    spanContext: () => context,
    ...(parent === undefined ? {} : { parentSpanContext: { ...context, spanId: parent } }),
    startTime: start_time,
    endTime: end_time,
    duration: end === undefined ? [0, 0] : hrTimeDuration(start_time, end_time),
    ended: end !== undefined,
    status: toStatus(span),
    attributes: cleanAttributes(attributesOf(span)),
    links: span.links.map((link) => ({ context: toSpanContext(link) })),
    events: span.events.map(toTimedEvent),
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** Converts a log record for OpenTelemetry's exporters and processors. */
export function toReadableLogRecord(log: LogRecord, resource: Resource): ReadableLogRecord {
  return {
    hrTime: toHrTime(toInstant(log.ts_ms)),
    hrTimeObserved: toHrTime(toInstant(log.observed_ms)),
    spanContext: toSpanContext(log),
    severityText: log.severity,
    severityNumber: severityOf(log),
    eventName: cleanText(log.event_name),
    attributes: cleanAttributes(log.attributes),
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
  };
}
