/**
 * Writes spans and log records as OTLP/JSON, directly as text. The result is what OpenTelemetry's own serializer writes, to the
 * letter, with two exceptions: an open span has no end, and integers beyond 64 bits are doubles. Ids and times need no
 * escaping.
 */
import type { Resource } from '@opentelemetry/resources';
import { attributesOf } from '../../model/span-attributes.js';
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
import {
  endOf,
  type Instant,
  isInt64,
  kindOf,
  SPAN_FLAGS,
  severityOf,
  statusOf,
  TRACE_FLAGS,
  toInstant,
  toOtlpKind,
} from './fields.js';
import { createKeyWriter } from './keys.js';

const DIGITS_OF_REST = 6;

/** Longer texts are faster to check for all of JSON's rules at once, by `JSON.stringify`. */
const MAX_SHORT = 64;

const SPACE = ' '.charCodeAt(0);
const TILDE = '~'.charCodeAt(0);
const QUOTE = '"'.charCodeAt(0);
const BACKSLASH = '\\'.charCodeAt(0);

/** Whether a text, like most, is short and needs no escaping in JSON: printable ASCII without quotes and backslashes. */
function isPlain(text: string): boolean {
  if (text.length > MAX_SHORT) return false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < SPACE || code > TILDE || code === QUOTE || code === BACKSLASH) return false;
  }
  return true;
}

const quote = (text: string): string => (isPlain(text) ? `"${text}"` : JSON.stringify(cleanText(text)));

/** Nanoseconds since the epoch. */
function nanoseconds({ whole_ms, rest_ns }: Instant): string {
  if (whole_ms === 0) return `${rest_ns}`;
  return rest_ns === 0 ? `${whole_ms}000000` : `${whole_ms}${String(rest_ns).padStart(DIGITS_OF_REST, '0')}`;
}

/** `AnyValue`. */
function valueText(value: unknown): string {
  if (typeof value === 'string') return `{"stringValue":${quote(value)}}`;
  if (typeof value === 'boolean') return `{"boolValue":${value}}`;
  if (typeof value === 'number') {
    if (isInt64(value)) return `{"intValue":${value}}`;
    return `{"doubleValue":${Number.isFinite(value) ? value : null}}`;
  }
  if (Array.isArray(value)) return `{"arrayValue":{"values":[${value.map(valueText).join(',')}]}}`;
  return '{}';
}

/** The start of a `KeyValue` with this key: for any value, and for a string that needs no escaping. */
const keyTexts = createKeyWriter((key) => {
  const any = `{"key":${JSON.stringify(key)},"value":`;
  return { any, plain: `${any}{"stringValue":"` };
});

function keyValues(attributes: Readonly<Record<string, AttributeValue | undefined>>): string {
  let text = '';
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined) continue;
    const start = keyTexts(key);
    // A cleaned key may equal another one, so all attributes are cleaned and written again.
    if (start === undefined) return keyValues(cleanAttributes(attributes as Attributes));
    if (text !== '') text += ',';
    if (typeof value === 'string' && isPlain(value)) text += `${start.plain}${value}"}}`;
    else text += `${start.any}${valueText(value)}}`;
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
    // A backend that replaces open spans by id recognises them by the missing end; a zero would be an end in 1970.
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

/** The initial buffer size for each record, and the most bytes that one UTF-16 code unit takes. */
const RECORD_BYTES = 2048;
const MAX_CHARACTER_BYTES = 3;

/** A growing buffer. */
function createBody(records: number) {
  let buffer = Buffer.allocUnsafe(records * RECORD_BYTES);
  let length = 0;
  return {
    write(text: string): void {
      const needed = length + text.length * MAX_CHARACTER_BYTES;
      if (needed > buffer.length) {
        const larger = Buffer.allocUnsafe(Math.max(needed, 2 * buffer.length));
        buffer.copy(larger, 0, 0, length);
        buffer = larger;
      }
      length += buffer.write(text, length);
    },
    finish: (): Uint8Array => buffer.subarray(0, length),
  };
}

/** Creates writers for requests whose records all have this resource. */
export function createJsonWriter({ attributes, schemaUrl }: Resource) {
  const schema = schemaUrl ? `,"schemaUrl":${quote(schemaUrl)}` : '';
  const resource = `{"attributes":[${keyValues(attributes as Attributes)}],"droppedAttributesCount":0${schema}}`;
  const scope = JSON.stringify(SCOPE);
  const end = `]}]${schema}}]}`;

  function createRequestWriter<R>(start: string, toText: (record: R) => string) {
    return (records: R[]): Uint8Array => {
      const body = createBody(records.length + 1);
      body.write(start);
      for (const [place, record] of records.entries())
        body.write(place === 0 ? toText(record) : `,${toText(record)}`);
      body.write(end);
      return body.finish();
    };
  }

  const startOf = (resources: string, scopes: string, records: string) =>
    `{"${resources}":[{"resource":${resource},"${scopes}":[{"scope":${scope},"${records}":[`;
  return {
    spans: createRequestWriter(startOf('resourceSpans', 'scopeSpans', 'spans'), spanText),
    logs: createRequestWriter(startOf('resourceLogs', 'scopeLogs', 'logRecords'), logText),
  };
}
