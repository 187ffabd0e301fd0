/**
 * Rows of a session's history, as `sessions.get` returns them: the only place where the gateway reports how many reasoning
 * tokens a model call used. The calls themselves come as events, so nothing else is taken from here.
 */
import { type Json, number, object, text } from '../../util/json.js';
import type { Candidate } from '../decoder.js';
import type { HistoryFrame } from './frame.js';
import { callKey, type GatewayMemory } from './sessions.js';

/** Only for calls that came as events: the reasoning of any other call would be counted on its own. */
function reasoningOf(row: Json, arrival_ms: number, memory: GatewayMemory): Candidate[] {
  const own = object(row.__openclaw);
  const message_id = text(own.id);
  const reasoning_tokens = number(object(row.usage).reasoningTokens);
  const run = message_id === undefined ? undefined : memory.messages.get(message_id);
  if (run === undefined || message_id === undefined || reasoning_tokens === undefined) return [];
  const { session_key, run_id } = run;
  const given_id = text(row.responseId) ?? message_id;
  const first = memory.responses.get(callKey(run, given_id)) ?? message_id;
  return [
    {
      type: 'llm.reasoning',
      ts: number(own.recordTimestampMs) ?? arrival_ms,
      session_key,
      run_id,
      session_id: memory.session(session_key).session_id,
      response_id: first === message_id ? given_id : message_id,
      reasoning_tokens,
      event_id: `${run_id}:${message_id}:reasoning_tokens`,
    },
  ];
}

export const decodeHistory = ({ rows, arrival_ms }: HistoryFrame, memory: GatewayMemory): Candidate[] =>
  rows.flatMap((row) => reasoningOf(row, arrival_ms, memory));
