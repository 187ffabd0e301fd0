/**
 * Tool calls. `tool.call` opens one, `tool.output` or `tool.error` ends it. An end that arrives before its call waits for the
 * call, and an ended nested call waits for its parent call.
 */
import { takeOldest } from '../capture/bounded.js';
import { addId } from '../capture/id-set.js';
import type { EventOf } from '../model/event.js';
import type { SpanRecord } from '../model/telemetry.js';
import { agentName, type CallEnd, callAttributes } from './attributes.js';
import { contentSize, prepareContent, type SpanError, spanError } from './content.js';
import { emitLog, emitPreview, emitSpan, hasEnded, measure, seconds } from './emit.js';
import { callSpanId } from './ids.js';
import {
  added,
  CALLS,
  EARLY_ENDS,
  emptyList,
  hasEndedBefore,
  lastEventMs,
  type NamedCall,
  type OpenCall,
  type ParkedSpan,
  type Run,
  rareFieldsOf,
  WRAPPED,
} from './run-state.js';
import { sessionOf } from './sessions.js';
import { sizeOf, valuesOf } from './small-map.js';
import { addOpenCall, type Context, countGivenUp, nextNumber, sessionWait } from './state.js';
import { currentStep } from './steps.js';
import { scheduleWake } from './wake-heap.js';

/** The tool by which a run yields; the run makes no model calls after it. */
const YIELD_TOOL = 'sessions_yield';

export const MAX_SPAN_EVENTS = 128;
const MAX_EARLY_ENDS = 1_000;

/** Maximum depth of nested calls; a deeper one becomes a child of the run. */
const MAX_DEPTH = 1_000;

/** Ended calls of one run that are remembered with their parent calls. */
const MAX_WRAPPED = 1_000;

/** `error.type` of runs and calls that were closed because a limit was reached. */
export const GIVEN_UP = 'given_up';

type ToolCall = EventOf<'tool.call'>;
type ToolEnd = EventOf<'tool.output'> | EventOf<'tool.error'>;

interface CallClosing {
  end_ms: number;
  error?: SpanError | undefined;
  end?: CallEnd;
}

function callSpan(context: Context, run: Run, call: OpenCall, closing?: CallClosing): SpanRecord {
  return {
    kind: 'tool',
    trace_id: run.trace_id,
    span_id: call.span_id,
    parent_span_id: call.parent_call_id === undefined ? run.span_id : callSpanId(run, call.parent_call_id),
    name: `execute_tool ${call.tool}`,
    start_ms: call.start_ms,
    end_ms: closing?.end_ms,
    error: closing?.error,
    attributes: callAttributes(run, sessionOf(context, run.session_key), call, closing?.end),
    links: [],
    // A copy: spans that were already emitted must not change.
    events: call.events.slice(),
    parent_agent_id: run.descent?.parent_agent_id,
    is_continuation: undefined,
  };
}

function newCall(context: Context, run: Run, event: ToolCall, span_id: string): OpenCall {
  const { content, content_max_bytes } = context.options;
  return {
    call_id: event.call_id,
    span_id,
    number: nextNumber(context.state),
    run_key: run.span_id,
    tool: event.tool,
    start_ms: event.ts,
    parent_call_id: event.parent_call_id,
    arguments: content ? prepareContent(event.input, content_max_bytes) : undefined,
    events: emptyList(),
    is_late: hasEndedBefore(run, event.ts),
    is_open: false,
  };
}

/** Closes the oldest open call if the limit of open calls is reached. */
function makeRoomForCall(context: Context): void {
  const { open_calls, open_call_count, runs } = context.state;
  if (open_call_count < context.options.limits.open_calls) return;
  let call = takeOldest(open_calls);
  while (call?.is_open === false) call = takeOldest(open_calls);
  const run = call && runs.get(call.run_key);
  if (run === undefined || call === undefined) return;
  countGivenUp(context, 'open_calls');
  closeCall(context, run, call, {
    end_ms: lastEventMs(run),
    error: { type: GIVEN_UP, message: 'too many open calls' },
  });
}

