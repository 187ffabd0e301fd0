/**
 * The spans of model calls, and their measurements. A call whose reasoning tokens are not known yet, or whose start may be
 * among events that are missing, is held for a while, with a preview meanwhile.
 */
import { setEntry } from '../capture/bounded.js';
import type { ErrorDetail } from '../model/event.js';
import type { Attributes, SpanRecord } from '../model/telemetry.js';
import { chatAttributes, chatLabels, type ModelCall } from './attributes.js';
import { spanError } from './content.js';
import { emitPreview, emitSpan, measure, seconds } from './emit.js';
import { measureReasoning } from './reasoning.js';
import { CHATS, type HeldChat, type OpenStep, type Run, rareFieldsOf } from './run-state.js';
import { isGapBefore } from './sequence-numbers.js';
import { sessionOf } from './sessions.js';
import { valuesOf } from './small-map.js';
import type { Context } from './state.js';
import { startOfNumbered } from './steps.js';
import { scheduleWake } from './wake-heap.js';

const USAGE = 'gen_ai.client.inference.usage';

interface ChatSpan {
  span_id: string;
  start_ms: number;
  end_ms: number;
  call: ModelCall;
  error: ErrorDetail | undefined;
}

export function chatSpan(context: Context, run: Run, chat: ChatSpan): SpanRecord {
  const { error } = chat;
  return {
    kind: 'chat',
    trace_id: run.trace_id,
    span_id: chat.span_id,
    parent_span_id: run.span_id,
    name: `chat ${chat.call.model}`,
    start_ms: chat.start_ms,
    end_ms: chat.end_ms,
    attributes: chatAttributes(run, sessionOf(context, run.session_key), chat.call),
    error: error && spanError(error),
    links: [],
    events: [],
    parent_agent_id: run.descent?.parent_agent_id,
    is_continuation: undefined,
  };
}

function measureUsage(context: Context, { usage }: ModelCall, labels: Attributes): void {
  if (usage === undefined || !context.options.measurements) return;
  measure(context, `${USAGE}.input_tokens`, usage.input_tokens, labels);
  measure(context, `${USAGE}.output_tokens`, usage.output_tokens, labels);
  measure(context, `${USAGE}.cache_read.input_tokens`, usage.cache_read_tokens, labels);
  measure(context, `${USAGE}.cache_write.input_tokens`, usage.cache_write_tokens, labels);
  measure(context, 'openclaw.cost', usage.cost_usd, labels);
}

function measureDuration(
  context: Context,
  { start_ms, end_ms, error }: SpanRecord,
  labels: Attributes,
): void {
  if (!context.options.measurements) return;
  measure(
    context,
    'gen_ai.client.inference.duration',
    seconds(start_ms, end_ms ?? start_ms),
    // The same object is passed each time, so that its attributes are looked up once.
    error === undefined ? labels : { ...labels, 'error.type': error.type },
  );
}

/**
 * A call whose start and reasoning are known, or that has no usage, is final. Any other is held for its step or its reasoning,
 * with a preview meanwhile.
 */
export function emitOrHold(
  context: Context,
  run: Run,
  span: SpanRecord,
  call: ModelCall,
  awaits_step?: number,
): void {
  const labels = chatLabels(run, sessionOf(context, run.session_key), call);
  const is_reasoned = call.reasoning.tokens !== undefined || call.usage === undefined;
  run.is_reasoned = call.reasoning.tokens !== undefined;
  measureUsage(context, call, labels);
  if (awaits_step === undefined) measureDuration(context, span, labels);
  if (is_reasoned) measureReasoning(context, call.reasoning.tokens, labels);
  if (is_reasoned && awaits_step === undefined) return emitSpan(context, span);
  emitPreview(context, () => span);
  const due_ms = context.now_ms + context.options.limits.chat_hold_ms;
  const held: HeldChat = { span, metric_attributes: labels, due_ms, is_reasoned, awaits_step };
  run.chats = CHATS.add(run.chats, held);
  scheduleWake(context.state.waking, run, due_ms);
}

/** Begins a held call with the step that it is matched with by now, for which it waits no longer. */
function beginHeld(context: Context, run: Run, chat: HeldChat, seq: number): void {
  const start_ms = startOfNumbered(run, seq) ?? chat.span.start_ms;
  chat.span = { ...chat.span, start_ms };
  chat.awaits_step = undefined;
  measureDuration(context, chat.span, chat.metric_attributes);
}

/** Begins the held calls before which no event is missing any more. */
export function beginHeldCalls(context: Context, run: Run): void {
  for (const chat of valuesOf(run.chats)) {
    const { awaits_step: seq } = chat;
    if (seq === undefined || isGapBefore(run, seq)) continue;
    beginHeld(context, run, chat, seq);
    if (chat.is_reasoned) emitHeld(context, run, chat);
    else emitPreview(context, () => chat.span);
  }
}

function emitHeld(context: Context, run: Run, { span, metric_attributes, is_reasoned }: HeldChat): void {
  if (!is_reasoned) setEntry(context.state.unreasoned, span.span_id, { span, metric_attributes });
  emitSpan(context, span);
  run.chats = CHATS.remove(run.chats, span.span_id);
}

/** Emits a held call that has waited long enough. */
function giveUpHeld(context: Context, run: Run, chat: HeldChat): void {
  const { awaits_step: seq } = chat;
  if (seq !== undefined) {
    if (isGapBefore(run, seq)) rareFieldsOf(run).skips_numbers = true;
    beginHeld(context, run, chat, seq);
  }
  emitHeld(context, run, chat);
}

/** How often a call that is held beyond its deadline is checked again. */
const LOOK_AGAIN_MS = 1_000;

/** Whether a call is held beyond its deadline, as long as no source can be asked about it; sets when it is checked again. */
export function isAwaited(context: Context, held: HeldChat | OpenStep, until_ms: number): boolean {
  const { now_ms, patient_until_ms, options } = context;
  const last_ms = Math.min(patient_until_ms, (held.due_ms ?? now_ms) + options.limits.chat_patience_ms);
  // On a flush (`until_ms` is Infinity) nothing is held any longer.
  if (until_ms !== now_ms || now_ms >= last_ms) return false;
  held.look_ms = now_ms + LOOK_AGAIN_MS;
  return true;
}

/** When a call or a step is to be checked next; undefined if it is not held. */
export const nextLookMs = ({ look_ms, due_ms }: HeldChat | OpenStep): number | undefined => look_ms ?? due_ms;

/** Emits the held calls that have passed their deadline; the result is the latest of these deadlines. */
export function expireHeld(context: Context, run: Run, until_ms: number): number {
  let last_ms = -Infinity;
  for (const chat of valuesOf(run.chats)) {
    if (chat.due_ms > until_ms) break;
    if (!chat.is_reasoned && isAwaited(context, chat, until_ms)) continue;
    last_ms = Math.max(last_ms, chat.due_ms);
    giveUpHeld(context, run, chat);
  }
  return last_ms;
}
