/**
 * The content of the tree's lines, independent of width and colour: one row per span, in tree order, with every name safe to
 * print.
 */
import type { AttributeValue, SpanRecord } from '../model/telemetry.js';
import { counted } from '../util/counted.js';
import { cleanText } from './text.js';
import { type Totals, totalsOf } from './totals.js';
import type { RunNode } from './tree.js';
import { formatCost, formatCount, formatDuration, formatShare } from './units.js';

/** The characters that the tree is drawn with. Each mark, and the ellipsis, is one cell wide. */
export interface Glyphs {
  ok: string;
  error: string;
  open: string;
  continues: string;
  arrow: string;
  ellipsis: string;
  branch: string;
  last_branch: string;
  rail: string;
}

export const UNICODE_GLYPHS: Glyphs = {
  ok: '✓',
  error: '✗',
  open: '●',
  continues: '↻',
  arrow: '→',
  ellipsis: '…',
  branch: '├─ ',
  last_branch: '└─ ',
  rail: '│  ',
};

export const ASCII_GLYPHS: Glyphs = {
  ok: '+',
  error: 'x',
  open: '*',
  continues: '@',
  arrow: '>',
  ellipsis: '~',
  branch: '|- ',
  last_branch: '`- ',
  rail: '|  ',
};

const NO_RAIL = '   ';

export type CellName = 'time' | 'input' | 'output' | 'reasoning' | 'cached' | 'cost';

export interface Row {
  kind: SpanRecord['kind'];
  state: 'ok' | 'error' | 'open';
  /** The lines that lead from the root to this row. */
  rails: string;
  name: string;
  /** On roots only. */
  session_key?: string;
  notes: { text: string; failed: boolean }[];
  /** An unknown amount is an empty text. */
  cells: Record<CellName, string>;
}

/** Flags of a run that are shown: the run may be incomplete. */
const FLAGS = ['partial', 'gap', 'late'] as const;

/** The rows of a forest. Open spans are measured up to `now_ms`, if given. */
export function rowsOf(forest: readonly RunNode[], glyphs: Glyphs, now_ms?: number): Row[] {
  const rows: Row[] = [];
  const visit = (node: RunNode, parent: RunNode | undefined, rails: string, below: string): void => {
    rows.push(rowOf(node, parent, rails, glyphs, now_ms));
    for (const child of node.children) {
      const last = child === node.children.at(-1);
      visit(
        child,
        node,
        below + (last ? glyphs.last_branch : glyphs.branch),
        below + (last ? NO_RAIL : glyphs.rail),
      );
    }
  };
  for (const root of forest) visit(root, undefined, '', '');
  return rows;
}

function rowOf(
  node: RunNode,
  parent: RunNode | undefined,
  rails: string,
  glyphs: Glyphs,
  now_ms: number | undefined,
): Row {
  const { span } = node;
  const totals = totalsOf(node, parent === undefined ? 'tree' : 'own');
  const session_key = text(span.attributes['openclaw.session.key']);
  return {
    kind: span.kind,
    state: stateOf(span),
    rails,
    name: nameOf(span, parent?.span, glyphs),
    ...(parent === undefined && session_key !== undefined ? { session_key } : {}),
    notes: notesOf(span, totals),
    cells: cellsOf(span, totals, now_ms, glyphs),
  };
}

function stateOf(span: SpanRecord): Row['state'] {
  if (span.error !== undefined) return 'error';
  return span.end_ms === undefined ? 'open' : 'ok';
}

/** The attribute as printable text; undefined if there is nothing to show. */
function text(value: AttributeValue | undefined): string | undefined {
  return typeof value === 'string' ? cleanText(value) || undefined : undefined;
}

function nameOf(span: SpanRecord, parent: SpanRecord | undefined, glyphs: Glyphs): string {
  const { attributes } = span;
  const fallback = cleanText(span.name) || '?';
  if (span.kind === 'tool') return text(attributes['gen_ai.tool.name']) ?? fallback;
  if (span.kind === 'chat') return text(attributes['gen_ai.request.model']) ?? fallback;
  const agent = text(attributes['gen_ai.agent.name']) ?? fallback;
  if (hasSameSession(span, parent)) return `${glyphs.continues} continues`;
  return span.links.length > 0 ? `${glyphs.continues} ${agent} continues` : agent;
}

/**
 * Whether a run and its parent are of the same session, as for a run that continues a request. If its parent is forgotten, such
 * a run is a root, and only its links to the runs that it reports on distinguish it from others.
 */
function hasSameSession(run: SpanRecord, parent: SpanRecord | undefined): boolean {
  const session_key = run.attributes['openclaw.session.key'];
  return (
    parent?.kind === 'run' &&
    session_key !== undefined &&
    parent.attributes['openclaw.session.key'] === session_key
  );
}

/** Failures come first: if a line is cut, its end is lost. */
function notesOf(span: SpanRecord, totals: Totals): Row['notes'] {
  const notes: Row['notes'] = [];
  const note = (text: string): unknown => notes.push({ text, failed: false });
  const failure = (text: string): unknown => notes.push({ text, failed: true });

  if (span.error !== undefined) failure(failureOf(span));
  if (span.kind !== 'run') return notes;
  if (totals.errors > 0) failure(counted(totals.errors, 'error'));
  if (span.links.length > 0) note(counted(span.links.length, 'link'));
  if (totals.tools > 0) note(counted(totals.tools, 'tool'));
  for (const flag of FLAGS) if (span.attributes[`openclaw.${flag}`] === true) note(flag);
  return notes;
}

function failureOf(span: SpanRecord): string {
  const exit_code = span.attributes['openclaw.tool.exit_code'];
  if (typeof exit_code === 'number' && exit_code !== 0) return `exit ${exit_code}`;
  return cleanText(span.error?.type ?? '') || 'error';
}

function cellsOf(span: SpanRecord, totals: Totals, now_ms: number | undefined, glyphs: Glyphs): Row['cells'] {
  const end_ms = span.end_ms ?? now_ms;
  const cells: Row['cells'] = {
    time: end_ms === undefined ? '' : formatDuration(end_ms - span.start_ms),
    input: '',
    output: '',
    reasoning: '',
    cached: '',
    cost: '',
  };
  if (span.kind === 'tool') return cells;

  const { input_tokens, output_tokens, reasoning_tokens, cache_read_tokens, cost_usd } = totals;
  if (input_tokens !== undefined) cells.input = formatCount(input_tokens);
  if (output_tokens !== undefined) cells.output = `${glyphs.arrow} ${formatCount(output_tokens)}`;
  if (reasoning_tokens) cells.reasoning = formatCount(reasoning_tokens);
  if (cache_read_tokens && input_tokens) cells.cached = formatShare(cache_read_tokens, input_tokens);
  if (cost_usd) cells.cost = formatCost(cost_usd);
  return cells;
}
