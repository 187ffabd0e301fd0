/**
 * Checks whether the traces that arrived have the tree of the recording: names, times and parents of all spans. The
 * expected tree is the golden file of the tests, which was checked by eye.
 */
import { readFileSync } from 'node:fs';
import type { SpanFacts } from '../load/facts.js';
import type { Recorded } from '../load/recorded.js';

const GOLDEN = 'test/golden/sub-agents';
const INDENT = '  ';

interface Node {
  text: string;
  children: Node[];
}

/** The same text for the same tree, whatever the order of its spans. */
const draw = ({ text, children }: Node): string => `${text}(${children.map(draw).sort().join()})`;

/** Parses lines `name | from..to | …`, indented below their parents. */
function readGolden(lines: string[]): Node {
  const root: Node = { text: '', children: [] };
  const above = [root];
  for (const line of lines) {
    const depth = (line.length - line.trimStart().length) / INDENT.length;
    const [name = '', times = ''] = line.trim().split(' | ');
    const node = { text: `${name} ${times}`, children: [] };
    above[depth]?.children.push(node);
    above[depth + 1] = node;
  }
  return root;
}

function treeOf(spans: SpanFacts[]): Node {
  const since_ms = Math.min(...spans.map(({ start_ms }) => start_ms));
  const nodes = new Map<string, Node>();
  for (const { span_id, name, start_ms, end_ms } of spans)
    nodes.set(span_id, { text: `${name} ${start_ms - since_ms}..${end_ms - since_ms}`, children: [] });
  const root: Node = { text: '', children: [] };
  for (const { span_id, parent_span_id } of spans) {
    const node = nodes.get(span_id);
    if (node !== undefined) (nodes.get(parent_span_id) ?? root).children.push(node);
  }
  return root;
}

const linesOf = (name: string): string[] => readFileSync(`${GOLDEN}/${name}`, 'utf8').trim().split('\n');

/** The numbers of spans and log records that must arrive. */
export function expectedOf({ copies }: Recorded): { spans: number; logs: number } {
  const logs = linesOf('sums.txt').filter((line) => line.startsWith('log '));
  return {
    spans: copies * linesOf('traces.txt').length,
    logs: copies * logs.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0),
  };
}

/** The number of traces with the recording's tree. */
export function countRightTrees(spans: Iterable<SpanFacts>): number {
  const traces = new Map<string, SpanFacts[]>();
  for (const span of spans) {
    const others = traces.get(span.trace_id);
    if (others === undefined) traces.set(span.trace_id, [span]);
    else others.push(span);
  }
  const golden = draw(readGolden(linesOf('traces.txt')));
  return [...traces.values()].filter((trace) => draw(treeOf(trace)) === golden).length;
}
