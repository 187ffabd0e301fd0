/**
 * The quantities by which backends are compared. Each is counted twice, independently: from the frames of the recording,
 * and from what a backend shows; never from the bridge's own counts.
 */
import { lookAt, tokensByAgent, treeIn, usageOf } from '../../oracle.js';

/** In the order of the table, with the names of its rows. */
export const QUANTITIES = {
  traces: 'traces',
  spans: 'spans',
  parents: 'spans under their parent',
  edges: 'sub-agents under who spawned them',
  links: 'links to reported runs',
  runs: 'agent runs',
  model_calls: 'model calls',
  counted_calls: 'model calls with tokens',
  tool_calls: 'tool calls',
  tool_errors: 'failed tool calls',
  input_tokens: 'tokens in',
  cached_tokens: 'of these cached',
  output_tokens: 'tokens out',
  reasoning_tokens: 'of these reasoning',
  all_tokens: 'tokens in and out',
  agent_tokens: 'agents, each with its tokens',
  cost_usd: 'cost, USD',
  tool_logs: 'log records of tool calls',
  other_logs: 'log records of runs and model calls',
  feed_rows: 'rows of `/api/brain-history`',
  refused: 'refused or lost',
  warnings: 'warnings',
} as const;

export type Quantity = keyof typeof QUANTITIES;

/** A number, or a sorted list if the identities matter. */
export type Value = number | string[];

/** The recording's values; `undefined` if it has none. */
export type Expected = Record<Quantity, Value | undefined>;

/** A backend's values, by the place where it shows them. Quantities that it does not show are left out. */
export type Shown = Partial<Record<Quantity, Record<string, Value | undefined>>>;

export const sizeOf = (value: Value | undefined): number | undefined =>
  typeof value === 'object' ? value.length : value;

/** Rounds the error that depends on the order of floating-point additions. */
export const roundCost = (usd: number): number => Math.round(usd * 1e9) / 1e9;

/** The session under which ClawMetry shows the tool calls of a session. */
const liveSession = (session_key: string): string => `${session_key.replaceAll(':', '.')}.live`;

/** The expected values of a recording of one request. */
export function expectedOf(recording: string): Expected & { trace_id: string } {
  const oracle = lookAt(recording);
  const { runs, messages, unstored } = oracle;
  const calls = [...oracle.calls.values()];
  const { trace_id, parents, links, edges, failed } = treeIn(oracle);
  const usage = usageOf(oracle);
  const feed = calls.map(({ run_id, tool }) => `${liveSession(runs.get(run_id)?.session_key ?? '')} ${tool}`);
  return {
    trace_id,
    traces: 1,
    ...treeValues(
      Object.entries(parents).map(([span_id, parent_span_id]) => ({
        span_id,
        parent_span_id,
        links: links[span_id] ?? [],
      })),
    ),
    edges,
    runs: runs.size,
    model_calls: messages.length + unstored.length,
    counted_calls: messages.length,
    tool_calls: calls.length,
    tool_errors: failed,
    ...usage,
    cost_usd: roundCost(usage.cost_usd),
    all_tokens: usage.input_tokens + usage.output_tokens,
    agent_tokens: agentTokens(tokensByAgent(oracle)),
    tool_logs: 2 * calls.length,
    other_logs: 2 * runs.size + messages.length,
    // Calls of the same tool in the same session within ten seconds are one row there; no recording is longer.
    feed_rows: [...new Set(feed)].sort(),
    refused: 0,
    warnings: 0,
  };
}

/** A list of `agent: tokens` for each agent with tokens. */
export const agentTokens = (tokens: ReadonlyMap<string, number>): string[] =>
  [...tokens]
    .filter(([, sum]) => sum > 0)
    .map(([agent, sum]) => `${agent}: ${sum}`)
    .sort();

export interface TreeNode {
  span_id: string;
  parent_span_id?: string | undefined;
  /** The ids of the linked spans. */
  links: readonly string[];
}

/** A tree as lists of its spans, of child and parent, and of links. Duplicates are listed twice. */
export const treeValues = (nodes: TreeNode[]): Record<'spans' | 'parents' | 'links', string[]> => ({
  spans: nodes.map(({ span_id }) => span_id).sort(),
  parents: nodes
    .flatMap(({ span_id, parent_span_id: parent }) => (parent === undefined ? [] : `${span_id} → ${parent}`))
    .sort(),
  links: nodes.flatMap(({ span_id, links }) => links.map((link) => `${span_id} → ${link}`)).sort(),
});
