/**
 * What the outcome of a request means for its items, by the rules of OTLP: which responses are final, which are retried, and
 * which part of a batch was not accepted. Pure; the lane acts on it.
 */

import type { Signal } from '../model/delivery.js';
import { type PartialSuccess, readPartialSuccess } from './otlp.js';
import type { Encoding } from './presets.js';
import { httpReason } from './reasons.js';

/** The result of one request, as a transport reports it. */
export type Outcome =
  | {
      kind: 'answered';
      status: number;
      /** How long to wait, from now; absent if the backend does not say. */
      retry_after_ms?: number;
      /** The target of a redirect, without credentials and query. */
      location?: string;
      /** The first bytes of the response body. */
      body: Uint8Array;
    }
  | {
      kind: 'failed';
      reason: 'connection' | 'timeout';
      message: string;
      /** Whether the request was sent, so that only the response may be missing. */
      may_be_taken: boolean;
    };

export type Verdict =
  | { kind: 'taken'; partial?: PartialSuccess }
  /** To be retried. `for_content`: the reason may be the content of the request, not only its time. */
  | { kind: 'refused'; message: string; for_content: boolean; retry_after_ms?: number }
  | { kind: 'unreachable'; message: string; timed_out: boolean; may_be_taken: boolean }
  /** The content is not at fault: another encoding may be accepted. */
  | { kind: 'wrong_encoding'; message: string }
  | { kind: 'too_large'; reason: string; message: string }
  | { kind: 'rejected'; reason: string; message: string };

const TOO_MANY_REQUESTS = 429;
const RETRYABLE_STATUSES: ReadonlySet<number> = new Set([TOO_MANY_REQUESTS, 502, 503, 504]);

/** Whether a request that is answered with this status is sent again. */
export const isRetried = (status: number): boolean => RETRYABLE_STATUSES.has(status);

const CONTENT_TOO_LARGE = 413;
const NOT_IMPLEMENTED = 501;

const MAX_MESSAGE_BYTES = 2_048;

/** Puts a backend's message on one line, without control characters. */
export const oneLine = (text: string): string =>
  text
    .slice(0, MAX_MESSAGE_BYTES)
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim();

function answerMessage({ status, body, location }: Extract<Outcome, { kind: 'answered' }>): string {
  if (location !== undefined)
    return `HTTP ${status}: the redirect to ${location} is not followed; if that is the backend, set its base URL`;
  // `stream` omits a character that the cut splits: followed by a replacement character, the beginning of a secret would not be
  // redacted.
  const text = oneLine(new TextDecoder().decode(body.subarray(0, MAX_MESSAGE_BYTES), { stream: true }));
  return text === '' ? `HTTP ${status}` : `HTTP ${status}: ${text}`;
}

/**
 * A server that is no OTLP backend may answer any request with 200 and an HTML page, perhaps after white space or a BOM.
 * Protobuf may begin with a line feed and "<", too, but does not continue like this.
 */
const PAGE = /^\s*<[!?a-z]/i;

export const isPage = (body: Uint8Array): boolean => PAGE.test(Buffer.from(body).toString());

/** Nothing is known to be accepted. It is retried, since a login page or a proxy's notice is temporary. */
const pageInstead = (status: number): Verdict => ({
  kind: 'refused',
  message: `HTTP ${status} with a web page instead of an OTLP response: check the URL`,
  for_content: false,
});

/** Judges an outcome. `encoding`: that of the request. */
export function judge(outcome: Outcome, signal: Signal, encoding: Encoding): Verdict {
  if (outcome.kind === 'failed') {
    const { message, reason, may_be_taken } = outcome;
    return { kind: 'unreachable', message, timed_out: reason === 'timeout', may_be_taken };
  }
  const { status, body, retry_after_ms } = outcome;
  if (status >= 200 && status < 300) {
    if (isPage(body)) return pageInstead(status);
    const partial = readPartialSuccess(signal, body);
    return partial === undefined ? { kind: 'taken' } : { kind: 'taken', partial };
  }
  const message = answerMessage(outcome);
  if (isRetried(status)) {
    const for_content = status !== TOO_MANY_REQUESTS;
    return {
      kind: 'refused',
      message,
      for_content,
      ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
    };
  }
  // The answer of a ClawMetry without its protobuf extra.
  if (status === NOT_IMPLEMENTED && encoding === 'protobuf') return { kind: 'wrong_encoding', message };
  const kind = status === CONTENT_TOO_LARGE ? 'too_large' : 'rejected';
  return { kind, reason: httpReason(status), message };
}
