/** A recording in a real ClawMetry: what its pages are made of, and that sending it again changes nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type EndedBridge,
  EXAMPLE,
  isChat,
  isTool,
  lawBreakers,
  parentsOf,
  replay,
  sumOf,
  type TreeSpan,
  treeOf,
} from './bridge.js';
import { type AgentGraph, type ClawMetry, type FeedRow, startClawMetry, type TraceRow } from './clawmetry.js';
import { isSkipped } from './installed.js';

const SIGNALS = ['traces', 'metrics', 'logs'] as const;

/** The session under which ClawMetry has the tool calls of a session. */
const liveSession = (span: TreeSpan): string =>
  `${String(span.attributes['openclaw.session.key']).replaceAll(':', '.')}.live`;

const tokensOf = (spans: TreeSpan[]): number =>
  sumOf(spans, 'gen_ai.usage.input_tokens') + sumOf(spans, 'gen_ai.usage.output_tokens');

/** The edges and the tokens of each node, in no order of ClawMetry's. */
const drawGraph = ({ edges, nodes }: AgentGraph) => ({
  edges: edges.map(({ from, to }) => `${from} -> ${to}`).sort(),
  tokens: Object.fromEntries(nodes.map(({ id, total_tokens }) => [id, total_tokens])),
});

describe.skipIf(isSkipped('clawmetry'))('ClawMetry', () => {
  let clawmetry: ClawMetry;
  let expected: TreeSpan[];
  let trace_id: string;
  let ended: EndedBridge;
  let shown: Awaited<ReturnType<typeof show>>;

  beforeAll(async () => {
    [clawmetry, expected] = await Promise.all([startClawMetry(), treeOf(EXAMPLE)]);
    trace_id = expected[0]?.trace_id ?? '';
    ended = await replay(`clawmetry=${clawmetry.otlp_url}`, EXAMPLE);
    shown = await show();
  });
  afterAll(() => clawmetry?.stop());

  /** All that is looked at, as it is now. What is acknowledged is stored, so nothing has to be waited for. */
  async function show() {
    const [trace, traces, graph, feed, status] = await Promise.all([
      clawmetry.trace(trace_id),
      clawmetry.traces(),
      clawmetry.agentGraph(),
      clawmetry.liveFeed(),
      clawmetry.status(),
    ]);
    // It also shows the logs of any OpenClaw that ran on this machine.
    return { trace, traces, graph: drawGraph(graph), feed: feed.filter(isOfRecording), status };
  }

  /** Whether a row is about a session of the recording, under whichever of its names. */
  function isOfRecording({ sessionId }: FeedRow): boolean {
    return expected.some((span) =>
      [
        liveSession(span),
        span.attributes['openclaw.session.key'],
        span.attributes['gen_ai.conversation.id'],
      ].includes(sessionId),
    );
  }

  const rowOf = (rows: TraceRow[]) => rows.find((row) => row.trace_id === trace_id);

  test('acknowledges all', () => {
    expect(ended.status).toBe(0);
    expect(lawBreakers(ended.summary)).toEqual([]);
    expect(ended.summary.destinations.clawmetry).toMatchObject({
      traces: { produced: 27, delivered: 27 },
      logs: { produced: 20, delivered: 20 },
    });
    expect(ended.summary.runs).toEqual({ opened: 6, ended: 6, open: 0 });
  });

  test('found nothing to refuse', () => {
    for (const signal of SIGNALS) {
      expect(shown.status.intake.signals[signal], signal).toMatchObject({
        items: { rejected: 0, retry_requested: 0 },
        requests: { malformed: 0 },
      });
      expect(shown.status.intake.signals[signal].items.received, signal).toBeGreaterThan(0);
    }
  });

  test('has the whole tree, with every span ended and one failed', () => {
    const { spans } = shown.trace;
    expect(spans).toHaveLength(27);
    const parents = spans.map((span) => [span.span_id, span.parent_span_id ?? undefined]);
    expect(Object.fromEntries(parents)).toEqual(parentsOf(expected));
    expect(spans.filter(({ duration_ms }) => duration_ms === 0)).toEqual([]);
    const failed = spans.filter(({ status }) => status === 'error').map(({ span_id }) => span_id);
    expect(failed).toHaveLength(1);
    expect(failed).toEqual(expected.filter(({ status }) => status === 'ERROR').map(({ span_id }) => span_id));
  });

  test('lists the trace as one, with its tokens and cost counted once', () => {
    const row = rowOf(shown.traces);
    expect(row).toMatchObject({ source: 'spans', span_count: 27, total_tokens: tokensOf(expected) });
    expect(row?.total_cost_usd).toBeCloseTo(sumOf(expected, 'openclaw.cost_usd'), 9);
  });

  test('draws an edge to each sub-agent from the one that spawned it, each with its own tokens', () => {
    expect(shown.graph.edges).toEqual([
      'openclaw:Child B -> openclaw:Grandchild',
      'openclaw:main -> openclaw:Child A',
      'openclaw:main -> openclaw:Child B',
    ]);
    const spansOf = (agent: string) =>
      expected.filter((span) => span.attributes['gen_ai.agent.name'] === agent);
    const agents = ['main', 'Child A', 'Child B', 'Grandchild'];
    const tokens = agents.map((agent) => [`openclaw:${agent}`, tokensOf(spansOf(agent))]);
    expect(shown.graph.tokens).toEqual(Object.fromEntries(tokens));
  });

  test('adds each model call to its tiles once', () => {
    const calls = expected.filter(isChat).length;
    expect(shown.status.counts).toMatchObject({ tokens: calls, cost: calls });
  });

  test('shows the tool calls in its Live Feed', () => {
    // Calls of the same tool in the same session within ten seconds are one row there.
    const calls = expected
      .filter(isTool)
      .map((span) => `${liveSession(span)} ${span.attributes['gen_ai.tool.name']}`);
    const rows = shown.feed.map(({ type, sessionId, detail }) => [type, `${sessionId} ${detail}`]);
    expect(rows.sort()).toEqual([...new Set(calls)].sort().map((call) => ['TOOL_CALL', call]));
  });

  test('shows the same after the recording is sent again', async () => {
    const again = await replay(`clawmetry=${clawmetry.otlp_url}`, EXAMPLE);
    expect(again.status).toBe(0);
    const { trace, traces, graph, feed, status } = await show();
    expect(trace.spans).toHaveLength(27);
    expect(rowOf(traces)).toMatchObject({ span_count: 27, total_tokens: tokensOf(expected) });
    expect(traces).toHaveLength(shown.traces.length);
    expect(graph).toEqual(shown.graph);
    expect(feed).toEqual(shown.feed);
    expect(status.counts).toEqual(shown.status.counts);
  });
});
