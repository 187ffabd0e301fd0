/**
 * The shipped dashboards on a real Prometheus with the data of two recordings, received by OTLP or scraped from the real
 * Collector. Every query has a result, and the figures are those of the recordings.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { freePorts } from './backends.js';
import { EXAMPLE, isChat, isRun, isTool, startBridge, sumOf, type TreeSpan, treeOf } from './bridge.js';
import { type PanelQuery, panelQueries, variableQueries } from './dashboards.js';
import { getJson } from './http.js';
import { type BackendName, isSkipped, REPOSITORY } from './installed.js';
import type { Prometheus, Series } from './prometheus.js';
import { composeBridgeCommand, feed, startShippedCollector, startShippedPrometheus } from './stack.js';

const RECORDINGS = [EXAMPLE, join(REPOSITORY, 'examples/tools.ndjson')];
/** The number of events in the recordings. */
const EVENTS = 87 + 43;
/** Nothing listens here: the Collector queues what it has for other backends. */
const NOWHERE = 'http://127.0.0.1:1';
const WAIT = { timeout: 60_000, interval: 250 };

interface Way {
  prometheus: Prometheus;
  /** The bridge's destination. */
  to: string;
  stop(): Promise<void>;
}

async function direct(): Promise<Way> {
  const prometheus = await startShippedPrometheus();
  return { prometheus, to: `prometheus=${prometheus.otlp_url}`, stop: prometheus.stop };
}

async function throughCollector(): Promise<Way> {
  const collector = await startShippedCollector({ clawmetry_url: NOWHERE, jaeger_url: NOWHERE });
  const prometheus = await startShippedPrometheus(collector);
  async function stop(): Promise<void> {
    await prometheus.stop();
    await collector.stop();
  }
  return { prometheus, to: `collector=${collector.otlp_url}`, stop };
}

const metricsIn = (expr: string): string[] => expr.match(/\b(gen_ai|openclaw|traces)_\w+(?=\{)/g) ?? [];

const numberOf = ({ value }: Series): number => Number(value[1]);
const totalOf = (found: Series[]): number => found.reduce((total, each) => total + numberOf(each), 0);

/** The values by their labels, in whatever order Prometheus returns them. */
const byLabels = (found: Series[]): Record<string, number> =>
  Object.fromEntries(found.map((each) => [Object.values(each.metric).sort().join(' '), numberOf(each)]));

/** Allows for rounding, since Prometheus adds up in an order of its own. */
const nearly = (figures: Record<string, number>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(figures).map(([label, value]) => [label, expect.closeTo(value, 9)]));

const countBy = (spans: TreeSpan[], attribute: string): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { attributes } of spans) {
    const name = String(attributes[attribute]);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
};

const isFailed = ({ status }: TreeSpan): boolean => status === 'ERROR';
const isSubagent = (span: TreeSpan): boolean =>
  isRun(span) &&
  span.attributes['openclaw.parent_session.key'] !== undefined &&
  span.attributes['openclaw.trigger'] !== 'announce';

/** The figures of the panels that are the same both ways: one number, or one per label. */
function expectedFigures(spans: TreeSpan[]): Record<string, number | Record<string, number>> {
  const [runs, tools, chats] = [spans.filter(isRun), spans.filter(isTool), spans.filter(isChat)];
  const usage = (kind: string): number => sumOf(spans, `gen_ai.usage.${kind}`);
  const [input, output, reasoning, cached] = [
    usage('input_tokens'),
    usage('output_tokens'),
    usage('reasoning.output_tokens'),
    usage('cache_read.input_tokens'),
  ];
  const cost = sumOf(spans, 'openclaw.cost_usd');
  const tool_calls = countBy(tools, 'gen_ai.tool.name');
  const none = Object.fromEntries(Object.keys(tool_calls).map((name) => [name, 0]));
  return {
    'Agents / Runs': runs.length,
    'Agents / Failed runs': 0,
    'Agents / Tool calls': tools.length,
    'Agents / Failed tool calls': tools.filter(isFailed).length,
    'Agents / Model calls': chats.length,
    'Agents / Failed model calls': 0,
    'Agents / Cost': cost,
    'Agents / Input tokens': input,
    'Agents / of them cached': cached / input,
    'Agents / Output tokens': output,
    'Agents / of them reasoning': reasoning,
    'Agents / Reasoning in output': reasoning / output,
    'Agents / Tool calls a run': tools.length / runs.length,
    'Agents / Model calls a run': chats.length / runs.length,
    'Agents / Tools / Calls': tool_calls,
    'Agents / Tools / Failed': { ...none, ...countBy(tools.filter(isFailed), 'gen_ai.tool.name') },
    'Agents / Models / Calls': { 'lab-model': chats.length },
    'Agents / Models / Failed': { 'lab-model': 0 },
    'Agents / Models / Input': { 'lab-model': input },
    'Agents / Models / of it cached': { 'lab-model': cached },
    'Agents / Models / Output': { 'lab-model': output },
    'Agents / Models / of it reasoning': { 'lab-model': reasoning },
    'Agents / Models / Cost': { 'lab-model': cost },
    'Bridge / Events': EVENTS,
    'Bridge / Bad lines': 0,
    'Bridge / Refused': 0,
    'Bridge / Dropped': 0,
    'Bridge / Unaccounted for': 0,
  };
}

/** The figures that come only from spans. */
const fromSpans = (spans: TreeSpan[]): Record<string, number | Record<string, number>> => {
  const runs = countBy(spans.filter(isSubagent), 'gen_ai.agent.name');
  return {
    'Agents / Sub-agents': spans.filter(isSubagent).length,
    'Agents / Sub-agents / Runs': runs,
    'Agents / Sub-agents / Failed': Object.fromEntries(Object.keys(runs).map((name) => [name, 0])),
  };
};

