/**
 * Sends one OTLP body by HTTP POST, over persistent connections. Every result is returned as an outcome, whose texts contain no
 * header. Redirects are not followed, so that a token does not go where a backend points.
 */
import { promisify } from 'node:util';
import { constants, gzip, unzip } from 'node:zlib';
import { errorCode } from '../util/errors.js';
import { Agent, type Dispatcher, Pool, ProxyAgent } from '../util/undici.js';
import type { EndpointConfig } from './config.js';
import { CONTENT_TYPES } from './otlp.js';
import type { Encoding } from './presets.js';
import { throughProxy } from './proxy.js';
import { USER_AGENT } from './scope.js';
import { type Outcome, oneLine } from './verdict.js';

/** How much of a response body is read, and the most that it is unpacked to. */
const MAX_ANSWER_BYTES = 64 * 1024;

const MS_PER_SECOND = 1_000;

/** The connection to one endpoint. */
export interface Transport {
  /**
   * Sends one request; never rejects. Once `signal` aborts, the outcome is meaningless. `encoding`: of the body; default: the
   * endpoint's.
   */
  post(body: Uint8Array, signal: AbortSignal, encoding?: Encoding): Promise<Outcome>;
  /** Closes every connection. */
  close(): Promise<void>;
}

const compress = promisify(gzip);
const decompress = promisify(unzip);

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const UNAUTHORIZED = 401;

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** The first `MAX_ANSWER_BYTES`. */
  body: Uint8Array;
}

export function createTransport(endpoint: EndpointConfig): Transport {
  const { url, timeout_ms, compression } = endpoint;
  const dispatcher = createAgent(endpoint);
  const send = createSender(endpoint, dispatcher);

  async function exchange(body: Uint8Array, encoding: Encoding, ending: Ending): Promise<Outcome> {
    const packed = compression === 'gzip' ? await compress(body, { level: constants.Z_BEST_SPEED }) : body;
    const { status, headers, body: answer } = await unpack(await send(packed, encoding, ending));
    // An HTTP date is wall-clock time; it becomes a duration here, like all other times.
    const retry_after_ms = readRetryAfter(headers['retry-after'], Date.now());
    const location = REDIRECTS.has(status) ? readLocation(headers.location, url) : undefined;
    return {
      kind: 'answered',
      status,
      ...(retry_after_ms === undefined ? {} : { retry_after_ms }),
      ...(location === undefined ? {} : { location }),
      body: answer,
    };
  }

  function post(body: Uint8Array, closing: AbortSignal, encoding = endpoint.encoding): Promise<Outcome> {
    return new Promise((resolve) => {
      const ending = createEnding();
      const failed = (reason: 'timeout' | 'connection', message: string): Outcome => ({
        kind: 'failed',
        reason,
        message: throughProxy(message, endpoint.proxy),
        may_be_taken: ending.has_begun(),
      });
      const settle = (outcome: Outcome): void => {
        clearTimeout(timer);
        closing.removeEventListener('abort', close);
        resolve(outcome);
      };
      // A request that still waits for a connection has no listener yet; it is aborted before it is sent.
      const end = (outcome: Outcome): void => {
        ending.end();
        settle(outcome);
      };
      const close = (): void => end(failed('connection', 'closed'));
      const timer = setTimeout(() => end(failed('timeout', `no answer within ${timeout_ms} ms`)), timeout_ms);
      closing.addEventListener('abort', close);
      exchange(body, encoding, ending).then(settle, (error) =>
        settle(failed('connection', failureMessage(error))),
      );
    });
  }

  return { post, close: () => dispatcher.destroy() };
}

/** Tells a request that its response is no longer awaited. An `AbortSignal` for each would cost as much as sending it. */
interface Ending {
  /** Whether a request was started before the end. */
  has_begun(): boolean;
  end(): void;
  /** Sets the listener, which replaces the last one, whose request is over. Called at the end, or at once if that has passed. */
  onEnd(listener: () => void): void;
}

function createEnding(): Ending {
  let is_over = false;
  let has_begun = false;
  let notify = (): void => undefined;
  return {
    has_begun: () => has_begun,
    end() {
      is_over = true;
      notify();
    },
    onEnd(listener) {
      notify = listener;
      if (is_over) listener();
      else has_begun = true;
    },
  };
}

/** Unpacks a response that is compressed although no request asks for that. One that can't be unpacked stays as it is. */
async function unpack(answer: Answer): Promise<Answer> {
  const { 'content-encoding': coding } = answer.headers;
  if (typeof coding !== 'string' || !/^(x-)?gzip$|^deflate$/i.test(coding)) return answer;
  const body = await decompress(answer.body, { maxOutputLength: MAX_ANSWER_BYTES }).catch(() => answer.body);
  return { ...answer, body };
}

