/**
 * The end of the console's output: what no tree shows, the metrics and the log records, summed up in at most two lines each.
 */
import picocolors from 'picocolors';
import type { InstrumentName, MetricTotals } from '../model/telemetry.js';
import { nounFor } from '../util/counted.js';
import { ASCII_GLYPHS, UNICODE_GLYPHS } from './rows.js';
import { fitText, textWidth } from './text.js';
import { formatCost, formatCount, formatShare } from './units.js';

export interface FooterOptions {
  /** The terminal's width in cells. */
  columns: number;
  color: boolean;
  unicode: boolean;
}

/** The width of the longest label and a gap. */
const LABEL_WIDTH = 9;

/** `records`: the number of log records by event name. A signal without data has no line. */
export function renderFooter(
  totals: MetricTotals['totals'],
  records: ReadonlyMap<string, number>,
  { columns, color, unicode }: FooterOptions,
): string[] {
  const { ellipsis } = unicode ? UNICODE_GLYPHS : ASCII_GLYPHS;
  const { dim } = picocolors.createColors(color);
  const describe = (label: string, parts: string[], gap: string): string[] =>
    inTwoLines(parts, gap, columns - LABEL_WIDTH, ellipsis).map((line, place) => {
      const head = (place === 0 ? label : '').padEnd(LABEL_WIDTH);
      return dim(fitText(head + line, columns, ellipsis));
    });
  return [
    ...describe('metrics', metricParts(totals), unicode ? ' · ' : '; '),
    ...describe('logs', recordParts(records), ' '),
  ];
}

/** Lines are broken between parts. An ellipsis stands for the parts that do not fit the second line. */
function inTwoLines(parts: string[], gap: string, width: number, ellipsis: string): string[] {
  const first = countFitting(parts, gap, width);
  const rest = parts.slice(first);
  if (countFitting(rest, gap, width) < rest.length) {
    const shown = countFitting(rest, gap, width - gap.length - ellipsis.length);
    rest.splice(shown, Infinity, ellipsis);
  }
  return [parts.slice(0, first), rest].filter((line) => line.length > 0).map((line) => line.join(gap));
}

/** How many of the parts fit a line; at least one, if there are any. */
function countFitting(parts: string[], gap: string, width: number): number {
  let count = Math.min(1, parts.length);
  while (count < parts.length && textWidth(parts.slice(0, count + 1).join(gap)) <= width) count++;
  return count;
}

const counted = (count: number, noun: string): string =>
  count === 0 ? '' : `${formatCount(count)} ${nounFor(count, noun)}`;

function metricParts(totals: MetricTotals['totals']): string[] {
  const total = (instrument: InstrumentName): number => totals.get(instrument) ?? 0;
  const cost_usd = total('openclaw.cost');
  return [
    describeInput(
      total('gen_ai.client.inference.usage.input_tokens'),
      total('gen_ai.client.inference.usage.cache_read.input_tokens'),
    ),
    describeOutput(
      total('gen_ai.client.inference.usage.output_tokens'),
      total('gen_ai.client.inference.usage.reasoning.output_tokens'),
    ),
    cost_usd === 0 ? '' : formatCost(cost_usd),
    counted(total('gen_ai.client.inference.duration'), 'model call'),
    counted(total('gen_ai.execute_tool.duration'), 'tool call'),
    counted(total('gen_ai.invoke_agent.duration'), 'run'),
  ].filter((part) => part !== '');
}

function describeInput(tokens: number, cached: number): string {
  const text = counted(tokens, 'input token');
  return tokens === 0 || cached === 0 ? text : `${text} (${formatShare(cached, tokens)} cached)`;
}

/** Reasoning is a part of the output, except for calls whose own tokens are unknown. */
function describeOutput(tokens: number, reasoning: number): string {
  if (tokens === 0) return counted(reasoning, 'reasoning token');
  const text = `${formatCount(tokens)} output`;
  return reasoning === 0 ? text : `${text}, ${formatCount(reasoning)} of them reasoning`;
}

/** `78 records: 20 tool_call, 20 tool_result, …`, the most frequent first. */
function recordParts(records: ReadonlyMap<string, number>): string[] {
  const kinds = [...records].sort(([, a], [, b]) => b - a);
  const all = kinds.reduce((sum, [, count]) => sum + count, 0);
  const named = kinds.map(([name, count]) => `${formatCount(count)} ${name.replace(/^openclaw\./, '')}`);
  return named.map((text, place) => {
    const start = place === 0 ? `${counted(all, 'record')}: ` : '';
    return start + text + (place === named.length - 1 ? '' : ',');
  });
}
