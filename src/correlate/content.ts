/**
 * Prepares inputs, outputs, reasoning text and error messages for a span: secrets are redacted first, then the text is cut at a
 * limit that never splits a character.
 */
import type { ErrorDetail } from '../model/event.js';
import { cutUtf8 } from '../util/utf8.js';

const REDACTED = '[redacted]';

/** Characters examined beyond the cut: a secret that the cut splits may be recognisable only by its end. */
const LOOK_AHEAD = 10_000;

/**
 * Characters dropped from the end of a text that was examined only in part: they may belong to a secret that was not
 * recognised.
 */
const UNSURE = 2_000;

/** Maximum length of an error message on a span, in bytes of UTF-8. */
const ERROR_MESSAGE_MAX_BYTES = 1024;

/** Secrets that are recognised by their form. Each pattern is linear in its input. */
const SECRETS: readonly RegExp[] = [
  // A private key; if its end is missing, everything that follows.
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[\s\S]*?-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|[\s\S]*)/g,
  /\bsk-[A-Za-z0-9_-]{16,}/g,
  /\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|npm_|hf_|[rs]k_(?:live|test)_)[A-Za-z0-9_-]{16,}/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bAIza[A-Za-z0-9_-]{35}/g,
  /\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*/g,
];

/** A name that denotes a secret, up to its value. */
const SECRET_NAME =
  /(?:password|passwd|passphrase|secret|token(?!s|iz)|api[_-]?key|authorization|credential)[A-Za-z0-9_-]{0,20}\\?["']?\s{0,4}[:=]\s{0,4}/
    .source;

/** Values that the text before them marks as secrets; that text stays, so that a reader sees what was redacted. */
const MARKED_SECRETS: readonly RegExp[] = [
  // A name, and a quoted value; quotes within it may be escaped.
  new RegExp(String.raw`(${SECRET_NAME}(\\?["']))(?:(?!\2)(?:\\[^\r\n]|[^\\\r\n])){6,1000}(?=\2)`, 'gi'),
  // A name, and an unquoted value.
  new RegExp(String.raw`(${SECRET_NAME}\\?["']?)(?:(?:bearer|basic)\s+)?[^\s"'\\,;&}]{6,}`, 'gi'),
  // An option and the argument after it, in a command line or a list.
  /((?<![A-Za-z0-9_-])--?[A-Za-z0-9_-]{0,30}(?:password|passwd|passphrase|secret|token|api[_-]?key)(?:\s{1,4}\\?["']?|\\?["'],\s?\\?["']))(?!-)[^\s"'\\]{6,}/gi,
  // The password in a URL.
  /(\b[a-z][a-z0-9+.-]{1,20}:\/\/[^\s/:@"'\\]{0,100}:)[^\s/@"'\\]{1,200}(?=@)/gi,
  /(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{16,}/gi,
];

/** Replaces everything that looks like a secret. */
export function redactPatterns(text: string): string {
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
    // Nested too deeply to be serialised.
    return '[not representable]';
  }
}

/** Bytes of a value as text; 0 if there is none. */
export const contentSize = (value: unknown): number =>
  value === undefined || value === null ? 0 : Buffer.byteLength(toText(value));

/**
 * The beginning of a text without its secrets, at most `max_bytes` bytes of UTF-8. How much of the text is examined does not
 * depend on its length.
 */
export function redactedHead(text: string, max_bytes: number): string {
  const examined = text.slice(0, max_bytes + LOOK_AHEAD);
  const clean = redactPatterns(examined);
  const isSure = examined.length === text.length || clean.endsWith(REDACTED);
  return cutUtf8((isSure ? clean : clean.slice(0, -UNSURE)).toWellFormed(), max_bytes);
}

/** Prepares content for an attribute; undefined if there is none. */
export function prepareContent(value: unknown, max_bytes: number): Content | undefined {
  if (value === undefined || value === null) return undefined;
  const whole = toText(value);
  return { text: redactedHead(whole, max_bytes), size_bytes: Buffer.byteLength(whole) };
}

/** An error in the form that spans have. */
export type SpanError = { type: string; message: string };

/** Converts an error for a span. Its message is redacted and cut, whether or not content is recorded. */
export const spanError = ({ type = 'error', message }: ErrorDetail): SpanError => ({
  type,
  message: redactedHead(message, ERROR_MESSAGE_MAX_BYTES),
});
