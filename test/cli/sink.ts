/**
 * A backend that receives OTLP over HTTP and gives the scripted response to each request: it accepts, refuses, accepts a
 * part, hangs or breaks the connection. It parses only JSON; other bodies are stored as bytes.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createChanges } from './changes.js';
import { atEndOfFile } from './concurrent.js';

export type Signal = 'traces' | 'metrics' | 'logs';

/** The response to a request; one that hangs is never answered. */
export type Answer =
  | { status: number; headers?: Record<string, string>; body?: object | string }
  | 'hang'
  | 'reset';

export interface SinkRequest {
  signal: Signal;
  path: string;
  headers: IncomingHttpHeaders;
  bytes: Buffer;
  /** Epoch milliseconds. */
  received_ms: number;
  /** Whether the response was a 200. */
  taken: boolean;
}

export interface Span {
  trace_id: string;
  span_id: string;
  /** Empty on a root. */
  parent_span_id: string;
  name: string;
  /** OTLP's number: 1 is INTERNAL, 3 is CLIENT. */
  kind: number;
  start_ms: number;
  /** 0 on an open span. */
  end_ms: number;
  /** OTLP's number: 2 is ERROR. */
  status: number;
  attributes: Record<string, unknown>;
  links: { trace_id: string; span_id: string }[];
  events: string[];
  resource: Record<string, unknown>;
}

export interface Log {
  trace_id: string;
  span_id: string;
  event_name: string;
  severity: string;
  attributes: Record<string, unknown>;
}

export interface Sink {
  url: string;
  /** All requests so far, in the order of their arrival. */
  requests: SinkRequest[];
  of(signal: Signal): SinkRequest[];
  /** The spans and, below, log records of accepted requests. */
  spans(): Span[];
  logs(): Log[];
  /** The value of a counter over all its attribute sets in the last request, for cumulative temporality. */
  sumOf(instrument: string): number;
  /** The same summed over all requests, for delta temporality. */
  totalOf(instrument: string): number;
  /** The same for a backend that recognises a repeated request by its identical bytes. */
  totalOnceOf(instrument: string): number;
  /** Resolves when `isSo` returns true; it is checked after each request. */
  until(isSo: () => boolean): Promise<void>;
}

export const OK: Answer = { status: 200, body: {} };

/** Gives these responses to the requests of one signal in turn, and accepts all others. */
export function inTurn(signal: Signal, ...answers: Answer[]): (request: SinkRequest) => Answer {
  const left = [...answers];
  return (request) => (request.signal === signal ? (left.shift() ?? OK) : OK);
}

// biome-ignore lint/suspicious/noExplicitAny: OTLP/JSON as it came; the tests look at what they know of it
type Json = any;

const readValue = ({ value }: Json): unknown => {
  if (value.intValue !== undefined) return Number(value.intValue);
  if (value.arrayValue !== undefined)
    return value.arrayValue.values.map((each: Json) => readValue({ value: each }));
  return value.stringValue ?? value.boolValue ?? value.doubleValue;
};

const attributesOf = (attributes: Json[] = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map((each) => [each.key, readValue(each)]));

const toMs = (nanoseconds: string | undefined): number => Number(BigInt(nanoseconds ?? 0) / 1_000n) / 1_000;

const toSpan = (span: Json, resource: Json): Span => ({
  trace_id: span.traceId,
  span_id: span.spanId,
  parent_span_id: span.parentSpanId ?? '',
  name: span.name,
  kind: span.kind,
  start_ms: toMs(span.startTimeUnixNano),
  end_ms: toMs(span.endTimeUnixNano),
  status: span.status?.code ?? 0,
  attributes: attributesOf(span.attributes),
  links: (span.links ?? []).map((link: Json) => ({ trace_id: link.traceId, span_id: link.spanId })),
  events: (span.events ?? []).map((event: Json) => event.name),
  resource: attributesOf(resource?.attributes),
});

const toLog = (log: Json): Log => ({
  trace_id: log.traceId,
  span_id: log.spanId,
  event_name: log.eventName,
  severity: log.severityText,
  attributes: attributesOf(log.attributes),
});

const parse = ({ bytes }: SinkRequest): Json => JSON.parse(bytes.toString());

const spansOf = (request: SinkRequest): Span[] =>
  parse(request).resourceSpans.flatMap(({ resource, scopeSpans }: Json) =>
    scopeSpans.flatMap(({ spans }: Json) => spans.map((span: Json) => toSpan(span, resource))),
  );

const logsOf = (request: SinkRequest): Log[] =>
  parse(request).resourceLogs.flatMap(({ scopeLogs }: Json) =>
    scopeLogs.flatMap(({ logRecords }: Json) => logRecords.map(toLog)),
  );

function sumIn(request: SinkRequest | undefined, instrument: string): number {
  if (request === undefined) return 0;
  const metrics: Json[] = parse(request).resourceMetrics.flatMap(({ scopeMetrics }: Json) =>
    scopeMetrics.flatMap((scope: Json) => scope.metrics),
  );
  const points: Json[] = metrics
    .filter(({ name }) => name === instrument)
    .flatMap(({ sum, histogram }) => sum?.dataPoints ?? histogram.dataPoints);
  return points.reduce((total, { asInt, asDouble, sum }) => total + Number(asInt ?? asDouble ?? sum), 0);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function say(answer: Exclude<Answer, 'hang' | 'reset'>, response: ServerResponse): void {
  const { status, headers, body = '' } = answer;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(text);
}

/** Listens on a free port of the loopback interface until the end of the test file. */
export async function startSink(answer: (request: SinkRequest) => Answer = () => OK): Promise<Sink> {
  const requests: SinkRequest[] = [];
  const changes = createChanges();
  const server = createServer(async (incoming, response) => {
    const path = incoming.url ?? '';
    const request: SinkRequest = {
      signal: path.slice(path.lastIndexOf('/') + 1) as Signal,
      path,
      headers: incoming.headers,
      received_ms: Date.now(),
      bytes: await readBody(incoming).catch(() => Buffer.alloc(0)),
      taken: false,
    };
    const said = answer(request);
    request.taken = typeof said === 'object' && said.status === 200;
    requests.push(request);
    if (said === 'reset') incoming.socket.resetAndDestroy();
    else if (said !== 'hang') say(said, response);
    changes.tell();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  atEndOfFile(() => {
    server.close();
    server.closeAllConnections();
  });
  const taken = (signal: Signal): SinkRequest[] =>
    requests.filter((request) => request.signal === signal && request.taken);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    of: (signal) => requests.filter((request) => request.signal === signal),
    spans: () => taken('traces').flatMap(spansOf),
    logs: () => taken('logs').flatMap(logsOf),
    sumOf: (instrument) => sumIn(taken('metrics').at(-1), instrument),
    totalOf: (instrument) =>
      taken('metrics').reduce((total, request) => total + sumIn(request, instrument), 0),
    totalOnceOf: (instrument) =>
      [...new Map(taken('metrics').map((request) => [request.bytes.toString(), request])).values()].reduce(
        (total, request) => total + sumIn(request, instrument),
        0,
      ),
    until: changes.until,
  };
}
