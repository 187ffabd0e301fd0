/**
 * A Collector: how it is started, and what it was sent, as it wrote it to its file. Only what the tests look at is typed.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Backend, freePorts, homeFor, launch, removeDirectory } from './backends.js';

export interface Collector extends Backend {
  /** Ends it, so that all is written, and gives what it took. */
  stopAndRead(): Promise<Received>;
}

export interface Received {
  spans: OtlpSpan[];
  /** In the order of their collection. */
  metrics: OtlpMetric[];
  logs: OtlpLogRecord[];
}

export interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  status?: object;
  links?: { traceId: string; spanId: string }[];
}

export interface OtlpMetric {
  name: string;
  sum?: { dataPoints: OtlpDataPoint[]; aggregationTemporality: number; isMonotonic?: boolean };
  gauge?: { dataPoints: OtlpDataPoint[] };
  histogram?: { dataPoints: OtlpDataPoint[] };
}

export interface OtlpDataPoint {
  attributes?: unknown[];
  startTimeUnixNano?: string;
  timeUnixNano?: string;
  /** A 64-bit integer, as text. */
  asInt?: string;
  asDouble?: number;
  /** Of a histogram. */
  sum?: number;
  count?: string;
}

export interface OtlpLogRecord {
  observedTimeUnixNano?: string;
  eventName: string;
  traceId: string;
  spanId: string;
}

/** The body of a request in JSON. */
export interface OtlpRequest {
  resourceSpans?: { scopeSpans: { spans: OtlpSpan[] }[] }[];
  resourceMetrics?: { scopeMetrics: { metrics: OtlpMetric[] }[] }[];
  resourceLogs?: { scopeLogs: { logRecords: OtlpLogRecord[] }[] }[];
}

export const pointsOf = ({ sum, gauge, histogram }: OtlpMetric): OtlpDataPoint[] =>
  (sum ?? gauge ?? histogram)?.dataPoints ?? [];

export const parseRequests = (ndjson: string): OtlpRequest[] =>
  ndjson
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** Puts the contents of requests together, and takes the resources and scopes off. */
export function unwrap(requests: OtlpRequest[]): Received {
  const scopes = requests.flatMap(({ resourceSpans = [], resourceMetrics = [], resourceLogs = [] }) => ({
    spans: resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)),
    metrics: resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics)),
    logs: resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap((scope) => scope.logRecords)),
  }));
  return {
    spans: scopes.flatMap((scope) => scope.spans),
    metrics: scopes.flatMap((scope) => scope.metrics),
    logs: scopes.flatMap((scope) => scope.logs),
  };
}

/** A Collector on this port, or on a free one. */
export async function startCollector(wanted_port?: number): Promise<Collector> {
  const directory = await homeFor('collector');
  const port = wanted_port ?? (await freePorts(1))[0];
  const otlp_url = `http://127.0.0.1:${port}`;
  const output_path = join(directory, 'output.ndjson');
  const { end } = await launch('collector', {
    args: ['--config', join(import.meta.dirname, 'collector.yaml')],
    env: { OTLP_PORT: String(port), OUTPUT_FILE: output_path },
    directory,
    // It answers 405 here, which is an answer.
    health_url: `${otlp_url}/v1/traces`,
  });
  return {
    otlp_url,
    async stop() {
      await end();
      await removeDirectory(directory);
    },
    async stopAndRead() {
      await end();
      return unwrap(parseRequests(await readFile(output_path, 'utf8')));
    },
  };
}
