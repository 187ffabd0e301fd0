/**
 * Runs: one opens with its first event, stays open while it or its descendants show activity, and ends once.
 */
import { takeOldest } from '../capture/bounded.js';
import { parseAnnounceRunId } from '../model/announce.js';
import type { AgentEvent, ErrorDetail, EventOf } from '../model/event.js';
import { agentOfSession } from '../model/session-key.js';
import type { SpanRecord } from '../model/telemetry.js';
import { archiveEnded, findArchived, unarchive } from './archive.js';
import { agentName, runAttributes } from './attributes.js';
import { closeCalls, expireEarlyEnds, expireParked, GIVEN_UP, MAX_SPAN_EVENTS, park } from './calls.js';
import { nextLookMs } from './chat-spans.js';
import { endSteps, flushChats } from './chats.js';
import { contentSize, prepareContent, spanError } from './content.js';
import { emitLog, emitPreview, emitSpan, measure, seconds } from './emit.js';
import { deriveTraceId, parseTraceparent } from './ids.js';
import { announceLinks, findParent, type KnownParent, type Parent, peek } from './parents.js';
import {
  added,
  type Descent,
  emptyList,
  lastEventMs,
  NO_RARE_FIELDS,
  type Origin,
  possibleEndMs,
  type Run,
  type RunClosing,
  rareFieldsOf,
} from './run-state.js';
import { addRunToSession, sessionOf } from './sessions.js';
import { emptyMap, sizeOf, valuesOf } from './small-map.js';
import { addOpen, type Context, countGivenUp, nextNumber } from './state.js';
import { unmatchedSteps } from './steps.js';
import { scheduleWake } from './wake-heap.js';

const DEFAULT_AGENT = 'main';

/** `error.type` of calls that are still open when their run ends by itself. */
const RUN_ENDED = 'run_ended';

const isContinuation = ({ run_id, session_key }: Run): boolean =>
  parseAnnounceRunId(run_id, session_key) !== undefined;

function runSpan(context: Context, run: Run, closing?: RunClosing): SpanRecord {
  const session = sessionOf(context, run.session_key);
  return {
    kind: 'run',
    trace_id: run.trace_id,
    span_id: run.span_id,
    parent_span_id: run.descent?.parent_span_id,
    name: `invoke_agent ${agentName(run, session)}`,
    start_ms: run.start_ms,
    end_ms: closing?.end_ms,
    error: closing?.error && spanError(closing.error),
    attributes: runAttributes(run, session, closing),
    links: announceLinks(context, run),
    // A copy: spans that were already emitted must not change.
    events: run.rare.events.slice(),
    parent_agent_id: run.descent?.parent_agent_id,
    is_continuation: isContinuation(run) || undefined,
  };
}

/** V8 stores a small integer without heap memory, but the difference of two timestamps is one only after `| 0`. */
function since(start_ms: number, at_ms: number): number {
  const after_ms = at_ms - start_ms;
  const small_ms = after_ms | 0;
  return small_ms === after_ms ? small_ms : after_ms;
}

type Remote = ReturnType<typeof parseTraceparent>;

/** The key's string, shared with the session's earlier runs to save memory. */
function sharedKey(context: Context, session_key: string): string {
  const key = sessionOf(context, session_key).runs.at(-1);
  const latest = key === undefined ? undefined : peek(context.state, key);
  return latest?.session_key ?? session_key;
}

/** The session's id as of a run that was held, if the session has had another one since. */
function ownSessionId(context: Context, { session_key, started }: Origin): string | undefined {
  const session_id = started?.session_id;
  return session_id === sessionOf(context, session_key).session_id ? undefined : session_id;
}

