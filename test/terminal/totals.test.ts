import { describe, expect, it } from 'vitest';
import { totalsOf } from '../../src/terminal/totals.js';
import { buildForest, type RunNode } from '../../src/terminal/tree.js';
import { chat, request, run, tool } from './spans.js';

function rootOf(
  ...spans: Parameters<typeof buildForest>[0] extends Iterable<infer S> ? S[] : never
): RunNode {
  const [root] = buildForest(spans);
  if (root === undefined) throw new Error('no root');
  return root;
}

describe('totalsOf', () => {
  it('sums the whole tree, without adding reasoning to output or cached tokens to input', () => {
    const totals = totalsOf(rootOf(...request()), 'tree');
    expect(totals.input_tokens).toBe(4210 + 1510 + 1530 + 1480 + 1900 + 5630);
    expect(totals.cache_read_tokens).toBe(2048 + 1536 + 4096);
    expect(totals.output_tokens).toBe(310 + 210 + 240 + 150 + 120 + 712);
    expect(totals.reasoning_tokens).toBe(128 + 96 + 64 + 340);
    expect(totals.cost_usd).toBeCloseTo(0.0042 + 0.0021 + 0.0023 + 0.0018 + 0.0071, 10);
    expect(totals.tools).toBe(7);
    expect(totals.errors).toBe(2);
  });

  it('sums a single run with its nested calls, without the runs below it', () => {
    const root = rootOf(
      run('r', 'main'),
      tool('t', 'tool_search', { parent_span_id: 'r' }),
      tool('n', 'sessions_spawn', { parent_span_id: 't', error: { type: 'error' } }),
      run('c', 'child', { parent_span_id: 'n', error: { type: 'error' } }),
      chat('c1', { parent_span_id: 'c' }, [100, 0, 100]),
      chat('r1', { parent_span_id: 'r' }, [7, 0, 3]),
    );
    expect(totalsOf(root, 'own')).toEqual({
      input_tokens: 7,
      cache_read_tokens: 0,
      output_tokens: 3,
      tools: 2,
      errors: 1,
    });
  });

  it('distinguishes unknown from zero', () => {
    const unknown = totalsOf(rootOf(run('r', 'r'), chat('c', { parent_span_id: 'r' })), 'tree');
    expect(unknown).toEqual({ tools: 0, errors: 0 });
    const zero = totalsOf(rootOf(run('r', 'r'), chat('c', { parent_span_id: 'r' }, [0, 0, 0, 0])), 'tree');
    expect(zero.reasoning_tokens).toBe(0);
  });
});
