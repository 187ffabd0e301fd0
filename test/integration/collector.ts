/**
 * Starts a Collector and reads what it received from its output file. Only what the tests use is typed.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Backend, freePorts, homeFor, launch, removeDirectory } from './backends.js';
import { REPOSITORY } from './installed.js';

export interface Collector extends Backend {
  /** What it has received so far; the last part may not be written yet. */
  read(): Promise<Received>;
  /** Stops it, so that everything is written, and returns what it received. */
  stopAndRead(): Promise<Received>;
  /** The warnings and errors that it has printed. */
  warnings(): Promise<string[]>;
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
  /** Absent or zero while the span is open. */
  endTimeUnixNano?: string;
  attributes: OtlpAttribute[];
  links?: { traceId: string; spanId: string }[];
  status?: { code?: number };
}

export interface OtlpAttribute {
  key: string;
  /** By type; a 64-bit integer is a string. */
  value: { stringValue?: string; intValue?: string; doubleValue?: number; boolValue?: boolean };
}

export interface OtlpMetric {
  name: string;
  sum?: { dataPoints: OtlpDataPoint[]; aggregationTemporality: number };
  gauge?: { dataPoints: OtlpDataPoint[] };
  histogram?: { dataPoints: OtlpDataPoint[]; aggregationTemporality: number };
}

export interface OtlpDataPoint {
  attributes?: OtlpAttribute[];
  startTimeUnixNano?: string;
  timeUnixNano?: string;
  /** A 64-bit integer, as a string. */
  asInt?: string;
  asDouble?: number;
  /** Of a histogram: the sum of its values and, as a string, their number. */
  sum?: number;
  count?: string;
}

export interface OtlpLogRecord {
  timeUnixNano: string;
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

/** Merges the contents of requests, without resources and scopes. */
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

/** Whether a line printed by a Collector is a warning or an error. */
export const isWarning = (line: string): boolean => /\t(warn|error)\t/.test(line);

/** A running Collector, whatever its configuration does with the data. */
export interface LaunchedCollector extends Backend {
  directory: string;
  /** Stops it without deleting its data. */
  end(): Promise<void>;
  log(): Promise<string[]>;
}

/**
 * Starts a Collector with this configuration, a path in the repository, which listens on `OTLP_PORT`: the given port or a
 * free one.
 */
export async function launchCollector(
  config: string,
  env: Record<string, string>,
  wanted_port?: number,
): Promise<LaunchedCollector> {
  const directory = await homeFor('collector');
  const port = wanted_port ?? (await freePorts(1))[0];
  const otlp_url = `http://127.0.0.1:${port}`;
  const { end, log } = await launch('collector', {
    args: ['--config', join(REPOSITORY, config)],
    env: { OTLP_PORT: String(port), ...env },
    directory,
    // It answers 405 here, which shows that it is up.
    health_url: `${otlp_url}/v1/traces`,
  });
  return {
    directory,
    otlp_url,
    end,
    log,
    async stop() {
      await end();
      await removeDirectory(directory);
    },
  };
}

/** In its working directory. */
const OUTPUT = 'output.ndjson';

/** Starts a Collector that writes what it receives to a file, on this port or on a free one. */
export async function startCollector(wanted_port?: number): Promise<Collector> {
  const launched = await launchCollector(
    'test/integration/collector.yaml',
    { OUTPUT_FILE: OUTPUT },
    wanted_port,
  );
  const { directory, otlp_url, end, log, stop } = launched;
  const read = async () => unwrap(parseRequests(await readFile(join(directory, OUTPUT), 'utf8')));
  return {
    otlp_url,
    read,
    warnings: async () => (await log()).filter(isWarning),
    stop,
    async stopAndRead() {
      await end();
      return read();
    },
  };
}
