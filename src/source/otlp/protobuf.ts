/**
 * Reads a request for logs in OTLP's protobuf: the fields that matter here, by their numbers in OpenTelemetry's
 * `logs_service.proto`, `logs.proto`, `resource.proto` and `common.proto`. All others are passed over.
 */
import { PbfReader } from 'pbf';
import {
  bodyOf,
  MAX_DEPTH,
  noteOrigin,
  numberOf,
  type OriginAttributes,
  originOf,
  type SentRecord,
  type Value,
} from './record.js';

/** How a field is written: a number of 7 bits a byte, 8 bytes, or a length and as many bytes. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

/** Reads the value of a field, or leaves it to be passed over. */
type ReadField = (field: number, type: number) => void;

/** Gives each record to `take`. Tells what is wrong where the bytes are no request; what was given is to be forgotten then. */
export function readProtobuf(bytes: Buffer, take: (record: SentRecord) => void): string | undefined {
  try {
    createReader(bytes).readRequest(take);
    return undefined;
  } catch (error) {
    // The library throws where bytes end too soon or make no sense.
    return error instanceof Error ? error.message : String(error);
  }
}

function createReader(bytes: Buffer) {
  const pbf = new PbfReader(bytes);

  /** The library checks no end: a message that has one elsewhere is cut off or broken. */
  function readFields(end: number, read: ReadField): void {
    for (let field = pbf.nextField(end); field !== 0; field = pbf.nextField(end)) read(field, pbf.type);
    if (pbf.pos !== end) throw new Error(`a message does not end at byte ${end}`);
  }

  const readEnd = (): number => pbf.readVarint() + pbf.pos;
  const readMessage = (read: ReadField): void => readFields(readEnd(), read);
  /** A view, as `bytes` is a Buffer. */
  const readBytes = (): Buffer => pbf.readBytes() as Buffer;
  const readText = (): string => readBytes().toString();

  function readKeyValue(note: (key: string, value: Value) => void, depth: number): void {
    let key = '';
    let value: Value = null;
    readMessage((field, type) => {
      if (field === 1 && type === BYTES) key = readText();
      if (field === 2 && type === BYTES) value = readValue(depth);
    });
    note(key, value);
  }

  function readList(depth: number): Value[] {
    const values: Value[] = [];
    readMessage((field, type) => {
      if (field === 1 && type === BYTES) values.push(readValue(depth));
    });
    return values;
  }

  function readObject(depth: number): Value {
    const entries: [string, Value][] = [];
    readMessage((field, type) => {
      if (field === 1 && type === BYTES) readKeyValue((...entry) => entries.push(entry), depth);
    });
    return Object.fromEntries(entries);
  }

  function readValue(depth: number): Value {
    if (depth > MAX_DEPTH) throw new Error(`a value is nested deeper than ${MAX_DEPTH}`);
    let value: Value = null;
    readMessage((field, type) => {
      if (field === 1 && type === BYTES) value = readText();
      if (field === 2 && type === VARINT) value = pbf.readBoolean();
      if (field === 3 && type === VARINT) value = pbf.readVarint(true);
      if (field === 4 && type === FIXED64) value = numberOf(pbf.readDouble());
      if (field === 5 && type === BYTES) value = readList(depth + 1);
      if (field === 6 && type === BYTES) value = readObject(depth + 1);
      if (field === 7 && type === BYTES) value = readBytes().toString('base64');
    });
    return value;
  }

  /** Texts and bytes are the lines themselves. */
  function readBody(): Buffer {
    const start = pbf.pos;
    let lines: Buffer | undefined;
    readMessage((field, type) => {
      lines = (field === 1 || field === 7) && type === BYTES ? readBytes() : undefined;
    });
    if (lines !== undefined) return lines;
    pbf.pos = start;
    return bodyOf(readValue(0));
  }

  function readRecord(): { own: OriginAttributes; body: Buffer } {
    const own: OriginAttributes = new Map();
    let body: Buffer = Buffer.alloc(0);
    readMessage((field, type) => {
      if (field === 5 && type === BYTES) body = readBody();
      if (field === 6 && type === BYTES) readKeyValue((key, value) => noteOrigin(own, key, value), 1);
    });
    return { own, body };
  }

  function readResource(end: number): OriginAttributes {
    const attributes: OriginAttributes = new Map();
    readFields(end, (field, type) => {
      if (field !== 1 || type !== BYTES) return;
      readMessage((inner, inner_type) => {
        if (inner === 1 && inner_type === BYTES)
          readKeyValue((key, value) => noteOrigin(attributes, key, value), 1);
      });
    });
    return attributes;
  }

  /** Twice, since the resource may come after its records. */
  function readResourceLogs(resource: number, take: (record: SentRecord) => void): void {
    const end = readEnd();
    const start = pbf.pos;
    const attributes = readResource(end);
    pbf.pos = start;
    let scope = 0;
    readFields(end, (field, type) => {
      if (field !== 2 || type !== BYTES) return;
      let record = 0;
      readMessage((inner, inner_type) => {
        if (inner !== 2 || inner_type !== BYTES) return;
        const { own, body } = readRecord();
        take({ place: { resource, scope, record }, origin: originOf(attributes, own), body });
        record += 1;
      });
      scope += 1;
    });
  }

  return {
    readRequest(take: (record: SentRecord) => void): void {
      let resource = 0;
      readFields(bytes.length, (field, type) => {
        if (field !== 1 || type !== BYTES) return;
        readResourceLogs(resource, take);
        resource += 1;
      });
    },
  };
}
