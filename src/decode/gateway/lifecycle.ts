/**
 * The `lifecycle` stream: a run's start, the model calls whose response headers arrive, failed attempts, and its end. A start
 * repeats on each retry and an abort ends a run twice; the first start counts, and the settled end. In protocol 3 each attempt
 * ends like a run: whether it is retried is only known later.
 */

import { ANNOUNCE_PREFIX } from '../../model/announce.js';
import { type Json, number, object, text } from '../../util/json.js';
import type { Candidate } from '../decoder.js';
import type { AgentPayload, EventFrame } from './frame.js';
import { type GatewayMemory, isSpawnReported, type RunIdentity, rememberSpawn, runKey } from './sessions.js';

/** The type of a gateway error is the reason for its failover, else `timeout` if it ran out of time, else `error`. */
const errorType = (data: Json): string =>
  text(object(data.errorObservation).failoverReason) ?? (statusOf(data) === 'timeout' ? 'timeout' : 'error');

function errorOf(data: Json): Candidate | undefined {
  const message = text(data.error);
  return message === undefined && data.phase !== 'error'
    ? undefined
    : { type: errorType(data), message: message ?? 'the run failed' };
}

/** The session of a schedule without one of its own. Those of webhooks have the same form. */
const JOB_SESSION = /^agent:[^:]+:cron:([^:]+)/;

const isScheduled = (session_key: string, { jobs }: GatewayMemory): boolean =>
  jobs.get(session_key) === true || jobs.get(JOB_SESSION.exec(session_key)?.[1] ?? '') === true;

function triggerOf(payload: AgentPayload, memory: GatewayMemory): string | undefined {
  if (memory.resumes.get(runKey(payload)) !== undefined) return 'restart_recovery';
  if (payload.run_id.startsWith(ANNOUNCE_PREFIX)) return 'announce';
  if (payload.is_heartbeat) return 'heartbeat';
  if (payload.spawned_by !== undefined) return 'subagent';
  // Only a rebuilt start has the origin of its prompt.
  const { sourceTool } = object(payload.data.provenance);
  return text(sourceTool) ?? (isScheduled(payload.session_key, memory) ? 'cron' : undefined);
}

/** The spawn that led to this run, unless the spawning call's result has already reported it with the same label. */
function unreportedSpawn(payload: AgentPayload, memory: GatewayMemory): Candidate[] {
  const session = memory.session(payload.session_key);
  const parent = payload.spawned_by ?? session.parent_session_key;
  const isContinuation = payload.run_id.startsWith(ANNOUNCE_PREFIX);
  if (parent === undefined || isContinuation || isSpawnReported(session, payload.run_id)) return [];
  rememberSpawn(memory, payload.session_key, payload.run_id, session.label);
  return [
    {
      type: 'subagent.spawned',
      session_key: payload.session_key,
      run_id: payload.run_id,
      parent_session_key: parent,
      label: session.label,
      ts: payload.ts,
    },
  ];
}

function startOf(payload: AgentPayload, memory: GatewayMemory, ts: number): Candidate[] {
  const key = runKey(payload);
  memory.unstarted.delete(key);
  return [
    ...unreportedSpawn(payload, memory),
    {
      type: 'agent.started',
      ts,
      parent_session_key: payload.spawned_by,
      parent_run_id: memory.resumes.get(key),
      trigger: triggerOf(payload, memory),
      input: memory.inputs.get(key),
    },
  ];
}

/** Ends of calls that waited for a frame which did not come before the run's own end. */
function releaseHeldEnds(run: RunIdentity, memory: GatewayMemory): Candidate[] {
  const run_key = runKey(run);
  const released = memory.heldEnds.entries().filter(([, held]) => held.run_key === run_key);
  for (const [key] of released) memory.heldEnds.delete(key);
  return released.map(([, held]) => held.event);
}

/** The same for a run whose own end is not pushed. Nothing else gives these events the id of their run. */
export const releaseUnended = (run: RunIdentity, memory: GatewayMemory): Candidate[] =>
  releaseHeldEnds(run, memory).map((event) => ({
    ...event,
    event_id: `${runKey(run)}\u0000held\u0000${event.call_id}`,
  }));

