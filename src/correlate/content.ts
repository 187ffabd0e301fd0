/**
 * Inputs, outputs and reasoning text on their way into a span: secrets are redacted first, then the text is cut at a limit
 * that never splits a character.
 */
import { cutUtf8 } from '../utf8.js';

const REDACTED = '[redacted]';

/** Characters of the longest secret that is recognised, a private key. */
const LONGEST_SECRET = 10_000;

/** What is known to be a secret by its look. Each pattern is linear in its input. */
const SECRETS: readonly RegExp[] = [
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]{0,8192}?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g,
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
export function redact(text: string): string {
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

/** Prepares content for an attribute; undefined where there is none. */
export function prepareContent(value: unknown, max_bytes: number): Content | undefined {
  if (value === undefined || value === null) return undefined;
  const whole = toText(value).toWellFormed();
  // What lies far behind the cut is never shown, so it need not be looked at; a secret that the cut splits must be.
  const shown = whole.slice(0, max_bytes + LONGEST_SECRET);
  return { text: cutUtf8(redact(shown), max_bytes), size_bytes: Buffer.byteLength(whole) };
}
