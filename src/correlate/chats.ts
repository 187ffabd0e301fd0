/**
 * Model calls. `agent.step_started` opens one, `llm.tokens` ends it, `llm.reasoning` adds to it, see `reasoning.ts`. A step
 * whose tokens never arrive has failed, or its message was not stored: it becomes a span without tokens.
 */
import type { ErrorDetail, EventOf } from '../model/event.js';
import { chatLogIdentity, type ModelCall, UNKNOWN } from './attributes.js';
import { beginHeldCalls, chatSpan, emitOrHold, expireHeld, isAwaited, nextLookMs } from './chat-spans.js';
import { emitLog, hasEnded } from './emit.js';
import { chatSpanId } from './ids.js';
import {
  endedChatIdentity,
  expireNextReasoning,
  flushReasoning,
  holdNextReasoning,
  takeNextReasoning,
  takeReasoning,
} from './reasoning.js';
import {
  CHATS,
  type EndedCall,
  forgetCalls,
  hasEndedBefore,
  lastEventMs,
  type OpenStep,
  type Run,
  type RunClosing,
} from './run-state.js';
import { isGapBefore } from './sequence-numbers.js';
import { sizeOf } from './small-map.js';
import { type Context, countGivenUp } from './state.js';
import {
  addEndedCall,
  addStep,
  beginFailed,
  currentStep,
  failedAfter,
  failedLater,
  failingStep,
  keepSteps,
  rematch,
  removeStep,
  stepToGiveUp,
  unmatchedSteps,
} from './steps.js';
import { scheduleWake } from './wake-heap.js';

/** The number of a step whose own number is already used by a call. Real numbers begin at 1. */
const NO_NUMBER = 0;

function supersede(context: Context, run: Run, step: OpenStep, ts: number): void {
  step.superseded = true;
  step.end_ms ??= ts;
  holdStep(context, run, step);
}

function holdStep(context: Context, run: Run, step: OpenStep): void {
  step.due_ms = context.now_ms + context.options.limits.chat_hold_ms;
  scheduleWake(context.state.waking, run, step.due_ms);
}

/** After a yield or an abort the gateway still announces one model call, which is never made. */
const isPhantom = (
  { rare: { yielded_at_ms = Infinity, cancelled_at_ms = Infinity } }: Run,
  ts: number,
): boolean => ts >= yielded_at_ms || ts >= cancelled_at_ms;

export function onStepStarted(context: Context, run: Run, event: EventOf<'agent.step_started'>): void {
  emitLog(context, event, { run });
  if (isPhantom(run, event.ts)) return;
  const previous = currentStep(run);
  if (previous !== undefined && previous.start_ms <= event.ts) supersede(context, run, previous, event.ts);
  const failed = failedLater(run, event.ts);
  const known = failed === undefined ? beginFailed(run, event.ts, event.seq) : undefined;
  const step = known ?? openStep(context, run, event.ts, event.seq);
  step.announced = true;
  step.model = event.model ?? step.model;
  step.provider = event.provider ?? step.provider;
  if (failed !== undefined) moveFailure(context, run, failed, step);
  if (step === currentStep(run) && step.failed_ms === undefined) takeNextReasoning(context, run, step);
  // A step that arrives out of order is not the current one, even if it is never matched.
  if (step !== currentStep(run) || run.ended !== undefined) supersede(context, run, step, event.ts);
  beginHeldCalls(context, run);
}

/** Emits the oldest unmatched step if the run has reached its limit of steps. */
function makeRoomForStep(context: Context, run: Run): void {
  const oldest = stepToGiveUp(run);
  if (oldest === undefined) return;
  countGivenUp(context, 'steps');
  removeStep(run, oldest);
  endStep(context, run, oldest);
}

function openStep(context: Context, run: Run, start_ms: number, seq?: number): OpenStep {
  makeRoomForStep(context, run);
  const step: OpenStep = {
    number: NO_NUMBER,
    start_ms,
    model: undefined,
    provider: undefined,
    end_ms: undefined,
    error: undefined,
    superseded: false,
    taken: false,
    ended_by: undefined,
    due_ms: undefined,
    reasoning: undefined,
    announced: false,
    failed_ms: undefined,
    seq,
  };
  addStep(run, step);
  // If a call that arrived earlier ends it, that call was counted in `step_count` already.
  if (step.ended_by === undefined) step.number = ++run.step_count;
  return step;
}

const endedCall = (event: EventOf<'llm.tokens'>): EndedCall => ({
  start_ms: event.started_at,
  end_ms: event.ended_at ?? event.ts,
  is_message: event.message_id !== undefined && event.started_at !== undefined,
  seq: event.seq,
  has_failed: event.error !== undefined,
});

const hasNoId = (event: EventOf<'llm.tokens'>): boolean =>
  event.response_id === undefined && event.message_id === undefined;

type Failure = Pick<OpenStep, 'error' | 'failed_ms' | 'model' | 'provider'>;

