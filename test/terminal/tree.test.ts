import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SpanRecord } from '../../src/model/telemetry.js';
import { buildForest, MAX_DEPTH, type RunNode, treeJson } from '../../src/terminal/tree.js';
import { chat, request, run, span, TRACE, tool } from './spans.js';

const ids = (nodes: RunNode[]): unknown[] => nodes.map(({ span, children }) => [span.span_id, ids(children)]);

function countOf(nodes: RunNode[]): number {
  return nodes.reduce((sum, node) => sum + 1 + countOf(node.children), 0);
}

function depthOf(nodes: RunNode[]): number {
  return nodes.reduce((depth, node) => Math.max(depth, 1 + depthOf(node.children)), 0);
}

describe('buildForest', () => {
  it('sorts siblings and roots by start, then by span id', () => {
    const forest = buildForest([
      run('r2', 'later', { start_ms: 50 }),
      tool('c', 'exec', { parent_span_id: 'r1', start_ms: 7 }),
      tool('b', 'exec', { parent_span_id: 'r1', start_ms: 7 }),
      tool('d', 'exec', { parent_span_id: 'r1', start_ms: 3 }),
      run('r1', 'first', { start_ms: 2 }),
    ]);
    expect(ids(forest)).toEqual([
      [
        'r1',
        [
          ['d', []],
          ['b', []],
          ['c', []],
        ],
      ],
      ['r2', []],
    ]);
  });

  it('makes a span a root if its parent is missing or in another trace', () => {
    const elsewhere = run('x', 'x', { parent_span_id: 'remote' });
    const other_trace = run('y', 'y', { parent_span_id: 'x', trace_id: 'b'.repeat(32), start_ms: 1 });
    expect(ids(buildForest([elsewhere, other_trace]))).toEqual([
      ['x', []],
      ['y', []],
    ]);
  });

  it('keeps the last copy of a span', () => {
    const forest = buildForest([run('r', 'r', { end_ms: undefined }), run('r', 'r', { end_ms: 9 })]);
    expect(forest.map((node) => node.span.end_ms)).toEqual([9]);
  });

  it('breaks a cycle of parents at the span that started first', () => {
    const forest = buildForest([
      tool('a', 'a', { parent_span_id: 'c', start_ms: 3 }),
      tool('b', 'b', { parent_span_id: 'a', start_ms: 1 }),
      tool('c', 'c', { parent_span_id: 'b', start_ms: 2 }),
      tool('self', 'self', { parent_span_id: 'self', start_ms: 9 }),
    ]);
    expect(ids(forest)).toEqual([
      ['b', [['c', [['a', []]]]]],
      ['self', []],
    ]);
  });

  it('holds a chain of any length, no deeper than the limit', () => {
    const chain = Array.from({ length: 20_000 }, (_, index) =>
      span('tool', `s${index}`, { parent_span_id: `s${index - 1}`, start_ms: index }),
    );
    const forest = buildForest(chain);
    expect(countOf(forest)).toBe(20_000);
    expect(depthOf(forest)).toBe(MAX_DEPTH);
    expect(() => JSON.stringify(treeJson(forest))).not.toThrow();
  });

  it('is the same for any order of the spans, with each span once, whatever their parents', () => {
    const parents = fc.array(fc.record({ parent: fc.nat(12), start: fc.nat(3) }), { maxLength: 12 });
    const spans = parents.map((drawn) =>
      drawn.map(({ parent, start }, index) =>
        tool(`s${index}`, 't', { parent_span_id: `s${parent}`, start_ms: start }),
      ),
    );
    const shuffled = spans.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    );
    fc.assert(
      fc.property(shuffled, ([one, other]: [SpanRecord[], SpanRecord[]]) => {
        expect(ids(buildForest(other))).toEqual(ids(buildForest(one)));
        expect(countOf(buildForest(one))).toBe(one.length);
      }),
    );
  });
});

describe('treeJson', () => {
  it('has every span with its kind, times, status, attributes, links and children', () => {
    const links = [{ trace_id: TRACE, span_id: 'r0' }];
    const spans = [
      run('r', 'main', { links, end_ms: undefined }),
      tool(
        't',
        'exec',
        { parent_span_id: 'r', start_ms: 1, error: { type: 'timeout' } },
        { 'error.type': 'timeout' },
      ),
      chat('c', { parent_span_id: 'r', start_ms: 2 }, [10]),
    ];
    const under = { trace_id: TRACE, parent_span_id: 'r', links: [], children: [] };
    expect(treeJson(buildForest(spans))).toEqual([
      {
        name: 'invoke_agent main',
        kind: 'INTERNAL',
        start_ms: 0,
        end_ms: null,
        status: 'UNSET',
        attributes: { 'gen_ai.agent.name': 'main', 'openclaw.session.key': 'agent:main:main' },
        trace_id: TRACE,
        span_id: 'r',
        links,
        children: [
          {
            ...under,
            name: 'execute_tool exec',
            kind: 'INTERNAL',
            start_ms: 1,
            end_ms: 101,
            status: 'ERROR',
            attributes: { 'gen_ai.tool.name': 'exec', 'error.type': 'timeout' },
            span_id: 't',
          },
          {
            ...under,
            name: 'chat gpt-5.1',
            kind: 'CLIENT',
            start_ms: 2,
            end_ms: 102,
            status: 'UNSET',
            attributes: { 'gen_ai.request.model': 'gpt-5.1', 'gen_ai.usage.input_tokens': 10 },
            span_id: 'c',
          },
        ],
      },
    ]);
  });

  it('has length 0 and the clock skew for a span that ends before its start', () => {
    const [root] = treeJson(buildForest([run('r', 'main', { start_ms: 100, end_ms: 60 })]));
    expect(root).toMatchObject({ start_ms: 100, end_ms: 100 });
    expect(root?.attributes['openclaw.clock_skew_ms']).toBe(-40);
  });

  it('nests a complete request under one root', () => {
    const [root, ...others] = treeJson(buildForest(request()));
    expect(others).toEqual([]);
    expect(root?.children.map((child) => child.span_id)).toEqual(['m1', 'ms1', 'ms2', 'm2']);
    expect(root?.children[2]?.children[0]?.children[1]?.children[0]?.name).toBe('invoke_agent Grandchild');
  });
});