export function onToolCall(context: Context, run: Run, event: ToolCall): void {
  const { call_id, tool } = event;
  const span_id = callSpanId(run, call_id);
  const known = CALLS.find(run.calls, call_id);
  if (known !== undefined || hasEnded(context, span_id))
    return emitLog(context, event, { run, call: known ?? { call_id, span_id, tool } });
  makeRoomForCall(context);
  const call = newCall(context, run, event, span_id);
  if (call.parent_call_id !== undefined) breakCircle(context, run, call, call.parent_call_id);
  run.calls = CALLS.add(run.calls, call);
  addOpenCall(context.state, call);
  run.tool_count++;
  if (event.tool === YIELD_TOOL) rareFieldsOf(run).yielded_at_ms = event.ts;
  const current = currentStep(run);
  if (current !== undefined && current.start_ms <= event.ts) current.end_ms ??= event.ts;
  emitPreview(context, () => callSpan(context, run, call));
  emitLog(context, event, { run, call });
  if (run.ended !== undefined) {
    scheduleWake(context.state.waking, run, lateDue(context, run));
    // A held child may wait for the run that made this call.
    if (context.state.waiting.size > 0) context.arrived.push(sessionWait(run.session_key));
  }
  unpark(context, run, call.call_id);
  applyEarlyEnd(context, run, call.call_id);
}

/** The parent call. Undefined also for an ended call all of whose outer calls were known when it ended. */
const wrapperOf = (run: Run, call_id: string): string | undefined =>
  (CALLS.find(run.calls, call_id) ?? WRAPPED.find(run.rare.wrapped, call_id))?.parent_call_id;

/** Follows parent calls outwards to the outermost id. Returns `call_id` itself for a cycle, undefined beyond `MAX_DEPTH`. */
function lastWrapper(run: Run, call_id: string, parent_call_id: string): string | undefined {
  let last = parent_call_id;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const next = last === call_id ? undefined : wrapperOf(run, last);
    if (next === undefined) return last;
    last = next;
  }
  return undefined;
}

/**
 * Breaks a cycle of parent calls: its open calls, and a parked one that waits for this call, become children of the run. Spans
 * that were already emitted stay as they are.
 */
function hangUnderRun(context: Context, run: Run, call: OpenCall, parent_call_id: string): void {
  call.parent_call_id = undefined;
  for (let at = parent_call_id; at !== call.call_id; ) {
    const wrapper = wrapperOf(run, at) ?? call.call_id;
    const open = CALLS.find(run.calls, at);
    if (open !== undefined) open.parent_call_id = undefined;
    else if (wrapper === call.call_id) emitUnderRun(context, run, callSpanId(run, at));
    at = wrapper;
  }
}

/** Every call is checked when it begins, so the only possible cycle is one that this call closes. */
function breakCircle(context: Context, run: Run, call: OpenCall, parent_call_id: string): void {
  const last = lastWrapper(run, call.call_id, parent_call_id);
  if (last === call.call_id) return hangUnderRun(context, run, call, parent_call_id);
  if (last !== undefined) return;
  countGivenUp(context, 'call_depth');
  call.parent_call_id = undefined;
}

/** A call that begins after its run has ended is waited for as long as an unknown parent: `hold_ms`. */
function lateDue({ now_ms, options }: Context, run: Run): number {
  const due_ms = now_ms + options.limits.hold_ms;
  if (run.ended !== undefined) run.ended.settle_due_ms = due_ms;
  return due_ms;
}

function forgetEarlyEnd(run: Run, call_id: string): void {
  const rare = rareFieldsOf(run);
  rare.early_ends = EARLY_ENDS.remove(rare.early_ends, call_id);
}

function applyEarlyEnd(context: Context, run: Run, call_id: string): void {
  const early = EARLY_ENDS.find(run.rare.early_ends, call_id);
  if (early === undefined) return;
  forgetEarlyEnd(run, call_id);
  onToolEnd(context, run, early.event);
}

function onPartialOutput(context: Context, call: OpenCall, event: EventOf<'tool.output'>): void {
  if (call.events.length >= MAX_SPAN_EVENTS) return countGivenUp(context, 'span_events');
  const { content, content_max_bytes } = context.options;
  const output = content ? prepareContent(event.output, content_max_bytes) : undefined;
  call.events = added(call.events, {
    name: 'openclaw.tool_output',
    ts_ms: event.ts,
    attributes: {
      'openclaw.output.size_bytes': contentSize(event.output),
      ...(output !== undefined ? { 'gen_ai.tool.call.result': output.text } : {}),
    },
  });
}

