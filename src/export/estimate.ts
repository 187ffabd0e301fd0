/**
 * Estimates the size of a record, in the memory of a queue and in the body of a request. The limits on both apply to these
 * estimates.
 */
import type { Attributes, LogRecord, SpanRecord } from '../model/telemetry.js';

/** A record without its attributes, events and links: ids, times and object overhead. */
const RECORD_BYTES = 400;
const EVENT_BYTES = 100;
const LINK_BYTES = 120;
/** The name, quotes and object around an attribute's value. */
const ATTRIBUTE_BYTES = 70;

/** Only for longer texts are the bytes counted; shorter ones take little either way. */
const MAX_SHORT = 64;

const textBytes = (text: string): number =>
  text.length <= MAX_SHORT ? text.length : Buffer.byteLength(text);

function attributeBytes(attributes: Attributes): number {
  let bytes = 0;
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined) continue;
    bytes += ATTRIBUTE_BYTES;
    if (typeof value === 'string') bytes += textBytes(value);
    else if (Array.isArray(value)) for (const text of value) bytes += ATTRIBUTE_BYTES + textBytes(text);
  }
  return bytes;
}

export function spanBytes(span: SpanRecord): number {
  let bytes = RECORD_BYTES + textBytes(span.name) + attributeBytes(span.attributes);
  if (span.error?.message !== undefined) bytes += textBytes(span.error.message);
  bytes += span.links.length * LINK_BYTES;
  for (const event of span.events) bytes += EVENT_BYTES + attributeBytes(event.attributes);
  return bytes;
}

export const logBytes = (log: LogRecord): number => RECORD_BYTES + attributeBytes(log.attributes);
