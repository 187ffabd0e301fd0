/**
 * Writes spans and log records as OTLP's protobuf messages, byte for byte as OpenTelemetry's own serializer does. The numbers
 * are the field numbers of `opentelemetry/proto/{trace,logs,common,resource}/v1`, in their order.
 */
import type { Resource } from '@opentelemetry/resources';
import { PbfWriter } from 'pbf';
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
  NS_PER_MS,
  SPAN_FLAGS,
  severityOf,
  statusOf,
  TRACE_FLAGS,
  toInstant,
  toOtlpKind,
} from './fields.js';
import { createKeyWriter } from './keys.js';

/** Wire types, as used in a tag. */
const FIXED64 = 1;
const BYTES = 2;

const TWO_TO_32 = 2 ** 32;

/** A longer text is faster to write with one call, whatever is in it; a shorter one has a length of one byte. */
const MAX_SHORT = 64;

/** A smaller length takes one byte. */
const MAX_BYTE_LENGTH = 0x80;

const NOT_ENDED: Instant = { whole_ms: 0, rest_ns: 0 };

const LAST_ASCII = 0x7f;

/** Copies an ASCII text, as most are; returns false at the first other character. The buffer must have room. */
function copyAscii(text: string, buf: Uint8Array, pos: number): boolean {
  const { length } = text;
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code > LAST_ASCII) return false;
    buf[pos + at] = code;
  }
  return true;
}

/** Does not use pbf's `writeString`, which writes the wrong character for half of those beyond U+FFFF: U+10000 for U+20000. */
function writeText(field: number, text: string, pbf: PbfWriter): void {
  const { length } = text;
  pbf.writeTag(field, BYTES);
  if (length <= MAX_SHORT) {
    pbf.realloc(length + 1);
    const { buf, pos } = pbf;
    if (copyAscii(text, buf, pos + 1)) {
      buf[pos] = length;
      pbf.pos = pos + 1 + length;
      return;
    }
  }
  pbf.writeBytes(Buffer.from(cleanText(text)));
}

/** Including its tag. */
const INSTANT_BYTES = 9;

/** Writes nanoseconds since the epoch, in two halves, since a number is exact to 53 bits only. */
function writeInstant(field: number, { whole_ms, rest_ns }: Instant, pbf: PbfWriter): void {
  const upper = Math.floor(whole_ms / TWO_TO_32);
  const lower_ns = (whole_ms - upper * TWO_TO_32) * NS_PER_MS + rest_ns;
  const carried = Math.floor(lower_ns / TWO_TO_32);
  pbf.realloc(INSTANT_BYTES);
  const { dataView, pos } = pbf;
  pbf.buf[pos] = (field << 3) | FIXED64;
  dataView.setUint32(pos + 1, lower_ns - carried * TWO_TO_32, true);
  dataView.setUint32(pos + 5, upper * NS_PER_MS + carried, true);
  pbf.pos = pos + INSTANT_BYTES;
}

/** The value of each hex digit, by its character code. */
const DIGITS = new Uint8Array(LAST_ASCII + 1);
for (const [worth, digit] of [...'0123456789abcdef'].entries()) DIGITS[digit.charCodeAt(0)] = worth;

const digitAt = (hex: string, at: number): number => DIGITS[hex.charCodeAt(at)] as number;

function writeId(field: number, hex: string, pbf: PbfWriter): void {
  const length = hex.length / 2;
  pbf.writeTag(field, BYTES);
  pbf.writeVarint(length);
  pbf.realloc(length);
  const { buf, pos } = pbf;
  for (let at = 0; at < length; at++) buf[pos + at] = (digitAt(hex, 2 * at) << 4) | digitAt(hex, 2 * at + 1);
  pbf.pos = pos + length;
}

/** Copies bytes that are already encoded. */
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
    if (isInt64(value)) pbf.writeVarintField(3, value);
    else pbf.writeDoubleField(4, value);
  } else if (Array.isArray(value)) pbf.writeMessage(5, writeValues, value);
}

/** `ArrayValue`. */
function writeValues(values: unknown[], pbf: PbfWriter): void {
  for (const value of values) pbf.writeMessage(1, writeValue, value);
}

/** The encoded key of a `KeyValue`, with its tag and length. */
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

/** The tags of a `KeyValue`'s value, and of a string in that value. */
const VALUE_TAG = (2 << 3) | BYTES;
const TEXT_TAG = (1 << 3) | BYTES;
/** The most bytes of a number or a boolean, including its tag. */
const MAX_NUMBER_BYTES = 11;

/**
 * Writes the start of a `KeyValue` with a one-byte length, up to the tag of its value. The length is filled in later. Returns
 * the position of that tag.
 */
function startShort(field: number, key: Uint8Array, buf: Uint8Array, pos: number): number {
  const { length } = key;
  const value_pos = pos + 2 + length;
  buf[pos] = (field << 3) | BYTES;
  for (let at = 0; at < length; at++) buf[pos + 2 + at] = key[at] as number;
  buf[value_pos] = VALUE_TAG;
  return value_pos;
}

/**
 * Writes a short ASCII string, as most attributes are. False, with nothing written, if a length needs more than one byte or a
 * character is not ASCII.
 */
