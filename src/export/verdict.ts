/**
 * What an outcome of a request means for the items in it, by the OTLP rules: which answers are final, which are tried
 * again, and which part of a batch the backend did not take. Pure; the lane acts on it.
 */

import type { Signal } from '../model/delivery.js';
import { type PartialSuccess, readPartialSuccess } from './otlp.js';
import type { Encoding } from './presets.js';
import { httpReason } from './reasons.js';

/** What a transport reports of one request. */
export type Outcome =
  | {
      kind: 'answered';
      status: number;
      /** From now on; absent where the backend does not say. */
      retry_after_ms?: number;
      /** Where the answer points, without credentials and query; of a redirect alone. */
      location?: string;
      /** The first bytes of the answer's body. */
      body: Uint8Array;
    }
  | {
      kind: 'failed';
      reason: 'connection' | 'timeout';
      message: string;
      /** It has gone out: the answer may be all that is missing. */
      may_be_taken: boolean;
    };

export type Verdict =
  | { kind: 'taken'; partial?: PartialSuccess }
  /** To be tried again. `for_content`: it may be for what is in the request, not only for when it came. */
  | { kind: 'refused'; message: string; for_content: boolean; retry_after_ms?: number }
  | { kind: 'unreachable'; message: string; timed_out: boolean; may_be_taken: boolean }
  /** Nothing is wrong with what is in it: in another encoding it may be taken. */
  | { kind: 'wrong_encoding'; message: string }
  | { kind: 'too_large'; reason: string; message: string }
  | { kind: 'rejected'; reason: string; message: string };

const TOO_MANY_REQUESTS = 429;
const RETRYABLE_STATUSES: ReadonlySet<number> = new Set([TOO_MANY_REQUESTS, 502, 503, 504]);
const CONTENT_TOO_LARGE = 413;
const NOT_IMPLEMENTED = 501;

const MAX_MESSAGE_BYTES = 2_048;

/** What a backend says, on one line and without control characters. */
export const oneLine = (text: string): string =>
  text
    .slice(0, MAX_MESSAGE_BYTES)
    .replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim();

function answerMessage({ status, body, location }: Extract<Outcome, { kind: 'answered' }>): string {
  if (location !== undefined)
    return `HTTP ${status}, and redirects are not followed: if the backend is where it points, give that URL (${location})`;
  // A character that the cut splits is left out: before it the beginning of a secret would not be known for one.
  const said = oneLine(new TextDecoder().decode(body.subarray(0, MAX_MESSAGE_BYTES), { stream: true }));
  return said === '' ? `HTTP ${status}` : `HTTP ${status}: ${said}`;
}

/** A server that is no backend may say 200 to anything, with a page. No form of OTLP begins so. */
const PAGE_START = '<'.charCodeAt(0);

export const isPage = (body: Uint8Array): boolean => body[0] === PAGE_START;

/** Nothing is known to be taken; a login page or a proxy's notice goes away again. */
const pageInstead = (status: number): Verdict => ({
  kind: 'refused',
  message: `HTTP ${status} with a page, as no OTLP backend answers: check its URL`,
  for_content: false,
});

/** `encoding`: that of the request. */
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
  if (RETRYABLE_STATUSES.has(status)) {
    const for_content = status !== TOO_MANY_REQUESTS;
    return {
      kind: 'refused',
      message,
      for_content,
      ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
    };
  }
  // A ClawMetry without its extra for protobuf says so.
  if (status === NOT_IMPLEMENTED && encoding === 'protobuf') return { kind: 'wrong_encoding', message };
  const kind = status === CONTENT_TOO_LARGE ? 'too_large' : 'rejected';
  return { kind, reason: httpReason(status), message };
}
