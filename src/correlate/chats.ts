/**
 * Model calls. `agent.step_started` opens one, `llm.tokens` ends it, `llm.reasoning` adds to it. A step whose tokens never
 * come failed or was not stored: it becomes a span without tokens. Reasoning is counted once, and never added to output.
 */
import { deleteEntry, getEntry, setEntry } from '../capture/bounded.js';
import type { ErrorDetail, EventOf } from '../model/event.js';
import type { Attributes, SpanRecord } from '../model/telemetry.js';
import { cutUtf8 } from '../utf8.js';
import { agentName, chatAttributes, chatLogIdentity, type ModelCall, withReasoning } from './attributes.js';
import { prepareContent, redact } from './content.js';
import {
  ERROR_MESSAGE_MAX_BYTES,
  emitLog,
  emitPreview,
  emitSpan,
  hasEnded,
  measure,
  seconds,
} from './emit.js';
import { countOf, listOf, none } from './few.js';
import { CHATS, EARLY_REASONING } from './forms.js';
import { wakeBy } from './heap.js';
import { deriveSpanId } from './ids.js';
import {
  asideOf,
  type EarlyReasoning,
  type EndedCall,
  type EndedChat,
  forgetCalls,
  giveUp,
  type HeldChat,
  lastTold,
  type OpenStep,
  type Reasoning,
  type Run,
  type RunClosing,
  type Step,
  sessionOf,
} from './state.js';
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

const UNKNOWN = 'unknown';
const USAGE = 'gen_ai.client.inference.usage';

/** Of a step whose number a call has been given, or stands for; they count from 1. */
const NO_NUMBER = 0;

/** Stands for the response of the call that comes next: no response has an empty id. */
const NEXT_CALL = '';

/** Responses of one run whose reasoning is remembered before their tokens come. */
const MAX_EARLY_REASONING = 100;

function supersede(step: Step, run: Run, open: OpenStep, ts: number): void {
  open.superseded = true;
  open.end_ms ??= ts;
  holdStep(step, run, open);
}

function holdStep(step: Step, run: Run, open: OpenStep): void {
  open.due_ms = step.now_ms + step.options.limits.chat_hold_ms;
  wakeBy(step.state.waking, run, open.due_ms);
}

/** Once a run has yielded or was told to stop, the gateway still announces a model call that is never made. */
const isPhantom = (
  { aside: { yielded_at_ms = Infinity, cancelled_at_ms = Infinity } }: Run,
  ts: number,
): boolean => ts >= yielded_at_ms || ts >= cancelled_at_ms;

export function onStepStarted(step: Step, run: Run, event: EventOf<'agent.step_started'>): void {
  emitLog(step, event, { run });
  if (isPhantom(run, event.ts)) return;
  const previous = currentStep(run);
  if (previous !== undefined && previous.start_ms <= event.ts) supersede(step, run, previous, event.ts);
  const failed = failedLater(run, event.ts);
  const known = failed === undefined ? beginFailed(run, event.ts, event.seq) : undefined;
  const open = known ?? openStep(step, run, event.ts, event.seq);
  open.announced = true;
  open.model = event.model ?? open.model;
  open.provider = event.provider ?? open.provider;
  if (failed !== undefined) moveFailure(step, run, failed, open);
  if (open === currentStep(run) && open.failed_ms === undefined) takeNext(step, run, open);
  // A step that comes out of turn is not the current one, whatever becomes of it.
  if (open !== currentStep(run) || run.ended !== undefined) supersede(step, run, open, event.ts);
}

/** Over the bound the oldest step that waits for its call is given out without it. */
function makeRoom(step: Step, run: Run): void {
  const oldest = stepToGiveUp(run);
  if (oldest === undefined) return;
  giveUp(step, 'steps');
  removeStep(run, oldest);
  endStep(step, run, oldest);
}

