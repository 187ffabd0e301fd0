/**
 * What is read of a log record that a sender gives: the line or lines that its body is, who it comes from, and where it
 * stands in its request. All else that OTLP has on a record says nothing that the line does not.
 */
import { hash } from 'node:crypto';
import { withoutControls } from '../../util/controls.js';

/** Indices within a request. */
export interface Place {
  resource: number;
  scope: number;
  record: number;
}

export interface SentRecord {
  place: Place;
  /** Tells its sender from others: `host.name=a,log.file.name=events.ndjson`; empty where nothing does. */
  origin: string;
  /** Lines of JSON; empty where it has no body. */
  body: Buffer;
}

/** A value of OTLP's, as JSON has it: bytes are text in base64, and a number that JSON does not have is null. */
export type Value = string | number | boolean | null | Value[] | { [key: string]: Value };

/** The attributes that tell who sent a record, of a resource or of a record; bounded, since only these are kept. */
export type OriginAttributes = Map<string, string>;

/** A process, a file, a connection. Their order is that of the origin's parts. */
const ORIGIN_KEYS: ReadonlySet<string> = new Set([
  'service.namespace',
  'service.name',
  'service.instance.id',
  'k8s.pod.uid',
  'container.id',
  'host.id',
  'host.name',
  'log.file.path',
  'log.file.name',
  'net.peer.ip',
  'net.peer.port',
  'network.peer.address',
  'network.peer.port',
]);

/** A longer value is replaced by its hash: an origin is a name in logs and a key in memory. */
const MAX_VALUE_LENGTH = 200;

/** Deeper values are refused: whoever walks through them has a stack. */
export const MAX_DEPTH = 100;

const textOf = (value: Value): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** Keeps an attribute if it is one that tells who sent the record. */
export function noteOrigin(attributes: OriginAttributes, key: string, value: Value): void {
  if (!ORIGIN_KEYS.has(key) || value === null) return;
  const text = textOf(value);
  // It is written to logs, and must not reach a terminal as a command.
  const name = text.length > MAX_VALUE_LENGTH ? hash('sha256', text) : withoutControls(text);
  attributes.set(key, name);
}

export function originOf(resource: OriginAttributes, own: OriginAttributes): string {
  const parts: string[] = [];
  for (const key of ORIGIN_KEYS) {
    const value = own.get(key) ?? resource.get(key);
    if (value !== undefined) parts.push(`${key}=${value}`);
  }
  return parts.join(',');
}

export const numberOf = (number: number): Value => (Number.isFinite(number) ? number : null);

/** A list of keys and values is the object that its line would be; no value is no line. */
export const bodyOf = (value: Value): Buffer => Buffer.from(value === null ? '' : textOf(value));

export const describePlace = ({ resource, scope, record }: Place): string =>
  `resourceLogs[${resource}].scopeLogs[${scope}].logRecords[${record}]`;
