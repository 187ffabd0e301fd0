/**
 * What is read of a log record: the line or lines in its body, its sender, and its place in the request. Everything else that
 * OTLP has on a record adds nothing to the line.
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
  /** Identifies the sender: `host.name=a,log.file.name=events.ndjson`; empty if no attribute does. */
  origin: string;
  /** Lines of JSON; empty if the record has no body. */
  body: Buffer;
}

/** An OTLP value as JSON has it: bytes are base64 strings, and a number that JSON lacks is null. */
export type Value = string | number | boolean | null | Value[] | { [key: string]: Value };

/** The attributes of a resource or a record that identify the sender. No others are stored, so their number is limited. */
export type OriginAttributes = Map<string, string>;

/** They identify a process, a file or a connection. The parts of an origin are in this order. */
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

/** Deeper values are refused: they are read recursively, and the stack is limited. */
export const MAX_DEPTH = 100;

const textOf = (value: Value): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** Stores an attribute if it is one that identifies the sender. */
export function noteOrigin(attributes: OriginAttributes, key: string, value: Value): void {
  if (!ORIGIN_KEYS.has(key) || value === null) return;
  const text = textOf(value);
  // It is written to logs, and must not reach a terminal as an escape sequence.
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

/** A list of keys and values becomes the object that its line would be; null becomes no line. */
export const bodyOf = (value: Value): Buffer => Buffer.from(value === null ? '' : textOf(value));

export const describePlace = ({ resource, scope, record }: Place): string =>
  `resourceLogs[${resource}].scopeLogs[${scope}].logRecords[${record}]`;
