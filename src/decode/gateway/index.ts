/**
 * The dialect `gateway`: turns frames of OpenClaw's WebSocket, protocols 3 and 4, into catalog events. The decoder keeps a
 * bounded memory of sessions, because catalog events state in full what the frames state in parts.
 */

import { agentOfSession } from '../../model/session-key.js';
import { type Json, list, text } from '../../util/json.js';
import { checkEvents, type Decoded, type Decoder, type DecoderMemory, ignore, reject } from '../decoder.js';
import {
  type AgentPayload,
  type EventFrame,
  type HistoryFrame,
  type MissedFrames,
  openFrame,
  readAgentPayload,
} from './frame.js';
import { decodeHistory } from './history.js';
import { decodeLifecycle, decodeReport } from './lifecycle.js';
import { decodeMessage, decodeTask, rememberJob, rememberSession } from './messages.js';
import { createGatewayMemory, type GatewayMemory, runKey } from './sessions.js';
import { decodeTool, decodeToolProgress } from './tools.js';

export { looksLikeFrame } from './frame.js';

function decodeStream(payload: AgentPayload, memory: GatewayMemory): Json[] | undefined {
  switch (payload.stream) {
    case 'lifecycle':
      return decodeLifecycle(payload, memory);
    case 'tool':
      return decodeTool(payload, memory);
    case 'item':
    case 'command_output':
      return decodeToolProgress(payload, memory);
    default:
      return undefined;
  }
}

const END_OF_CALL: ReadonlySet<unknown> = new Set(['tool.output', 'tool.error']);

/**
 * Identifies an event within its run. A run and a call begin and end once, however often that is reported: a retry starts its
 * run again, an abort reports an end before the end, and a rebuilt frame has no sequence number. So these events are identified
 * by what they are about. All others are identified by the run's own sequence number, so that the same frame, seen twice, gives
 * the same event. In protocol 3 a start after an end shows that the run goes on, so it is an event of its own.
 */
function idInRun(candidate: Json, { seq }: AgentPayload, isRetried: boolean): unknown {
  const { type, call_id, partial, status, settled, label, may_continue, ts } = candidate;
  if (type === 'agent.started') return isRetried ? `${type}\u0000${ts}` : type;
  // After an end, protocol 3 numbers the events of a run from 1 again.
  if (may_continue === true) return `${type}\u0000${ts}`;
  if (type === 'agent.finished') return settled === false ? `${type}\u0000${status}` : type;
  if (type === 'tool.call') return `${type}\u0000${call_id}`;
  // A spawn event with a label or a call says more than one without: it is a different event.
  if (type === 'subagent.spawned') return `${type}\u0000${call_id ?? ''}\u0000${label ?? ''}`;
  if (END_OF_CALL.has(type) && partial !== true) return `end\u0000${call_id}`;
  return seq === undefined ? undefined : `${type}\u0000${seq}`;
}

function eventId(candidate: Json, payload: AgentPayload, { owners }: GatewayMemory): string | undefined {
  const id = idInRun(candidate, payload, owners.get(payload.run_id) === payload.session_key);
  return id === undefined ? undefined : `${runKey(payload)}\u0000${id}`;
}

/** Adds what all events of an agent frame share. */
function withCommon(candidate: Json, payload: AgentPayload, memory: GatewayMemory): Json {
  const session_key = candidate.session_key ?? payload.session_key;
  const session = memory.session(String(session_key));
  const common = {
    ts: payload.ts,
    session_key,
    run_id: payload.run_id,
    session_id: session.session_id,
    agent_id:
      agentOfSession(String(session_key)) ??
      (session_key === payload.session_key ? payload.agent_id : undefined),
    channel: session.channel,
    event_id: eventId(candidate, payload, memory),
    gap: payload.is_gap || session.gap_run_id === payload.run_id ? true : undefined,
  };
  return { ...common, ...candidate };
}

/**
 * Remembers the session's first run at the first event of it, in case its start was not seen; later runs are remembered when
 * they start.
 */
function rememberRun({ session_key, run_id }: AgentPayload, memory: GatewayMemory): void {
  if (memory.session(session_key).run_id === undefined) memory.update(session_key, { run_id });
}

/** A run's events are numbered from 1. It may be prepared, or ended, before it starts. */
function rememberFirst(payload: AgentPayload, memory: GatewayMemory): void {
  if (payload.seq === 1) memory.unstarted.set(runKey(payload), payload.ts);
}