function writeShortText(field: number, key: Uint8Array, value: string, pbf: PbfWriter): boolean {
  const text_length = value.length;
  const length = key.length + 4 + text_length;
  if (length >= MAX_BYTE_LENGTH) return false;
  pbf.realloc(2 + length);
  const { buf, pos } = pbf;
  const end = pos + 2 + length;
  if (!copyAscii(value, buf, end - text_length)) return false;
  const value_pos = startShort(field, key, buf, pos);
  buf[pos + 1] = length;
  buf[value_pos + 1] = text_length + 2;
  buf[value_pos + 2] = TEXT_TAG;
  buf[value_pos + 3] = text_length;
  pbf.pos = end;
  return true;
}

/** False, with nothing written, if a length could need more than one byte. */
function writeShortNumber(field: number, key: Uint8Array, value: number | boolean, pbf: PbfWriter): boolean {
  const most = key.length + 4 + MAX_NUMBER_BYTES;
  if (most >= MAX_BYTE_LENGTH) return false;
  pbf.realloc(most);
  const { buf, pos } = pbf;
  const value_pos = startShort(field, key, buf, pos);
  pbf.pos = value_pos + 2;
  writeValue(value, pbf);
  pbf.buf[value_pos + 1] = pbf.pos - value_pos - 2;
  pbf.buf[pos + 1] = pbf.pos - pos - 2;
  return true;
}

function writeAttribute(field: number, key: Uint8Array, value: AttributeValue, pbf: PbfWriter): void {
  const is_written =
    typeof value === 'string'
      ? writeShortText(field, key, value, pbf)
      : typeof value !== 'object' && writeShortNumber(field, key, value, pbf);
  if (!is_written) pbf.writeMessage(field, writeKeyValue, { key, value });
}

function writeAttributes(field: number, attributes: Attributes, pbf: PbfWriter): void {
  const start = pbf.pos;
  for (const name in attributes) {
    const value = attributes[name];
    if (value === undefined) continue;
    const key = keyBytes(name);
    if (key === undefined) {
      // A cleaned key may equal another one, so all attributes are cleaned and written again.
      pbf.pos = start;
      return writeAttributes(field, cleanAttributes(attributes), pbf);
    }
    writeAttribute(field, key, value, pbf);
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
  // A zero end means no end.
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

function textBytes(field: number, text: string): Uint8Array {
  const pbf = new PbfWriter();
  writeText(field, text, pbf);
  return pbf.finish();
}

function tagAndLength(field: number, length: number): Uint8Array {
  const pbf = new PbfWriter();
  pbf.writeTag(field, BYTES);
  pbf.writeVarint(length);
  return pbf.finish();
}

const lengthBytes = (length: number): number => {
  let bytes = 1;
  for (let rest = length; rest >= MAX_BYTE_LENGTH; rest = Math.floor(rest / MAX_BYTE_LENGTH)) bytes++;
  return bytes;
};

/** The size of the length field of most spans and log records. */
const RECORD_LENGTH_BYTES = 2;

/** Writes one record of a scope. Space for its length is reserved, so that most records need not be moved once it is known. */
function writeRecordMessage<R>(write: (record: R, pbf: PbfWriter) => void, record: R, pbf: PbfWriter): void {
  pbf.writeTag(2, BYTES);
  const start = pbf.pos;
  pbf.pos = start + RECORD_LENGTH_BYTES;
  write(record, pbf);
  const length = pbf.pos - start - RECORD_LENGTH_BYTES;
  const bytes = lengthBytes(length);
  if (bytes !== RECORD_LENGTH_BYTES) {
    pbf.realloc(bytes);
    const from = start + RECORD_LENGTH_BYTES;
    pbf.buf.copyWithin(start + bytes, from, from + length);
  }
  pbf.pos = start;
  pbf.writeVarint(length);
  pbf.pos += length;
}

/** The initial size of a writer's buffer, and the largest size that is kept for the next request. */
const FIRST_BYTES = 64 * 1024;
const MAX_KEPT_BYTES = 4 * 1024 * 1024;

/**
 * Creates writers for requests whose records all have this resource. Requests for spans and log records have the same outer
 * structure.
 */
export function createProtobufWriter(resource: Resource) {
  const resource_bytes = messageBytes(1, writeResource, resource);
  const scope_bytes = messageBytes(1, writeScope, SCOPE);
  const schema_bytes = resource.schemaUrl ? textBytes(3, resource.schemaUrl) : new Uint8Array();

  /** Everything before the records: the resource, the scope, and the lengths of the enclosing messages. */
  function start(records_length: number): Uint8Array {
    const scope_length = scope_bytes.length + records_length;
    const scope = tagAndLength(2, scope_length);
    const rest = resource_bytes.length + scope.length + scope_length + schema_bytes.length;
    return Buffer.concat([tagAndLength(1, rest), resource_bytes, scope, scope_bytes]);
  }

  function createRequestWriter<R>(writeRecord: (record: R, pbf: PbfWriter) => void) {
    let pbf = new PbfWriter(new Uint8Array(FIRST_BYTES));
    return (records: R[]): Uint8Array => {
      pbf.pos = 0;
      for (const record of records) writeRecordMessage(writeRecord, record, pbf);
      const written = pbf.buf.subarray(0, pbf.pos);
      const body = Buffer.concat([start(written.length), written, schema_bytes]);
      if (pbf.length > MAX_KEPT_BYTES) pbf = new PbfWriter(new Uint8Array(FIRST_BYTES));
      return body;
    };
  }

  return { spans: createRequestWriter(writeSpan), logs: createRequestWriter(writeLog) };
}
