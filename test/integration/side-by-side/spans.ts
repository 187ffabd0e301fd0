/** The quantities that spans show, whichever backend they were read from. */
import {
  agentTokens,
  type Quantity,
  roundCost,
  type TreeNode,
  treeValues,
  type Value,
} from './quantities.js';

export interface SeenSpan extends TreeNode {
  attributes: Record<string, unknown>;
  failed: boolean;
}

const OPERATION = 'gen_ai.operation.name';
const SESSION = 'openclaw.session.key';
const AGENT = 'gen_ai.agent.name';
const INPUT_TOKENS = 'gen_ai.usage.input_tokens';
const OUTPUT_TOKENS = 'gen_ai.usage.output_tokens';

const ofOperation = (spans: SeenSpan[], operation: string): SeenSpan[] =>
  spans.filter(({ attributes }) => attributes[OPERATION] === operation);

/** `undefined` if no span has the attribute. */
function sumOf(spans: SeenSpan[], attribute: string): number | undefined {
  const values = spans.flatMap(({ attributes }) => attributes[attribute] ?? []);
  return values.length === 0 ? undefined : values.reduce<number>((sum, value) => sum + Number(value), 0);
}

/** `parent → child` for each run below a span of another session. */
function edgesIn(spans: SeenSpan[]): string[] {
  const by_id = new Map(spans.map((span) => [span.span_id, span.attributes]));
  return ofOperation(spans, 'invoke_agent')
    .flatMap(({ parent_span_id, attributes }) => {
      const parent = by_id.get(parent_span_id ?? '');
      const isSpawned = parent !== undefined && parent[SESSION] !== attributes[SESSION];
      return isSpawned ? `${parent[AGENT]} → ${attributes[AGENT]}` : [];
    })
    .sort();
}

function tokensByAgent(spans: SeenSpan[]): Map<string, number> {
  const tokens = new Map<string, number>();
  for (const { attributes } of spans) {
    const agent = String(attributes[AGENT]);
    const used = Number(attributes[INPUT_TOKENS] ?? 0) + Number(attributes[OUTPUT_TOKENS] ?? 0);
    tokens.set(agent, (tokens.get(agent) ?? 0) + used);
  }
  return tokens;
}

export function shownBy(spans: SeenSpan[], cost_attribute = 'openclaw.cost_usd') {
  const chats = ofOperation(spans, 'chat');
  const tools = ofOperation(spans, 'execute_tool');
  const cost_usd = sumOf(spans, cost_attribute);
  return {
    ...treeValues(spans),
    edges: edgesIn(spans),
    runs: ofOperation(spans, 'invoke_agent').length,
    model_calls: chats.length,
    counted_calls: chats.filter(({ attributes }) => INPUT_TOKENS in attributes).length,
    tool_calls: tools.length,
    tool_errors: tools
      .filter(({ failed }) => failed)
      .map(({ span_id }) => span_id)
      .sort(),
    input_tokens: sumOf(spans, INPUT_TOKENS),
    output_tokens: sumOf(spans, OUTPUT_TOKENS),
    cached_tokens: sumOf(spans, 'gen_ai.usage.cache_read.input_tokens'),
    agent_tokens: agentTokens(tokensByAgent(spans)),
    reasoning_tokens: sumOf(spans, 'gen_ai.usage.reasoning.output_tokens'),
    cost_usd: cost_usd && roundCost(cost_usd),
  } satisfies Partial<Record<Quantity, Value | undefined>>;
}