function openStep(step: Step, run: Run, start_ms: number, seq?: number): OpenStep {
  makeRoom(step, run);
  const open: OpenStep = {
    number: NO_NUMBER,
    announced: false,
    start_ms,
    seq,
    model: undefined,
    provider: undefined,
    end_ms: undefined,
    error: undefined,
    failed_ms: undefined,
    superseded: false,
    taken: false,
    ended_by: undefined,
    due_ms: undefined,
    reasoning: undefined,
  };
  addStep(run, open);
  // The call of one that comes behind it has been counted.
  if (open.ended_by === undefined) open.number = ++run.step_count;
  return open;
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

/** Its message may still come and name it, so it is held. */
function failStep(
  step: Step,
  run: Run,
  open: OpenStep,
  { error, failed_ms, model, provider }: Failure,
): void {
  open.error = error;
  open.failed_ms = failed_ms;
  open.end_ms = failed_ms;
  open.taken = false;
  open.model ??= model;
  open.provider ??= provider;
  holdStep(step, run, open);
  rematch(run, open);
}

/** It was the later one of two attempts that failed. */
function moveFailure(step: Step, run: Run, earlier: OpenStep, later: OpenStep): void {
  failStep(step, run, later, earlier);
  earlier.error = undefined;
  earlier.failed_ms = undefined;
  earlier.end_ms = later.start_ms;
  rematch(run, earlier);
}

/** A step failed. Where none can have, or one has already, it was another attempt, of which no step told that it began. */
function onStepFailed(step: Step, run: Run, event: EventOf<'llm.tokens'>, error: ErrorDetail): void {
  const { model, provider, ts, ended_at: failed_ms = ts, started_at = ts } = event;
  const failure: Failure = { error, failed_ms, model, provider };
  const open = failingStep(run, failed_ms);
  if (open === undefined) {
    const attempt = openStep(step, run, started_at, event.seq);
    takeNext(step, run, attempt);
    return failStep(step, run, attempt, failure);
  }
  // What was told of it before this, and happened later, was the other attempt.
  if (open.failed_ms !== undefined) failStep(step, run, openStep(step, run, open.failed_ms), open);
  failStep(step, run, open, failure);
}

export function onTokens(step: Step, run: Run, event: EventOf<'llm.tokens'>): void {
  if (event.error !== undefined && hasNoId(event)) {
    emitLog(step, event, {
      run,
      detail: { 'error.type': event.error.type ?? 'error' },
      failed: true,
    });
    return onStepFailed(step, run, event, event.error);
  }
  const named = event.response_id ?? event.message_id;
  const named_id = named === undefined ? undefined : chatSpanId(run, named);
  if (named_id !== undefined && isKnownCall(step, run, named_id)) return logAgain(step, run, event, named_id);
  const call = endedCall(event);
  const open = addEndedCall(run, call);
  run.call_count++;
  if (open === undefined) run.step_count++;
  else takeStep(step, run, open, call);
  endCall(step, run, event, named_id ?? chatSpanId(run, String(takeNumber(run, open))), open);
}

/** What tells a call that has ended from others, as far as it is still at hand. */
function identityOf(step: Step, held: HeldChat | undefined, span_id: string): Attributes | undefined {
  const chat: EndedChat | undefined = held ?? getEntry(step.state.unreasoned, span_id);
  const { attributes } = chat?.span ?? {};
  return (
    attributes && chatLogIdentity(attributes['gen_ai.provider.name'], attributes['gen_ai.request.model'])
  );
}

/** The call has ended: these tokens are not counted. */
function logAgain(step: Step, run: Run, event: EventOf<'llm.tokens'>, span_id: string): void {
  emitLog(step, event, {
    run,
    span: { trace_id: run.trace_id, span_id },
    detail:
      identityOf(step, CHATS.find(run.chats, span_id), span_id) ??
      chatLogIdentity(event.provider, event.model),
    failed: event.error !== undefined,
  });
}

/**
 * The number that a call without an id is known by: its step's, or else the latest. It is given once: what comes out of turn may
 * show that the step is another call's, or that none has ended it, and then it gets a new one.
 */
function takeNumber(run: Run, open: OpenStep | undefined): number {
  if (open === undefined) return run.step_count;
  const number = open.number === NO_NUMBER ? ++run.step_count : open.number;
  open.number = NO_NUMBER;
  return number;
}

const chatSpanId = (run: Run, own_id: string): string =>
  deriveSpanId('chat', run.session_key, run.run_id, own_id);

const isKnownCall = (step: Step, run: Run, span_id: string): boolean =>
  hasEnded(step, span_id) || CHATS.find(run.chats, span_id) !== undefined;

/** The step is kept for a while: an event that comes out of turn may show that another call ended it. */
function takeStep(step: Step, run: Run, open: OpenStep, call: EndedCall): void {
  open.taken = true;
  holdStep(step, run, open);
  if (failedAfter(open, call)) moveFailure(step, run, open, openStep(step, run, open.failed_ms));
}

function takeEarly(run: Run, response_id: string): EarlyReasoning | undefined {
  const early = EARLY_REASONING.find(run.aside.reasoning, response_id);
  if (early === undefined) return undefined;
  const aside = asideOf(run);
  aside.reasoning = EARLY_REASONING.remove(aside.reasoning, response_id);
  return early;
}

/** What was said of the call that comes next is of this one. */
function takeNext(step: Step, run: Run, call: Pick<OpenStep, 'reasoning'>): void {
  const next = takeEarly(run, NEXT_CALL);
  if (next === undefined) return;
  call.reasoning ??= {};
  addUp(step, call.reasoning, next);
}

/** What was said of the call's reasoning before its tokens came: by response, else by step or before any. */
function takeReasoning(
  step: Step,
  run: Run,
  event: EventOf<'llm.tokens'>,
  open: OpenStep | undefined,
): Reasoning {
  const early = event.response_id === undefined ? undefined : takeEarly(run, event.response_id);
  const nameless: Pick<OpenStep, 'reasoning'> = { reasoning: open?.reasoning };
  takeNext(step, run, nameless);
  if (open !== undefined) open.reasoning = undefined;
  return {
    tokens: event.reasoning_tokens ?? early?.tokens ?? nameless.reasoning?.tokens,
    text: early?.text ?? nameless.reasoning?.text,
    duration_ms: early?.duration_ms ?? nameless.reasoning?.duration_ms,
  };
}

const countsTokens = (event: EventOf<'llm.tokens'>): boolean =>
  event.error === undefined || event.input_tokens > 0 || event.output_tokens > 0;

function endCall(
  step: Step,
  run: Run,
  event: EventOf<'llm.tokens'>,
  span_id: string,
  open: OpenStep | undefined,
): void {
  const end_ms = event.ended_at ?? event.ts;
  const start_ms = event.started_at ?? open?.start_ms ?? end_ms;
  const call: ModelCall = {
    model: event.model === UNKNOWN ? (open?.model ?? UNKNOWN) : event.model,
    provider: event.provider === UNKNOWN ? (open?.provider ?? UNKNOWN) : event.provider,
    reasoning: takeReasoning(step, run, event, open),
    late: run.ended !== undefined && open === undefined,
    usage: countsTokens(event) ? event : undefined,
    response_id: event.response_id,
    finish_reason: event.finish_reason,
  };
  const span = chatSpan(step, run, {
    span_id,
    start_ms,
    end_ms,
    call,
    error: mergeErrors(event.error, open?.error),
  });
  emitLog(step, event, {
    run,
    span,
    detail: chatLogIdentity(call.provider, call.model),
    failed: span.error !== undefined,
  });
  finishOrHold(step, run, span, call);
}

/** A step's failure tells its kind, the message of the call only that it failed. */
function mergeErrors(own: ErrorDetail | undefined, ofStep: ErrorDetail | undefined): ErrorDetail | undefined {
  if (own === undefined || ofStep === undefined) return own;
  return own.type === undefined || own.type === 'error' ? { ...own, ...ofStep } : own;
}

interface ChatSpan {
  span_id: string;
  start_ms: number;
  end_ms: number;
  call: ModelCall;
  error: ErrorDetail | undefined;
}

function chatSpan(step: Step, run: Run, chat: ChatSpan): SpanRecord {
  const { error } = chat;
  return {
    kind: 'chat',
    trace_id: run.trace_id,
    span_id: chat.span_id,
    parent_span_id: run.span_id,
    name: `chat ${chat.call.model}`,
    start_ms: chat.start_ms,
    end_ms: chat.end_ms,
    attributes: chatAttributes(run, sessionOf(step, run.session_key), chat.call),
    error: error && spanError(error),
    links: [],
    events: [],
    parent_agent_id: run.descent?.parent_agent_id,
    is_continuation: undefined,
  };
}

/** An error as a span says it: always redacted, and cut. */
export const spanError = (error: ErrorDetail, fallback = 'error'): { type: string; message: string } => ({
  type: error.type ?? fallback,
  message: cutUtf8(redact(error.message.toWellFormed()), ERROR_MESSAGE_MAX_BYTES),
});

const modelLabels = (
  step: Step,
  run: Run,
  call: Pick<ModelCall, 'model' | 'provider'>,
  error_type?: string,
): Attributes => ({
  'gen_ai.operation.name': 'chat',
  'gen_ai.provider.name': call.provider,
  'gen_ai.request.model': call.model,
  'gen_ai.agent.name': agentName(run, sessionOf(step, run.session_key)),
  'error.type': error_type,
});

const unknownModelLabels = (step: Step, run: Run): Attributes =>
  modelLabels(step, run, { model: UNKNOWN, provider: UNKNOWN });

function measureUsage(step: Step, { usage }: ModelCall, labels: Attributes): void {
  if (usage === undefined || !step.options.measurements) return;
  measure(step, `${USAGE}.input_tokens`, usage.input_tokens, labels);
  measure(step, `${USAGE}.output_tokens`, usage.output_tokens, labels);
  measure(step, `${USAGE}.cache_read.input_tokens`, usage.cache_read_tokens, labels);
  measure(step, `${USAGE}.cache_write.input_tokens`, usage.cache_write_tokens, labels);
  measure(step, 'openclaw.cost', usage.cost_usd, labels);
}

function measureReasoning(step: Step, tokens: number | undefined, labels: Attributes): void {
  measure(step, `${USAGE}.reasoning.output_tokens`, tokens, labels);
}

/** A call whose reasoning is known, or that failed, is final; another is held for it, and shown meanwhile. */
function finishOrHold(step: Step, run: Run, span: SpanRecord, call: ModelCall): void {
  const labels = modelLabels(step, run, call);
  const end_ms = span.end_ms ?? span.start_ms;
  run.is_reasoned = call.reasoning.tokens !== undefined;
  measureUsage(step, call, labels);
  if (step.options.measurements)
    measure(
      step,
      'gen_ai.client.inference.duration',
      seconds(span.start_ms, end_ms),
      // What is measured under the same object is looked up once.
      span.error === undefined ? labels : modelLabels(step, run, call, span.error.type),
    );
  if (call.reasoning.tokens !== undefined || call.usage === undefined) {
    measureReasoning(step, call.reasoning.tokens, labels);
    emitSpan(step, span);
    return;
  }
  emitPreview(step, () => span);
  const due_ms = step.now_ms + step.options.limits.chat_hold_ms;
  const held: HeldChat = { span, metric_attributes: labels, due_ms };
  run.chats = CHATS.add(run.chats, held);
  wakeBy(step.state.waking, run, due_ms);
}

function addUp({ options }: Step, to: Reasoning, { tokens, text, duration_ms }: Reasoning): void {
  if (tokens !== undefined) to.tokens = (to.tokens ?? 0) + tokens;
  if (duration_ms !== undefined) to.duration_ms = (to.duration_ms ?? 0) + duration_ms;
  // A secret may be told in two pieces, of which neither looks like one.
  if (text !== undefined) to.text = cutUtf8(redact(`${to.text ?? ''}${text}`), options.content_max_bytes);
}

function addReasoning(step: Step, to: Reasoning, event: EventOf<'llm.reasoning'>): void {
  const { content, content_max_bytes } = step.options;
  const text = content ? prepareContent(event.text, content_max_bytes)?.text : undefined;
  addUp(step, to, { tokens: event.reasoning_tokens, text, duration_ms: event.duration_ms });
}

function completeChat(step: Step, run: Run, chat: HeldChat, event: EventOf<'llm.reasoning'>): void {
  const reasoning: Reasoning = {};
  addReasoning(step, reasoning, event);
  chat.span = { ...chat.span, attributes: withReasoning(chat.span.attributes, reasoning) };
  if (reasoning.tokens === undefined) return;
  run.chats = CHATS.remove(run.chats, chat.span.span_id);
  run.is_reasoned = true;
  measureReasoning(step, reasoning.tokens, chat.metric_attributes);
  emitSpan(step, chat.span);
}

/** Reasoning for a call that is not known yet: kept until its tokens come. */
function keepEarlyReasoning(
  step: Step,
  run: Run,
  response_id: string,
  event: EventOf<'llm.reasoning'>,
): void {
  const aside = asideOf(run);
  const known = EARLY_REASONING.find(aside.reasoning, response_id);
  if (known === undefined && countOf(aside.reasoning) >= MAX_EARLY_REASONING)
    return giveUp(step, 'early_reasoning');
  const early: EarlyReasoning = known ?? { response_id };
  addReasoning(step, early, event);
  if (known === undefined) aside.reasoning = EARLY_REASONING.add(aside.reasoning, early);
}

function logReasoning(
  step: Step,
  run: Run,
  event: EventOf<'llm.reasoning'>,
  span_id: string,
  chat: HeldChat | undefined,
): void {
  emitLog(step, event, {
    run,
    span: { trace_id: run.trace_id, span_id },
    detail: identityOf(step, chat, span_id),
  });
}

export function onReasoning(step: Step, run: Run, event: EventOf<'llm.reasoning'>): void {
  const { response_id } = event;
  if (response_id === undefined) return onNamelessReasoning(step, run, event);
  const span_id = chatSpanId(run, response_id);
  const chat = CHATS.find(run.chats, span_id);
  logReasoning(step, run, event, span_id, chat);
  if (chat !== undefined) return completeChat(step, run, chat, event);
  if (hasEnded(step, span_id)) return completeLate(step, event, span_id);
  keepEarlyReasoning(step, run, response_id, event);
}

/** A run that has ended waits for its next call as long as for the message of a step. */
function holdNext(step: Step, run: Run): void {
  const next = EARLY_REASONING.find(run.aside.reasoning, NEXT_CALL);
  if (next === undefined || next.due_ms !== undefined) return;
  next.due_ms = step.now_ms + step.options.limits.chat_hold_ms;
  wakeBy(step.state.waking, run, next.due_ms);
}

/**
 * Reasoning that names no call is about the step that the run is in, else about the call that ended last; where none has, or where
 * the step has failed, about the one that comes next. Which span a step will be is not known before its call has ended: the record
 * is on the run.
 */
function onNamelessReasoning(step: Step, run: Run, event: EventOf<'llm.reasoning'>): void {
  const current = currentStep(run);
  const open = current === undefined || (current.failed_ms ?? Infinity) <= event.ts ? undefined : current;
  const isOfNext =
    open === undefined && (current !== undefined || (run.ended_calls.length === 0 && !run.is_reasoned));
  const isOfLast = open === undefined && !isOfNext && !run.is_reasoned;
  const chat = isOfLast ? listOf(run.chats).at(-1) : undefined;
  logReasoning(step, run, event, chat?.span.span_id ?? run.span_id, chat);
  if (open !== undefined) {
    open.reasoning ??= {};
    return addReasoning(step, open.reasoning, event);
  }
  if (isOfNext) {
    keepEarlyReasoning(step, run, NEXT_CALL, event);
    if (run.ended !== undefined) holdNext(step, run);
  }
  if (!isOfLast) return;
  if (chat !== undefined) return completeChat(step, run, chat, event);
  run.is_reasoned = event.reasoning_tokens !== undefined;
  measureReasoning(step, event.reasoning_tokens, unknownModelLabels(step, run));
}

/** The call's span was given out without its reasoning, which still counts, and completes it where spans are replaced. */
function completeLate(step: Step, event: EventOf<'llm.reasoning'>, span_id: string): void {
  const chat = getEntry(step.state.unreasoned, span_id);
  if (chat === undefined || event.reasoning_tokens === undefined) return;
  deleteEntry(step.state.unreasoned, span_id);
  const reasoning: Reasoning = {};
  addReasoning(step, reasoning, event);
  measureReasoning(step, reasoning.tokens, chat.metric_attributes);
  const attributes = withReasoning(chat.span.attributes, reasoning);
  step.out.corrections.push({ ...chat.span, attributes });
}

function endStep(step: Step, run: Run, open: OpenStep): void {
  const call: ModelCall = {
    model: open.model ?? UNKNOWN,
    provider: open.provider ?? UNKNOWN,
    reasoning: open.reasoning ?? {},
    late: false,
  };
  const span_id = chatSpanId(run, String(takeNumber(run, open)));
  run.call_count++;
  const end_ms = Math.max(open.start_ms, open.end_ms ?? run.ended?.end_ms ?? lastTold(run));
  finishOrHold(
    step,
    run,
    chatSpan(step, run, { span_id, start_ms: open.start_ms, end_ms, call, error: open.error }),
    call,
  );
}

function letGo(step: Step, run: Run, chat: HeldChat): void {
  const { span, metric_attributes } = chat;
  const { state, options } = step;
  setEntry(state.unreasoned, span.span_id, { span, metric_attributes }, options.limits.unreasoned_chats);
  emitSpan(step, chat.span);
  run.chats = CHATS.remove(run.chats, chat.span.span_id);
}

/** How soon a call that is waited for longer is looked at again. */
const LOOK_AGAIN_MS = 1_000;

/** Whether a call is waited for longer than it would be; it is looked at again then. */
function isAwaited(step: Step, chat: HeldChat, until_ms: number): boolean {
  const { now_ms, patient_until_ms, options } = step;
  const last_ms = Math.min(patient_until_ms, chat.due_ms + options.limits.chat_patience_ms);
  // At an end everything is given out.
  if (until_ms !== now_ms || now_ms >= last_ms) return false;
  chat.look_ms = now_ms + LOOK_AGAIN_MS;
  return true;
}

/** The call that its reasoning was told before never came. */
function expireNext(step: Step, run: Run, until_ms: number): void {
  const next = EARLY_REASONING.find(run.aside.reasoning, NEXT_CALL);
  if ((next?.due_ms ?? Infinity) > until_ms) return;
  measureReasoning(step, takeEarly(run, NEXT_CALL)?.tokens, unknownModelLabels(step, run));
}

/** Gives out what has waited long enough: steps that no call ended, calls without reasoning. */
export function expireChats(step: Step, run: Run, until_ms: number): void {
  expireNext(step, run, until_ms);
  let last_ms = Math.max(...run.steps.map(({ due_ms = -Infinity }) => due_ms));
  for (const open of unmatchedSteps(run).filter((each) => (each.due_ms ?? Infinity) <= until_ms)) {
    removeStep(run, open);
    endStep(step, run, open);
  }
  for (const chat of listOf(run.chats)) {
    if (chat.due_ms > until_ms) break;
    if (isAwaited(step, chat, until_ms)) break;
    last_ms = Math.max(last_ms, chat.due_ms);
    letGo(step, run, chat);
  }
  const isWaiting = countOf(run.chats) > 0 || run.steps.some((open) => (open.due_ms ?? Infinity) > until_ms);
  if (run.ended === undefined || isWaiting) return;
  // A run that waited for none of its calls when it ended is told late, and its events may still be matched.
  if (until_ms === Infinity || last_ms > run.ended.arrival_ms) forgetCalls(run);
}

/** The run has ended: its steps wait for a last message, but a step that was announced and never made is dropped. */
export function endSteps(step: Step, run: Run, end: Pick<RunClosing, 'end_ms' | 'error'>): void {
  keepSteps(run, (open) => open.error !== undefined || !isPhantom(run, open.start_ms));
  for (const open of unmatchedSteps(run)) {
    if (!open.superseded && open.error === undefined && end.error !== undefined) open.error = end.error;
    open.superseded = true;
    open.end_ms ??= end.end_ms;
    if (open.due_ms === undefined) holdStep(step, run, open);
  }
  holdNext(step, run);
}

/** No more events come for this run: nothing is worth waiting for. */
export function flushChats(step: Step, run: Run): void {
  for (const open of run.steps) open.due_ms ??= step.now_ms;
  expireChats(step, run, Infinity);
  const { reasoning } = run.aside;
  if (countOf(reasoning) === 0) return;
  for (const { tokens } of listOf(reasoning)) {
    measureReasoning(step, tokens, unknownModelLabels(step, run));
  }
  asideOf(run).reasoning = none();
}
