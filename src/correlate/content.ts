/**
 * Inputs, outputs, reasoning text and messages of errors on their way into a span: secrets are redacted first, then the text is
 * cut at a limit that never splits a character.
 */
import type { ErrorDetail } from '../model/event.js';
import { cutUtf8 } from '../util/utf8.js';

const REDACTED = '[redacted]';

/** Characters behind the cut that are looked at: a secret that the cut splits may only be known by its end. */
const LOOK_AHEAD = 10_000;

/** Where a text is looked at in part, its last characters may be half a secret that is not known as one. */
const UNSURE = 2_000;

/** The longest message of an error on a span, in bytes of UTF-8. */
const ERROR_MESSAGE_MAX_BYTES = 1024;

/** What is known to be a secret by its look. Each pattern is linear in its input. */
const SECRETS: readonly RegExp[] = [
  // A private key; without its end, all that follows.
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]*?-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|[\s\S]*)/g,
  /\bsk-[A-Za-z0-9_-]{16,}/g,
  /\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|npm_|hf_|[rs]k_(?:live|test)_)[A-Za-z0-9_-]{16,}/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bAIza[A-Za-z0-9_-]{35}/g,
  /\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*/g,
];

/** A name that says secret, up to its value. */
const SECRET_NAME =
  /(?:password|passwd|passphrase|secret|token(?!s|iz)|api[_-]?key|authorization|credential)[A-Za-z0-9_-]{0,20}\\?["']?\s{0,4}[:=]\s{0,4}/
    .source;

/** What stands before a value and tells that it is a secret; it stays, so that a reader sees what was there. */
const MARKED_SECRETS: readonly RegExp[] = [
  // A name, and a value that ends with its quote; within it one may be escaped.
  new RegExp(String.raw`(${SECRET_NAME}(\\?["']))(?:(?!\2)(?:\\[^\r\n]|[^\\\r\n])){6,1000}(?=\2)`, 'gi'),
  // A name, and a value that has none.
  new RegExp(String.raw`(${SECRET_NAME}\\?["']?)(?:(?:bearer|basic)\s+)?[^\s"'\\,;&}]{6,}`, 'gi'),
  // An option, and the argument after it, of a command line or of a list.
  /((?<![A-Za-z0-9_-])--?[A-Za-z0-9_-]{0,30}(?:password|passwd|passphrase|secret|token|api[_-]?key)(?:\s{1,4}\\?["']?|\\?["'],\s?\\?["']))(?!-)[^\s"'\\]{6,}/gi,
  // The password in a URL.
  /(\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@"'\\]{0,100}:)[^\s/@"'\\]{1,200}(?=@)/gi,
  /(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{16,}/gi,
];

/** Replaces what looks like a secret. */
export function redactByLook(text: string): string {
  let clean = text;
  for (const secret of SECRETS) clean = clean.replace(secret, REDACTED);
  for (const secret of MARKED_SECRETS) clean = clean.replace(secret, `$1${REDACTED}`);
  return clean;
}

export interface Content {
  text: string;
  /** Bytes of the whole text, before redaction and cut. */
  size_bytes: number;
}

function toText(value: unknown): string {
  if (typeof value === 'string') return value;
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    // Nested so deep that it can't be written out.
    return '[not representable]';
  }
}

/** Bytes of a value as text; 0 where there is none. */
export const contentSize = (value: unknown): number =>
  value === undefined || value === null ? 0 : Buffer.byteLength(toText(value));

/**
 * The beginning of a text without its secrets, at most that many bytes of UTF-8. How much of the text is looked at does not depend
 * on its length.
 */
export function redactedHead(text: string, max_bytes: number): string {
  const looked_at = text.slice(0, max_bytes + LOOK_AHEAD);
  const clean = redactByLook(looked_at);
  const isSure = looked_at.length === text.length || clean.endsWith(REDACTED);
  return cutUtf8((isSure ? clean : clean.slice(0, -UNSURE)).toWellFormed(), max_bytes);
}

/** Prepares content for an attribute; undefined where there is none. */
export function prepareContent(value: unknown, max_bytes: number): Content | undefined {
  if (value === undefined || value === null) return undefined;
  const whole = toText(value);
  return { text: redactedHead(whole, max_bytes), size_bytes: Buffer.byteLength(whole) };
}

/** An error as a span has it. */
export type SpanError = { type: string; message: string };

/** An error as it goes into a span: with or without content, its message is redacted and cut. */
export const spanError = ({ type = 'error', message }: ErrorDetail): SpanError => ({
  type,
  message: redactedHead(message, ERROR_MESSAGE_MAX_BYTES),
});
