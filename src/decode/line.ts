/**
 * From the bytes of a line to a JSON object: checks UTF-8, parses JSON, replaces lone surrogates, and cuts off what is nested
 * too deep. Every later stage can rely on values that are well-formed text and can be serialised as JSON again.
 */
import { isUtf8 } from 'node:buffer';
import { isObject, type Json } from '../util/json.js';
import type { Rejection } from './decoder.js';

/** What invalid UTF-8 is decoded as; a valid line may contain it as well. */
const REPLACEMENT = '\u{fffd}';
/** Valid UTF-8 can have a lone surrogate only as an escape. */
const ESCAPED_SURROGATE = /\\u[dD][89a-fA-F]/;

/** Searching for its beginning first costs a fifth of testing the pattern, and most lines have none. */
const hasEscapedSurrogate = (json: string): boolean =>
  (json.includes('\\ud') || json.includes('\\uD')) && ESCAPED_SURROGATE.test(json);

/** JSON of any depth can be parsed, but the stack limits how deep it can be to be serialised. */
const MAX_DEPTH = 500;
const TOO_DEEP = '[nested too deep]';
/** A shorter line has no room for more brackets. */
const MAX_DEPTH_BYTES = 2 * MAX_DEPTH;
const OPENING = ['{', '['];

export type ParsedLine = { value: Json } | { rejected: Rejection };

/** The engine quotes a piece of the line, which may be content of a message: that must stay out of every log. */
const WITHOUT_PIECE = /, (?:\.{3})?".*$/s;

const rejected = (reason: Rejection['reason'], message: string): ParsedLine => ({
  rejected: { reason, path: '', message },
});

const makeWellFormed = (_key: string, value: unknown): unknown =>
  typeof value === 'string' ? value.toWellFormed() : value;

/** Whether there are enough brackets. Counting them costs a tenth of searching the values. */
function mayBeDeep(json: string): boolean {
  if (json.length <= MAX_DEPTH_BYTES) return false;
  let count = 0;
  for (const bracket of OPENING)
    for (let at = json.indexOf(bracket); at !== -1; at = json.indexOf(bracket, at + 1))
      if (++count > MAX_DEPTH) return true;
  return false;
}

function cutDepth(value: Json, depth: number): void {
  for (const key in value) {
    const inner = value[key];
    if (typeof inner !== 'object' || inner === null) continue;
    if (depth === MAX_DEPTH) value[key] = TOO_DEEP;
    else cutDepth(inner as Json, depth + 1);
  }
}

/** Parses one line. A rejection says what is wrong and what a line should be. */
export function parseLine(bytes: Buffer): ParsedLine {
  const json = bytes.toString('utf8');
  if (json.includes(REPLACEMENT) && !isUtf8(bytes))
    return rejected('invalid_utf8', 'not valid UTF-8; write each line as UTF-8 JSON');
  let value: unknown;
  try {
    value = hasEscapedSurrogate(json) ? JSON.parse(json, makeWellFormed) : JSON.parse(json);
  } catch (error) {
    const detail = error instanceof Error ? error.message.replace(WITHOUT_PIECE, '') : '';
    return rejected('invalid_json', `not JSON: ${detail}; write one JSON object per line`);
  }
  if (!isObject(value)) return rejected('not_an_object', 'not a JSON object; write one JSON object per line');
  if (mayBeDeep(json)) cutDepth(value, 1);
  return { value };
}
