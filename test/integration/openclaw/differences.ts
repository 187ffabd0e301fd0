/**
 * Compares a backend's spans of a recording's runs with those of `tree --json`, and reports one line per difference.
 */
import type { Span } from '../../cli/sink.js';
import type { TreeSpan } from '../bridge.js';

const ERROR = 2;

const describe = ({ name, attributes }: Pick<Span, 'name' | 'attributes'>): string =>
  `${name} of ${attributes['openclaw.session.key']} ${attributes['gen_ai.tool.call.id'] ?? attributes['gen_ai.response.id'] ?? ''}`;

/** Both forms of a span as the same plain data, without the times. */
const ofTree = ({ trace_id, parent_span_id = '', name, status, attributes, links }: TreeSpan): object => ({
  trace_id,
  parent_span_id,
  name,
  status,
  links,
  ...attributes,
});
const ofSink = ({ trace_id, parent_span_id, name, status, attributes, links }: Span): object => ({
  trace_id,
  parent_span_id,
  name,
  status: status === ERROR ? 'ERROR' : 'UNSET',
  links,
  ...attributes,
});

function compareFields(expected: object, actual: object): string[] {
  const [wanted, found] = [expected, actual].map(
    (fields) => new Map<string, unknown>(Object.entries(fields)),
  );
  const names = new Set([...(wanted?.keys() ?? []), ...(found?.keys() ?? [])]);
  return [...names].flatMap((name) => {
    const [want, got] = [wanted, found].map((fields) => JSON.stringify(fields?.get(name)));
    return want === got ? [] : [`${name} is ${got}, not ${want}`];
  });
}

function compareTimes(expected: TreeSpan, actual: Span, tolerance_ms: number): string[] {
  return (['start_ms', 'end_ms'] as const).flatMap((name) => {
    const off_ms = actual[name] - expected[name];
    return Math.abs(off_ms) <= tolerance_ms ? [] : [`${name} is off by ${off_ms} ms`];
  });
}

export interface Tolerance {
  times_ms: number;
  /** Whether a span may arrive more than once; each copy has to be as expected. */
  may_repeat?: boolean;
}

function compare(expected: TreeSpan, copies: Span[], { times_ms, may_repeat = false }: Tolerance): string[] {
  if (copies.length === 0) return ['missing'];
  const times = copies.length > 1 && !may_repeat ? [`there ${copies.length} times`] : [];
  const fields = copies.flatMap((copy) => [
    ...compareFields(ofTree(expected), ofSink(copy)),
    ...compareTimes(expected, copy, times_ms),
  ]);
  return [...times, ...new Set(fields)];
}

/** The differences; none if every span is there as expected, and no other one. */
export function differences(expected: TreeSpan[], actual: Span[], tolerance: Tolerance): string[] {
  const wanted = new Set(expected.map(({ span_id }) => span_id));
  const missed = expected.flatMap((span) => {
    const copies = actual.filter(({ span_id }) => span_id === span.span_id);
    return compare(span, copies, tolerance).map((line) => `${describe(span)}: ${line}`);
  });
  const others = actual.filter(({ span_id }) => !wanted.has(span_id));
  return [...missed, ...others.map((span) => `${describe(span)}: not expected`)];
}

/** A trace as indented lines: children below their parents in the order of their start, each with its error. */
export function outline(spans: Span[], parent_span_id = '', indent = ''): string[] {
  return spans
    .filter((span) => span.parent_span_id === parent_span_id)
    .sort((a, b) => a.start_ms - b.start_ms || a.name.localeCompare(b.name))
    .flatMap(({ name, span_id, attributes }) => {
      const error = attributes['error.type'] === undefined ? '' : `: ${attributes['error.type']}`;
      return [`${indent}${name}${error}`, ...outline(spans, span_id, `${indent}  `)];
    });
}