function newRun(context: Context, origin: Origin, parent: Parent): Run {
  const { run_id, span_id, first_seen, last_seen, seen_below, started } = origin;
  const session_key = sharedKey(context, origin.session_key);
  const start_ms = started?.ts ?? origin.first_ms;
  const known = parent.kind === 'known' ? parent : undefined;
  const remote = known === undefined ? parseTraceparent(started?.traceparent) : undefined;
  const opened_after_ms = since(start_ms, Math.max(start_ms, context.now_ms));
  const { content, content_max_bytes } = context.options;
  const input = content ? prepareContent(started?.input, content_max_bytes) : undefined;
  const session_id = ownSessionId(context, origin);
  // In this order the fields that most events read are next to each other.
  return {
    span_id,
    number: nextNumber(context.state),
    epoch: 0,
    session_key,
    run_id,
    first_seen,
    last_seen,
    seen_below,
    last_after_ms: 0,
    active_after_ms: opened_after_ms,
    opened_after_ms,
    start_ms,
    descent: newDescent(origin, start_ms, parent, remote),
    calls: emptyMap(),
    steps: emptyList(),
    ended_calls: emptyList(),
    chats: emptyMap(),
    step_count: 0,
    tool_count: 0,
    call_count: 0,
    is_reasoned: false,
    ended: undefined,
    rare: (input ?? session_id) === undefined ? NO_RARE_FIELDS : { ...NO_RARE_FIELDS, input, session_id },
    wake_ms: Infinity,
    heap_place: -1,
    trace_id: known?.run.trace_id ?? remote?.trace_id ?? deriveTraceId(session_key, run_id),
    agent_id:
      started?.agent_id ??
      sessionOf(context, session_key).agent_id ??
      agentOfSession(session_key) ??
      DEFAULT_AGENT,
    trigger: started?.trigger,
    is_partial: started === undefined,
    has_gap: false,
  };
}

function newDescent(
  { session_key, started }: Origin,
  start_ms: number,
  parent: Parent,
  remote: Remote,
): Descent | undefined {
  const known = parent.kind === 'known' ? parent : undefined;
  const { parent_session_key = parentSession(parent, session_key), parent_run_id } = started ?? {};
  const parent_span_id = known?.span_id ?? remote?.span_id;
  if ((parent_span_id ?? parent_session_key ?? parent_run_id) === undefined) return undefined;
  return {
    parent_span_id,
    parent_key: known?.run.span_id,
    watching_key: known?.run.span_id,
    parent_agent_id: known && parentAgent(known.run, session_key),
    parent_session_key,
    parent_run_id,
    is_late: known !== undefined && isLate(known.run, start_ms),
  };
}

/** The bridge closed the run: its span ends with its last event, but it was open until it was closed. */
const wasClosed = ({ ended }: Readonly<Run>): boolean =>
  ended !== undefined && ended.calls_error !== RUN_ENDED;

/** Whether a child began after the end of its parent. */
function isLate(parent: Readonly<Run>, start_ms: number): boolean {
  const { ended } = parent;
  if (ended === undefined || ended.yielded) return false;
  return start_ms > (wasClosed(parent) ? ended.arrival_ms : ended.end_ms);
}

/** A run that continues in its own session belongs to the same sub-agent as the run before it. */
const parentAgent = (parent: Run, session_key: string): string | undefined =>
  parent.session_key === session_key ? parent.descent?.parent_agent_id : parent.agent_id;

/** The parent session of a sub-agent, even if only the spawn named it, and whether or not its parent run is known. */
function parentSession(parent: Parent, session_key: string): string | undefined {
  if (parent.kind === 'none') return undefined;
  const key = parent.kind === 'known' ? parent.run.session_key : parent.session_key;
  return key === session_key ? undefined : key;
}

/** A run that may continue hardly does so once the next run of its session has begun. */
function hastenEnd(context: Context, next: Run): void {
  const { state, now_ms, options } = context;
  const run = state.runs.get(sessionOf(context, next.session_key).runs.at(-1) ?? '');
  const end_ms = run && possibleEndMs(run.rare);
  if (run?.rare.finishing === undefined || end_ms === undefined || end_ms > next.start_ms) return;
  state.runs.touch(run);
  run.rare.finishing.due_ms = Math.min(run.rare.finishing.due_ms, now_ms + options.limits.settle_ms);
  scheduleWake(state.waking, run, run.rare.finishing.due_ms);
}

/** Opens a run under its parent, in its parent's trace. */
export function openRun(context: Context, origin: Origin, parent: Parent): Run {
  const run = newRun(context, origin, parent);
  makeRoomForRun(context);
  hastenEnd(context, run);
  const { state, options } = context;
  state.runs.set(run.span_id, run);
  addOpen(state, run);
  state.counts.runs_opened++;
  addRunToSession(context, run);
  const opened_ms = run.start_ms + run.opened_after_ms;
  scheduleWake(state.waking, run, opened_ms + Math.min(options.limits.idle_ms, options.limits.age_ms));
  return run;
}

