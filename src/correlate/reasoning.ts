/**
 * Reasoning of model calls: `llm.reasoning` comes before its call's tokens, while the call waits for it, or after its span was given
 * out. It is counted once, and never added to output.
 */
import { deleteEntry, getEntry } from '../bounded.js';
import type { EventOf } from '../model/event.js';
import type { Attributes } from '../model/telemetry.js';
import { chatLabels, chatLogIdentity, UNKNOWN, withReasoning } from './attributes.js';
import { prepareContent, redactedHead } from './content.js';
import { emitLog, emitSpan, hasEnded, measure } from './emit.js';
import { countOf, listOf, none } from './few.js';
import { wakeBy } from './heap.js';
import { chatSpanId } from './ids.js';
import {
  asideOf,
  CHATS,
  EARLY_REASONING,
  type EarlyReasoning,
  type EndedChat,
  giveUp,
  type HeldChat,
  type OpenStep,
  type Reasoning,
  type Run,
  type Step,
  sessionOf,
} from './state.js';
import { currentStep } from './steps.js';

/** Stands for the response of the call that comes next: no response has an empty id. */
const NEXT_CALL = '';

/** Responses of one run whose reasoning is remembered before their tokens come. */
const MAX_EARLY_REASONING = 100;

/** What tells a call that has ended from others, as far as it is still at hand. */
export function endedChatIdentity(
  step: Step,
  held: HeldChat | undefined,
  span_id: string,
): Attributes | undefined {
  const chat: EndedChat | undefined = held ?? getEntry(step.state.unreasoned, span_id);
  const { attributes } = chat?.span ?? {};
  return (
    attributes && chatLogIdentity(attributes['gen_ai.provider.name'], attributes['gen_ai.request.model'])
  );
}

function takeEarly(run: Run, response_id: string): EarlyReasoning | undefined {
  const early = EARLY_REASONING.find(run.aside.reasoning, response_id);
  if (early === undefined) return undefined;
  const aside = asideOf(run);
  aside.reasoning = EARLY_REASONING.remove(aside.reasoning, response_id);
  return early;
}

/** What was said of the call that comes next is of this one. */
export function takeNextReasoning(step: Step, run: Run, call: Pick<OpenStep, 'reasoning'>): void {
  const next = takeEarly(run, NEXT_CALL);
  if (next === undefined) return;
  call.reasoning ??= {};
  addUp(step, call.reasoning, next);
}

/** What was said of the call's reasoning before its tokens came: by response, else by step or before any. */
export function takeReasoning(
  step: Step,
  run: Run,
  event: EventOf<'llm.tokens'>,
  open: OpenStep | undefined,
): Reasoning {
  const early = event.response_id === undefined ? undefined : takeEarly(run, event.response_id);
  const nameless: Pick<OpenStep, 'reasoning'> = { reasoning: open?.reasoning };
  takeNextReasoning(step, run, nameless);
  if (open !== undefined) open.reasoning = undefined;
  return {
    tokens: event.reasoning_tokens ?? early?.tokens ?? nameless.reasoning?.tokens,
    text: early?.text ?? nameless.reasoning?.text,
    duration_ms: early?.duration_ms ?? nameless.reasoning?.duration_ms,
  };
}

const unknownModelLabels = (step: Step, run: Run): Attributes =>
  chatLabels(run, sessionOf(step, run.session_key), { model: UNKNOWN, provider: UNKNOWN });

export function measureReasoning(step: Step, tokens: number | undefined, labels: Attributes): void {
  measure(step, 'gen_ai.client.inference.usage.reasoning.output_tokens', tokens, labels);
}

function addUp({ options }: Step, to: Reasoning, { tokens, text, duration_ms }: Reasoning): void {
  if (tokens !== undefined) to.tokens = (to.tokens ?? 0) + tokens;
  if (duration_ms !== undefined) to.duration_ms = (to.duration_ms ?? 0) + duration_ms;
  // A secret may be told in two pieces, of which neither looks like one.
  if (text !== undefined) to.text = redactedHead(`${to.text ?? ''}${text}`, options.content_max_bytes);
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
    detail: endedChatIdentity(step, chat, span_id),
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
export function holdNextReasoning(step: Step, run: Run): void {
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
    if (run.ended !== undefined) holdNextReasoning(step, run);
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

/** The call that its reasoning was told before never came. */
export function expireNextReasoning(step: Step, run: Run, until_ms: number): void {
  const next = EARLY_REASONING.find(run.aside.reasoning, NEXT_CALL);
  if ((next?.due_ms ?? Infinity) > until_ms) return;
  measureReasoning(step, takeEarly(run, NEXT_CALL)?.tokens, unknownModelLabels(step, run));
}

/** No more events come for this run: what was said of calls that never came is counted all the same. */
export function flushReasoning(step: Step, run: Run): void {
  const { reasoning } = run.aside;
  if (countOf(reasoning) === 0) return;
  for (const { tokens } of listOf(reasoning)) {
    measureReasoning(step, tokens, unknownModelLabels(step, run));
  }
  asideOf(run).reasoning = none();
}
