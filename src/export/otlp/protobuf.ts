/**
 * Spans and log records as OTLP's protobuf messages, byte for byte as OpenTelemetry's own serializer writes them. The numbers
 * are those of the fields in `opentelemetry/proto/{trace,logs,common,resource}/v1`, in their order.
 */
import type { Resource } from '@opentelemetry/resources';
import { PbfWriter } from 'pbf';
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
  NS_PER_MS,
  SPAN_FLAGS,
  severityOf,
  statusOf,
  TRACE_FLAGS,
  toInstant,
  toOtlpKind,
} from './told.js';

/** Wire types, as they stand in a tag. */
const FIXED64 = 1;
const BYTES = 2;

const TWO_TO_32 = 2 ** 32;
const INT64_END = 2 ** 63;

/** A longer text is quicker to write at once, whatever is in it. */
const MAX_SHORT = 64;

const NOT_ENDED: Instant = { whole_ms: 0, rest_ns: 0 };

const LAST_ASCII = 0x7f;

/** Most texts: a byte for each character. Gives up at the first other character. */
function writeAscii(text: string, pbf: PbfWriter): boolean {
  const { length } = text;
  pbf.writeVarint(length);
  pbf.realloc(length);
  const { buf, pos } = pbf;
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code > LAST_ASCII) return false;
    buf[pos + at] = code;
  }
  pbf.pos += length;
  return true;
}

/** Not by pbf's `writeString`, which writes another character for half of those beyond U+FFFF: U+10000 for U+20000. */
function writeText(field: number, text: string, pbf: PbfWriter): void {
  pbf.writeTag(field, BYTES);
  const start = pbf.pos;
  if (text.length <= MAX_SHORT && writeAscii(text, pbf)) return;
  pbf.pos = start;
  pbf.writeBytes(Buffer.from(cleanText(text)));
}

/** Nanoseconds since the epoch, in two halves, since a number is exact to 53 bits only. */
function writeInstant(field: number, { whole_ms, rest_ns }: Instant, pbf: PbfWriter): void {
  const upper = Math.floor(whole_ms / TWO_TO_32);
  const lower_ns = (whole_ms - upper * TWO_TO_32) * NS_PER_MS + rest_ns;
  const carried = Math.floor(lower_ns / TWO_TO_32);
  pbf.writeTag(field, FIXED64);
  pbf.writeFixed32(lower_ns - carried * TWO_TO_32);
  pbf.writeFixed32(upper * NS_PER_MS + carried);
}

const CODE_0 = '0'.charCodeAt(0);
const CODE_9 = '9'.charCodeAt(0);
const CODE_A = 'a'.charCodeAt(0);

/** What the hex digit at a place is worth. */
function digitAt(hex: string, at: number): number {
  const code = hex.charCodeAt(at);
  return code <= CODE_9 ? code - CODE_0 : code - CODE_A + 10;
}

function writeId(field: number, hex: string, pbf: PbfWriter): void {
  const length = hex.length / 2;
  pbf.writeTag(field, BYTES);
  pbf.writeVarint(length);
  pbf.realloc(length);
  for (let at = 0; at < hex.length; at += 2)
    pbf.buf[pbf.pos++] = (digitAt(hex, at) << 4) | digitAt(hex, at + 1);
}

/** What has been written before. */
function writeRaw(bytes: Uint8Array, pbf: PbfWriter): void {
  pbf.realloc(bytes.length);
  pbf.buf.set(bytes, pbf.pos);
  pbf.pos += bytes.length;
}

/** `AnyValue`. */
function writeValue(value: unknown, pbf: PbfWriter): void {
  if (typeof value === 'string') writeText(1, value, pbf);
  else if (typeof value === 'boolean') pbf.writeBooleanField(2, value);
  else if (typeof value === 'number') {
    if (Number.isInteger(value) && value >= -INT64_END && value < INT64_END) pbf.writeVarintField(3, value);
    else pbf.writeDoubleField(4, value);
  } else if (Array.isArray(value)) pbf.writeMessage(5, writeValues, value);
}

/** `ArrayValue`. */
function writeValues(values: unknown[], pbf: PbfWriter): void {
  for (const value of values) pbf.writeMessage(1, writeValue, value);
}

/** A key's field with its tag and length, as it stands in every `KeyValue`. */
const keyBytes = createKeyWriter((key) => {
  const pbf = new PbfWriter();
  writeText(1, key, pbf);
  return pbf.finish();
});

interface KeyValue {
  key: Uint8Array;
  value: AttributeValue;
}

function writeKeyValue({ key, value }: KeyValue, pbf: PbfWriter): void {
  writeRaw(key, pbf);
  pbf.writeMessage(2, writeValue, value);
}

