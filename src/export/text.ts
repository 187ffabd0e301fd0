/**
 * Makes text safe to send. A lone surrogate has no UTF-8 form, and a backend may refuse a batch with one for ever; a text of
 * unlimited length may make a batch too large for any backend. So every string is well-formed and limited.
 */
import type { Attributes, AttributeValue } from '../model/telemetry.js';
import { cutUtf8 } from '../util/utf8.js';

/** The longest string of an attribute, a name or a message, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 64 * 1024;

/** Makes a text well-formed and cuts it to `MAX_TEXT_BYTES` of UTF-8, between two characters. */
export function cleanText(text: string): string {
  // A UTF-16 unit takes at least a byte, so this cuts nothing that the next line would not, including half a surrogate pair.
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