/** Sends each request with the token that is current then. */
function createSender(
  endpoint: EndpointConfig,
  dispatcher: Dispatcher,
): (body: Uint8Array, encoding: Encoding, ending: Ending) => Promise<Answer> {
  const { bearer } = endpoint;
  const { origin, pathname, search } = new URL(endpoint.url);
  const path = pathname + search;
  const headers = { json: headersOf(endpoint, 'json'), protobuf: headersOf(endpoint, 'protobuf') };

  async function send(body: Uint8Array, encoding: Encoding, ending: Ending): Promise<Answer> {
    const request: Dispatcher.DispatchOptions = {
      origin,
      path,
      method: 'POST',
      headers:
        bearer === undefined
          ? headers[encoding]
          : { ...headers[encoding], authorization: `Bearer ${bearer.token}` },
      body,
      // undici's own timeouts are off: `post` limits the whole exchange.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    const once = () => dispatch(dispatcher, request, ending);
    return once().catch((error: unknown) => {
      if (!isStaleConnection(error)) throw error;
      return once();
    });
  }

  if (bearer === undefined) return send;
  return async (...sent) => {
    await bearer.refresh();
    const { token } = bearer;
    const answer = await send(...sent);
    if (answer.status !== UNAUTHORIZED) return answer;
    // Refused items would be rejected for good, so a token that was renewed meanwhile is tried at once.
    await bearer.refresh(true);
    return bearer.token === token ? answer : send(...sent);
  };
}

/**
 * Sends one request through undici's dispatcher. With `undici.request` a small request takes 50% more CPU time, and a live
 * stream is many small requests.
 */
function dispatch(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  ending: Ending,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    let status = 0;
    let headers: Answer['headers'] = {};
    const finish = (): void =>
      resolve({ status, headers, body: Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES) });
    dispatcher.dispatch(request, {
      onRequestStart(controller) {
        ending.onEnd(() => controller.abort(new Error('nobody waits for the answer')));
      },
      onResponseStart(_controller, answered, fields) {
        status = answered;
        headers = fields;
      },
      onResponseData(controller, chunk) {
        chunks.push(chunk);
        length += chunk.length;
        if (length < MAX_ANSWER_BYTES) return;
        finish();
        // This closes the connection; the rest of such a response is not worth waiting for.
        controller.abort(new Error('the answer is too long'));
      },
      onResponseEnd: finish,
      // A backend that has begun to respond has the request, so it must not be sent a second time.
      onResponseError: (_controller, error) =>
        reject(status === 0 ? error : new Error(`the response was cut off: ${error.message}`)),
    });
  });
}

/** Persistent connections, through a proxy if there is one: plain HTTP is forwarded by it, TLS goes through a tunnel. */
function createAgent({ tls, timeout_ms, proxy }: EndpointConfig): Dispatcher {
  const connect = { ...tls, timeout: timeout_ms };
  if (proxy === undefined) return new Agent({ connections: 1, connect });
  return new ProxyAgent({
    uri: proxy.url,
    ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }),
    connections: 1,
    // The configured certificates are for the backend; a proxy's is checked against the system's.
    requestTls: connect,
    proxyTls: { timeout: timeout_ms },
    proxyTunnel: false,
    // A proxy that never responds to CONNECT would block all later requests.
    clientFactory: (origin, options) => new Pool(origin, { ...options, headersTimeout: timeout_ms }),
  });
}

/** The headers of every request. */
const headersOf = ({ headers, compression }: EndpointConfig, encoding: Encoding) => ({
  ...headers,
  'content-type': CONTENT_TYPES[encoding],
  'user-agent': USER_AGENT,
  ...(compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
});

/** Whether the backend closed an idle connection just as the request took it, which is no failure yet. */
const isStaleConnection = (error: unknown): boolean =>
  error instanceof Error && errorCode(error) === 'UND_ERR_SOCKET' && error.message === 'other side closed';

/** Every form of HTTP date has a weekday and a time of day. `Date.parse` reads other text as a year: `+40` as 2040. */
const HTTP_DATE = /^\s*[A-Z][a-z]{2,8},? .*\d\d:\d\d:\d\d/;

/** Milliseconds from now, for a number of seconds or an HTTP date; `undefined` if it is not in the future or can't be read. */
export function readRetryAfter(header: string | string[] | undefined, now_ms: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  const is_date = HTTP_DATE.test(header);
  if (!is_date && !/^\s*\d+\s*$/.test(header)) return undefined;
  const wait_ms = is_date ? Date.parse(header) - now_ms : Number(header) * MS_PER_SECOND;
  return wait_ms > 0 ? wait_ms : undefined;
}

/** The target of a redirect, without credentials, query and fragment, which may be secret. */
function readLocation(header: string | string[] | undefined, url: string): string | undefined {
  if (typeof header !== 'string' || !URL.canParse(header, url)) return undefined;
  const { origin, pathname, protocol } = new URL(header, url);
  return /^https?:$/.test(protocol) ? `${origin}${pathname}` : undefined;
}

/** For example `connect ECONNREFUSED 127.0.0.1:4318`; if several addresses were tried, the error of the first one. */
function failureMessage(error: unknown): string {
  const cause = error instanceof AggregateError ? error.errors[0] : error;
  return oneLine(cause instanceof Error ? cause.message : String(cause));
}
