/**
 * How the correlator speaks: spans once and once only, copies of open ones, a log record per event, measurements.
 */
import { addMember, hasMember } from '../bounded.js';
import { type AgentEvent, EVENT_TYPES, type EventType } from '../model/event.js';
import type { Attributes, InstrumentName, SpanRecord, SpanReference } from '../model/telemetry.js';
import { runLogIdentity } from './attributes.js';
import { type Run, runReference, type Step, sessionOf } from './state.js';

/** A span that has ended. What has ended stays ended: its id is never given out again while it is remembered. */
export function emitSpan({ state, options, out }: Step, span: SpanRecord): void {
  addMember(state.ended_spans, span.span_id, options.limits.seen_ids);
  out.spans.push(span);
}

export const hasEnded = ({ state }: Step, span_id: string): boolean => hasMember(state.ended_spans, span_id);

/** A copy of a span that is not final, where anybody wants those. */
export function emitPreview({ out, options }: Step, copy: () => SpanRecord): void {
  if (options.previews) out.previews.push(copy());
}

/** `tool.output` and `tool.error` are both results; every other record is named after its event. */
const eventName = (type: EventType): string =>
  type === 'tool.output' || type === 'tool.error'
    ? 'openclaw.tool_result'
    : `openclaw.${type.replaceAll('.', '_')}`;

const EVENT_NAMES = Object.fromEntries(EVENT_TYPES.map((type) => [type, eventName(type)])) as Readonly<
  Record<EventType, string>
>;

export interface LogDetail {
  reference: SpanReference;
  /** Belongs to the record from here on. */
  identity: Attributes;
  /** Attributes of this event alone. */
  detail?: Attributes;
  failed?: boolean;
}

/** What a record has that belongs to the run itself. */
export const ofRun = (step: Step, run: Run): Pick<LogDetail, 'reference' | 'identity'> => ({
  reference: runReference(run),
  identity: runLogIdentity(run, sessionOf(step, run.session_key)),
});

export function emitLog(
  step: Step,
  event: AgentEvent,
  { reference, identity, detail, failed }: LogDetail,
): void {
  step.out.logs.push({
    trace_id: reference.trace_id,
    span_id: reference.span_id,
    event_name: EVENT_NAMES[event.type],
    ts_ms: event.ts,
    observed_ms: step.now_ms,
    severity: failed ? 'ERROR' : 'INFO',
    attributes: detail === undefined ? identity : Object.assign(identity, detail),
  });
}

/** Adds to a counter or records in a histogram; nothing is no measurement of a counter. */
export function measure(
  { out }: Step,
  instrument: InstrumentName,
  value: number | undefined,
  attributes: Attributes,
): void {
  if (value !== undefined) out.measurements.push({ instrument, value, attributes });
}

/** Times of one span can come from two clocks; a duration is never negative. */
export const seconds = (start_ms: number, end_ms: number): number => Math.max(0, end_ms - start_ms) / 1000;

/** Message of an error on a span: redacted and cut by the caller's options. */
export const ERROR_MESSAGE_MAX_BYTES = 1024;
