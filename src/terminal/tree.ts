/**
 * Spans as the trees they form, with siblings in the order in which they started. `tree --json` prints these; the terminal's
 * lines are drawn from them. Pure: the same spans, in any order, give the same forest.
 */
import { attributesOf } from '../model/span-attributes.js';
import type { Attributes, SpanRecord, SpanReference } from '../model/telemetry.js';

/** A span and its children, sorted by start, then span id. The root of a complete tree is a run. */
export interface RunNode {
  span: SpanRecord;
  children: RunNode[];
}

/** One span of `tree --json`. Times are in epoch milliseconds. */
export interface JsonNode extends SpanReference {
  name: string;
  kind: 'INTERNAL' | 'CLIENT';
  start_ms: number;
  /** Null while the span is open. */
  end_ms: number | null;
  /** OTLP's names. The attribute `error.type` says what went wrong. */
  status: 'UNSET' | 'ERROR';
  attributes: Attributes;
  parent_span_id?: string;
  links: SpanReference[];
  children: JsonNode[];
}

/**
 * Deeper spans are placed beside their ancestor at this depth instead of under it, so that a chain of calls of any length can
 * be walked by recursion, here and by readers of the JSON.
 */
export const MAX_DEPTH = 100;

const keyOf = (trace_id: string, span_id: string): string => `${trace_id}:${span_id}`;

function byStart(a: RunNode, b: RunNode): number {
  if (a.span.start_ms !== b.span.start_ms) return a.span.start_ms - b.span.start_ms;
  if (a.span.span_id === b.span.span_id) return 0;
  return a.span.span_id < b.span.span_id ? -1 : 1;
}

/**
 * Builds the trees of `spans`, with the roots sorted by start. A span is a root if its parent is not among the spans. Of
 * several copies of a span the last one counts. Every span is in the forest once, whatever its parents: in a cycle, the span
 * that started first becomes the root.
 */
export function buildForest(spans: Iterable<SpanRecord>): RunNode[] {
  const nodes = new Map<string, RunNode>();
  for (const span of spans) nodes.set(keyOf(span.trace_id, span.span_id), { span, children: [] });

  const ordered = [...nodes.values()].sort(byStart);
  const childrenOf = new Map<string, RunNode[]>();
  const roots: RunNode[] = [];
  for (const node of ordered) {
    const { trace_id, parent_span_id } = node.span;
    const parent = parent_span_id === undefined ? undefined : keyOf(trace_id, parent_span_id);
    if (parent === undefined || !nodes.has(parent)) {
      roots.push(node);
      continue;
    }
    const siblings = childrenOf.get(parent);
    if (siblings === undefined) childrenOf.set(parent, [node]);
    else siblings.push(node);
  }
  return plant(roots, ordered, childrenOf);
}

/** Attaches the children to the roots. Spans that no root reaches form cycles; the first span of each becomes a root. */
function plant(roots: RunNode[], ordered: RunNode[], childrenOf: Map<string, RunNode[]>): RunNode[] {
  const forest: RunNode[] = [];
  const placed = new Set<RunNode>();
  for (const root of [...roots, ...ordered]) {
    if (placed.has(root)) continue;
    placed.add(root);
    forest.push(root);
    const line = [{ node: root, host: root, depth: 1 }];
    for (const { node, host, depth } of line) {
      for (const child of childrenOf.get(keyOf(node.span.trace_id, node.span.span_id)) ?? []) {
        if (placed.has(child)) continue;
        placed.add(child);
        host.children.push(child);
        line.push({ node: child, host: depth + 1 < MAX_DEPTH ? child : host, depth: depth + 1 });
      }
    }
  }
  return forest.sort(byStart);
}

/** The `tree --json` form: an array of root spans. As in what is sent, none ends before its start. */
export function treeJson(forest: readonly RunNode[]): JsonNode[] {
  return forest.map(({ span, children }) => ({
    name: span.name,
    kind: span.kind === 'chat' ? 'CLIENT' : 'INTERNAL',
    start_ms: span.start_ms,
    end_ms: span.end_ms === undefined ? null : Math.max(span.start_ms, span.end_ms),
    status: span.error === undefined ? 'UNSET' : 'ERROR',
    attributes: attributesOf(span),
    trace_id: span.trace_id,
    span_id: span.span_id,
    ...(span.parent_span_id === undefined ? {} : { parent_span_id: span.parent_span_id }),
    links: span.links.map(({ trace_id, span_id }) => ({ trace_id, span_id })),
    children: treeJson(children),
  }));
}
