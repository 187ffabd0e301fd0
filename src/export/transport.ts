/**
 * One HTTP POST of an OTLP body, over connections that are kept open. Whatever happens is an outcome as data; what an
 * outcome says holds no header. Redirects are not followed: a token must not go where a backend points.
 */
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { Agent, type Dispatcher, errors, request } from 'undici';
import type { EndpointConfig } from './config.js';
import { CONTENT_TYPES } from './otlp.js';
import { USER_AGENT } from './scope.js';
import { type Outcome, oneLine } from './verdict.js';

/** What is read of an answer's body. */
const MAX_ANSWER_BYTES = 64 * 1024;

const MS_PER_SECOND = 1_000;

export interface Transport {
  /** Sends one request; never rejects. Once `signal` aborts, the outcome does not matter. */
  post(body: Uint8Array, signal: AbortSignal): Promise<Outcome>;
  /** Closes every connection. */
  close(): Promise<void>;
}

const compress = promisify(gzip);

export function createTransport(endpoint: EndpointConfig): Transport {
  const agent = new Agent({
    connections: 1,
    // One clock for the whole exchange: the request's own.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { ...endpoint.tls, timeout: endpoint.timeout_ms },
  });
  const headers = {
    ...endpoint.headers,
    'content-type': CONTENT_TYPES[endpoint.encoding],
    'user-agent': USER_AGENT,
    ...(endpoint.compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
  };

  async function exchange(body: Uint8Array, signal: AbortSignal): Promise<Outcome> {
    const packed =
      endpoint.compression === 'gzip' ? await compress(body, { level: constants.Z_BEST_SPEED }) : body;
    const send = (): Promise<Dispatcher.ResponseData> =>
      request(endpoint.url, { method: 'POST', headers, body: packed, dispatcher: agent, signal });
    const answer = await send().catch((error: unknown) => {
      if (!isStaleConnection(error)) throw error;
      return send();
    });
    // A date is of the wall clock; what comes of it, and all else, is a duration.
    const retry_after_ms = readRetryAfter(answer.headers['retry-after'], Date.now());
    return {
      kind: 'answered',
      status: answer.statusCode,
      ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
      body: await readStart(answer.body),
    };
  }

  async function post(body: Uint8Array, closing: AbortSignal): Promise<Outcome> {
    const exchange_controller = new AbortController();
    const abort = () => exchange_controller.abort();
    let timed_out = false;
    const timer = setTimeout(() => {
      timed_out = true;
      abort();
    }, endpoint.timeout_ms);
    closing.addEventListener('abort', abort);
    try {
      return await exchange(body, exchange_controller.signal);
    } catch (error) {
      if (!timed_out) return { kind: 'failed', reason: 'connection', message: failureMessage(error) };
      return { kind: 'failed', reason: 'timeout', message: `no answer within ${endpoint.timeout_ms} ms` };
    } finally {
      clearTimeout(timer);
      closing.removeEventListener('abort', abort);
    }
  }

  return { post, close: () => agent.destroy() };
}

/** A backend closes a connection that has been idle, and a request may just have taken it: that is no failure yet. */
const isStaleConnection = (error: unknown): boolean =>
  error instanceof errors.SocketError && error.message === 'other side closed';

/** Milliseconds from now, for a number of seconds or an HTTP date; `undefined` where it says nothing about the future. */
export function readRetryAfter(header: string | string[] | undefined, now_ms: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  const wait_ms = /^\s*\d+\s*$/.test(header) ? Number(header) * MS_PER_SECOND : Date.parse(header) - now_ms;
  return wait_ms > 0 ? wait_ms : undefined;
}

async function readStart(body: Dispatcher.ResponseData['body']): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    length += chunk.length;
    // Leaving the loop closes the connection: the rest of such an answer is not worth waiting for.
    if (length >= MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES);
}

/** `connect ECONNREFUSED 127.0.0.1:4318`; where several addresses were tried, what the first one said. */
function failureMessage(error: unknown): string {
  const cause = error instanceof AggregateError ? error.errors[0] : error;
  return oneLine(cause instanceof Error ? cause.message : String(cause));
}