/** Marks a step as failed. It is held, since its message may still arrive and give it an id. */
function failStep(
  context: Context,
  run: Run,
  step: OpenStep,
  { error, failed_ms, model, provider }: Failure,
): void {
  step.error = error;
  step.failed_ms = failed_ms;
  step.end_ms = failed_ms;
  step.taken = false;
  step.model ??= model;
  step.provider ??= provider;
  holdStep(context, run, step);
  rematch(run, step);
}

/** Moves a failure from a step to a later one, which is now known to be the one that failed. */
function moveFailure(context: Context, run: Run, earlier: OpenStep, later: OpenStep): void {
  failStep(context, run, later, earlier);
  earlier.error = undefined;
  earlier.failed_ms = undefined;
  earlier.end_ms = later.start_ms;
  rematch(run, earlier);
}

/**
 * Handles a failure without an id. If no step can have failed then, or the step has failed already, it was another attempt,
 * whose start was not reported.
 */
function onStepFailed(context: Context, run: Run, event: EventOf<'llm.tokens'>, error: ErrorDetail): void {
  const { model, provider, ts, ended_at: failed_ms = ts, started_at = ts } = event;
  const failure: Failure = { error, failed_ms, model, provider };
  const step = failingStep(run, failed_ms);
  if (step === undefined) {
    const attempt = openStep(context, run, started_at, event.seq);
    takeNextReasoning(context, run, attempt);
    return failStep(context, run, attempt, failure);
  }
  // The failure already recorded for this step is the later one, so it belongs to another attempt.
  if (step.failed_ms !== undefined) failStep(context, run, openStep(context, run, step.failed_ms), step);
  failStep(context, run, step, failure);
}

export function onTokens(context: Context, run: Run, event: EventOf<'llm.tokens'>): void {
  if (event.error !== undefined && hasNoId(event) && !countsTokens(event)) {
    emitLog(context, event, {
      run,
      detail: { 'error.type': event.error.type ?? 'error' },
      failed: true,
    });
    return onStepFailed(context, run, event, event.error);
  }
  const named = event.response_id ?? event.message_id;
  const named_id = named === undefined ? undefined : chatSpanId(run, named);
  if (named_id !== undefined && isKnownChat(context, run, named_id))
    return logAgain(context, run, event, named_id);
  const call = endedCall(event);
  const step = addEndedCall(run, call);
  run.call_count++;
  if (step === undefined) run.step_count++;
  else takeStep(context, run, step, call);
  endChat(context, run, event, named_id ?? chatSpanId(run, String(takeNumber(run, step))), step);
  beginHeldCalls(context, run);
}

/** The call has ended already, so its tokens are not counted again. */
function logAgain(context: Context, run: Run, event: EventOf<'llm.tokens'>, span_id: string): void {
  emitLog(context, event, {
    run,
    span: { trace_id: run.trace_id, span_id },
    detail:
      endedChatIdentity(context, CHATS.find(run.chats, span_id), span_id) ??
      chatLogIdentity(event.provider, event.model),
    failed: event.error !== undefined,
  });
}

/**
 * The number that a call without an id is known by: its step's, or else the latest. A number is used only once: a late event
 * may show that another call, or none, ended the step, and then the step gets a new number.
 */
function takeNumber(run: Run, step: OpenStep | undefined): number {
  if (step === undefined) return run.step_count;
  const number = step.number === NO_NUMBER ? ++run.step_count : step.number;
  step.number = NO_NUMBER;
  return number;
}

const isKnownChat = (context: Context, run: Run, span_id: string): boolean =>
  hasEnded(context, span_id) || CHATS.find(run.chats, span_id) !== undefined;

/** The matched step is held for a while: an event out of order may show that another call ended it. */
function takeStep(context: Context, run: Run, step: OpenStep, call: EndedCall): void {
  step.taken = true;
  holdStep(context, run, step);
  if (failedAfter(step, call)) moveFailure(context, run, step, openStep(context, run, step.failed_ms));
}

const countsTokens = (event: EventOf<'llm.tokens'>): boolean =>
  event.error === undefined || event.input_tokens > 0 || event.output_tokens > 0;

function endChat(
  context: Context,
  run: Run,
  event: EventOf<'llm.tokens'>,
  span_id: string,
  step: OpenStep | undefined,
): void {
  const end_ms = event.ended_at ?? event.ts;
  const start_ms = event.started_at ?? step?.start_ms ?? end_ms;
  const call: ModelCall = {
    model: event.model === UNKNOWN ? (step?.model ?? UNKNOWN) : event.model,
    provider: event.provider === UNKNOWN ? (step?.provider ?? UNKNOWN) : event.provider,
    reasoning: takeReasoning(context, run, event, step),
    is_late: hasEndedBefore(run, start_ms),
    usage: countsTokens(event) ? event : undefined,
    response_id: event.response_id,
    finish_reason: event.finish_reason,
  };
  const span = chatSpan(context, run, {
    span_id,
    start_ms,
    end_ms,
    call,
    error: mergeErrors(event.error, step?.error),
  });
  emitLog(context, event, {
    run,
    span,
    detail: chatLogIdentity(call.provider, call.model),
    failed: span.error !== undefined,
  });
  emitOrHold(context, run, span, call, mayMissStep(run, event) ? event.seq : undefined);
}

