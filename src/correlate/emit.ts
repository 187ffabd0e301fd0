/**
 * The correlator's output: ended spans (each one once), previews of open spans, a log record per event, and measurements.
 */
import { addId, hasId } from '../capture/id-set.js';
import { type AgentEvent, EVENT_TYPES, type EventType } from '../model/event.js';
import type { Attributes, InstrumentName, SpanRecord, SpanReference } from '../model/telemetry.js';
import { callLogIdentity, runLogIdentity } from './attributes.js';
import type { NamedCall, Run } from './run-state.js';
import { sessionOf } from './sessions.js';
import type { Context } from './state.js';

/** Emits an ended span, and remembers its id so that it is not emitted a second time. */
export function emitSpan({ state, out }: Context, span: SpanRecord): void {
  addId(state.ended_spans, span.span_id);
  out.spans.push(span);
}

export const hasEnded = ({ state }: Context, span_id: string): boolean => hasId(state.ended_spans, span_id);

/** Emits a copy of a span that is not final, if previews are wanted. */
export function emitPreview({ out, options }: Context, copy: () => SpanRecord): void {
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

/** The subject of a log record. */
export interface LogSubject {
  /** Undefined if no run is known. */
  run: Run | undefined;
  /** The tool call that the record is about. */
  call?: NamedCall;
  /** Default: the call's span, or the run's. */
  span?: SpanReference;
  /** Attributes of this event only. */
  detail?: Attributes | undefined;
  failed?: boolean;
}

function logIdentity(context: Context, { run, call }: LogSubject): Attributes {
  if (run === undefined) return {};
  const session = sessionOf(context, run.session_key);
  return call === undefined ? runLogIdentity(run, session) : callLogIdentity(run, session, call);
}

export function emitLog(context: Context, event: AgentEvent, subject: LogSubject): void {
  if (!context.options.logs) return;
  const { run, call, span, detail, failed } = subject;
  const identity = logIdentity(context, subject);
  context.out.logs.push({
    trace_id: (span ?? run)?.trace_id ?? '',
    span_id: (span ?? call ?? run)?.span_id ?? '',
    event_name: EVENT_NAMES[event.type],
    ts_ms: event.ts,
    observed_ms: context.now_ms,
    severity: failed ? 'ERROR' : 'INFO',
    attributes: detail === undefined ? identity : Object.assign(identity, detail),
  });
}

/** Adds to a counter or records in a histogram. An undefined value records nothing. */
export function measure(
  { out, options }: Context,
  instrument: InstrumentName,
  value: number | undefined,
  attributes: Attributes,
): void {
  if (value !== undefined && options.measurements) out.measurements.push({ instrument, value, attributes });
}

/** A duration in seconds. It is never negative, although the times of one span can come from two clocks. */
export const seconds = (start_ms: number, end_ms: number): number => Math.max(0, end_ms - start_ms) / 1000;