function writeAttributes(field: number, attributes: Attributes, pbf: PbfWriter): void {
  const start = pbf.pos;
  for (const name in attributes) {
    const value = attributes[name];
    if (value === undefined) continue;
    const key = keyBytes(name);
    if (key === undefined) {
      // Cleaned, it may be another one of these.
      pbf.pos = start;
      return writeAttributes(field, cleanAttributes(attributes), pbf);
    }
    pbf.writeMessage(field, writeKeyValue, { key, value });
  }
}

function writeEvent({ ts_ms, name, attributes }: SpanEvent, pbf: PbfWriter): void {
  writeInstant(1, toInstant(ts_ms), pbf);
  writeText(2, name, pbf);
  writeAttributes(3, attributes, pbf);
  pbf.writeVarintField(4, 0);
}

function writeLink({ trace_id, span_id }: SpanReference, pbf: PbfWriter): void {
  writeId(1, trace_id, pbf);
  writeId(2, span_id, pbf);
  pbf.writeVarintField(5, 0);
  pbf.writeFixed32Field(6, SPAN_FLAGS);
}

function writeStatus(span: SpanRecord, pbf: PbfWriter): void {
  const message = span.error?.message;
  if (message) writeText(2, message, pbf);
  pbf.writeVarintField(3, statusOf(span));
}

function writeSpan(span: SpanRecord, pbf: PbfWriter): void {
  writeId(1, span.trace_id, pbf);
  writeId(2, span.span_id, pbf);
  if (span.parent_span_id !== undefined) writeId(4, span.parent_span_id, pbf);
  writeText(5, span.name, pbf);
  pbf.writeVarintField(6, toOtlpKind(kindOf(span)));
  writeInstant(7, toInstant(span.start_ms), pbf);
  // A zero end is the same as none.
  writeInstant(8, endOf(span) ?? NOT_ENDED, pbf);
  writeAttributes(9, attributesOf(span), pbf);
  pbf.writeVarintField(10, 0);
  for (const event of span.events) pbf.writeMessage(11, writeEvent, event);
  pbf.writeVarintField(12, 0);
  for (const link of span.links) pbf.writeMessage(13, writeLink, link);
  pbf.writeVarintField(14, 0);
  pbf.writeMessage(15, writeStatus, span);
  pbf.writeFixed32Field(16, SPAN_FLAGS);
}

function writeLog(log: LogRecord, pbf: PbfWriter): void {
  writeInstant(1, toInstant(log.ts_ms), pbf);
  pbf.writeVarintField(2, severityOf(log));
  writeText(3, log.severity, pbf);
  writeAttributes(6, log.attributes, pbf);
  pbf.writeVarintField(7, 0);
  pbf.writeFixed32Field(8, TRACE_FLAGS);
  writeId(9, log.trace_id, pbf);
  writeId(10, log.span_id, pbf);
  writeInstant(11, toInstant(log.observed_ms), pbf);
  if (log.event_name !== '') writeText(12, log.event_name, pbf);
}

function writeResource(resource: Resource, pbf: PbfWriter): void {
  writeAttributes(1, resource.attributes as Attributes, pbf);
  pbf.writeVarintField(2, 0);
}

function writeScope({ name, version }: typeof SCOPE, pbf: PbfWriter): void {
  writeText(1, name, pbf);
  writeText(2, version, pbf);
}

function messageBytes<T>(field: number, write: (message: T, pbf: PbfWriter) => void, message: T): Uint8Array {
  const pbf = new PbfWriter();
  pbf.writeMessage(field, write, message);
  return pbf.finish();
}

/** The room that a body begins with, for each record. */
const RECORD_BYTES = 1024;

/** Writes requests whose records all come from one resource. Those for spans and for log records have the same outer form. */
export function createProtobufWriter(resource: Resource) {
  const resource_bytes = messageBytes(1, writeResource, resource);
  const scope_bytes = messageBytes(1, writeScope, SCOPE);

  function createRequestWriter<R>(writeRecord: (record: R, pbf: PbfWriter) => void) {
    function writeOfScope(records: R[], pbf: PbfWriter): void {
      writeRaw(scope_bytes, pbf);
      for (const record of records) pbf.writeMessage(2, writeRecord, record);
    }
    function writeOfResource(records: R[], pbf: PbfWriter): void {
      writeRaw(resource_bytes, pbf);
      pbf.writeMessage(2, writeOfScope, records);
      if (resource.schemaUrl) writeText(3, resource.schemaUrl, pbf);
    }
    return (records: R[]): Uint8Array => {
      const pbf = new PbfWriter(new Uint8Array(records.length * RECORD_BYTES));
      pbf.writeMessage(1, writeOfResource, records);
      return pbf.finish();
    };
  }

  return { spans: createRequestWriter(writeSpan), logs: createRequestWriter(writeLog) };
}
