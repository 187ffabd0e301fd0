/**
 * What a backend has received: spans and log records with the number of their copies, and metric points identified by name,
 * attributes and times, so that a repeated request adds nothing.
 */
export type Signal = 'traces' | 'metrics' | 'logs';

/** A span or log record, all copies of which must be equal. */
export interface Item {
  text: string;
  copies: number;
  /** The descriptions of copies that differ. */
  contradictions: string[];
}

/** A counter has only a sum, a histogram also a count and buckets. */
export type Value = { sum: number; count?: number; buckets?: number[] };

interface Point {
  /** The instrument and its attributes. */
  series: string;
  start: string;
  time: bigint;
  is_delta: boolean;
  value: Value;
}

export interface Received {
  /** By span id. */
  spans: Map<string, Item>;
  /** By timestamp in nanoseconds, which is unique to each line of the stories. */
  logs: Map<string, Item>;
  take(signal: Signal, body: string): void;
  /** The totals of everything received, by instrument and attributes, without the bridge's own instruments. */
  sums(): Map<string, Value>;
  /** Metric points that were repeated with the same times and another value. */
  contradictions: string[];
}

// biome-ignore lint/suspicious/noExplicitAny: OTLP/JSON as it came
type Json = any;

function attributesOf(attributes: Json[] = []): string {
  const sorted = attributes.map(({ key, value }) => [key, Object.values(value)[0]] as const);
  return JSON.stringify(Object.fromEntries(sorted.sort(([a], [b]) => (a < b ? -1 : 1))));
}

const describeSpan = (span: Json): string =>
  [
    span.name,
    `${span.traceId}/${span.spanId} below ${span.parentSpanId || '-'}`,
    `kind ${span.kind}`,
    `${span.startTimeUnixNano}..${span.endTimeUnixNano}`,
    JSON.stringify(span.status),
    attributesOf(span.attributes),
    JSON.stringify((span.events ?? []).map((event: Json) => [event.name, event.timeUnixNano])),
    JSON.stringify(span.links ?? []),
  ].join(' | ');

/** Without the time of observation, which differs between processes. */
const describeLog = (log: Json): string =>
  [
    log.eventName,
    `${log.traceId}/${log.spanId}`,
    log.timeUnixNano,
    log.severityText,
    attributesOf(log.attributes),
  ].join(' | ');

function addItem(items: Map<string, Item>, key: string, text: string): void {
  const item = items.get(key);
  if (item === undefined) {
    items.set(key, { text, copies: 1, contradictions: [] });
    return;
  }
  item.copies++;
  if (item.text !== text) item.contradictions.push(text);
}

const DELTA = 1;

const isOfTheBridge = (name: string): boolean => name.startsWith('openclaw_otel_bridge.');

const readValue = ({ asInt, asDouble, count, sum, bucketCounts }: Json): Value =>
  count === undefined
    ? { sum: Number(asInt ?? asDouble) }
    : { sum: Number(sum ?? 0), count: Number(count), buckets: bucketCounts.map(Number) };

function pointsOf(metric: Json): Point[] {
  const { dataPoints, aggregationTemporality } = metric.sum ?? metric.histogram;
  return dataPoints.map((point: Json) => ({
    series: `${metric.name} ${attributesOf(point.attributes)}`,
    start: String(point.startTimeUnixNano),
    time: BigInt(point.timeUnixNano),
    is_delta: aggregationTemporality === DELTA,
    value: readValue(point),
  }));
}

const addBuckets = (a: number[] = [], b: number[] = []): number[] =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, index) => (a[index] ?? 0) + (b[index] ?? 0));

function addValues(a: Value, b: Value): Value {
  const sum = a.sum + b.sum;
  if (a.count === undefined || b.count === undefined) return { sum };
  return { sum, count: a.count + b.count, buckets: addBuckets(a.buckets, b.buckets) };
}

/** The last cumulative point of each start time includes all earlier ones. */
function lastOfEachStart(points: Iterable<Point>): Point[] {
  const last = new Map<string, Point>();
  for (const point of points) {
    const key = `${point.series} ${point.start}`;
    if (point.time > (last.get(key)?.time ?? -1n)) last.set(key, point);
  }
  return [...last.values()];
}

function sumsOf(points: Point[]): Map<string, Value> {
  const cumulative = lastOfEachStart(points.filter(({ is_delta }) => !is_delta));
  const sums = new Map<string, Value>();
  for (const { series, value } of [...points.filter(({ is_delta }) => is_delta), ...cumulative]) {
    const sum = sums.get(series);
    sums.set(series, sum === undefined ? value : addValues(sum, value));
  }
  return sums;
}

export function createReceived(): Received {
  const spans = new Map<string, Item>();
  const logs = new Map<string, Item>();
  const points = new Map<string, Point>();
  const contradictions: string[] = [];

  function addPoint(point: Point): void {
    const identity = `${point.series} ${point.start}..${point.time}`;
    const known = points.get(identity);
    if (known === undefined) points.set(identity, point);
    else if (JSON.stringify(known.value) !== JSON.stringify(point.value))
      contradictions.push(`${identity}: ${JSON.stringify(known.value)}, then ${JSON.stringify(point.value)}`);
  }

  const take: Record<Signal, (scope: Json) => void> = {
    traces(scope) {
      for (const span of scope.spans) addItem(spans, span.spanId, describeSpan(span));
    },
    logs(scope) {
      for (const log of scope.logRecords) addItem(logs, String(log.timeUnixNano), describeLog(log));
    },
    metrics(scope) {
      for (const metric of scope.metrics)
        if (!isOfTheBridge(metric.name)) for (const point of pointsOf(metric)) addPoint(point);
    },
  };

  return {
    spans,
    logs,
    contradictions,
    take(signal, body) {
      const { resourceSpans, resourceLogs, resourceMetrics } = JSON.parse(body);
      for (const resource of resourceSpans ?? resourceLogs ?? resourceMetrics ?? [])
        for (const scope of resource.scopeSpans ?? resource.scopeLogs ?? resource.scopeMetrics)
          take[signal](scope);
    },
    sums: () => sumsOf([...points.values()]),
  };
}
