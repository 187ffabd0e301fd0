/**
 * Ids of calls that are unique within their run. Some models give calls of one run the same id, one after the other: later ones
 * get their number added. Which call a frame is about follows from its time.
 */
import { text } from '../../util/json.js';
import { numbered } from '../call-number.js';
import type { AgentPayload } from './frame.js';
import { callKey, type GatewayMemory, type RunIdentity } from './sessions.js';

/**
 * Whether the frame starts another call under the id of one that has ended. A frame without a sequence number is rebuilt: its
 * time is not exact, so it may be the start of the call that has ended.
 */
const isReused = ({ phase, seq, ts }: AgentPayload, ended_ms = Infinity): boolean =>
  phase === 'start' && seq !== undefined && ts > ended_ms;

/** The id of the call that a frame of the `tool` stream is about; undefined if it has none, or repeats an earlier call. */
export function callIdOf(payload: AgentPayload, memory: GatewayMemory): string | undefined {
  const { ts, phase } = payload;
  const call_id = text(payload.data.toolCallId);
  if (call_id === undefined) return undefined;
  const key = callKey(payload, call_id);
  let call = memory.calls.get(key) ?? { count: 1, started_ms: undefined, ended_ms: undefined };
  if (isReused(payload, call.ended_ms)) {
    call = { count: call.count + 1, started_ms: ts, ended_ms: undefined };
    memory.calls.set(key, call);
  }
  if (ts < (call.started_ms ?? ts)) return undefined;
  if (phase === 'result' && call.ended_ms === undefined) memory.calls.set(key, { ...call, ended_ms: ts });
  return numbered(call_id, call.count);
}

/** The id of the latest call of the run that was given this id. */
export const latestCallId = (run: RunIdentity, call_id: string, memory: GatewayMemory): string =>
  numbered(call_id, memory.calls.get(callKey(run, call_id))?.count ?? 1);
