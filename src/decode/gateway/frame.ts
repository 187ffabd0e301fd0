/**
 * The envelope of the gateway's WebSocket protocol, as recorded (`{"rx", "frame", "dir"?}` per line) or bare, and what the
 * frames about agents have in common.
 */
import { isObject, type Json, number, object, text } from '../../util/json.js';
import type { GatewayMemory } from './sessions.js';

export interface EventFrame {
  event: string;
  payload: Json;
  /** When the frame was received, epoch milliseconds. */
  arrival_ms: number;
  /** Something of the run that it belongs to could not be recovered after a gap. */
  is_gap: boolean;
  /** It was not pushed at the time of what it says. */
  is_rebuilt: boolean;
}

/** Reports that frames were missed. Those that could be recovered follow it, rebuilt. */
export interface MissedFrames {
  /** `connection_lost`, `bridge_restarted`, … */
  reason: string;
  /** Sessions that could not be recovered completely, or true if that applies to all. */
  unknown: unknown;
}

/** The gateway's answer to a call: rows of a session's history. */
export interface HistoryFrame {
  rows: Json[];
  arrival_ms: number;
}

/** What a line carries, or the reason why it carries nothing. */
export function openFrame(
  value: Json,
  arrival_ms: number,
): EventFrame | HistoryFrame | MissedFrames | { ignored: string } {
  if (isObject(value.missed)) {
    return { reason: text(value.missed.reason) ?? 'unknown', unknown: value.missed.unknown };
  }
  if (value.dir === 'out' || value.dir === 'close') return { ignored: `frame.${value.dir}` };
  const frame = isObject(value.frame) ? value.frame : value;
  const rows = frame.type === 'res' ? object(frame.payload).messages : undefined;
  if (Array.isArray(rows)) return { rows: rows.map(object), arrival_ms: number(value.rx) ?? arrival_ms };
  if (frame.type !== 'event') {
    return { ignored: frame.type === 'res' || frame.type === 'req' ? `frame.${frame.type}` : 'frame.other' };
  }
  return {
    event: text(frame.event) ?? 'unnamed',
    payload: object(frame.payload),
    arrival_ms: number(value.rx) ?? arrival_ms,
    is_gap: value.gap === true,
    is_rebuilt: value.rebuilt === true,
  };
}

/** Whether a line looks like one of this dialect. */
export const looksLikeFrame = (value: Json): boolean =>
  isObject(value.frame) ||
  isObject(value.missed) ||
  value.dir === 'close' ||
  value.type === 'event' ||
  value.type === 'res' ||
  value.type === 'req' ||
  (typeof value.method === 'string' && isObject(value.params));

/** The fields of an `agent` or `session.tool` payload. */
export interface AgentPayload {
  session_key: string;
  run_id: string;
  stream: string;
  phase: string;
  data: Json;
  ts: number;
  seq?: number;
  spawned_by?: string;
  agent_id?: string;
  is_heartbeat: boolean;
  is_gap: boolean;
  /** Protocol 4 names the agent on each event, and marks the last event of a run; protocol 3 does neither. */
  protocol: 3 | 4;
}

/** Reads an agent payload; undefined if it lacks what every event needs. */
export function readAgentPayload(
  { payload, arrival_ms, is_gap }: EventFrame,
  { owners }: Pick<GatewayMemory, 'owners'>,
): AgentPayload | undefined {
  const run_id = text(payload.runId);
  const session_key = text(payload.sessionKey) ?? owners.get(run_id ?? '');
  if (session_key === undefined || run_id === undefined) return undefined;
  const data = object(payload.data);
  const seq = number(payload.seq);
  const spawned_by = text(payload.spawnedBy);
  const agent_id = text(payload.agentId);
  return {
    session_key,
    run_id,
    stream: text(payload.stream) ?? '',
    phase: text(data.phase) ?? '',
    data,
    ts: number(payload.ts) ?? arrival_ms,
    ...(seq === undefined ? {} : { seq }),
    ...(spawned_by === undefined ? {} : { spawned_by }),
    ...(agent_id === undefined ? {} : { agent_id }),
    is_heartbeat: payload.isHeartbeat === true,
    is_gap,
    protocol: agent_id === undefined ? 3 : 4,
  };
}
