/**
 * An assistant message as OpenClaw stores it: one message is one model call, with its usage, cost and times. The gateway pushes
 * messages, and transcript files have them, in the same form.
 */
import { runOfInput } from '../model/input.js';
import { blockText, type Json, number, object, text } from '../util/json.js';

/** The provider of messages that the gateway writes itself, for example after an abort: no model was called. */
const GATEWAY_PROVIDER = 'openclaw';

export interface MessageContext {
  message_id: string | undefined;
  /** When the call ended, epoch milliseconds. */
  ended_at: number;
  /** When the model was asked, as far as other entries or frames tell, epoch milliseconds. */
  asked_at: number | undefined;
}

/** The APIs whose messages OpenClaw dates when the answer is complete, others when it asks the model. */
const DATED_AT_END: ReadonlySet<unknown> = new Set(['ollama', 'cli']);

const startOf = (message: Json, asked_at: number | undefined): number | undefined =>
  DATED_AT_END.has(message.api) ? asked_at : number(message.timestamp);

function isEmptyAfterYield(message: Json): boolean {
  const usage = object(message.usage);
  return (
    message.stopReason === 'aborted' &&
    !usage.input &&
    !usage.output &&
    text(message.responseId) === undefined &&
    blockText(message.content) === undefined &&
    text(message.errorMessage) !== 'Request was aborted.'
  );
}

/**
 * Whether the message is a prompt from another agent or a schedule, which is stored as a user's message but pushed as one of
 * the assistant: it names the run that it starts, or else its sender and no model.
 */
function isForwarded(message: Json): boolean {
  if (runOfInput(message) !== undefined) return true;
  const { provenance, provider, model, usage } = message;
  return provenance !== undefined && provider === undefined && model === undefined && usage === undefined;
}

/** Why the message that OpenClaw stores after a yield is not a model call. */
export const EMPTY_AFTER_YIELD = 'message.empty_after_yield';

/** Why a message is not a model call, or undefined if it is one. */
export function noModelCall(message: Json): string | undefined {
  if (message.role !== 'assistant') return `message.${text(message.role)?.slice(0, 20) ?? 'no_role'}`;
  if (isForwarded(message)) return 'message.forwarded';
  if (message.provider === GATEWAY_PROVIDER) return 'message.gateway_injected';
  return isEmptyAfterYield(message) ? EMPTY_AFTER_YIELD : undefined;
}

function errorOf(message: Json): Json | undefined {
  const reason = text(message.stopReason);
  if (reason !== 'error' && reason !== 'aborted') return undefined;
  const isAborted = reason === 'aborted';
  // What the model has written by then is its answer, not an error message.
  const detail =
    text(message.errorMessage) ?? (isAborted ? 'the model call was aborted' : 'the model call failed');
  return { type: isAborted ? 'cancelled' : 'error', message: detail };
}

/**
 * The catalog events of one assistant message: its reasoning text first, so that it is known when the call ends, then its
 * tokens. OpenClaw counts cached input separately from `input`; the catalog's `input_tokens` includes it.
 */
export function modelCallEvents(message: Json, { message_id, ended_at, asked_at }: MessageContext): Json[] {
  const usage = object(message.usage);
  const cached = number(usage.cacheRead) ?? 0;
  const written = number(usage.cacheWrite) ?? 0;
  const response_id = text(message.responseId);
  const call_id = response_id ?? message_id;
  const reasoning = blockText(message.content, 'thinking');
  const error = errorOf(message);
  const tokens: Json = {
    type: 'llm.tokens',
    ts: ended_at,
    model: text(message.model) ?? 'unknown',
    provider: text(message.provider) ?? 'unknown',
    input_tokens: (number(usage.input) ?? 0) + cached + written,
    output_tokens: number(usage.output) ?? 0,
    cache_read_tokens: number(usage.cacheRead),
    cache_write_tokens: number(usage.cacheWrite),
    reasoning_tokens: number(usage.reasoningTokens),
    cost_usd: number(object(usage.cost).total),
    response_id,
    message_id,
    started_at: startOf(message, asked_at),
    ended_at,
    finish_reason: text(message.stopReason),
    error,
  };
  if (reasoning === undefined || call_id === undefined) return [tokens];
  return [{ type: 'llm.reasoning', ts: ended_at, text: reasoning, response_id: call_id }, tokens];
}
