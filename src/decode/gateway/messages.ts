/**
 * `session.message`, `sessions.changed` and `task` frames: model calls, and what the frames show of sessions and sub-agents.
 */

import { runOfCliAnswer, runOfInput } from '../../model/input.js';
import { isMaskOf } from '../../model/masked.js';
import { agentOfSession } from '../../model/session-key.js';
import { blockText, type Json, number, object, text, withoutUndefined } from '../../util/json.js';
import type { Candidate } from '../decoder.js';
import { EMPTY_AFTER_YIELD, modelCallEvents, noModelCall } from '../message.js';
import type { EventFrame } from './frame.js';
import { releaseUnended } from './lifecycle.js';
import { callKey, type GatewayMemory, type RunIdentity, runKey, type SessionMemory } from './sessions.js';

/** Remembers from a session's row what other frames omit. */
export function rememberSession(payload: Json, memory: GatewayMemory): SessionMemory | undefined {
  const key = text(payload.sessionKey);
  if (key === undefined) return undefined;
  const row = object(payload.session);
  const first = (name: string): string | undefined => text(payload[name]) ?? text(row[name]);
  // A session that a user creates has a parent session too: its agent's main one.
  const spawned_by = first('spawnedBy');
  const fields = {
    session_id: first('sessionId'),
    channel: first('lastChannel') ?? text(object(payload.origin).provider),
    parent_session_key: spawned_by,
    label: (spawned_by ?? first('parentSessionKey')) === undefined ? undefined : first('label'),
  };
  return memory.update(key, withoutUndefined(fields));
}

const OWN_SESSION = 'session:';

/** Remembers which schedules are due. One that adds to its agent's main session is not: that run's prompt names it. */
export function rememberJob({ action, jobId, job }: Json, memory: GatewayMemory): void {
  const { sessionTarget, agentId } = object(job);
  const target = text(sessionTarget) ?? '';
  const key = target.startsWith(OWN_SESSION)
    ? `agent:${text(agentId)}:${target.slice(OWN_SESSION.length)}`
    : text(jobId);
  if (key === undefined) return;
  if (action === 'started') memory.jobs.set(key, true);
  else if (action === 'finished') memory.jobs.delete(key);
}

/** The `sourceTool` of the message with which the gateway continues a request that its restart interrupted. */
const RESTART_RECOVERY = 'main_session_restart_recovery';

/** Stores the input of a run until the run starts, and, after a restart of the gateway, which run it continues. */
function rememberInput(message: Json, session_key: string, memory: GatewayMemory): void {
  const run_id = runOfInput(message);
  if (run_id === undefined) return;
  const key = runKey({ session_key, run_id });
  const content = blockText(message.content);
  if (content !== undefined) memory.inputs.set(key, content);
  const isResumed = object(message.provenance).sourceTool === RESTART_RECOVERY;
  const { run_id: latest } = memory.session(session_key);
  if (isResumed && latest !== undefined && latest !== run_id) memory.resumes.set(key, latest);
}

/** Whether the model has stopped without an answer. */
const isUnanswered = ({ stopReason, content }: Json): boolean =>
  stopReason === 'stop' && text(blockText(content)?.trim()) === undefined;

/** The message, without its response id if another one of the run has the same: its own id identifies it then. */
function withOwnId(
  message: Json,
  message_id: string | undefined,
  run: RunIdentity,
  { responses }: GatewayMemory,
): Json {
  const response_id = text(message.responseId);
  if (response_id === undefined || message_id === undefined) return message;
  const key = callKey(run, response_id);
  const first = responses.get(key);
  if (first === undefined) responses.set(key, message_id);
  return (first ?? message_id) === message_id ? message : { ...message, responseId: undefined };
}

/** OpenClaw 2026.3 pushes no end of a run that is aborted: only the message of the call that was cut off says so. */
function cutOff({ stopReason }: Json, ts: number, run: RunIdentity, memory: GatewayMemory): Candidate[] {
  if (stopReason !== 'aborted' || memory.owners.get(run.run_id) !== undefined) return [];
  const end = {
    type: 'agent.finished',
    ts,
    status: 'cancelled',
    stop_reason: stopReason,
    may_continue: true,
  };
  return [...releaseUnended(run, memory), end];
}

