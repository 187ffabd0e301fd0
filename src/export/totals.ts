/**
 * Metric totals for people to read. They are collected by a reader of their own, so that data points are counted as for any
 * other destination, and are then added up over all attributes.
 */
import type { IMetricReader, MetricData } from '@opentelemetry/sdk-metrics';
import type { MetricTotals } from '../model/telemetry.js';
import { countDataPoints, createMetricReader } from './metrics.js';

export interface TotalsReader {
  /** For `createMetrics`. */
  reader: IMetricReader;
  /** Collects the totals since the start. */
  collect(): Promise<MetricTotals>;
}

export function createTotalsReader(): TotalsReader {
  const reader = createMetricReader('cumulative');
  return {
    reader,
    async collect() {
      const { resourceMetrics } = await reader.collect();
      const metrics = resourceMetrics.scopeMetrics.flatMap((part) => part.metrics);
      return {
        points: countDataPoints(resourceMetrics),
        totals: new Map(metrics.map((metric) => [metric.descriptor.name, totalOf(metric)])),
      };
    },
  };
}

function totalOf({ dataPoints }: MetricData): number {
  let total = 0;
  for (const { value } of dataPoints) total += typeof value === 'number' ? value : value.count;
  return total;
}
