/**
 * Rebuilds the frames that a gateway would have pushed from its answers about the past: the same runs, tool calls and messages,
 * under the same ids. Events that were already seen are repeated, and recognised as duplicates later. Pure.
 */
import { CUT_OFF } from '../../../model/cut-off.js';
import { runOfInput } from '../../../model/input.js';
import { agentOfSession } from '../../../model/session-key.js';
import { blockText, type Json, list, number, object, text } from '../../../util/json.js';
import type { SessionAnswers } from './answers.js';
import {
  answerIn,
  type CallFacts,
  INTERRUPTED,
  lastStarted,
  own,
  type RebuildOptions,
  type RunFacts,
  readRuns,
  recordedAt,
} from './facts.js';

/** An event in the form in which the gateway pushes it, and the time at which it would have. */
export interface RebuiltFrame {
  ts_ms: number;
  event: 'agent' | 'session.tool' | 'session.message';
  payload: Json;
  /** Something of its run can't be recovered. */
  is_gap: boolean;
}

export interface Rebuilt {
  frames: RebuiltFrame[];
  /** A call of an open run is known only in part; the gateway stores the rest when the call is over. */
  is_pending: boolean;
  /** A run is over, but how and when it ended is not stored yet. */
  is_unended: boolean;
}

/** The order of frames with the same timestamp. Pushed frames come first, as their times are the most exact. */
const RANK = { pushed: 0, start: 1, message: 2, tool_start: 3, abort: 4, tool_end: 5, end: 6 } as const;

/** The fields that all frames of a session carry. */
function sessionFacts({ key, session }: SessionAnswers): Json {
  return {
    sessionKey: key,
    agentId: session.agentId ?? agentOfSession(key),
    sessionId: session.sessionId,
    spawnedBy: session.spawnedBy,
    label: session.label,
    lastChannel: session.lastChannel,
  };
}

/** The result of a call in the form in which the gateway pushes it. Without a stored result only how the call ended is known. */
function resultData(call: CallFacts): Json {
  const common = { phase: 'result', name: call.tool, toolCallId: call.call_id };
  if (call.result !== undefined) {
    const { content, details, is_error } = call.result;
    return { ...common, isError: is_error, result: { content, details } };
  }
  // An abort is not always known of yet when the end of a call that it cut off is.
  const result = call.status === 'cancelled' ? { content: CUT_OFF } : {};
  return { ...common, isError: call.status !== 'succeeded', result };
}

interface Ranked extends RebuiltFrame {
  rank: number;
}

function createFrames(facts: Json) {
  const frames: Ranked[] = [];
  const factsOf = ({ session_id }: RunFacts): Json => ({
    ...facts,
    sessionId: session_id ?? facts.sessionId,
  });
  return {
    frames,
    agent(run: RunFacts, stream: string, ts_ms: number, rank: number, data: Json, is_gap = false): void {
      const event = stream === 'tool' ? 'session.tool' : 'agent';
      frames.push({
        ts_ms,
        rank,
        event,
        is_gap,
        payload: { ...factsOf(run), runId: run.run_id, stream, ts: ts_ms, data },
      });
    },
    message(run: RunFacts, row: Json, ts_ms: number): void {
      frames.push({
        ts_ms,
        rank: RANK.message,
        event: 'session.message',
        is_gap: false,
        payload: { ...factsOf(run), messageId: own(row).id, message: row },
      });
    },
  };
}

type Frames = ReturnType<typeof createFrames>;

/** Adds the frames of one call; returns whether more of it is still to be stored. */
function rebuildCall(run: RunFacts, call: CallFacts, isOver: boolean, out: Frames): boolean {
  const isKnownToEnd = call.result !== undefined || call.ended_ms !== undefined;
  if (call.started_ms === undefined && !isKnownToEnd) return false;
  out.agent(run, 'tool', call.started_ms ?? call.asked_ms, RANK.tool_start, {
    phase: 'start',
    name: call.tool,
    toolCallId: call.call_id,
    args: call.args,
    parentToolCallId: call.parent_call_id,
  });
  if (!isKnownToEnd) return false;
  // The results of parallel calls are stored when the last one is over: until then the exit code is unknown.
  if (call.result === undefined && (call.status ?? 'succeeded') === 'succeeded' && !isOver) return true;
  const ended_ms = call.ended_ms ?? call.result?.written_ms ?? call.asked_ms;
  out.agent(run, 'tool', ended_ms, RANK.tool_end, resultData(call));
  return false;
}

