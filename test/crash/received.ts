/**
 * What a backend has taken, request by request: spans and log records with every copy of them, and metric points told apart
 * by name, attributes and times, so that a request that was sent again adds nothing.
 */
export type Signal = 'traces' | 'metrics' | 'logs';

/** A span or log record; copies of it must all say the same. */
export interface Item {
  text: string;
  copies: number;
  /** What copies said that was not the same. */
  contradictions: string[];
}

/** Of a counter the sum alone; of a histogram the buckets too. */
export type Value = { sum: number; count?: number; buckets?: number[] };

interface Point {
  /** Instrument and attributes. */
  series: string;
  start: string;
  time: bigint;
  is_delta: boolean;
  value: Value;
}

export interface Received {
  /** By span id. */
  spans: Map<string, Item>;
  /** By their time, in nanoseconds: each line of the stories has a time of its own. */
  logs: Map<string, Item>;
  take(signal: Signal, body: string): void;
  /** By instrument and attributes, over all that was received; the bridge's own instruments aside. */
  sums(): Map<string, Value>;
  /** Metric points that came again with the same times and another value. */
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

/** When it was observed is of the process that observed it. */
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

/** Of cumulative points the last one of each start holds all those before it. */
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
