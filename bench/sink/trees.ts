/**
 * Whether the traces that arrived are the tree of the recording: names and times of all spans, and which hangs under which. That
 * tree was checked by eye, and is the one that the tests have.
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

/** The same for the same tree, whatever order its spans are in. */
const draw = ({ text, children }: Node): string => `${text}(${children.map(draw).sort().join()})`;

/** `name | from..to`, indented under its parent, with more behind it. */
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

/** What must arrive. */
export function expectedOf({ copies }: Recorded): { spans: number; logs: number } {
  const logs = linesOf('sums.txt').filter((line) => line.startsWith('log '));
  return {
    spans: copies * linesOf('traces.txt').length,
    logs: copies * logs.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0),
  };
}

/** How many traces are the recording's tree. */
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
