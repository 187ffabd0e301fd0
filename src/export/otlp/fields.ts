/**
 * Rules for what OTLP says of a record beyond its own fields: timestamps, the end of a span, attributes derived from other
 * fields. Both encodings and OpenTelemetry's data types use them, so that they agree.
 */
import { SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import type { LogRecord, SpanRecord } from '../../model/telemetry.js';
import { MAX_EPOCH_MS } from '../../util/units.js';

export const NS_PER_MS = 1_000_000;

const INT64_END = 2 ** 63;

/** Whether a number fits OTLP's integers. A larger one is sent as a double, like a fraction, or the request could not be parsed. */
export const isInt64 = (value: number): boolean =>
  Number.isInteger(value) && value >= -INT64_END && value < INT64_END;

/** A time since the epoch, as whole milliseconds and the remaining nanoseconds, since one number could not hold both exactly. */
export interface Instant {
  whole_ms: number;
  rest_ns: number;
}

/** The end of a span that ended at the epoch itself, where a zero would mean that it has not ended. */
const FIRST_END: Instant = { whole_ms: 0, rest_ns: 1 };

/** Rounds to the nearest nanosecond, and clamps to what OTLP can hold: any other time would make a request unparsable. */
export function toInstant(epoch_ms: number): Instant {
  const ms = Math.min(Math.max(epoch_ms, 0), MAX_EPOCH_MS);
  // Subtracting whole milliseconds first keeps every bit of the fraction.
  const whole_ms = Math.floor(ms);
  const rest_ns = Math.round((ms - whole_ms) * NS_PER_MS);
  return rest_ns < NS_PER_MS ? { whole_ms, rest_ns } : { whole_ms: whole_ms + 1, rest_ns: 0 };
}

/** The end of a span, never before its start; `undefined` while it is open. */
export function endOf({ start_ms, end_ms }: SpanRecord): Instant | undefined {
  if (end_ms === undefined) return undefined;
  const end = toInstant(Math.max(start_ms, end_ms));
  return end.whole_ms === 0 && end.rest_ns === 0 ? FIRST_END : end;
}

export const kindOf = ({ kind }: SpanRecord): SpanKind =>
  kind === 'chat' ? SpanKind.CLIENT : SpanKind.INTERNAL;

export const statusOf = ({ error }: SpanRecord): SpanStatusCode =>
  error === undefined ? SpanStatusCode.UNSET : SpanStatusCode.ERROR;

export const severityOf = ({ severity }: LogRecord): SeverityNumber =>
  severity === 'ERROR' ? SeverityNumber.ERROR : SeverityNumber.INFO;

export const TRACE_FLAGS = TraceFlags.SAMPLED;

/** The `flags` of a span or a link. 0x100: it is known whether the context is remote; it is not. */
export const SPAN_FLAGS = TRACE_FLAGS | 0x100;

/** OTLP's kinds begin with `UNSPECIFIED`, which OpenTelemetry's API does not have. */
export const toOtlpKind = (kind: SpanKind): number => kind + 1;