/** A run stops as its last message did. If that message requested tools, a tool ended the run's turn: a yield. */
function stopReason({ messages }: RunFacts): string | undefined {
  const last = text(messages.at(-1)?.stopReason);
  return last === 'toolUse' ? 'end_turn' : last;
}

/** The answer of a run, as its end reports it. */
function replyOf({ messages }: RunFacts): Json | undefined {
  const last = messages.at(-1) ?? {};
  const reply = last.stopReason === 'toolUse' ? undefined : answerIn(last);
  return reply === undefined ? undefined : { text: reply };
}

/**
 * Whether the run ran out of time in the middle of a tool call. OpenClaw counts that as a success, but then a call was cut off,
 * and the model did not answer any more.
 */
function hasRunOut({ messages, calls }: RunFacts): boolean {
  const last = messages.at(-1)?.stopReason;
  const isCutOff = ({ result }: CallFacts): boolean =>
    result?.is_error === true && blockText(result.content) === CUT_OFF;
  return (last === 'toolUse' || last === 'aborted') && [...calls.values()].some(isCutOff);
}

function endData(run: RunFacts, session: Json): Json {
  const common = { endedAt: run.ended_ms, executionSettled: true };
  const isLast = session.lastRunId === run.run_id;
  switch (run.status) {
    case 'succeeded':
      return hasRunOut(run)
        ? { ...common, phase: 'end', status: 'timeout', stopReason: 'toolUse' }
        : { ...common, phase: 'end', stopReason: stopReason(run), terminalReply: replyOf(run) };
    case 'cancelled':
      return { ...common, phase: 'end', aborted: true, status: 'cancelled', stopReason: 'aborted' };
    case 'timed_out':
      return { ...common, phase: 'end', status: 'timeout' };
    case INTERRUPTED:
      return {
        ...common,
        phase: 'error',
        error: 'the gateway stopped in the middle of the run',
        errorObservation: { failoverReason: INTERRUPTED },
        yielded: true,
      };
    default:
      return {
        ...common,
        phase: 'error',
        error: (isLast ? text(session.lastRunError) : undefined) ?? 'the run failed',
      };
  }
}

/** Reports an abort before the calls that it cancelled, since it is why they fail. */
function rebuildAbort(run: RunFacts, ended_ms: number, out: Frames): void {
  const cancelled = [...run.calls.values()].filter(({ status }) => status === 'cancelled');
  const ts_ms = Math.min(ended_ms, ...cancelled.map((call) => call.ended_ms ?? ended_ms));
  out.agent(run, 'lifecycle', ts_ms, RANK.abort, { phase: 'end', aborted: true, status: 'cancelled' });
}

/**
 * Whether a model call of the run was missed and can't be recovered: for a call of a tool that does not exist only the result
 * is stored.
 */
const lacksModelCall = ({ calls }: RunFacts, { since_ms, until_ms }: RebuildOptions): boolean =>
  [...calls.values()].some(
    ({ is_unasked, asked_ms }) => is_unasked === true && asked_ms >= since_ms && asked_ms <= until_ms,
  );

/** Whether nothing is stored of a run that answered in the gap: its session has been deleted or reset since. */
const isErased = ({ status, messages, calls, ended_ms = 0 }: RunFacts, since_ms: number): boolean =>
  status === 'succeeded' && messages.length === 0 && calls.size === 0 && ended_ms >= since_ms;

function rebuildRun(
  run: RunFacts,
  { session, is_partial }: SessionAnswers,
  options: RebuildOptions,
  out: Frames,
): boolean {
  const isOver = run.ended_ms !== undefined;
  const lacks = lacksModelCall(run, options);
  if (run.started_ms !== undefined) {
    const data = { phase: 'start', startedAt: run.started_ms, provenance: run.provenance };
    out.agent(run, 'lifecycle', run.started_ms, RANK.start, data, lacks);
  }
  for (const row of run.messages) out.message(run, row, recordedAt(row));
  let is_pending = false;
  for (const call of run.calls.values()) {
    if (rebuildCall(run, call, isOver, out)) is_pending = true;
  }
  const hasUnstoredCalls = run.audited.size > 0 || isErased(run, options.since_ms);
  if (run.ended_ms !== undefined && run.status === 'cancelled') rebuildAbort(run, run.ended_ms, out);
  if (run.ended_ms !== undefined) {
    const is_gap = lacks || hasUnstoredCalls || is_partial;
    out.agent(run, 'lifecycle', run.ended_ms, RANK.end, endData(run, session), is_gap);
  }
  return is_pending || (hasUnstoredCalls && !isOver);
}

/** Whether the gateway has removed the arguments or the result from an event: it does so with the older events of a run. */
const isThinned = ({ phase, args, result }: Json): boolean =>
  (phase === 'start' && args === undefined) || (phase === 'result' && result === undefined);

