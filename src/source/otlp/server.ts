/**
 * The HTTP server: how many requests are held at a time, in what order they are processed, and how it stops. Bodies are read
 * concurrently, but decompressed, decoded and handed over one at a time, in the order in which they were complete.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { within } from '../../util/within.js';
import { answerTo, type Encoding, type Refusal, refuse, type Taken } from './answers.js';
import { encodingOf, type Head, onClientError, readBody, readHead, respond } from './http.js';
import type { SentRecord } from './record.js';
import { decode, tooLarge, unpack } from './request.js';

export interface Bounds {
  /** Limit for one request, as received and decompressed. */
  body_bytes: number;
  /** Limit for all requests together that have no answer yet. */
  held_bytes: number;
  held_requests: number;
  /** How long a request may take to arrive. */
  request_ms: number;
  /** How long stopping waits for records that were handed over. */
  stop_ms: number;
}

export interface LogsServerOptions {
  bounds: Bounds;
  /** Hands records over; `settled` resolves with their outcome, or undefined if they could not be persisted. */
  handOver(records: SentRecord[]): Promise<{ settled: Promise<Taken | undefined> }>;
  onRefusal(refusal: Refusal): void;
}

export interface LogsServer {
  /** Not listening yet. */
  server: Server;
  /** Accepts no more, answers the requests that have arrived, and closes every connection. */
  stop(): Promise<void>;
}

const MAX_CONNECTIONS = 1024;
const HEADERS_TIMEOUT_MS = 10_000;
/**
 * Longer than the 90 s after which Collectors close an idle connection, so that no request arrives on one that is being closed
 * here.
 */
const KEEP_ALIVE_MS = 120_000;
/** How often to check for requests that are too slow. */
const CHECK_INTERVAL_MS = 1_000;

const FULL = refuse(429, 'too much data is waiting to be processed; retry later');
const NOT_KEPT = refuse(503, "the log records can't be stored now; retry later");
const STOPPING = refuse(503, 'the bridge is stopping; retry later');

/** A request and its answer. */
interface Exchange {
  bytes: number;
  is_read: boolean;
  /** Only the first call counts. */
  answer(outcome: Refusal | Taken): void;
  answered: Promise<void>;
}

function createExchange(response: ServerResponse, encoding: Encoding): Exchange {
  let answer: Exchange['answer'] = () => undefined;
  const answered = new Promise<Refusal | Taken>((resolve) => {
    answer = resolve;
  }).then((outcome) => respond(answerTo(outcome, encoding), response));
  return { bytes: 0, is_read: false, answer, answered };
}

/** Runs jobs one after the other, in the order in which they are given. */
function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  };
}

export function createLogsServer({ bounds, handOver, onRefusal }: LogsServerOptions): LogsServer {
  const inTurn = createTurns();
  const open = new Set<Exchange>();
  let held_bytes = 0;
  let is_stopping = false;

  function hold(exchange: Exchange, bytes: number): void {
    exchange.bytes += bytes;
    held_bytes += bytes;
  }

  async function read(request: IncomingMessage, exchange: Exchange): Promise<Buffer | Refusal> {
    const body = await readBody(request, (bytes) => {
      hold(exchange, bytes);
      if (exchange.bytes > bounds.body_bytes) return tooLarge(bounds.body_bytes);
      return held_bytes > bounds.held_bytes ? FULL : undefined;
    });
    exchange.is_read = true;
    return body;
  }

  async function pass(body: Buffer, { encoding, is_packed }: Head, exchange: Exchange) {
    // A decompressed body may go over the limit; then the next requests are refused.
    if (held_bytes > bounds.held_bytes) return FULL;
    const bytes = is_packed ? await unpack(body, bounds.body_bytes) : body;
    if (!Buffer.isBuffer(bytes)) return bytes;
    hold(exchange, bytes.length - body.length);
    const records = decode(bytes, encoding);
    return Array.isArray(records) ? handOver(records) : records;
  }

  async function take(request: IncomingMessage, exchange: Exchange): Promise<Refusal | Taken> {
    const head = readHead(request, bounds.body_bytes);
    if ('status' in head) return head;
    if (is_stopping) return STOPPING;
    if (open.size > bounds.held_requests) return FULL;
    const body = await read(request, exchange);
    if (!Buffer.isBuffer(body)) return body;
    const passed = await inTurn(() => pass(body, head, exchange));
    return 'status' in passed ? passed : ((await passed.settled) ?? NOT_KEPT);
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = createExchange(response, encodingOf(request) ?? 'json');
    open.add(exchange);
    const outcome = await take(request, exchange);
    if ('status' in outcome) onRefusal(outcome);
    exchange.answer(outcome);
    hold(exchange, -exchange.bytes);
    await exchange.answered;
    open.delete(exchange);
  }

  const server = createServer(
    {
      requestTimeout: bounds.request_ms,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, bounds.request_ms),
      connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, bounds.request_ms),
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => void handle(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', onClientError);

  const answered = (): Promise<void> =>
    within(bounds.stop_ms, Promise.all([...open].map((exchange) => exchange.answered)));

  return {
    server,
    async stop() {
      is_stopping = true;
      const closed = once(server, 'close');
      server.close();
      for (const exchange of open) if (!exchange.is_read) exchange.answer(STOPPING);
      await answered();
      for (const exchange of open) exchange.answer(STOPPING);
      await answered();
      server.closeAllConnections();
      await closed;
    },
  };
}