/** Queries without a result, since nothing of the kind happens in the recordings. */
const EMPTY = [
  'Agents / Errors by type / run: {{error_type}}',
  'Agents / Errors by type / model: {{error_type}}',
  'Agents / Failed runs by agent',
  'Bridge / Bad lines by reason',
  'Bridge / Refused and dropped, by reason / refused by {{destination}} {{signal}}: {{reason}}',
  'Bridge / Refused and dropped, by reason / dropped for {{destination}} {{signal}}: {{reason}}',
];

const ONLY_BY_COLLECTOR = [
  'Agents / Sub-agents',
  'Agents / Sub-agents / Runs',
  'Agents / Sub-agents / Failed',
  'Agents / Sub-agents / In all',
  "Agents / Sub-agents' runs",
  'Agents / Durations, with traces',
  "Bridge / Batches in the Collector's queues",
  'Bridge / How full they are',
];

const WAYS: [string, () => Promise<Way>, { has_collector: boolean; needs: BackendName[] }][] = [
  ['received by OTLP', direct, { has_collector: false, needs: ['prometheus'] }],
  [
    'scraped from the Collector',
    throughCollector,
    { has_collector: true, needs: ['prometheus', 'collector'] },
  ],
];

for (const [name, start, { has_collector, needs }] of WAYS) {
  describe.skipIf(needs.some(isSkipped))(`the dashboards over data ${name}`, () => {
    let way: Way;
    let spans: TreeSpan[];
    let queries: PanelQuery[];
    /**
     * The time of each metric's last sample, in seconds: metrics collected together have timestamps some milliseconds
     * apart.
     */
    let last_s: Map<string, number>;
    /** The time of the last sample of all. */
    let at_s: number;

    /** In the order of the compose file: first the bridge starts, then events arrive. */
    beforeAll(async () => {
      way = await start();
      spans = (await Promise.all(RECORDINGS.map(treeOf))).flat();
      queries = (await Promise.all(['agents', 'bridge'].map(panelQueries))).flat();
      const [port = 0] = await freePorts(1);
      const bridge = await startBridge(await composeBridgeCommand(port, way.to));
      await untilTold('openclaw_otel_bridge_events_total', 0);
      await feed(port, RECORDINGS);
      await untilTold('openclaw_otel_bridge_events_total', EVENTS);
      expect((await bridge.stop()).status).toBe(0);
      // A model call may be measured only at the end, when the wait for its reasoning tokens is over.
      await untilTold('gen_ai_invoke_agent_duration_seconds_count', spans.filter(isRun).length);
      await untilTold('gen_ai_client_inference_duration_seconds_count', spans.filter(isChat).length);
      if (has_collector) await untilTold('traces_span_metrics_duration_seconds_count', spans.length);
      last_s = new Map();
      for (const name of new Set(queries.flatMap(({ expr }) => metricsIn(expr)))) {
        const [found] = await way.prometheus.query(`max(timestamp(${name}))`);
        if (found !== undefined) last_s.set(name, numberOf(found));
      }
      at_s = Math.max(...last_s.values());
    });
    afterAll(() => way?.stop());

    function untilTold(metric: string, total: number): Promise<void> {
      return vi.waitFor(async () => {
        const found = await way.prometheus.query(metric);
        expect(found, metric).not.toEqual([]);
        expect(totalOf(found), metric).toBe(total);
      }, WAIT);
    }

    test('every query has a result unless the recordings have no data for it', async () => {
      const empty = [...EMPTY, ...(has_collector ? [] : ONLY_BY_COLLECTOR)];
      const found: string[] = [];
      for (const { name: query, expr } of queries) {
        if ((await way.prometheus.query(expr, at_s)).length === 0) found.push(query);
      }
      expect(found.sort()).toEqual(empty.sort());
    });

    test('the figures are those of the recordings', async () => {
      const figures = { ...expectedFigures(spans), ...(has_collector ? fromSpans(spans) : {}) };
      for (const [query, expected] of Object.entries(figures)) {
        const expr = queries.find((each) => each.name === query)?.expr ?? '';
        // At any later time Prometheus extrapolates.
        const told_s = Math.max(...metricsIn(expr).flatMap((metric) => last_s.get(metric) ?? []));
        const found = byLabels(await way.prometheus.query(expr, told_s));
        expect(found, query).toEqual(nearly(typeof expected === 'number' ? { '': expected } : expected));
      }
      expect(figures['Agents / of them reasoning']).toBe(28);
    });

    test('the variables have values to choose from', async () => {
      const agents = new Set(spans.map(({ attributes }) => attributes['gen_ai.agent.name']));
      const values = { gen_ai_agent_name: [...agents].sort(), destination: [way.to.split('=')[0]] };
      for (const dashboard of ['agents', 'bridge']) {
        for (const { metric, label } of await variableQueries(dashboard)) {
          const { data } = await getJson<{ data: string[] }>(
            `${way.prometheus.url}/api/v1/label/${label}/values?match[]=${metric}`,
          );
          expect(data.sort()).toEqual(values[label as keyof typeof values]);
        }
      }
    });

    test.runIf(has_collector)('exemplars of a histogram made from spans lead to the traces', async () => {
      const { data } = await getJson<{ data: { exemplars: { labels: { trace_id: string } }[] }[] }>(
        `${way.prometheus.url}/api/v1/query_exemplars?query=traces_span_metrics_duration_seconds_bucket&start=${at_s - 600}&end=${at_s + 60}`,
      );
      const found = data.flatMap(({ exemplars }) => exemplars.map(({ labels }) => labels.trace_id));
      expect(new Set(found)).toEqual(new Set(spans.map(({ trace_id }) => trace_id)));
    });
  });
}