/** Emits a preview of a run that has just opened. */
export const previewRun = (context: Context, run: Run): void =>
  emitPreview(context, () => runSpan(context, run));

/** Marks a run of which part was missed and could not be recovered. */
export function markGap({ state }: Context, run: Run): void {
  if (!run.has_gap) state.counts.runs_with_gap++;
  run.has_gap = true;
}

/** Closes the oldest open run if the limit of open runs is reached. */
function makeRoomForRun(context: Context): void {
  const { state, options } = context;
  if (state.open_count < options.limits.open_runs) return;
  let run = takeOldest(state.open);
  while (run?.ended !== undefined) run = takeOldest(state.open);
  if (run === undefined) return;
  state.runs.touch(run);
  countGivenUp(context, 'open_runs');
  closeRun(context, run, GIVEN_UP, 'too many open runs');
}

/** The nearest ancestor that is live and tracks activity. Archived ancestors do not, but those above them may. */
function watching({ state }: Context, run: Run): Run | undefined {
  const { descent } = run;
  if (descent === undefined) return undefined;
  let { watching_key } = descent;
  while (watching_key !== undefined && !state.runs.has(watching_key))
    watching_key = findArchived(state, watching_key)?.descent?.watching_key;
  if (watching_key !== descent.watching_key) run.descent = { ...descent, watching_key };
  return watching_key === undefined ? undefined : state.runs.get(watching_key);
}

/** Records activity of a run, and of its ancestors: their idle timers depend on it. */
export function touch(context: Context, run: Run, ts: number): void {
  if (lastEventMs(run) < ts) run.last_after_ms = since(run.start_ms, ts);
  const active_ms = Math.max(ts, context.now_ms);
  let at: Run | undefined = run;
  while (at !== undefined && at.start_ms + at.active_after_ms < active_ms) {
    at.active_after_ms = since(at.start_ms, active_ms);
    at = watching(context, at);
  }
}

/** While no source can be heard, and for `return_ms` after that, a run is not idle; the result is when to check again. */
function idleDueMs({ now_ms, patient_until_ms, options }: Context, run: Run): number {
  const { idle_ms, return_ms } = options.limits;
  const silent_until_ms = Math.min(patient_until_ms, now_ms) + return_ms;
  return Math.max(run.start_ms + run.active_after_ms + idle_ms, silent_until_ms);
}

/** When a run without further activity is to be closed, and why. */
function limitOf(context: Context, run: Run): { due_ms: number; reason: string } {
  const { age_ms } = context.options.limits;
  const idle_due_ms = idleDueMs(context, run);
  const age_due_ms = run.start_ms + run.opened_after_ms + age_ms;
  return age_due_ms <= idle_due_ms
    ? { due_ms: age_due_ms, reason: 'max_age' }
    : { due_ms: idle_due_ms, reason: 'idle_timeout' };
}

export function expireLimits(context: Context, run: Run): void {
  if (run.ended !== undefined) return;
  const { due_ms, reason } = limitOf(context, run);
  if (due_ms > context.now_ms) return;
  countGivenUp(context, reason);
  closeRun(context, run, reason, `closed by the bridge: ${reason.replace('_', ' ')}`);
}

/** Closes a run that did not end by itself, and everything open in it. */
export function closeRun(context: Context, run: Run, type: string, message: string): void {
  endRun(context, run, { end_ms: lastEventMs(run), error: { type, message } }, type);
  settleRun(context, run);
  archiveIfDone(context, run);
}

/** Archives a run that has ended and waits for nothing. */
export const archiveIfDone = (context: Context, run: Run): void => archiveEnded(context, run, settleRun);

/** The run has already been opened. A second start is a retry of the same run, and only gets a log record. */
export const onStarted = (context: Context, run: Run, event: EventOf<'agent.started'>): void =>
  emitLog(context, event, { run });

/** Any status but `ok` is an error: its type is the error's own, else the status. */
function runError(event: EventOf<'agent.finished'> | EventOf<'subagent.finished'>): ErrorDetail | undefined {
  if (event.status === 'ok') return undefined;
  return { type: event.status, message: event.status, ...event.error };
}

