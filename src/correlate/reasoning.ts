/**
 * Reasoning of model calls: `llm.reasoning` arrives before its call's tokens, while the call is held for it, or after its span
 * was emitted. It is counted once, and never added to output tokens.
 */
import { deleteEntry, getEntry } from '../capture/bounded.js';
import type { EventOf } from '../model/event.js';
import type { Attributes } from '../model/telemetry.js';
import { chatLabels, chatLogIdentity, UNKNOWN, withReasoning } from './attributes.js';
import { prepareContent, redactedHead } from './content.js';
import { emitLog, emitSpan, hasEnded, measure } from './emit.js';
import { chatSpanId } from './ids.js';
import {
  CHATS,
  EARLY_REASONING,
  type EarlyReasoning,
  type EndedChat,
  type HeldChat,
  type OpenStep,
  type Reasoning,
  type Run,
  rareFieldsOf,
} from './run-state.js';
import { sessionOf } from './sessions.js';
import { emptyMap, sizeOf, valuesOf } from './small-map.js';
import { type Context, countGivenUp } from './state.js';
import { currentStep } from './steps.js';
import { scheduleWake } from './wake-heap.js';

/** Stands for the response id of the next call: no response has an empty id. */
const NEXT_CALL = '';

/** Responses of one run whose reasoning is remembered before their tokens arrive. */
const MAX_EARLY_REASONING = 100;

/** Provider and model of a call that has ended, if it is still held or remembered. */
export function endedChatIdentity(
  context: Context,
  held: HeldChat | undefined,
  span_id: string,
): Attributes | undefined {
  const chat: EndedChat | undefined = held ?? getEntry(context.state.unreasoned, span_id);
  const { attributes } = chat?.span ?? {};
  return (
    attributes && chatLogIdentity(attributes['gen_ai.provider.name'], attributes['gen_ai.request.model'])
  );
}

function takeEarly(run: Run, response_id: string): EarlyReasoning | undefined {
  const early = EARLY_REASONING.find(run.rare.reasoning, response_id);
  if (early === undefined) return undefined;
  const rare = rareFieldsOf(run);
  rare.reasoning = EARLY_REASONING.remove(rare.reasoning, response_id);
  return early;
}

/** Adds the reasoning reported under a response id, before the call's tokens, to the call. */
function addEarly(context: Context, run: Run, call: Pick<OpenStep, 'reasoning'>, response_id: string): void {
  const early = takeEarly(run, response_id);
  if (early === undefined) return;
  call.reasoning ??= {};
  addUp(context, call.reasoning, early);
}

/** Adds the reasoning reported for the next call to this one. */
export const takeNextReasoning = (context: Context, run: Run, call: Pick<OpenStep, 'reasoning'>): void =>
  addEarly(context, run, call, NEXT_CALL);

/** All the reasoning reported before the call's tokens: that of its step or of the next call, and that under the call's id. */
export function takeReasoning(
  context: Context,
  run: Run,
  event: EventOf<'llm.tokens'>,
  step: OpenStep | undefined,
): Reasoning {
  const call: Pick<OpenStep, 'reasoning'> = { reasoning: step?.reasoning };
  if (step !== undefined) step.reasoning = undefined;
  takeNextReasoning(context, run, call);
  const call_id = event.response_id ?? event.message_id;
  if (call_id !== undefined) addEarly(context, run, call, call_id);
  const { tokens, text, size_bytes, duration_ms } = call.reasoning ?? {};
  return { tokens: event.reasoning_tokens ?? tokens, text, size_bytes, duration_ms };
}

const unknownModelLabels = (context: Context, run: Run): Attributes =>
  chatLabels(run, sessionOf(context, run.session_key), { model: UNKNOWN, provider: UNKNOWN });

export function measureReasoning(context: Context, tokens: number | undefined, labels: Attributes): void {
  measure(context, 'gen_ai.client.inference.usage.reasoning.output_tokens', tokens, labels);
}

function addUp({ options }: Context, to: Reasoning, more: Reasoning): void {
  const { tokens, text, size_bytes, duration_ms } = more;
  if (tokens !== undefined) to.tokens = (to.tokens ?? 0) + tokens;
  if (duration_ms !== undefined) to.duration_ms = (to.duration_ms ?? 0) + duration_ms;
  if (size_bytes !== undefined) to.size_bytes = (to.size_bytes ?? 0) + size_bytes;
  // A secret may be split over two pieces, neither of which looks like one: redact the joined text.
  if (text !== undefined) to.text = redactedHead(`${to.text ?? ''}${text}`, options.content_max_bytes);
}

function addReasoning(context: Context, to: Reasoning, event: EventOf<'llm.reasoning'>): void {
  const { content, content_max_bytes } = context.options;
  const prepared = content ? prepareContent(event.text, content_max_bytes) : undefined;
  addUp(context, to, { tokens: event.reasoning_tokens, ...prepared, duration_ms: event.duration_ms });
}

function completeChat(context: Context, run: Run, chat: HeldChat, event: EventOf<'llm.reasoning'>): void {
  const reasoning: Reasoning = {};
  addReasoning(context, reasoning, event);
  // Tokens that the call itself has stated count, whatever is said of them besides.
  if (chat.is_reasoned) reasoning.tokens = undefined;
  chat.span = { ...chat.span, attributes: withReasoning(chat.span.attributes, reasoning) };
  if (reasoning.tokens === undefined) return;
  run.is_reasoned = true;
  chat.is_reasoned = true;
  measureReasoning(context, reasoning.tokens, chat.metric_attributes);
  if (chat.awaits_step !== undefined) return;
  run.chats = CHATS.remove(run.chats, chat.span.span_id);
  emitSpan(context, chat.span);
}

