/**
 * What is told of a record that is more than what stands in it: instants as OTLP holds them, the end of a span, attributes
 * made of other fields. Both encodings and OpenTelemetry's data types are written from here, so that they say the same.
 */
import { SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import type { Attributes, LogRecord, SpanRecord } from '../../model/telemetry.js';

export const NS_PER_MS = 1_000_000;

const INT64_END = 2 ** 63;

/** Whether OTLP's integers hold it: a larger one is a double like a fraction, or a request would be unreadable. */
export const isInt64 = (value: number): boolean =>
  Number.isInteger(value) && value >= -INT64_END && value < INT64_END;

/** OTLP's instants are 64-bit nanoseconds, which end in the year 2554; a later one would make a request unreadable. */
const MAX_EPOCH_MS = 18_446_744_073_709;

/** Since the epoch: whole milliseconds, and less than one more, which one number could not hold together. */
export interface Instant {
  whole_ms: number;
  rest_ns: number;
}

/** The end of a span that ended at the epoch itself, which would read as not ended. */
const FIRST_END: Instant = { whole_ms: 0, rest_ns: 1 };

/** Rounded to the nearest nanosecond; what OTLP can't hold is clamped. */
export function toInstant(epoch_ms: number): Instant {
  const ms = Math.min(Math.max(epoch_ms, 0), MAX_EPOCH_MS);
  // Subtracting whole milliseconds first keeps every bit of the fraction.
  const whole_ms = Math.floor(ms);
  const rest_ns = Math.round((ms - whole_ms) * NS_PER_MS);
  return rest_ns < NS_PER_MS ? { whole_ms, rest_ns } : { whole_ms: whole_ms + 1, rest_ns: 0 };
}

/** Not before its start; `undefined` while the span is open. */
export function endOf({ start_ms, end_ms }: SpanRecord): Instant | undefined {
  if (end_ms === undefined) return undefined;
  const end = toInstant(Math.max(start_ms, end_ms));
  return end.whole_ms === 0 && end.rest_ns === 0 ? FIRST_END : end;
}

/** The span's own, the type of its error and, where it ends before it starts, by how much: end − start. */
export function attributesOf({ attributes, error, start_ms, end_ms }: SpanRecord): Attributes {
  const is_skewed = end_ms !== undefined && end_ms < start_ms;
  if (error === undefined && !is_skewed) return attributes;
  const told = { ...attributes };
  if (error !== undefined) told['error.type'] = error.type;
  if (is_skewed) told['openclaw.clock_skew_ms'] = end_ms - start_ms;
  return told;
}

export const kindOf = ({ kind }: SpanRecord): SpanKind =>
  kind === 'chat' ? SpanKind.CLIENT : SpanKind.INTERNAL;

export const statusOf = ({ error }: SpanRecord): SpanStatusCode =>
  error === undefined ? SpanStatusCode.UNSET : SpanStatusCode.ERROR;

export const severityOf = ({ severity }: LogRecord): SeverityNumber =>
  severity === 'ERROR' ? SeverityNumber.ERROR : SeverityNumber.INFO;

export const TRACE_FLAGS = TraceFlags.SAMPLED;

/** OTLP's `flags` of a span and a link: it is known whether the context is remote, and it is not. */
export const SPAN_FLAGS = TRACE_FLAGS | 0x100;

/** OTLP's kinds begin with one that says nothing. */
export const toOtlpKind = (kind: SpanKind): number => kind + 1;
