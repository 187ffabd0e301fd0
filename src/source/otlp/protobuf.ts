/**
 * Parses a logs request in OTLP's protobuf: the fields that are needed here, by their numbers in OpenTelemetry's
 * `logs_service.proto`, `logs.proto`, `resource.proto` and `common.proto`. All others are skipped.
 */
import { PbfReader } from 'pbf';
import {
  bodyOf,
  MAX_DEPTH,
  noteOrigin,
  numberOf,
  type OriginAttributes,
  originOf,
  type Place,
  type SentRecord,
  type Value,
} from './record.js';

/** Wire types: an integer with 7 bits per byte, 8 bytes, or a length followed by that many bytes. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

/** Reads the value of a field, or leaves it to be skipped. */
type ReadField = (field: number, type: number) => void;

type Take = (record: SentRecord) => void;

/** Passes each record to `take`. Returns what is wrong if the bytes are not a request; what was passed must then be discarded. */
export function readProtobuf(bytes: Buffer, take: Take): string | undefined {
  try {
    readRequest(new PbfReader(bytes), bytes.length, take);
    return undefined;
  } catch (error) {
    // The library throws if the bytes end too soon or make no sense.
    return error instanceof Error ? error.message : String(error);
  }
}

/** The library does not check where a message ends: one that does not end at `end` is truncated or corrupt. */
function readFields(pbf: PbfReader, end: number, read: ReadField): void {
  for (let field = pbf.nextField(end); field !== 0; field = pbf.nextField(end)) read(field, pbf.type);
  if (pbf.pos !== end) throw new Error(`truncated or corrupt: a message does not end at byte ${end}`);
}

const readEnd = (pbf: PbfReader): number => pbf.readVarint() + pbf.pos;
const readMessage = (pbf: PbfReader, read: ReadField): void => readFields(pbf, readEnd(pbf), read);
/** A view, since the input is a Buffer. */
const readBytes = (pbf: PbfReader): Buffer => pbf.readBytes() as Buffer;
const readText = (pbf: PbfReader): string => readBytes(pbf).toString();

function readKeyValue(pbf: PbfReader, depth: number): [key: string, value: Value] {
  let key = '';
  let value: Value = null;
  readMessage(pbf, (field, type) => {
    if (field === 1 && type === BYTES) key = readText(pbf);
    if (field === 2 && type === BYTES) value = readValue(pbf, depth);
  });
  return [key, value];
}

function readList(pbf: PbfReader, depth: number): Value[] {
  const values: Value[] = [];
  readMessage(pbf, (field, type) => {
    if (field === 1 && type === BYTES) values.push(readValue(pbf, depth));
  });
  return values;
}

function readObject(pbf: PbfReader, depth: number): Value {
  const entries: [string, Value][] = [];
  readMessage(pbf, (field, type) => {
    if (field === 1 && type === BYTES) entries.push(readKeyValue(pbf, depth));
  });
  return Object.fromEntries(entries);
}

function readValue(pbf: PbfReader, depth: number): Value {
  if (depth > MAX_DEPTH) throw new Error(`a value is nested more than ${MAX_DEPTH} levels deep`);
  let value: Value = null;
  readMessage(pbf, (field, type) => {
    if (field === 1 && type === BYTES) value = readText(pbf);
    if (field === 2 && type === VARINT) value = pbf.readBoolean();
    if (field === 3 && type === VARINT) value = pbf.readVarint(true);
    if (field === 4 && type === FIXED64) value = numberOf(pbf.readDouble());
    if (field === 5 && type === BYTES) value = readList(pbf, depth + 1);
    if (field === 6 && type === BYTES) value = readObject(pbf, depth + 1);
    if (field === 7 && type === BYTES) value = readBytes(pbf).toString('base64');
  });
  return value;
}

/** Strings and bytes are the lines themselves. */
function readBody(pbf: PbfReader): Buffer {
  const start = pbf.pos;
  let lines: Buffer | undefined;
  readMessage(pbf, (field, type) => {
    lines = (field === 1 || field === 7) && type === BYTES ? readBytes(pbf) : undefined;
  });
  if (lines !== undefined) return lines;
  pbf.pos = start;
  return bodyOf(readValue(pbf, 0));
}

function readRecord(pbf: PbfReader): { own: OriginAttributes; body: Buffer } {
  const own: OriginAttributes = new Map();
  let body: Buffer = Buffer.alloc(0);
  readMessage(pbf, (field, type) => {
    if (field === 5 && type === BYTES) body = readBody(pbf);
    if (field === 6 && type === BYTES) noteOrigin(own, ...readKeyValue(pbf, 1));
  });
  return { own, body };
}

/** Reads only the resource of a `ResourceLogs` message. */
function readResource(pbf: PbfReader, end: number): OriginAttributes {
  const attributes: OriginAttributes = new Map();
  readFields(pbf, end, (field, type) => {
    if (field === 1 && type === BYTES) readAttributes(pbf, attributes);
  });
  return attributes;
}

function readAttributes(pbf: PbfReader, attributes: OriginAttributes): void {
  readMessage(pbf, (field, type) => {
    if (field === 1 && type === BYTES) noteOrigin(attributes, ...readKeyValue(pbf, 1));
  });
}

function readScopeLogs(
  pbf: PbfReader,
  { resource, scope }: Omit<Place, 'record'>,
  attributes: OriginAttributes,
  take: Take,
): void {
  let record = 0;
  readMessage(pbf, (field, type) => {
    if (field !== 2 || type !== BYTES) return;
    const { own, body } = readRecord(pbf);
    take({ place: { resource, scope, record }, origin: originOf(attributes, own), body });
    record += 1;
  });
}

/** Reads the message twice, since the resource may come after its records. */
function readResourceLogs(pbf: PbfReader, resource: number, take: Take): void {
  const end = readEnd(pbf);
  const start = pbf.pos;
  const attributes = readResource(pbf, end);
  pbf.pos = start;
  let scope = 0;
  readFields(pbf, end, (field, type) => {
    if (field !== 2 || type !== BYTES) return;
    readScopeLogs(pbf, { resource, scope }, attributes, take);
    scope += 1;
  });
}

function readRequest(pbf: PbfReader, end: number, take: Take): void {
  let resource = 0;
  readFields(pbf, end, (field, type) => {
    if (field !== 1 || type !== BYTES) return;
    readResourceLogs(pbf, resource, take);
    resource += 1;
  });
}
