/**
 * The attributes that a span is shown with: its own, and those that follow from its other fields. What is sent and what
 * `tree --json` prints have the same.
 */
import type { Attributes, SpanRecord } from './telemetry.js';

/** The span's attributes, the type of its error and, if it ends before it starts, the difference: end − start. */
export function attributesOf({ attributes, error, start_ms, end_ms }: SpanRecord): Attributes {
  const is_skewed = end_ms !== undefined && end_ms < start_ms;
  if (error === undefined && !is_skewed) return attributes;
  const all = { ...attributes };
  if (error !== undefined) all['error.type'] = error.type;
  if (is_skewed) all['openclaw.clock_skew_ms'] = end_ms - start_ms;
  return all;
}
