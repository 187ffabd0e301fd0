/**
 * How many bytes a record takes, roughly: in the memory of a queue, and in the body of a request. The bounds on both are
 * bounds on these estimates.
 */
import type { Attributes, LogRecord, SpanRecord } from '../model/telemetry.js';

/** What a record takes without its attributes, events and links: ids, times and the objects themselves. */
const RECORD_BYTES = 400;
const EVENT_BYTES = 100;
const LINK_BYTES = 120;
/** The name, the quotes and the object around an attribute's value. */
const ATTRIBUTE_BYTES = 70;

function attributeBytes(attributes: Attributes): number {
  let bytes = 0;
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined) continue;
    bytes += ATTRIBUTE_BYTES;
    if (typeof value === 'string') bytes += Buffer.byteLength(value);
    else if (Array.isArray(value))
      for (const text of value) bytes += ATTRIBUTE_BYTES + Buffer.byteLength(text);
  }
  return bytes;
}

export function spanBytes(span: SpanRecord): number {
  let bytes = RECORD_BYTES + Buffer.byteLength(span.name) + attributeBytes(span.attributes);
  if (span.error?.message !== undefined) bytes += Buffer.byteLength(span.error.message);
  bytes += span.links.length * LINK_BYTES;
  for (const event of span.events) bytes += EVENT_BYTES + attributeBytes(event.attributes);
  return bytes;
}

export const logBytes = (log: LogRecord): number => RECORD_BYTES + attributeBytes(log.attributes);
