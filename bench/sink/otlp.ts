/**
 * Reads OTLP requests in protobuf: counts their spans or log records at hardly any cost, or decodes them completely for the
 * comparison. Field numbers are those of opentelemetry-proto.
 */
import { PbfReader } from 'pbf';
import type { LogFacts, SpanFacts, Value } from '../load/facts.js';

/** The same for traces, metrics and logs: request → resource part (1) → scope part (2) → item (2). */
const RESOURCE_PART = 1;
const SCOPE_PART = 2;
const ITEM = 2;

/** Calls `take` at each item, which `take` must read. */
function readItems(body: Uint8Array, take: (reader: PbfReader) => void): void {
  const within =
    (wanted: number, each: (reader: PbfReader) => void) => (tag: number, _: undefined, pbf: PbfReader) => {
      if (tag === wanted) each(pbf);
    };
  const readScope = (pbf: PbfReader): void => void pbf.readMessage(within(ITEM, take), undefined);
  const readResource = (pbf: PbfReader): void =>
    void pbf.readMessage(within(SCOPE_PART, readScope), undefined);
  new PbfReader(body).readFields(within(RESOURCE_PART, readResource), undefined);
}

export function countItems(body: Uint8Array): number {
  let count = 0;
  readItems(body, (reader) => {
    count += 1;
    const length = reader.readVarint();
    reader.pos += length;
  });
  return count;
}

const hex = (pbf: PbfReader): string => Buffer.from(pbf.readBytes()).toString('hex');

/**
 * Nanoseconds as milliseconds. Doubles are exact to a quarter of a microsecond, so the value is rounded to microseconds.
 */
const milliseconds = (pbf: PbfReader): number => Math.round(pbf.readFixed64() / 1_000) / 1_000;

function readValue(pbf: PbfReader): Value {
  const values: Value[] = [];
  pbf.readMessage((tag, _, each) => {
    if (tag === 1) values.push(each.readString());
    else if (tag === 2) values.push(each.readBoolean());
    else if (tag === 3) values.push(each.readVarint(true));
    else if (tag === 4) values.push(each.readDouble());
    else if (tag === 5) values.push(readTexts(each));
  }, undefined);
  return values[0] ?? '';
}

const readTexts = (pbf: PbfReader): string[] =>
  pbf.readMessage((tag, texts: string[], each) => {
    if (tag === 1) texts.push(String(readValue(each)));
  }, []);

function readAttribute(pbf: PbfReader, attributes: Record<string, Value | undefined>): void {
  let key = '';
  let value: Value | undefined;
  pbf.readMessage((tag, _, each) => {
    if (tag === 1) key = each.readString();
    else if (tag === 2) value = readValue(each);
  }, undefined);
  attributes[key] = value;
}

function readStatus(pbf: PbfReader, span: SpanFacts): void {
  pbf.readMessage((tag, _, each) => {
    if (tag === 2) span.message = each.readString();
    else if (tag === 3) span.status = each.readVarint();
  }, undefined);
}

function readSpan(tag: number, span: SpanFacts, pbf: PbfReader): void {
  if (tag === 1) span.trace_id = hex(pbf);
  else if (tag === 2) span.span_id = hex(pbf);
  else if (tag === 4) span.parent_span_id = hex(pbf);
  else if (tag === 5) span.name = pbf.readString();
  else if (tag === 6) span.kind = pbf.readVarint();
  else if (tag === 7) span.start_ms = milliseconds(pbf);
  else if (tag === 8) span.end_ms = milliseconds(pbf);
  else if (tag === 9) readAttribute(pbf, span.attributes);
  else if (tag === 11) span.events += 1;
  else if (tag === 15) readStatus(pbf, span);
}

function readLog(tag: number, log: LogFacts, pbf: PbfReader): void {
  if (tag === 1) log.ts_ms = milliseconds(pbf);
  else if (tag === 3) log.severity = pbf.readString();
  else if (tag === 6) readAttribute(pbf, log.attributes);
  else if (tag === 9) log.trace_id = hex(pbf);
  else if (tag === 10) log.span_id = hex(pbf);
  else if (tag === 12) log.event_name = pbf.readString();
}

const NO_IDS = { trace_id: '', span_id: '' };

export function readSpans(body: Uint8Array): SpanFacts[] {
  const spans: SpanFacts[] = [];
  readItems(body, (reader) => {
    const none = { ...NO_IDS, parent_span_id: '', kind: 0, status: 0, message: '', name: '', events: 0 };
    spans.push(reader.readMessage(readSpan, { ...none, start_ms: 0, end_ms: 0, attributes: {} }));
  });
  return spans;
}

export function readLogs(body: Uint8Array): LogFacts[] {
  const logs: LogFacts[] = [];
  readItems(body, (reader) => {
    const none = { ...NO_IDS, event_name: '', severity: '', ts_ms: 0 };
    logs.push(reader.readMessage(readLog, { ...none, attributes: {} }));
  });
  return logs;
}
