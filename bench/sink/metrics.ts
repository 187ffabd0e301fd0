/** Reads the sums of counters from cumulative OTLP/JSON, of which the last request has the totals. */

// biome-ignore lint/suspicious/noExplicitAny: OTLP/JSON as it came
type Json = any;

export function readSums(body: string): Record<string, number> {
  const sums: Record<string, number> = {};
  const metrics: Json[] = JSON.parse(body).resourceMetrics.flatMap(({ scopeMetrics }: Json) =>
    scopeMetrics.flatMap((scope: Json) => scope.metrics),
  );
  for (const { name, sum } of metrics)
    for (const { asInt, asDouble } of sum?.dataPoints ?? [])
      sums[name] = (sums[name] ?? 0) + Number(asInt ?? asDouble);
  return sums;
}
