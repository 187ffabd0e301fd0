/**
 * Makes text safe to send. A lone surrogate has no UTF-8 form, and a backend that meets one may refuse the whole batch for
 * ever; a text without a bound may make a batch too large for any backend. So every string is well-formed and bounded.
 */
import type { Attributes, AttributeValue } from '../model/telemetry.js';
import { cutUtf8 } from '../util/utf8.js';

/** The longest string of an attribute, a name or a message, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 64 * 1024;

/** Well-formed, and at most `MAX_TEXT_BYTES` of UTF-8, cut between two characters. */
export function cleanText(text: string): string {
  // A character takes a byte or more, so what is cut off here would be cut off below; half a pair at the end is, too.
  return cutUtf8(text.slice(0, MAX_TEXT_BYTES).toWellFormed(), MAX_TEXT_BYTES);
}

function cleanValue(value: AttributeValue): AttributeValue {
  if (typeof value === 'string') return cleanText(value);
  if (Array.isArray(value)) return value.map(cleanText);
  return value;
}

export function cleanAttributes(attributes: Attributes): Attributes {
  const clean: Attributes = {};
  for (const key in attributes) {
    const value = attributes[key];
    if (value !== undefined) clean[cleanText(key)] = cleanValue(value);
  }
  return clean;
}