/** Takes only the time from such an event, which is exact; the transcript has the rest. */
function readThinned(call: CallFacts | undefined, { phase }: Json, ts_ms: number): void {
  if (call === undefined) return;
  if (phase === 'start') call.started_ms = ts_ms;
  else call.ended_ms = ts_ms;
}

/** The id that OpenClaw gives to a nested call contains the id of the outer call, shortened if that is long. */
const ID_WITHIN = /^tool_search_code:(.+):[^:]+:\d+$/;

/**
 * The call that a call is nested in: its stored row names it. Until that is written, its id does, if that contains the id of a
 * known call.
 */
function outerCallId(call_id: string, calls: RunFacts['calls'], in_flight: Set<unknown>): string | undefined {
  const stored = calls.get(call_id)?.parent_call_id;
  if (stored !== undefined) return stored;
  const named = ID_WITHIN.exec(call_id)?.[1];
  return named !== undefined && (calls.has(named) || in_flight.has(named)) ? named : undefined;
}

/** Replays the latest events of the open run. They are as they were pushed, except that they name no parent call. */
function replayInFlight(
  { in_flight }: SessionAnswers,
  runs: Map<string, RunFacts>,
  facts: Json,
  out: Frames,
): void {
  const events = list(in_flight.events).map(object);
  const call_ids = new Set(events.map((event) => object(event.data).toolCallId));
  for (const event of events) {
    const ts_ms = number(event.ts);
    if (ts_ms === undefined) continue;
    const data = object(event.data);
    const calls: RunFacts['calls'] = runs.get(text(event.runId) ?? '')?.calls ?? new Map();
    const call_id = event.stream === 'tool' ? text(data.toolCallId) : undefined;
    if (event.stream === 'tool' && isThinned(data)) {
      readThinned(calls.get(call_id ?? ''), data, ts_ms);
      continue;
    }
    const payload: Json = { ...facts, ...event };
    if (call_id !== undefined)
      payload.data = { parentToolCallId: outerCallId(call_id, calls, call_ids), ...data };
    out.frames.push({ ts_ms, rank: RANK.pushed, event: 'agent', is_gap: false, payload });
  }
}

/** Adds the input of a run, from the message that started it. */
function rebuildInput(row: Json, runs: Map<string, RunFacts>, out: Frames): void {
  const run = runs.get(runOfInput(row) ?? '');
  if (run?.started_ms !== undefined) out.message(run, row, run.started_ms - 1);
}

/** Runs in which something happened since `since_ms`; the stored rows reach further back than that. */
function runsSince(
  { activity, rows, in_flight, session }: SessionAnswers,
  { since_ms, open_run }: RebuildOptions,
): Set<unknown> {
  const recent = rows.filter((row) => recordedAt(row) >= since_ms);
  const ended = (number(session.endedAt) ?? 0) >= since_ms ? [session.lastRunId] : [];
  return new Set([
    ...activity.map(({ runId }) => runId),
    ...recent.map((row) => own(row).runId ?? object(row.details).runId),
    ...ended,
    in_flight.runId,
    open_run?.run_id,
  ]);
}

/** Whether a run without a known end goes on. The session's row names its active runs, but not always. */
function isActive({ run_id }: RunFacts, { session }: SessionAnswers, runs: Iterable<RunFacts>): boolean {
  const named = list(session.activeRunIds);
  const isNamed = named.length > 0 ? named.includes(run_id) : lastStarted(runs)?.run_id === run_id;
  return session.hasActiveRun === true && isNamed;
}

/** Rebuilds what happened in one session, in order of time. */
export function rebuildFrames(answers: SessionAnswers, options: RebuildOptions): Rebuilt {
  const runs = readRuns(answers, options);
  const wanted = runsSince(answers, options);
  const facts = sessionFacts(answers);
  const out = createFrames(facts);
  replayInFlight(answers, runs, facts, out);
  for (const row of answers.rows) rebuildInput(row, runs, out);
  let is_pending = false;
  let is_unended = false;
  for (const run of runs.values()) {
    if (!wanted.has(run.run_id)) continue;
    if (rebuildRun(run, answers, options, out)) is_pending = true;
    if (run.ended_ms === undefined && !isActive(run, answers, runs.values())) is_unended = true;
  }
  const frames = out.frames.filter(({ ts_ms }) => ts_ms >= options.floor_ms);
  return { frames: frames.sort((a, b) => a.ts_ms - b.ts_ms || a.rank - b.rank), is_pending, is_unended };
}