function decodeAgentFrame(frame: EventFrame, memory: GatewayMemory): Decoded {
  const payload = readAgentPayload(frame, memory);
  if (payload === undefined) {
    return text(frame.payload.runId) === undefined
      ? reject('invalid_frame', 'frame.payload', 'an agent event needs a runId')
      : ignore('agent.without_session');
  }
  rememberSession(frame.payload, memory);
  rememberRun(payload, memory);
  rememberFirst(payload, memory);
  const candidates = decodeStream(payload, memory);
  if (candidates === undefined) return ignore(`agent.${payload.stream.slice(0, 30)}`);
  return checkEvents(
    candidates.map((candidate) => withCommon(candidate, payload, memory)),
    'frame.payload',
  );
}

function decodeSessionFrame(frame: EventFrame, memory: GatewayMemory): Decoded {
  rememberSession(frame.payload, memory);
  const payload = readAgentPayload(frame, memory);
  const candidates = payload?.protocol === 3 ? decodeReport(payload, frame, memory) : [];
  if (payload === undefined || candidates.length === 0) return ignore('frame.sessions.changed');
  return checkEvents(
    candidates.map((candidate) => withCommon(candidate, payload, memory)),
    'frame.payload',
  );
}

function decodeMessageFrame(frame: EventFrame, memory: GatewayMemory): Decoded {
  const session = rememberSession(frame.payload, memory);
  const candidates = decodeMessage(frame, memory);
  if (typeof candidates === 'string') return ignore(candidates);
  return checkEvents(
    candidates.map((candidate) => ({ session_id: session?.session_id, ...candidate })),
    'frame.payload.message',
  );
}

function decodeHistoryFrame(frame: HistoryFrame, memory: GatewayMemory): Decoded {
  const candidates = decodeHistory(frame, memory);
  return candidates.length === 0 ? ignore('frame.res') : checkEvents(candidates, 'frame.payload.messages');
}

/** Marks the runs that were open while frames were missed, in the sessions that could not be recovered completely. */
function markMissed({ reason, unknown }: MissedFrames, memory: GatewayMemory): Decoded {
  const marked = unknown === true ? memory.sessions.entries().map(([key]) => key) : list(unknown).map(String);
  for (const key of marked) {
    const { run_id } = memory.session(key);
    if (run_id !== undefined) memory.update(key, { gap_run_id: run_id });
  }
  // What has not started may have been seen to start in the missed frames.
  for (const [key] of memory.unstarted.entries()) memory.unstarted.delete(key);
  return ignore(`missed.${reason.slice(0, 40)}`);
}

function decodeFrame(frame: EventFrame, memory: GatewayMemory): Decoded {
  switch (frame.event) {
    case 'agent':
    case 'session.tool':
      return decodeAgentFrame(frame, memory);
    case 'session.message':
      return decodeMessageFrame(frame, memory);
    case 'sessions.changed':
      return decodeSessionFrame(frame, memory);
    case 'cron':
      rememberJob(frame.payload, memory);
      return ignore('frame.cron');
    case 'task': {
      const candidates = decodeTask(frame, memory);
      return candidates === undefined ? ignore('frame.task') : checkEvents(candidates, 'frame.payload.task');
    }
    default:
      return ignore(`frame.${frame.event.slice(0, 40)}`);
  }
}

function memoryOf(memory: GatewayMemory): DecoderMemory {
  const { sessions, labels, calls, commands, heldEnds, failures, reported, owners } = memory;
  const { inputs, resumes, jobs, unstarted, messages, responses } = memory;
  const ofRuns = { failures, reported, owners, inputs, resumes, jobs, unstarted };
  const all = { sessions, labels, calls, commands, heldEnds, messages, responses, ...ofRuns };
  return { maps: Object.fromEntries(Object.entries(all).map(([name, { map }]) => [name, map])) };
}

export function createGatewayDecoder(): Decoder {
  const memory = createGatewayMemory();
  return {
    decode(value, arrival_ms) {
      const frame = openFrame(value, arrival_ms);
      if ('ignored' in frame) return ignore(frame.ignored);
      if ('reason' in frame) return markMissed(frame, memory);
      return 'rows' in frame ? decodeHistoryFrame(frame, memory) : decodeFrame(frame, memory);
    },
    end() {
      const held = memory.heldEnds.entries().map(([, { event }]) => event);
      return checkEvents(held, 'frame.payload').events;
    },
    memory: memoryOf(memory),
  };
}