/** The end of the session's earlier run, if that has yielded: OpenClaw 2026.3 pushes none. */
function unreportedYield({ session_key, run_id }: AgentPayload, memory: GatewayMemory): Candidate[] {
  const { run_id: earlier, yielded_ms } = memory.session(session_key);
  if (yielded_ms === undefined || earlier === undefined || earlier === run_id) return [];
  if (memory.owners.get(earlier) !== undefined) return [];
  const run = { session_key, run_id: earlier };
  const end = { type: 'agent.finished', ts: yielded_ms, status: 'ok', yielded: true };
  return [...releaseUnended(run, memory), { ...end, ...run, event_id: `${runKey(run)}\u0000yielded` }];
}

function started(payload: AgentPayload, memory: GatewayMemory): Candidate[] {
  const yielded = payload.protocol === 3 ? unreportedYield(payload, memory) : [];
  memory.update(payload.session_key, {
    run_id: payload.run_id,
    is_unanswered: false,
    has_failed: false,
    yielded_ms: undefined,
    asked_ms: payload.ts,
  });
  return [...yielded, ...startOf(payload, memory, payload.ts)];
}

/**
 * A run that is aborted early never starts, and the start of one in which a command-line agent goes on with a request is not pushed.
 * It is complete nevertheless if its first event has been seen; its end may say when it began.
 */
function missingStart(payload: AgentPayload, memory: GatewayMemory, end_ms: number): Candidate[] {
  const first_ms = memory.unstarted.get(runKey(payload));
  if (first_ms === undefined) return [];
  const start_ms = Math.min(first_ms, end_ms, number(payload.data.startedAt) ?? Infinity);
  memory.update(payload.session_key, { asked_ms: start_ms });
  return startOf(payload, memory, start_ms);
}

/** The response headers of a model call arrived. A null model is the reset at the end of a run. */
function stepStarted({ data, ts, session_key }: AgentPayload, memory: GatewayMemory): Candidate[] {
  const model = text(data.model);
  if (model === undefined) return [];
  memory.update(session_key, { asked_ms: ts });
  return [{ type: 'agent.step_started', model, provider: text(data.provider) }];
}

/**
 * An attempt is over. If it failed, so did its model call. OpenClaw 2026.9 pushes a message about that only after the last
 * attempt, OpenClaw 2026.6 before the end of the attempt.
 */
function attemptFinished({ data, ts, session_key }: AgentPayload, memory: GatewayMemory): Candidate[] {
  const error = errorOf(data);
  if (error === undefined || memory.session(session_key).has_failed === true) return [];
  const observed = object(data.errorObservation);
  return [
    {
      type: 'llm.tokens',
      model: text(observed.model) ?? 'unknown',
      provider: text(observed.provider) ?? 'unknown',
      input_tokens: 0,
      output_tokens: 0,
      ended_at: number(data.endedAt) ?? ts,
      error,
    },
  ];
}

const TIMED_OUT: ReadonlySet<unknown> = new Set(['timeout', 'timed_out']);
const CANCELLED: ReadonlySet<unknown> = new Set(['cancelled', 'canceled', 'aborted', 'superseded']);
const FAILED: ReadonlySet<unknown> = new Set(['error', 'failed']);
const NO_SUCCESS: ReadonlySet<unknown> = new Set(['blocked', 'abandoned']);

/**
 * A run that ran out of time in the middle of a tool call: it pauses without having yielded, and is reported as a success
 * otherwise.
 */
const hasPaused = ({ stopReason, livenessState, yielded }: Json): boolean =>
  stopReason === 'toolUse' && livenessState === 'paused' && yielded !== true;

/** As OpenClaw itself interprets it: a timeout is also reported as an abort, and an abort as an error. */
function statusOf(data: Json): string {
  const { phase, status, stopReason, timeoutPhase, aborted, livenessState } = data;
  if (stopReason === 'timeout' || text(timeoutPhase) !== undefined || TIMED_OUT.has(status)) return 'timeout';
  if (aborted === true || CANCELLED.has(status)) return 'cancelled';
  if (hasPaused(data)) return 'timeout';
  const hasFailed = phase === 'error' || FAILED.has(status) || stopReason === 'error';
  return hasFailed || NO_SUCCESS.has(livenessState) ? 'error' : 'ok';
}

/** The error of an end that is not a success. For a timeout the status is the type. */
function endError(data: Json, status: string): Candidate | undefined {
  if (status === 'error') return errorOf(data);
  const message = text(data.error);
  return status === 'timeout' && message !== undefined ? { message } : undefined;
}

/**
 * Whether no other end of the run follows. An end that is the run's first event is not marked: the run never began. Before
 * OpenClaw 2026.9 none is marked; only after the end that announces an abort another one follows, an error.
 */