/**
 * Stores an end whose call has not been seen, without logging it until the call arrives. False if an end of that call is
 * already stored, or the limit is reached.
 */
function keepEarlyEnd(context: Context, run: Run, event: ToolEnd): boolean {
  if (EARLY_ENDS.find(run.rare.early_ends, event.call_id) !== undefined) return false;
  if (sizeOf(run.rare.early_ends) >= MAX_EARLY_ENDS) {
    countGivenUp(context, 'early_ends');
    return false;
  }
  const rare = rareFieldsOf(run);
  rare.early_ends = EARLY_ENDS.add(rare.early_ends, { event, arrival_ms: context.now_ms });
  scheduleWake(context.state.waking, run, context.now_ms + context.options.limits.hold_ms);
  return true;
}

export function onToolEnd(context: Context, run: Run, event: ToolEnd): void {
  const isPartial = event.type === 'tool.output' && event.partial === true;
  const call = CALLS.find(run.calls, event.call_id);
  if (call !== undefined) {
    if (isPartial) return onPartialOutput(context, call, event);
    return endCall(context, run, call, event);
  }
  const { call_id, tool } = event;
  const span_id = callSpanId(run, call_id);
  if (isPartial) {
    if (!hasEnded(context, span_id)) countGivenUp(context, 'early_outputs');
    return;
  }
  if (!hasEnded(context, span_id) && keepEarlyEnd(context, run, event)) return;
  logCallEnd(context, run, event, { call_id, span_id, tool }, callError(run, event));
}

/** `start_ms` is present if the call is known. */
type LoggedCall = NamedCall & Partial<Pick<OpenCall, 'start_ms'>>;

function logCallEnd(
  context: Context,
  run: Run,
  event: ToolEnd,
  call: LoggedCall,
  error: SpanError | undefined,
): void {
  if (!context.options.logs) return;
  emitLog(context, event, {
    run,
    call,
    detail: {
      success: error === undefined,
      error: error?.message,
      'error.type': error?.type,
      duration_ms: call.start_ms === undefined ? undefined : Math.max(0, event.ts - call.start_ms),
    },
    failed: error !== undefined,
  });
}

const EXIT_CODE = 'exit_code';

/**
 * The error of an end, for its span and its log record, or undefined. In a cancelled run a generic error counts as cancelled.
 */
function callError(run: Run, event: ToolEnd): SpanError | undefined {
  if (event.type === 'tool.output') {
    if (event.exit_code === undefined || event.exit_code === 0) return undefined;
    return { type: EXIT_CODE, message: `exit code ${event.exit_code}` };
  }
  const error = spanError(event.error);
  const wasCancelled = run.rare.cancelled_at_ms !== undefined && error.type === 'error';
  return wasCancelled ? { type: 'cancelled', message: error.message } : error;
}

function endCall(context: Context, run: Run, call: OpenCall, event: ToolEnd, is_partial = false): void {
  const { content, content_max_bytes } = context.options;
  const output = event.type === 'tool.output' ? event.output : undefined;
  const result = content ? prepareContent(output, content_max_bytes) : undefined;
  const error = callError(run, event);
  const exit_code = event.type === 'tool.output' ? event.exit_code : undefined;
  const end: CallEnd = { exit_code, result, is_partial };
  if (event.type === 'tool.error' && call.tool === YIELD_TOOL) rareFieldsOf(run).yielded_at_ms = undefined;
  closeCall(context, run, call, { end_ms: event.ts, error, end });
  logCallEnd(context, run, event, call, error);
}

function measureCall(
  context: Context,
  run: Run,
  call: OpenCall,
  { end_ms = call.start_ms, error }: SpanRecord,
): void {
  if (!context.options.measurements) return;
  measure(context, 'gen_ai.execute_tool.duration', seconds(call.start_ms, end_ms), {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': call.tool,
    'gen_ai.agent.name': agentName(run, sessionOf(context, run.session_key)),
    'error.type': error?.type,
  });
}

/**
 * Remembers the parent of an ended call while an outer call is unseen, because that call may close a cycle. Over the limit the
 * call becomes a child of the run.
 */
