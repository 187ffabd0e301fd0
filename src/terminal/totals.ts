/**
 * Sums over the calls of a run: tokens, cost, tools, failures. Reasoning tokens are a part of the output tokens, and cached
 * tokens a part of the input, so each has its own sum and is added to no other.
 */
import type { Attributes } from '../model/telemetry.js';
import type { RunNode } from './tree.js';

/** A sum is absent, and not zero, if no call knew its amount. */
export interface Totals {
  input_tokens?: number;
  output_tokens?: number;
  reasoning_tokens?: number;
  cache_read_tokens?: number;
  cost_usd?: number;
  tools: number;
  /** Spans with an error below the one that the sums are for, runs included. */
  errors: number;
}

type Amount = 'input_tokens' | 'output_tokens' | 'reasoning_tokens' | 'cache_read_tokens' | 'cost_usd';

const AMOUNTS: readonly (readonly [Amount, string])[] = [
  ['input_tokens', 'gen_ai.usage.input_tokens'],
  ['output_tokens', 'gen_ai.usage.output_tokens'],
  ['reasoning_tokens', 'gen_ai.usage.reasoning.output_tokens'],
  ['cache_read_tokens', 'gen_ai.usage.cache_read.input_tokens'],
  ['cost_usd', 'openclaw.cost_usd'],
];

function addUsage(totals: Totals, attributes: Attributes): void {
  for (const [amount, attribute] of AMOUNTS) {
    const value = attributes[attribute];
    if (typeof value === 'number') totals[amount] = (totals[amount] ?? 0) + value;
  }
}

function addBelow(totals: Totals, node: RunNode, scope: 'own' | 'tree'): void {
  for (const child of node.children) {
    if (scope === 'own' && child.span.kind === 'run') continue;
    if (child.span.error !== undefined) totals.errors += 1;
    if (child.span.kind === 'tool') totals.tools += 1;
    if (child.span.kind === 'chat') addUsage(totals, child.span.attributes);
    addBelow(totals, child, scope);
  }
}

/** What `node` itself used (a chat), or the calls of its own run (`own`), or everything below it (`tree`). */
export function totalsOf(node: RunNode, scope: 'own' | 'tree'): Totals {
  const totals: Totals = { tools: 0, errors: 0 };
  if (node.span.kind === 'chat') addUsage(totals, node.span.attributes);
  addBelow(totals, node, scope);
  return totals;
}
