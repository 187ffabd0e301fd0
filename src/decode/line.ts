/**
 * From the bytes of a line to a JSON object: UTF-8 is checked, JSON is parsed, lone surrogates are replaced, and what is nested
 * too deep is cut off. Every later stage can trust that its values are well-formed text, and that it can be written as JSON again.
 */
import { isUtf8 } from 'node:buffer';
import { isObject, type Json } from '../util/json.js';
import type { Rejection } from './decoder.js';

/** What bytes that are no UTF-8 are read as; a line may hold it as well. */
const REPLACEMENT = '\u{fffd}';
/** An escaped surrogate is the only way by which valid UTF-8 can carry a lone one. */
const ESCAPED_SURROGATE = /\\u[dD][89a-fA-F]/;

/** Looking for its beginning first costs a fifth of looking for the pattern, and most lines have none. */
const hasEscapedSurrogate = (json: string): boolean =>
  (json.includes('\\ud') || json.includes('\\uD')) && ESCAPED_SURROGATE.test(json);

/** JSON is read at any depth, and written only as deep as the stack is long. */
const MAX_DEPTH = 500;
const TOO_DEEP = '[nested too deep]';
/** A shorter line has no room for more brackets. */
const MAX_DEPTH_BYTES = 2 * MAX_DEPTH;
const OPENING = ['{', '['];

export type ParsedLine = { value: Json } | { rejected: Rejection };

/** The engine repeats a piece of the line, which may be a piece of what was said: that stays out of every log. */
const WITHOUT_PIECE = /, (?:\.{3})?".*$/s;

const rejected = (reason: Rejection['reason'], message: string): ParsedLine => ({
  rejected: { reason, path: '', message },
});

const makeWellFormed = (_key: string, value: unknown): unknown =>
  typeof value === 'string' ? value.toWellFormed() : value;

/** Whether there are brackets enough. Counting them costs a tenth of looking through what they hold. */
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
    return rejected('invalid_json', `not JSON: ${detail}; write one JSON object a line`);
  }
  if (!isObject(value)) return rejected('not_an_object', 'not a JSON object; write one JSON object a line');
  if (mayBeDeep(json)) cutDepth(value, 1);
  return { value };
}