function rememberWrapper(context: Context, run: Run, call: OpenCall, parent_call_id: string): void {
  const last = lastWrapper(run, call.call_id, parent_call_id);
  if (last !== undefined && isKnownCall(context, run, last)) return;
  if (sizeOf(run.rare.wrapped) >= MAX_WRAPPED) {
    call.parent_call_id = undefined;
    return countGivenUp(context, 'wrapped_calls');
  }
  const rare = rareFieldsOf(run);
  rare.wrapped = WRAPPED.add(rare.wrapped, { call_id: call.call_id, parent_call_id });
}

/** Ends the call's span and emits it, or parks it while its parent call is unknown. */
function closeCall(context: Context, run: Run, call: OpenCall, closing: CallClosing): void {
  run.calls = CALLS.remove(run.calls, call.call_id);
  if (call.is_open) context.state.open_call_count--;
  call.is_open = false;
  if (call.parent_call_id !== undefined) rememberWrapper(context, run, call, call.parent_call_id);
  const span = callSpan(context, run, call, closing);
  measureCall(context, run, call, span);
  const wrapper = call.parent_call_id;
  if (wrapper === undefined || isKnownCall(context, run, wrapper)) emitSpan(context, span);
  else park(context, run, span, wrapper);
}

/** Stores an ended span until the call of this run that is its parent is seen. */
export function park(context: Context, run: Run, span: SpanRecord, parent_call_id: string): void {
  const { state, options, now_ms } = context;
  // It has ended although it is not emitted: a second start must not open it again.
  addId(state.ended_spans, span.span_id);
  const due_ms = now_ms + options.limits.hold_ms;
  const rare = rareFieldsOf(run);
  rare.parked = added(rare.parked, { span, parent_call_id, due_ms });
  scheduleWake(state.waking, run, due_ms);
}

export const isKnownCall = (context: Context, run: Run, call_id: string): boolean =>
  CALLS.find(run.calls, call_id) !== undefined || hasEnded(context, callSpanId(run, call_id));

/** Emits the parked spans that `isWanted` selects, under this parent. */
function emitParked(
  context: Context,
  run: Run,
  parent_span_id: string,
  isWanted: (parked: ParkedSpan) => boolean,
): void {
  const { parked } = run.rare;
  for (const { span } of parked.filter(isWanted)) emitSpan(context, { ...span, parent_span_id });
  rareFieldsOf(run).parked = parked.filter((each) => !isWanted(each));
}

function unpark(context: Context, run: Run, call_id: string): void {
  if (run.rare.parked.length === 0) return;
  emitParked(context, run, callSpanId(run, call_id), ({ parent_call_id }) => parent_call_id === call_id);
}

/** Emits one span as a child of the run, if it is still parked. */
const emitUnderRun = (context: Context, run: Run, span_id: string): void =>
  emitParked(context, run, run.span_id, ({ span }) => span.span_id === span_id);

/** Parked spans whose parent call never came become children of the run. */
export function expireParked(context: Context, run: Run, until_ms: number): void {
  if (run.rare.parked.length === 0) return;
  emitParked(context, run, run.span_id, ({ due_ms }) => due_ms <= until_ms);
}

/** An end whose call never came becomes a span that begins and ends at that time, marked as partial. */
export function expireEarlyEnds(context: Context, run: Run, until_ms: number): void {
  for (const { event: end, arrival_ms } of valuesOf(run.rare.early_ends)) {
    const { call_id } = end;
    if (arrival_ms + context.options.limits.hold_ms > until_ms) continue;
    forgetEarlyEnd(run, call_id);
    const call: OpenCall = {
      call_id,
      span_id: callSpanId(run, call_id),
      number: nextNumber(context.state),
      run_key: run.span_id,
      tool: end.tool ?? 'unknown',
      start_ms: end.ts,
      parent_call_id: undefined,
      arguments: undefined,
      events: emptyList(),
      is_late: false,
      is_open: false,
    };
    run.tool_count++;
    endCall(context, run, call, end, true);
    unpark(context, run, call_id);
  }
}

/** Closes the calls that are still open, with the given error and without a result. */
export function closeCalls(context: Context, run: Run, end_ms: number, error: SpanError): void {
  for (const call of valuesOf(run.calls)) {
    closeCall(context, run, call, { end_ms: Math.max(end_ms, call.start_ms), error });
  }
}