function logRunEnd(context: Context, run: Run, event: AgentEvent, error: ErrorDetail | undefined): void {
  emitLog(context, event, {
    run,
    detail: { success: error === undefined, 'error.type': error?.type },
    failed: error !== undefined,
  });
}

export function onFinished(context: Context, run: Run, event: EventOf<'agent.finished'>): void {
  const error = runError(event);
  logRunEnd(context, run, event, error);
  if (event.settled === false) {
    if (event.status === 'cancelled' || event.status === 'timeout')
      rareFieldsOf(run).cancelled_at_ms ??= event.ts;
    return;
  }
  if (run.ended !== undefined) return;
  const { content, content_max_bytes, limits } = context.options;
  const output = content ? prepareContent(event.output, content_max_bytes) : undefined;
  const end: RunClosing = {
    end_ms: event.ts,
    yielded: event.yielded === true || run.rare.yielded_at_ms !== undefined,
    error,
    output,
    stop_reason: event.stop_reason,
  };
  if (event.may_continue !== true) return endRun(context, run, end);
  // It has continued, if this came out of order.
  if (lastEventMs(run) > event.ts) return;
  const due_ms = context.now_ms + limits.continue_ms;
  rareFieldsOf(run).finishing = { end, due_ms, may_continue: true };
  scheduleWake(context.state.waking, run, due_ms);
}

/** A later event shows that a run that might have ended continues. */
export function keepOpen(run: Run, event: AgentEvent): void {
  const { finishing } = run.rare;
  if (finishing?.may_continue && event.ts > finishing.end.end_ms) rareFieldsOf(run).finishing = undefined;
}

/**
 * The child's task has finished. Its own `agent.finished` has more detail, so it is awaited for `settle_ms`. A task that timed out
 * before the run began does not end it: the run goes on until its own end.
 */
export function onSubagentFinished(context: Context, run: Run, event: EventOf<'subagent.finished'>): void {
  const error = runError(event);
  logRunEnd(context, run, event, error);
  if (run.ended !== undefined || run.rare.finishing !== undefined || event.ts < run.start_ms) return;
  const due_ms = context.now_ms + context.options.limits.settle_ms;
  rareFieldsOf(run).finishing = { end: { end_ms: event.ts, error }, due_ms };
  scheduleWake(context.state.waking, run, due_ms);
}

export function onSubagentOutput(context: Context, run: Run, event: EventOf<'subagent.output'>): void {
  emitLog(context, event, { run });
  if (run.ended !== undefined) return;
  if (run.rare.events.length >= MAX_SPAN_EVENTS) return countGivenUp(context, 'span_events');
  const { content, content_max_bytes } = context.options;
  const output = content ? prepareContent(event.output, content_max_bytes) : undefined;
  const rare = rareFieldsOf(run);
  rare.events = added(rare.events, {
    name: 'openclaw.subagent_output',
    ts_ms: event.ts,
    attributes: {
      'openclaw.output.size_bytes': contentSize(event.output),
      ...(output === undefined ? {} : { 'openclaw.output': output.text }),
    },
  });
}

/** Events since the run opened may have identified its parent better. The trace stays the same. */
function refineParent(context: Context, run: Run): KnownParent | undefined {
  const { span_id, session_key, run_id, start_ms, descent } = run;
  const { parent_session_key, parent_run_id } = descent ?? {};
  const found = findParent(context, {
    key: span_id,
    session_key,
    run_id,
    start_ms,
    parent_session_key,
    parent_run_id,
  });
  const parent = found.kind === 'unknown' ? found.fallback : found;
  if (parent?.kind !== 'known' || parent.run.trace_id !== run.trace_id) return undefined;
  const parent_key = parent.run.span_id;
  if (descent !== undefined)
    run.descent = {
      parent_span_id: parent.span_id,
      parent_key,
      watching_key: parent_key,
      parent_agent_id: descent.parent_agent_id,
      parent_session_key,
      parent_run_id,
      // If the bridge closed both, the order in which it closed them is arbitrary.
      is_late: wasClosed(parent.run) ? descent.is_late : isLate(parent.run, start_ms),
    };
  return parent;
}

