/**
 * Divides a metrics request that a backend does not accept as a whole into requests that look as if less had been collected.
 * Each of them is queued, stored and retried like any other. Series that were poison are remembered for a while and sent apart
 * from the others from the start; so is the size of a request that was too large.
 */
import type { DataPoint, MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { groupBy } from '../util/group-by.js';
import { countDataPoints, packMetrics, unpackMetrics } from './metrics.js';

/** How long a series is remembered as poison. */
const KNOWN_FOR_MS = 600_000;
/** The limit on remembered series; over it the first one found is forgotten. */
const MAX_KNOWN = 4_096;

/** A packed request and its number of data points. */
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

/** Identifies a series among all that go to the same destination. */
const seriesOf = ({ metric, point }: Point): string =>
  JSON.stringify([metric.descriptor.name, sortedEntries(point.attributes)]);

const pointsOf = ({ scopeMetrics }: ResourceMetrics): Point[] =>
  scopeMetrics.flatMap(({ metrics }) =>
    metrics.flatMap((metric) => metric.dataPoints.map((point) => ({ metric, point }))),
  );

/** The metrics that these points belong to, each with only these points. */
const metricsOf = (points: readonly Point[]): MetricData[] =>
  [...groupBy(points, ({ metric }) => metric)].map(
    ([metric, own]) => ({ ...metric, dataPoints: own.map(({ point }) => point) }) as MetricData,
  );

/** One request for each group of points. Relies on all metrics of a collection having the same scope. */
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

/** One request split into two; a part without points is absent. */
export interface Split {
  free: Collected | undefined;
  bound: Collected | undefined;
}

function splitBy(metrics: ResourceMetrics, isBound: (point: Point) => boolean): Split {
  const parts = requestsBy(metrics, isBound);
  return { free: parts.get(false), bound: parts.get(true) };
}

/** Takes packed requests; throws if one can't be read. */
export interface Division {
  /**
   * Divides a request: points of known poison series apart from the rest if it has both, else at most `most` parts of about
   * equal size.
   */
  divide(packed: Uint8Array, most: number): Collected[];
  /** The requests to send for a collection, none too large; points of known poison series come last, apart from the others. */
  separate(collected: Collected): Collected[];
  /** The series of each of its points. */
  series(packed: Uint8Array): string[];
  /** Splits a request into points of other series (`free`) and points of these series (`bound`). */
  split(packed: Uint8Array, series: ReadonlySet<string>): Split;
  /** Whether all its points are of known poison series. */
  isKnown(packed: Uint8Array): boolean;
  /** Remembers the series of its points as poison. */
  remember(packed: Uint8Array): void;
  /** Notes that a request with this many points was too large: later ones get at most half as many. */
  shrink(count: number): void;
}

/** `now`: milliseconds of a monotonic clock. */
export function createDivision(now: () => number): Division {
  /** By series: until when it is remembered. */
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