/** Stores reasoning for a call that is not known yet, until its tokens arrive. */
function keepEarlyReasoning(
  context: Context,
  run: Run,
  response_id: string,
  event: EventOf<'llm.reasoning'>,
): void {
  const rare = rareFieldsOf(run);
  const known = EARLY_REASONING.find(rare.reasoning, response_id);
  if (known === undefined && sizeOf(rare.reasoning) >= MAX_EARLY_REASONING)
    return countGivenUp(context, 'early_reasoning');
  const early: EarlyReasoning = known ?? { response_id };
  addReasoning(context, early, event);
  if (known === undefined) rare.reasoning = EARLY_REASONING.add(rare.reasoning, early);
}

function logReasoning(
  context: Context,
  run: Run,
  event: EventOf<'llm.reasoning'>,
  span_id: string,
  chat: HeldChat | undefined,
): void {
  emitLog(context, event, {
    run,
    span: { trace_id: run.trace_id, span_id },
    detail: endedChatIdentity(context, chat, span_id),
  });
}

export function onReasoning(context: Context, run: Run, event: EventOf<'llm.reasoning'>): void {
  const { response_id } = event;
  if (response_id === undefined) return onNamelessReasoning(context, run, event);
  const span_id = chatSpanId(run, response_id);
  const chat = CHATS.find(run.chats, span_id);
  logReasoning(context, run, event, span_id, chat);
  if (chat !== undefined) return completeChat(context, run, chat, event);
  if (hasEnded(context, span_id)) return completeLate(context, event, span_id);
  keepEarlyReasoning(context, run, response_id, event);
}

/** Once a run has ended, its next call is awaited as long as the message of a step. */
export function holdNextReasoning(context: Context, run: Run): void {
  const next = EARLY_REASONING.find(run.rare.reasoning, NEXT_CALL);
  if (next === undefined || next.due_ms !== undefined) return;
  next.due_ms = context.now_ms + context.options.limits.chat_hold_ms;
  scheduleWake(context.state.waking, run, next.due_ms);
}

/**
 * Reasoning that names no call is about the run's current step, else about the call that ended last; if there is neither, or
 * the step has failed, about the next call. The span of a step is not known before its call has ended, so the log record is on
 * the run.
 */
function onNamelessReasoning(context: Context, run: Run, event: EventOf<'llm.reasoning'>): void {
  const current = currentStep(run);
  const step = current === undefined || (current.failed_ms ?? Infinity) <= event.ts ? undefined : current;
  const isOfNext =
    step === undefined && (current !== undefined || (run.ended_calls.length === 0 && !run.is_reasoned));
  const isOfLast = step === undefined && !isOfNext && !run.is_reasoned;
  const chat = isOfLast ? valuesOf(run.chats).at(-1) : undefined;
  logReasoning(context, run, event, chat?.span.span_id ?? run.span_id, chat);
  if (step !== undefined) {
    step.reasoning ??= {};
    return addReasoning(context, step.reasoning, event);
  }
  if (isOfNext) {
    keepEarlyReasoning(context, run, NEXT_CALL, event);
    if (run.ended !== undefined) holdNextReasoning(context, run);
  }
  if (!isOfLast) return;
  if (chat !== undefined) return completeChat(context, run, chat, event);
  run.is_reasoned = event.reasoning_tokens !== undefined;
  measureReasoning(context, event.reasoning_tokens, unknownModelLabels(context, run));
}

/**
 * The call's span was emitted without its reasoning, which is still counted, and sent as a correction for destinations that
 * replace spans.
 */
function completeLate(context: Context, event: EventOf<'llm.reasoning'>, span_id: string): void {
  const chat = getEntry(context.state.unreasoned, span_id);
  if (chat === undefined || event.reasoning_tokens === undefined) return;
  deleteEntry(context.state.unreasoned, span_id);
  const reasoning: Reasoning = {};
  addReasoning(context, reasoning, event);
  measureReasoning(context, reasoning.tokens, chat.metric_attributes);
  const attributes = withReasoning(chat.span.attributes, reasoning);
  context.out.corrections.push({ ...chat.span, attributes });
}

/** The next call, for which reasoning was reported, never came: counts the reasoning under model `unknown`. */
export function expireNextReasoning(context: Context, run: Run, until_ms: number): void {
  const next = EARLY_REASONING.find(run.rare.reasoning, NEXT_CALL);
  if ((next?.due_ms ?? Infinity) > until_ms) return;
  measureReasoning(context, takeEarly(run, NEXT_CALL)?.tokens, unknownModelLabels(context, run));
}

/** No more events of this run will arrive: counts the reasoning of calls that never came. */
export function flushReasoning(context: Context, run: Run): void {
  const { reasoning } = run.rare;
  if (sizeOf(reasoning) === 0) return;
  for (const { tokens } of valuesOf(reasoning)) {
    measureReasoning(context, tokens, unknownModelLabels(context, run));
  }
  rareFieldsOf(run).reasoning = emptyMap();
}
