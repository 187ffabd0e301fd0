/**
 * Makes text safe to send. A lone surrogate has no UTF-8 form, and a backend that meets one may refuse the whole batch for
 * ever; a text without a bound may make a batch too large for any backend. So every string is well-formed and bounded.
 */
import type { Attributes, AttributeValue } from '../model/telemetry.js';

/** The longest string of an attribute, a name or a message, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 64 * 1024;

/** No UTF-16 code unit takes more bytes of UTF-8 than this. */
const MAX_BYTES_PER_UNIT = 3;

/** Well-formed, and at most `MAX_TEXT_BYTES` of UTF-8, cut between two characters. */
export function cleanText(text: string): string {
  // A character takes a byte or more, so what is cut off here would be cut off below; half a pair at the end is, too.
  const well_formed = text.slice(0, MAX_TEXT_BYTES).toWellFormed();
  if (well_formed.length * MAX_BYTES_PER_UNIT <= MAX_TEXT_BYTES) return well_formed;
  const bytes = Buffer.from(well_formed);
  if (bytes.length <= MAX_TEXT_BYTES) return well_formed;
  let end = MAX_TEXT_BYTES;
  while (isContinuation(bytes[end])) end -= 1;
  return bytes.toString('utf8', 0, end);
}

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;

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