function measureRun(context: Context, run: Run, end_ms: number, error_type: string | undefined): void {
  if (!context.options.measurements) return;
  const labels = {
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.name': agentName(run, sessionOf(context, run.session_key)),
    'error.type': error_type,
  };
  measure(context, 'gen_ai.invoke_agent.duration', seconds(run.start_ms, end_ms), labels);
  // Steps that still wait for their calls become spans, too.
  measure(
    context,
    'gen_ai.invoke_agent.inference_calls',
    run.call_count + unmatchedSteps(run).length,
    labels,
  );
  measure(context, 'gen_ai.invoke_agent.tool_calls', run.tool_count + sizeOf(run.rare.early_ends), labels);
}

/** Ends the run's span. Open calls and steps wait for their own ends a little longer. */
function endRun(context: Context, run: Run, closing: RunClosing, calls_error = RUN_ENDED): void {
  if (run.ended !== undefined) return;
  const { state } = context;
  const parent = refineParent(context, run);
  const span = runSpan(context, run, closing);
  endSteps(context, run, closing);
  measureRun(context, run, closing.end_ms, span.error?.type);
  if (parent?.awaited_call_id === undefined) emitSpan(context, span);
  else parkUnder(context, parent, span, parent.awaited_call_id);
  const settle_due_ms = context.now_ms + context.options.limits.settle_ms;
  run.ended = {
    number: 0,
    end_ms: closing.end_ms,
    arrival_ms: context.now_ms,
    yielded: closing.yielded === true,
    settle_due_ms,
    calls_error,
    session_id: run.rare.session_id ?? sessionOf(context, run.session_key).session_id,
  };
  if (run.rare !== NO_RARE_FIELDS)
    Object.assign(run.rare, { events: emptyList(), input: undefined, finishing: undefined });
  state.open_count--;
  state.counts.runs_ended++;
  if (sizeOf(run.calls) > 0) scheduleWake(state.waking, run, settle_due_ms);
}

/** Parks a run's span with its parent's run until the parent call is seen. */
function parkUnder(
  context: Context,
  { run: { span_id } }: KnownParent,
  span: SpanRecord,
  call_id: string,
): void {
  const parent = context.state.runs.get(span_id) ?? unarchive(context, span_id);
  if (parent === undefined) return;
  park(context, parent, span, call_id);
  archiveIfDone(context, parent);
}

/** Closes the calls that are still open in a run that has ended. */
function closeLeftCalls(context: Context, run: Run): void {
  if (run.ended === undefined) return;
  const { end_ms, calls_error } = run.ended;
  closeCalls(context, run, end_ms, { type: calls_error, message: 'the run ended before the call did' });
}

/** Stops waiting: closes or emits everything that is open in the run. */
export function settleRun(context: Context, run: Run): void {
  expireEarlyEnds(context, run, Infinity);
  closeLeftCalls(context, run);
  expireParked(context, run, Infinity);
  flushChats(context, run);
}

/** Ends or closes what was to wait until this time at most. */
export function expireSettle(context: Context, run: Run, until_ms: number): void {
  const { finishing } = run.rare;
  if (finishing !== undefined && finishing.due_ms <= until_ms) endRun(context, run, finishing.end);
  if (run.ended !== undefined && run.ended.settle_due_ms <= until_ms) closeLeftCalls(context, run);
}

/** The next time at which the run must be checked without a new event. Later than now, since everything due by now is done. */
export function nextDueMs(context: Context, run: Run): number {
  const { now_ms, options } = context;
  let due_ms = run.ended === undefined ? limitOf(context, run).due_ms : Infinity;
  const consider = (each_ms: number | undefined): void => {
    if (each_ms !== undefined && each_ms > now_ms && each_ms < due_ms) due_ms = each_ms;
  };
  consider(run.rare.finishing?.due_ms);
  if (sizeOf(run.calls) > 0) consider(run.ended?.settle_due_ms);
  for (const step of run.steps) consider(nextLookMs(step));
  for (const chat of valuesOf(run.chats)) consider(nextLookMs(chat));
  for (const { due_ms: next_due_ms } of valuesOf(run.rare.reasoning)) consider(next_due_ms);
  for (const { arrival_ms } of valuesOf(run.rare.early_ends)) consider(arrival_ms + options.limits.hold_ms);
  for (const parked of run.rare.parked) consider(parked.due_ms);
  return due_ms;
}
