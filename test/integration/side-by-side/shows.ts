/** What each backend shows of one request, read from the APIs behind its pages or from its output file. */
import type { ClawMetry } from '../clawmetry.js';
import { type OtlpAttribute, type OtlpDataPoint, pointsOf, type Received } from '../collector.js';
import type { Jaeger, JaegerSpan } from '../jaeger.js';
import type { Prometheus } from '../prometheus.js';
import { agentTokens, roundCost, type Shown } from './quantities.js';
import { type SeenSpan, shownBy } from './spans.js';

/** Quantities that were all read in one place. */
const at = (place: string, values: object): Shown =>
  Object.fromEntries(Object.entries(values).map(([quantity, value]) => [quantity, { [place]: value }]));

/** Merges the values of several places. */
export function together(...all: Shown[]): Shown {
  const merged: Record<string, object> = {};
  for (const shown of all) {
    for (const [quantity, places] of Object.entries(shown)) {
      merged[quantity] = { ...merged[quantity], ...places };
    }
  }
  return merged as Shown;
}

function without<T extends object, K extends keyof T>(values: T, ...keys: K[]): Omit<T, K> {
  const rest = { ...values };
  for (const key of keys) delete rest[key];
  return rest;
}

export async function clawMetryShows(clawmetry: ClawMetry, trace_id: string): Promise<Shown> {
  const [stored, trace, traces, graph, activity, feed, status] = await Promise.all([
    clawmetry.spans(),
    clawmetry.trace(trace_id),
    clawmetry.traces(),
    clawmetry.agentGraph(),
    clawmetry.activity(),
    clawmetry.liveFeed(),
    clawmetry.status(),
  ]);
  const spans = stored.filter((span) => span.trace_id === trace_id);
  const seen = spans.map(
    (span): SeenSpan => ({
      span_id: span.span_id,
      parent_span_id: span.parent_span_id ?? undefined,
      links: [],
      failed: span.status === 'ERROR',
      attributes: { ...span.attrs, cost: span.cost_usd ?? undefined },
    }),
  );
  const rows = traces.filter(({ source }) => source === 'spans');
  const tools = trace.spans.filter(({ tool }) => tool !== '');
  const agent = (id: string): string => id.replace(/^openclaw:/, '');
  return together(
    at('its spans', without(shownBy(seen, 'cost'), 'links', 'edges')),
    at('the trace', {
      spans: trace.spans.map(({ span_id }) => span_id).sort(),
      tool_calls: tools.length,
      tool_errors: tools
        .filter(({ status }) => status === 'error')
        .map(({ span_id }) => span_id)
        .sort(),
    }),
    at('spans that look open', {
      warnings: trace.spans.filter(({ duration_ms }) => duration_ms === 0).length,
    }),
    at('the Traces list', {
      traces: rows.length,
      spans: rows.reduce((sum, { span_count }) => sum + span_count, 0),
      all_tokens: rows.reduce((sum, { total_tokens }) => sum + total_tokens, 0),
      cost_usd: roundCost(rows.reduce((sum, { total_cost_usd }) => sum + total_cost_usd, 0)),
    }),
    at('the Agent Graph', {
      edges: graph.edges.map(({ from, to }) => `${agent(from)} → ${agent(to)}`).sort(),
      agent_tokens: agentTokens(new Map(graph.nodes.map((node) => [agent(node.id), node.total_tokens]))),
    }),
    at('the token tile', { counted_calls: status.counts.tokens }),
    at('the cost tile', { counted_calls: status.counts.cost }),
    at('the Activity page', {
      tool_logs: activity.length,
      tool_errors: activity.filter(({ type }) => type === 'ERROR').length,
    }),
    at('the Live Feed', { feed_rows: feed.map(({ sessionId, detail }) => `${sessionId} ${detail}`).sort() }),
    at('its intake', { refused: refusedBy(status) }),
  );
}

const refusedBy = ({ intake }: Awaited<ReturnType<ClawMetry['status']>>): number =>
  Object.values(intake.signals)
    .flatMap(({ items, requests }) => [
      items.rejected,
      items.retry_requested,
      requests.malformed,
      requests.partially_acknowledged,
    ])
    .reduce((sum, each) => sum + each, 0);

const referencesOf = ({ references }: JaegerSpan, type: 'CHILD_OF' | 'FOLLOWS_FROM'): string[] =>
  references.filter(({ refType }) => refType === type).map(({ spanID }) => spanID);

export async function jaegerShows(jaeger: Jaeger, trace_id: string): Promise<Shown> {
  const [spans, traces] = await Promise.all([jaeger.spans(trace_id), jaeger.traces()]);
  const seen = spans.map((span): SeenSpan => {
    const attributes = Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
    return {
      span_id: span.spanID,
      parent_span_id: referencesOf(span, 'CHILD_OF')[0],
      links: referencesOf(span, 'FOLLOWS_FROM'),
      failed: attributes.error === true,
      attributes,
    };
  });
  return together(
    at('the trace', shownBy(seen)),
    at('the trace', { warnings: spans.flatMap(({ warnings }) => warnings ?? []).length }),
    at('the search', { traces: traces.length }),
  );
}

const plain = ({ value }: OtlpAttribute): unknown =>
  value.intValue === undefined
    ? (value.stringValue ?? value.doubleValue ?? value.boolValue)
    : Number(value.intValue);

const attributesOf = (attributes: OtlpAttribute[] = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map((attribute) => [attribute.key, plain(attribute)]));

