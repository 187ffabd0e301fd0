/**
 * How a request of metrics is taken apart where a backend does not take it as a whole: into requests that are as if less had been
 * collected, each of which waits, is written down and is repeated like any other. Points of series that were poison are known
 * for a while, and kept apart from the others from the start; so is how much was too much at once.
 */
import type { DataPoint, MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { groupBy } from '../util/group-by.js';
import { countDataPoints, packMetrics, unpackMetrics } from './metrics.js';

/** A series that was poison is looked at anew after this long. */
const KNOWN_FOR_MS = 600_000;
/** Over so many, the one that was found first is forgotten. */
const MAX_KNOWN = 4_096;

/** A request, and of how many data points it is. */
export interface Collected {
  packed: Uint8Array;
  count: number;
}

interface Point {
  metric: MetricData;
  point: DataPoint<unknown>;
}

const sortedEntries = (attributes: object): [string, unknown][] =>
  Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));

/** Tells a series from all others that go to the same destination. */
const seriesOf = ({ metric, point }: Point): string =>
  JSON.stringify([metric.descriptor.name, sortedEntries(point.attributes)]);

const pointsOf = ({ scopeMetrics }: ResourceMetrics): Point[] =>
  scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap((metric) => metric.dataPoints.map((point) => ({ metric, point }))),
  );

/** The metrics that have one of these points at least, without the others. */
const metricsOf = (points: readonly Point[]): MetricData[] =>
  [...groupBy(points, ({ metric }) => metric)].map(
    ([metric, own]) => ({ ...metric, dataPoints: own.map(({ point }) => point) }) as MetricData,
  );

/** One request for each group of points; all that is collected is of one scope. */
function requestsBy<G>(
  metrics: ResourceMetrics,
  groupOf: (point: Point, place: number) => G,
): Map<G, Collected> {
  const { resource, scopeMetrics } = metrics;
  const groups = groupBy(pointsOf(metrics), groupOf);
  const collected = (points: Point[]): Collected => ({
    packed: packMetrics({
      resource,
      scopeMetrics: scopeMetrics.slice(0, 1).map((first) => ({ ...first, metrics: metricsOf(points) })),
    }),
    count: points.length,
  });
  return new Map([...groups].map(([group, points]) => [group, collected(points)]));
}

/** Two requests made of one; absent where there is nothing for it. */
export interface Split {
  free: Collected | undefined;
  bound: Collected | undefined;
}

function splitBy(metrics: ResourceMetrics, isBound: (point: Point) => boolean): Split {
  const parts = requestsBy(metrics, isBound);
  return { free: parts.get(false), bound: parts.get(true) };
}

/** Takes requests in their packed form, and throws where one is none. */
export interface Division {
  /** The parts of a request: what is of series that were poison apart from the rest, else so many at most, about as large. */
  divide(packed: Uint8Array, most: number): Collected[];
  /** A request as it is to be sent, in parts that are not too large: what is of series that were poison comes last. */
  separate(collected: Collected): Collected[];
  /** Of each of its points, the series. */
  series(packed: Uint8Array): string[];
  /** What of it is of none of these series, and what is. */
  split(packed: Uint8Array, series: ReadonlySet<string>): Split;
  /** Whether all of it is of series that were poison. */
  isKnown(packed: Uint8Array): boolean;
  /** All of it was poison: from now on its series are known. */
  remember(packed: Uint8Array): void;
  /** A request of so many points was too large: from now on none is made of more than half as many. */
  shrink(count: number): void;
}

/** `now`: milliseconds of a clock that only goes forward. */
export function createDivision(now: () => number): Division {
  /** By series, until when. */
  const known = new Map<string, number>();
  let max_points = Number.POSITIVE_INFINITY;

  const isPoisonous = (point: Point): boolean => {
    const series = seriesOf(point);
    const until_ms = known.get(series);
    if (until_ms === undefined) return false;
    if (until_ms > now()) return true;
    known.delete(series);
    return false;
  };

  const separated = (metrics: ResourceMetrics): Collected[] => {
    const { free, bound } = splitBy(metrics, isPoisonous);
    return [free, bound].filter((part) => part !== undefined);
  };

  const cut = (metrics: ResourceMetrics, size: number): Collected[] => [
    ...requestsBy(metrics, (_, place) => Math.floor(place / size)).values(),
  ];

  const fitted = (collected: Collected): Collected[] =>
    collected.count > max_points ? cut(unpackMetrics(collected.packed), max_points) : [collected];

  const isKnown = (packed: Uint8Array): boolean => pointsOf(unpackMetrics(packed)).every(isPoisonous);

  return {
    divide(packed, most) {
      const metrics = unpackMetrics(packed);
      const parts = known.size === 0 ? [] : separated(metrics);
      if (parts.length > 1) return parts;
      return cut(metrics, Math.ceil(countDataPoints(metrics) / most));
    },
    series: (packed) => pointsOf(unpackMetrics(packed)).map(seriesOf),
    split: (packed, series) => splitBy(unpackMetrics(packed), (point) => series.has(seriesOf(point))),
    separate(collected) {
      const parts = known.size === 0 ? [collected] : separated(unpackMetrics(collected.packed));
      return parts.flatMap(fitted);
    },
    isKnown: (packed) => known.size > 0 && isKnown(packed),
    remember(packed) {
      for (const point of pointsOf(unpackMetrics(packed))) {
        const series = seriesOf(point);
        known.delete(series);
        known.set(series, now() + KNOWN_FOR_MS);
      }
      for (const series of known.keys()) {
        if (known.size <= MAX_KNOWN) break;
        known.delete(series);
      }
    },
    shrink(count) {
      max_points = Math.min(max_points, Math.ceil(count / 2));
    },
  };
}