/** When the model was asked: not what a later run of the session asked. */
const askedBefore = (
  ended_at: number,
  { asked_ms = Infinity }: Partial<SessionMemory> = {},
): number | undefined => (asked_ms <= ended_at ? asked_ms : undefined);

/**
 * The model call of a message, or the reason why there is none. In protocol 3 the message names no run, and belongs to its
 * session's latest.
 */
export function decodeMessage(
  { payload, arrival_ms, is_rebuilt }: EventFrame,
  memory: GatewayMemory,
): Candidate[] | string {
  const message = object(payload.message);
  const session_key = text(payload.sessionKey);
  const session = session_key === undefined ? undefined : memory.session(session_key);
  if (session_key !== undefined) rememberInput(message, session_key, memory);
  const own = object(message.__openclaw);
  const ended_at = number(own.recordTimestampMs) ?? arrival_ms;
  const unused = noModelCall(message);
  if (unused === EMPTY_AFTER_YIELD && session_key !== undefined)
    memory.update(session_key, { yielded_ms: ended_at });
  if (unused !== undefined) return unused;
  const latest = session?.run_id;
  const named = text(own.runId) ?? text(message.runId) ?? text(payload.runId) ?? runOfCliAnswer(message);
  const isLatest = named === undefined || (latest !== undefined && isMaskOf(named, latest));
  const run_id = isLatest ? latest : named;
  if (session_key === undefined || run_id === undefined) return 'message.without_run';
  // Another run may have begun before a message that was not pushed is found.
  if (!is_rebuilt || latest === undefined || latest === run_id) {
    const has_failed = message.stopReason === 'error';
    memory.update(session_key, { run_id, is_unanswered: isUnanswered(message), has_failed });
  }
  const message_id = text(payload.messageId) ?? text(own.id);
  if (message_id !== undefined) memory.messages.set(message_id, { session_key, run_id });
  const run = { session_key, run_id };
  const ends = named === undefined ? cutOff(message, ended_at, run, memory) : [];
  const answer = withOwnId(message, message_id, run, memory);
  const asked_at = askedBefore(ended_at, session);
  return [...modelCallEvents(answer, { message_id, ended_at, asked_at }), ...ends].map(
    (event): Candidate => ({
      ...event,
      session_key,
      run_id,
      agent_id: text(payload.agentId) ?? agentOfSession(session_key),
      event_id: event.event_id ?? (message_id && `${run_id}:${message_id}:${event.type}`),
    }),
  );
}

const isSeen = ({ run_id, spawns_told }: SessionMemory, child_run_id: string): boolean =>
  run_id !== undefined || spawns_told.includes(child_run_id);

const TASK_STATUS: Record<string, string | undefined> = {
  completed: 'ok',
  failed: 'error',
  cancelled: 'cancelled',
  timed_out: 'timeout',
};

/**
 * A sub-agent's task: its parent, and its end, which is used if the run's own end was missed. The gateway repeats it when the
 * sub-agent's report is delivered, however much later: if nothing else of the child has been seen, it ended before the bridge
 * was following, and its end is ignored. Its title is not used as a label: without a label it is the beginning of the child's
 * input.
 */
export function decodeTask(
  { payload, arrival_ms }: EventFrame,
  memory: GatewayMemory,
): Candidate[] | undefined {
  const task = object(payload.task);
  const session_key = text(task.childSessionKey);
  const parent = text(task.sessionKey);
  // A task of another kind is a run started by hand: it names the run's own session as the child.
  if (task.kind !== 'subagent' || session_key === undefined || parent === undefined) return undefined;
  const session = memory.update(session_key, { parent_session_key: parent });
  const status = TASK_STATUS[text(task.status) ?? ''];
  const run_id = text(task.runId);
  if (status === undefined || run_id === undefined || !isSeen(session, run_id)) return [];
  const message = text(task.error);
  return [
    {
      type: 'subagent.finished',
      session_key,
      run_id,
      ts: number(task.endedAt) ?? arrival_ms,
      status,
      error: message === undefined ? undefined : { message },
      session_id: session.session_id,
      agent_id: text(task.agentId) ?? agentOfSession(session_key),
      event_id: `task:${text(task.taskId) ?? run_id}:finished`,
    },
  ];
}