/** One sending's items, if each item is there a multiple of `times`; otherwise all of them. */
function sentOnce<T>(items: T[], keyOf: (item: T) => string, times: number): T[] {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  const isEven = [...groups.values()].every(({ length }) => length % times === 0);
  return isEven ? [...groups.values()].flatMap((group) => group.slice(0, group.length / times)) : items;
}

/** A Collector writes everything that it receives: a repeated sending is in its file several times, under the same ids. */
export function collectorShows(received: Received, times_sent: number, warnings: string[]): Shown {
  const spans = sentOnce(received.spans, ({ traceId, spanId }) => traceId + spanId, times_sent);
  const logs = sentOnce(
    received.logs,
    ({ traceId, spanId, eventName, timeUnixNano }) => [traceId, spanId, eventName, timeUnixNano].join(' '),
    times_sent,
  );
  const seen = spans.map(
    (span): SeenSpan => ({
      span_id: span.spanId,
      parent_span_id: span.parentSpanId || undefined,
      links: (span.links ?? []).map(({ spanId }) => spanId),
      failed: span.status?.code === 2,
      attributes: attributesOf(span.attributes),
    }),
  );
  const ids = new Set(spans.map(({ traceId, spanId }) => `${traceId} ${spanId}`));
  const on_spans = logs.filter(({ traceId, spanId }) => ids.has(`${traceId} ${spanId}`));
  const countLogs = (...names: string[]): number =>
    on_spans.filter(({ eventName }) => names.includes(eventName)).length;
  return together(
    at('the spans', shownBy(seen)),
    at('the spans', { traces: new Set(spans.map(({ traceId }) => traceId)).size }),
    at('the metrics', metricsIn(received)),
    at('the logs', {
      tool_logs: countLogs('openclaw.tool_call', 'openclaw.tool_result'),
      other_logs: countLogs('openclaw.agent_started', 'openclaw.agent_finished', 'openclaw.llm_tokens'),
    }),
    at('what it says', { warnings: warnings.length }),
  );
}

const USAGE = 'gen_ai.client.inference.usage';

const CUMULATIVE = 2;

/** Cumulative metrics: the last values are the totals. Metrics of another temporality count as missing. */
function metricsIn({ metrics }: Received) {
  const points = (name: string): OtlpDataPoint[] => {
    const last = metrics.findLast((metric) => metric.name === name);
    const temporality = (last?.sum ?? last?.histogram)?.aggregationTemporality;
    return last === undefined || temporality !== CUMULATIVE ? [] : pointsOf(last);
  };
  const sum = (of: OtlpDataPoint[], value: (point: OtlpDataPoint) => unknown): number =>
    of.reduce((total, point) => total + Number(value(point)), 0);
  const counter = (name: string): number | undefined => {
    const told = points(name);
    return told.length === 0 ? undefined : sum(told, ({ asInt, asDouble }) => asInt ?? asDouble);
  };
  const tools = points('gen_ai.execute_tool.duration');
  const failed = tools.filter(({ attributes }) => 'error.type' in attributesOf(attributes));
  return {
    runs: sum(points('gen_ai.invoke_agent.duration'), ({ count }) => count),
    model_calls: sum(points('gen_ai.client.inference.duration'), ({ count }) => count),
    tool_calls: sum(tools, ({ count }) => count),
    tool_errors: sum(failed, ({ count }) => count),
    input_tokens: counter(`${USAGE}.input_tokens`),
    output_tokens: counter(`${USAGE}.output_tokens`),
    cached_tokens: counter(`${USAGE}.cache_read.input_tokens`),
    reasoning_tokens: counter(`${USAGE}.reasoning.output_tokens`),
    cost_usd: roundCost(counter('openclaw.cost') ?? 0),
  };
}

export async function prometheusShows(prometheus: Prometheus): Promise<Shown> {
  const usage = 'gen_ai_client_inference_usage';
  const [tokens, [runs, model_calls, tool_calls, tool_errors], cost, warnings] = await Promise.all([
    Promise.all(
      ['input_tokens', 'output_tokens', 'cache_read_input_tokens', 'reasoning_output_tokens'].map((kind) =>
        sumQuery(prometheus, `${usage}_${kind}_total`),
      ),
    ),
    Promise.all(
      [
        'gen_ai_invoke_agent_duration_seconds_count',
        'gen_ai_client_inference_duration_seconds_count',
        'gen_ai_execute_tool_duration_seconds_count',
        'gen_ai_execute_tool_duration_seconds_count{error_type!=""}',
      ].map((query) => sumQuery(prometheus, query)),
    ),
    sumQuery(prometheus, 'openclaw_cost_total'),
    prometheus.warnings(),
  ]);
  const [input_tokens, output_tokens, cached_tokens, reasoning_tokens] = tokens;
  const by_agent = await prometheus.query(
    `sum by (gen_ai_agent_name) ({__name__=~"${usage}_(in|out)put_tokens_total"})`,
  );
  return together(
    at('a query', {
      agent_tokens: agentTokens(
        new Map(by_agent.map(({ metric, value }) => [metric.gen_ai_agent_name ?? '', Number(value[1])])),
      ),
      ...{ runs, model_calls, tool_calls, tool_errors },
      ...{ input_tokens, output_tokens, cached_tokens, reasoning_tokens },
      cost_usd: cost && roundCost(cost),
    }),
    at('what it says', { warnings: warnings.length }),
  );
}

async function sumQuery(prometheus: Prometheus, series: string): Promise<number | undefined> {
  const [sum] = await prometheus.query(`sum(${series})`);
  return sum && Number(sum.value[1]);
}
