/**
 * Parses a logs request in OTLP's JSON: 64-bit integers as strings or numbers, bytes in base64, null for absent values, unknown
 * keys ignored. Problems are reported with their place.
 */
import { isUtf8 } from 'node:buffer';
import { isObject, type Json } from '../../util/json.js';
import {
  bodyOf,
  describePlace,
  MAX_DEPTH,
  noteOrigin,
  numberOf,
  type OriginAttributes,
  originOf,
  type SentRecord,
  type Value,
} from './record.js';

/** Receives what is wrong, and where. Parsing continues, but its result is of no use. */
type Wrong = (path: string, message: string) => void;

/** Passes each record to `take`. Returns what is wrong if the bytes are not a request; what was passed must then be discarded. */
export function readJson(bytes: Buffer, take: (record: SentRecord) => void): string | undefined {
  if (!isUtf8(bytes)) return 'not valid UTF-8';
  let request: unknown;
  try {
    request = JSON.parse(bytes.toString());
  } catch {
    return 'not JSON';
  }
  if (!isObject(request)) return 'not a JSON object';
  if (!isThere(request.resourceLogs) && Object.keys(request).length > 0) return 'resourceLogs is missing';
  let problem: string | undefined;
  readRequest(request, take, (path, message) => {
    problem ??= `${path}: ${message}`;
  });
  return problem;
}

const isThere = (value: unknown): boolean => value !== undefined && value !== null;

/** Puts the place of a part before the paths of problems in it. */
const within =
  (place: string, wrong: Wrong): Wrong =>
  (path, message) =>
    wrong(`${place}.${path}`, message);

function readRequest(request: Json, take: (record: SentRecord) => void, wrong: Wrong): void {
  for (const [resource, resource_logs] of objectsIn(request, 'resourceLogs', wrong)) {
    const in_resource = within(`resourceLogs[${resource}]`, wrong);
    const attributes = readOrigin(objectIn(resource_logs, 'resource', in_resource), in_resource);
    for (const [scope, scope_logs] of objectsIn(resource_logs, 'scopeLogs', in_resource)) {
      const in_scope = within(`scopeLogs[${scope}]`, in_resource);
      for (const [record, log] of objectsIn(scope_logs, 'logRecords', in_scope)) {
        const place = { resource, scope, record };
        const in_record: Wrong = (path, message) => wrong(`${describePlace(place)}.${path}`, message);
        const origin = originOf(attributes, readOrigin(log, in_record));
        take({ place, origin, body: readBody(log, in_record) });
      }
    }
  }
}

function objectIn(parent: Json, key: string, wrong: Wrong): Json {
  const value = parent[key] ?? {};
  if (isObject(value)) return value;
  wrong(key, 'must be an object');
  return {};
}

function* objectsIn(parent: Json, key: string, wrong: Wrong): Generator<[index: number, value: Json]> {
  const values = parent[key] ?? [];
  if (!Array.isArray(values)) return wrong(key, 'must be an array');
  for (const [index, value] of values.entries()) {
    if (isObject(value)) yield [index, value];
    else return wrong(`${key}[${index}]`, 'must be an object');
  }
}

function readOrigin(parent: Json, wrong: Wrong): OriginAttributes {
  const attributes: OriginAttributes = new Map();
  for (const [key, value] of readEntries(parent, 'attributes', wrong, 1)) noteOrigin(attributes, key, value);
  return attributes;
}

/** In a body of bytes, the decoded bytes are the lines, not their base64 string. */
function readBody(record: Json, wrong: Wrong): Buffer {
  const { body } = record;
  if (isObject(body) && isThere(body.bytesValue)) return readBytes(body.bytesValue, within('body', wrong));
  return bodyOf(readValue(body, within('body', wrong), 0));
}

/** A value has one of these keys, or none of them if it is null. */
function readValue(any: unknown, wrong: Wrong, depth: number): Value {
  if (!isThere(any)) return null;
  if (depth > MAX_DEPTH) return refuse(wrong, '$', `nested more than ${MAX_DEPTH} levels deep`);
  if (!isObject(any)) return refuse(wrong, '$', 'must be an object, such as {"stringValue": "…"}');
  const { stringValue, boolValue, intValue, doubleValue, bytesValue, arrayValue, kvlistValue } = any;
  if (isThere(stringValue)) return readText(stringValue, 'stringValue', wrong);
  if (isThere(boolValue)) return boolValue === true;
  if (isThere(intValue)) return readNumber(intValue, 'intValue', wrong);
  if (isThere(doubleValue)) return readNumber(doubleValue, 'doubleValue', wrong);
  if (isThere(bytesValue)) return readBytes(bytesValue, wrong).toString('base64');
  if (isThere(arrayValue)) return readList(objectIn(any, 'arrayValue', wrong), wrong, depth + 1);
  if (!isThere(kvlistValue)) return null;
  return Object.fromEntries(readEntries(objectIn(any, 'kvlistValue', wrong), 'values', wrong, depth + 1));
}

function refuse(wrong: Wrong, path: string, message: string): null {
  wrong(path, message);
  return null;
}

const readList = (parent: Json, wrong: Wrong, depth: number): Value[] =>
  Array.from(objectsIn(parent, 'values', wrong), ([, each]) => readValue(each, wrong, depth));

const readEntries = (parent: Json, key: string, wrong: Wrong, depth: number): [string, Value][] =>
  Array.from(objectsIn(parent, key, wrong), ([, entry]) => [
    readText(entry.key ?? '', `${key}.key`, wrong),
    readValue(entry.value, wrong, depth),
  ]);

const readBytes = (value: unknown, wrong: Wrong): Buffer =>
  Buffer.from(readText(value, 'bytesValue', wrong), 'base64');

function readText(value: unknown, path: string, wrong: Wrong): string {
  if (typeof value === 'string') return value;
  wrong(path, 'must be a string');
  return '';
}

/** JSON can have 64-bit integers, NaN and infinity only as strings. */
function readNumber(value: unknown, path: string, wrong: Wrong): Value {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number === 'number' && (!Number.isNaN(number) || value === 'NaN')) return numberOf(number);
  return refuse(wrong, path, 'must be a number');
}
