/**
 * One HTTP POST of an OTLP body, over connections that are kept open. Whatever happens is an outcome as data; what an
 * outcome says holds no header. Redirects are not followed: a token must not go where a backend points.
 */
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { errorCode } from '../util/errors.js';
import { Agent, type Dispatcher, Pool, ProxyAgent } from '../util/undici.js';
import type { EndpointConfig } from './config.js';
import { CONTENT_TYPES } from './otlp.js';
import type { Encoding } from './presets.js';
import { USER_AGENT } from './scope.js';
import { type Outcome, oneLine } from './verdict.js';

/** What is read of an answer's body. */
const MAX_ANSWER_BYTES = 64 * 1024;

const MS_PER_SECOND = 1_000;

/** The way to one endpoint. */
export interface Transport {
  /**
   * Sends one request; never rejects. Once `signal` aborts, the outcome does not matter. `encoding`: that of the body, where
   * it is not the endpoint's.
   */
  post(body: Uint8Array, signal: AbortSignal, encoding?: Encoding): Promise<Outcome>;
  /** Closes every connection. */
  close(): Promise<void>;
}

const compress = promisify(gzip);

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const UNAUTHORIZED = 401;

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** The beginning of it. */
  body: Uint8Array;
}

export function createTransport(endpoint: EndpointConfig): Transport {
  const { url, timeout_ms, compression } = endpoint;
  const dispatcher = createAgent(endpoint);
  const send = createSender(endpoint, dispatcher);

  async function exchange(body: Uint8Array, encoding: Encoding, ending: Ending): Promise<Outcome> {
    const packed = compression === 'gzip' ? await compress(body, { level: constants.Z_BEST_SPEED }) : body;
    const { status, headers, body: answer } = await send(packed, encoding, ending);
    // A date is of the wall clock; what comes of it, and all else, is a duration.
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
        message: throughProxy(endpoint, message),
        may_be_taken: ending.has_begun(),
      });
      const settle = (outcome: Outcome): void => {
        clearTimeout(timer);
        closing.removeEventListener('abort', close);
        resolve(outcome);
      };
      // A request that still waits for its connection does not hear of its end; it is never sent then.
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

/** How a request learns that nobody waits for its answer any more. A platform's signal for each would cost as much as sending it. */
interface Ending {
  /** Whether a request has gone out before the end. */
  has_begun(): boolean;
  end(): void;
  /** Calls at the end, or at once where that has been. Who heard before has been answered, and hears no more. */
  hear(listener: () => void): void;
}

function createEnding(): Ending {
  let is_over = false;
  let has_begun = false;
  let tell = (): void => undefined;
  return {
    has_begun: () => has_begun,
    end() {
      is_over = true;
      tell();
    },
    hear(listener) {
      tell = listener;
      if (is_over) listener();
      else has_begun = true;
    },
  };
}

/** Sends with the token as it is at that time. */
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
      // One clock for the whole exchange: our own.
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
    // What is refused would be given up: a token that was renewed meanwhile is tried at once.
    await bearer.refresh(true);
    return bearer.token === token ? answer : send(...sent);
  };
}

/**
 * One request, by undici's own interface: with the convenient one above it a small request takes half as much again of the
 * processor, and a live stream is many small requests.
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
        ending.hear(() => controller.abort(new Error('nobody waits for the answer')));
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
        // The connection is closed with it: the rest of such an answer is not worth waiting for.
        controller.abort(new Error('the answer is too long'));
      },
      onResponseEnd: finish,
      // A backend that has begun to answer has the request: it must not be sent a second time.
      onResponseError: (_controller, error) =>
        reject(status === 0 ? error : new Error(`the answer broke off: ${error.message}`)),
    });
  });
}

/** Connections that are kept open, through a proxy where there is one: plain ones by its own means, TLS in a tunnel. */
function createAgent({ tls, timeout_ms, proxy }: EndpointConfig): Dispatcher {
  const connect = { ...tls, timeout: timeout_ms };
  if (proxy === undefined) return new Agent({ connections: 1, connect });
  return new ProxyAgent({
    uri: proxy.url,
    ...(proxy.authorization === undefined ? {} : { token: proxy.authorization }),
    connections: 1,
    // The certificates are about the backend; that of a proxy is checked as the system does.
    requestTls: connect,
    proxyTls: { timeout: timeout_ms },
    proxyTunnel: false,
    // A proxy that never answers to being asked for a tunnel would hold up all that comes after.
    clientFactory: (origin, options) => new Pool(origin, { ...options, headersTimeout: timeout_ms }),
  });
}

/** Those of every request. */
const headersOf = ({ headers, compression }: EndpointConfig, encoding: Encoding) => ({
  ...headers,
  'content-type': CONTENT_TYPES[encoding],
  'user-agent': USER_AGENT,
  ...(compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
});

/** A backend closes a connection that has been idle, and a request may just have taken it: that is no failure yet. */
const isStaleConnection = (error: unknown): boolean =>
  error instanceof Error && errorCode(error) === 'UND_ERR_SOCKET' && error.message === 'other side closed';

/** A weekday and a time of day are in each form of it. What is neither would be read as a year: `+40` as 2040. */
const HTTP_DATE = /^\s*[A-Z][a-z]{2,8},? .*\d\d:\d\d:\d\d/;

/** Milliseconds from now, for a number of seconds or an HTTP date; `undefined` where it says nothing about the future. */
export function readRetryAfter(header: string | string[] | undefined, now_ms: number): number | undefined {
  if (typeof header !== 'string') return undefined;
  const is_date = HTTP_DATE.test(header);
  if (!is_date && !/^\s*\d+\s*$/.test(header)) return undefined;
  const wait_ms = is_date ? Date.parse(header) - now_ms : Number(header) * MS_PER_SECOND;
  return wait_ms > 0 ? wait_ms : undefined;
}

/** Where a redirect points, without what may be nobody's business: credentials, query and fragment. */
function readLocation(header: string | string[] | undefined, url: string): string | undefined {
  if (typeof header !== 'string' || !URL.canParse(header, url)) return undefined;
  const { origin, pathname, protocol } = new URL(header, url);
  return /^https?:$/.test(protocol) ? `${origin}${pathname}` : undefined;
}

/** `connect ECONNREFUSED 127.0.0.1:4318`; where several addresses were tried, what the first one said. */
function failureMessage(error: unknown): string {
  const cause = error instanceof AggregateError ? error.errors[0] : error;
  return oneLine(cause instanceof Error ? cause.message : String(cause));
}

const throughProxy = ({ proxy }: EndpointConfig, message: string): string =>
  proxy === undefined ? message : `through the proxy ${proxy.url}: ${message}`;