/** Whether the step with which a call began may be among earlier events that have not arrived yet. */
const mayMissStep = (run: Run, { started_at, seq }: EventOf<'llm.tokens'>): boolean =>
  started_at === undefined && seq !== undefined && !run.rare.skips_numbers && isGapBefore(run, seq);

/** A step's failure has a specific type and message; the call's own message may only state that it failed. */
function mergeErrors(own: ErrorDetail | undefined, ofStep: ErrorDetail | undefined): ErrorDetail | undefined {
  if (own === undefined || ofStep === undefined) return own;
  return own.type === undefined || own.type === 'error' ? { ...own, ...ofStep } : own;
}

function endStep(context: Context, run: Run, step: OpenStep): void {
  const call: ModelCall = {
    model: step.model ?? UNKNOWN,
    provider: step.provider ?? UNKNOWN,
    reasoning: step.reasoning ?? {},
    is_late: hasEndedBefore(run, step.start_ms),
  };
  const span_id = chatSpanId(run, String(takeNumber(run, step)));
  run.call_count++;
  const end_ms = Math.max(step.start_ms, step.end_ms ?? run.ended?.end_ms ?? lastEventMs(run));
  emitOrHold(
    context,
    run,
    chatSpan(context, run, { span_id, start_ms: step.start_ms, end_ms, call, error: step.error }),
    call,
  );
}

/** Steps that no call has ended by their deadline. Of a failed one, no message is to be asked for. */
const dueSteps = (context: Context, run: Run, until_ms: number): OpenStep[] =>
  unmatchedSteps(run).filter(
    (step) =>
      (step.due_ms ?? Infinity) <= until_ms &&
      (step.failed_ms !== undefined || !isAwaited(context, step, until_ms)),
  );

/** Emits what has passed its deadline: steps that no call ended, and calls without reasoning. */
export function expireChats(context: Context, run: Run, until_ms: number): void {
  expireNextReasoning(context, run, until_ms);
  let last_ms = Math.max(...run.steps.map(({ due_ms = -Infinity }) => due_ms));
  for (const step of dueSteps(context, run, until_ms)) {
    removeStep(run, step);
    endStep(context, run, step);
  }
  last_ms = Math.max(last_ms, expireHeld(context, run, until_ms));
  const isWaiting =
    sizeOf(run.chats) > 0 || run.steps.some((step) => (nextLookMs(step) ?? Infinity) > until_ms);
  if (run.ended === undefined || isWaiting) return;
  // A run without pending calls when it ended was reported late: more of its events may arrive, so keep the calls for matching.
  if (until_ms === Infinity || last_ms > run.ended.arrival_ms) forgetCalls(run);
}

/** How soon before a run's end the gateway may announce the call again that the end of the run cuts off. */
const ANNOUNCED_AGAIN_MS = 1_000;

/** The `error.type` of runs that end before their model has answered. */
const CUT_OFF_ERRORS: ReadonlySet<unknown> = new Set(['timeout', 'cancelled']);

/** When a run is cut off in the middle of a model call, the gateway may announce that call again: both are one. */
function joinRepeated(run: Run, { end_ms, error }: Pick<RunClosing, 'end_ms' | 'error'>): void {
  const [call, again] = unmatchedSteps(run).slice(-2);
  if (!CUT_OFF_ERRORS.has(error?.type) || call === undefined || again === undefined) return;
  const isRepeated =
    call.end_ms === again.start_ms && call.model === again.model && call.provider === again.provider;
  if (!isRepeated || end_ms - again.start_ms > ANNOUNCED_AGAIN_MS) return;
  call.error = again.error ?? error;
  removeStep(run, again);
}

/** The run has ended: its steps are held for a last message, except announced ones that are never made, which are dropped. */
export function endSteps(context: Context, run: Run, end: Pick<RunClosing, 'end_ms' | 'error'>): void {
  keepSteps(run, (step) => step.error !== undefined || !isPhantom(run, step.start_ms));
  joinRepeated(run, end);
  for (const step of unmatchedSteps(run)) {
    // One that a tool call followed had been answered, so it did not fail with its run.
    if (!step.superseded && step.end_ms === undefined) step.error ??= end.error;
    step.superseded = true;
    step.end_ms ??= end.end_ms;
    if (step.due_ms === undefined) holdStep(context, run, step);
  }
  holdNextReasoning(context, run);
}

/** No more events of this run will arrive: emits everything at once. */
export function flushChats(context: Context, run: Run): void {
  for (const step of run.steps) step.due_ms ??= context.now_ms;
  expireChats(context, run, Infinity);
  flushReasoning(context, run);
}
