/**
 * What must arrive because of an event: a span or a log record, compared as a line of text. Texts without ids are for the
 * program that makes up its own.
 */
export type Value = string | number | boolean | string[];

export interface SpanFacts {
  trace_id: string;
  span_id: string;
  parent_span_id: string;
  /** OTLP's numbers, like `status`. */
  kind: number;
  status: number;
  message: string;
  name: string;
  /** Epoch milliseconds, like `end_ms`. */
  start_ms: number;
  end_ms: number;
  attributes: Record<string, Value | undefined>;
  events: number;
}

export interface LogFacts {
  trace_id: string;
  span_id: string;
  event_name: string;
  severity: string;
  ts_ms: number;
  attributes: Record<string, Value | undefined>;
}

function attributesText(attributes: Record<string, Value | undefined>): string {
  const known = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return JSON.stringify(known.sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function spanText(span: SpanFacts, with_ids: boolean): string {
  const { kind, status, message, name, start_ms, end_ms, events } = span;
  const ids = with_ids ? [span.trace_id, span.span_id, span.parent_span_id] : [];
  const facts = [...ids, kind, name, start_ms.toFixed(3), end_ms.toFixed(3), status, message, events];
  return `${facts.join(' | ')} ${attributesText(span.attributes)}`;
}

export function logText(log: LogFacts, with_ids: boolean): string {
  const ids = with_ids ? [log.trace_id, log.span_id] : [];
  const facts = [...ids, log.event_name, log.severity, log.ts_ms.toFixed(3)];
  return `${facts.join(' | ')} ${attributesText(log.attributes)}`;
}
