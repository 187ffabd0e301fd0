/**
 * Spans and log records as OTLP/JSON: text made directly, in the order and to the letter as OpenTelemetry's own serializer
 * writes it, but for the end of an open span, which is left out. Ids and times are text without anything to be escaped.
 */
import type { Resource } from '@opentelemetry/resources';
import type {
  Attributes,
  AttributeValue,
  LogRecord,
  SpanEvent,
  SpanRecord,
  SpanReference,
} from '../../model/telemetry.js';
import { SCOPE } from '../scope.js';
import { cleanAttributes, cleanText } from '../text.js';
import { createKeyWriter } from './keys.js';
import {
  attributesOf,
  endOf,
  type Instant,
  kindOf,
  SPAN_FLAGS,
  severityOf,
  statusOf,
  TRACE_FLAGS,
  toInstant,
  toOtlpKind,
} from './told.js';

const DIGITS_OF_REST = 6;

const quote = (text: string): string => JSON.stringify(cleanText(text));

/** Nanoseconds since the epoch. */
function nanoseconds({ whole_ms, rest_ns }: Instant): string {
  if (whole_ms === 0) return `${rest_ns}`;
  return rest_ns === 0 ? `${whole_ms}000000` : `${whole_ms}${String(rest_ns).padStart(DIGITS_OF_REST, '0')}`;
}

function anyValue(value: unknown): string {
  if (typeof value === 'string') return `{"stringValue":${quote(value)}}`;
  if (typeof value === 'boolean') return `{"boolValue":${value}}`;
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return `{"intValue":${value}}`;
    return `{"doubleValue":${Number.isFinite(value) ? value : null}}`;
  }
  if (Array.isArray(value)) return `{"arrayValue":{"values":[${value.map(anyValue).join(',')}]}}`;
  return '{}';
}

const keyText = createKeyWriter((key) => `{"key":${JSON.stringify(key)},"value":`);

function keyValues(attributes: Readonly<Record<string, AttributeValue | undefined>>): string {
  let text = '';
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined) continue;
    const start = keyText(key);
    // Cleaned, it may be another one of these.
    if (start === undefined) return keyValues(cleanAttributes(attributes as Attributes));
    text += `${text === '' ? '' : ','}${start}${anyValue(value)}}`;
  }
  return text;
}

const eventText = ({ name, ts_ms, attributes }: SpanEvent): string =>
  `{"attributes":[${keyValues(attributes)}],"name":${quote(name)},"timeUnixNano":"${nanoseconds(toInstant(ts_ms))}","droppedAttributesCount":0}`;

const linkText = ({ trace_id, span_id }: SpanReference): string =>
  `{"attributes":[],"spanId":"${span_id}","traceId":"${trace_id}","droppedAttributesCount":0,"flags":${SPAN_FLAGS}}`;

function statusText(span: SpanRecord): string {
  const message = span.error?.message;
  return `{"code":${statusOf(span)}${message === undefined ? '' : `,"message":${quote(message)}`}}`;
}

function spanText(span: SpanRecord): string {
  const parent = span.parent_span_id;
  const end = endOf(span);
  return (
    `{"traceId":"${span.trace_id}","spanId":"${span.span_id}",` +
    (parent === undefined ? '' : `"parentSpanId":"${parent}",`) +
    `"name":${quote(span.name)},"kind":${toOtlpKind(kindOf(span))},` +
    `"startTimeUnixNano":"${nanoseconds(toInstant(span.start_ms))}",` +
    // A backend that replaces open spans by id knows them by their missing end: a zero would be an end in 1970.
    (end === undefined ? '' : `"endTimeUnixNano":"${nanoseconds(end)}",`) +
    `"attributes":[${keyValues(attributesOf(span))}],"droppedAttributesCount":0,` +
    `"events":[${span.events.map(eventText).join(',')}],"droppedEventsCount":0,` +
    `"status":${statusText(span)},` +
    `"links":[${span.links.map(linkText).join(',')}],"droppedLinksCount":0,"flags":${SPAN_FLAGS}}`
  );
}

const logText = (log: LogRecord): string =>
  `{"timeUnixNano":"${nanoseconds(toInstant(log.ts_ms))}",` +
  `"observedTimeUnixNano":"${nanoseconds(toInstant(log.observed_ms))}",` +
  `"severityNumber":${severityOf(log)},"severityText":"${log.severity}","body":{},` +
  `"eventName":${quote(log.event_name)},` +
  `"attributes":[${keyValues(log.attributes)}],"droppedAttributesCount":0,` +
  `"flags":${TRACE_FLAGS},"traceId":"${log.trace_id}","spanId":"${log.span_id}"}`;

/** Writes requests whose records all come from one resource. */
export function createJsonWriter({ attributes, schemaUrl }: Resource) {
  const schema = schemaUrl ? `,"schemaUrl":${quote(schemaUrl)}` : '';
  const resource = `{"attributes":[${keyValues(attributes as Attributes)}],"droppedAttributesCount":0${schema}}`;
  const scope = JSON.stringify(SCOPE);
  const request = (resources: string, scopes: string, records: string, texts: string[]): Uint8Array =>
    Buffer.from(
      `{"${resources}":[{"resource":${resource},"${scopes}":[{"scope":${scope},"${records}":[${texts.join(',')}]}]${schema}}]}`,
    );
  return {
    spans: (spans: SpanRecord[]) => request('resourceSpans', 'scopeSpans', 'spans', spans.map(spanText)),
    logs: (logs: LogRecord[]) => request('resourceLogs', 'scopeLogs', 'logRecords', logs.map(logText)),
  };
}