const isSettled = ({ data, protocol, seq, phase }: AgentPayload): boolean =>
  data.executionSettled === true ||
  data.aborted === false ||
  (data.aborted === true && phase === 'error') ||
  protocol === 3 ||
  seq === 1;

/**
 * In protocol 3 OpenClaw may call the model again after an attempt that failed, or that gave no answer. An abort is an end in any
 * case.
 */
function mayBeRetried({ data, protocol, session_key }: AgentPayload, memory: GatewayMemory): boolean {
  if (protocol === 4 || data.aborted === true || data.executionSettled === true) return false;
  return data.phase === 'error' || memory.session(session_key).is_unanswered === true;
}

function rememberEnd(payload: AgentPayload, memory: GatewayMemory, end: Candidate): void {
  const key = runKey(payload);
  memory.owners.set(payload.run_id, payload.session_key);
  const is_bare_failure = payload.phase === 'error' && text(payload.data.livenessState) === undefined;
  memory.update(payload.session_key, { is_bare_failure });
  if (payload.phase === 'error') memory.failures.set(key, { ...end, may_continue: undefined });
  else memory.failures.delete(key);
}

function finished(payload: AgentPayload, memory: GatewayMemory): Candidate[] {
  const { data } = payload;
  const settled = isSettled(payload);
  const status = statusOf(data);
  const output = text(object(data.terminalReply).text);
  const ts = number(data.endedAt) ?? payload.ts;
  const end = {
    type: 'agent.finished',
    ts,
    status,
    error: endError(data, status),
    stop_reason: text(data.stopReason),
    output,
    yielded: data.yielded === true ? true : undefined,
    settled: settled ? undefined : false,
    may_continue: mayBeRetried(payload, memory) ? true : undefined,
  };
  if (!settled) return [end];
  if (payload.protocol === 3) rememberEnd(payload, memory, end);
  const isReportingChild = payload.spawned_by !== undefined && output !== undefined;
  return [
    ...missingStart(payload, memory, ts),
    ...releaseHeldEnds(payload, memory),
    ...(isReportingChild ? [{ type: 'subagent.output', output }] : []),
    end,
  ];
}

/** The end of a run that only its session reports. Its row has the status `timeout` for an abort. */
function reportedEnd(
  payload: AgentPayload,
  { phase, endedAt, status }: Json,
  memory: GatewayMemory,
): Candidate[] {
  const data = { phase, endedAt, aborted: status === 'timeout', executionSettled: phase === 'error' };
  return finished({ ...payload, phase: String(phase), data }, memory);
}

/** OpenClaw 2026.3 reports each failed attempt at once, others a failed run 15 s after its last one. */
const AT_ONCE_MS = 5_000;

function isOfAttempt(
  { session_key }: AgentPayload,
  end: Candidate | undefined,
  arrival_ms: number,
  memory: GatewayMemory,
): boolean {
  return memory.session(session_key).is_bare_failure === true && arrival_ms - Number(end?.ts) < AT_ONCE_MS;
}

/**
 * What a session reports of its run, in protocol 3: that it has failed, once no retry can follow any more; and its start and end,
 * which for runs of channels and of heartbeats is all that is pushed besides messages.
 */
export function decodeReport(
  payload: AgentPayload,
  { payload: report, arrival_ms }: EventFrame,
  memory: GatewayMemory,
): Candidate[] {
  const { phase } = report;
  const key = runKey(payload);
  if (phase === 'start') {
    if (memory.session(payload.session_key).run_id === payload.run_id) return [];
    memory.reported.set(key, true);
    return started(payload, memory);
  }
  if (phase !== 'end' && phase !== 'error') return [];
  if (memory.reported.get(key) === true) return reportedEnd(payload, report, memory);
  const failure = phase === 'error' ? memory.failures.get(key) : undefined;
  if (isOfAttempt(payload, failure, arrival_ms, memory)) return [];
  memory.failures.delete(key);
  return failure === undefined ? [] : [failure];
}

/** Candidates for catalog events; the caller adds what all events of the frame share. Undefined for a phase that is not used. */
export function decodeLifecycle(payload: AgentPayload, memory: GatewayMemory): Candidate[] | undefined {
  switch (payload.phase) {
    case 'start':
      return started(payload, memory);
    case 'model':
      return stepStarted(payload, memory);
    case 'finishing':
      return attemptFinished(payload, memory);
    case 'end':
    case 'error':
      return finished(payload, memory);
    default:
      return undefined;
  }
}
