/**
 * From what a gateway tells of the past to the frames that it would have pushed: the same runs, tool calls and messages,
 * under the same ids. What was seen already comes again, which does no harm. Pure.
 */
import { createHash } from 'node:crypto';
import { type Json, list, number, object, text } from '../../json.js';
import { agentOfSession } from '../../model/session-key.js';
import type { SessionAnswers } from './answers.js';

/** An event as the gateway pushes it, and when it would have. */
export interface RebuiltFrame {
  ts_ms: number;
  event: 'agent' | 'session.tool' | 'session.message';
  payload: Json;
  /** On the end of a run of which something stays unknown. */
  is_gap: boolean;
}

export interface Rebuilt {
  frames: RebuiltFrame[];
  /** A call of a run that goes on is known only in part; the rest is written down when the call is over. */
  is_pending: boolean;
}

/** Where two frames tell the same instant. What was pushed comes first: nothing is as exact. */
const RANK = { pushed: 0, start: 1, message: 2, tool_start: 3, abort: 4, tool_end: 5, end: 6 } as const;

/** What is known of one call. */
interface CallFacts {
  call_id: string;
  tool: string;
  args?: unknown;
  parent_call_id?: string;
  /** When the model asked for it. */
  asked_ms: number;
  started_ms?: number;
  ended_ms?: number;
  /** The result as the transcript keeps it. */
  result?: { content: unknown; details: unknown; is_error: boolean; written_ms: number };
  /** The audit log's word for how it ended. */
  status?: string;
}

/** A run that goes on, as far as has been seen. */
export interface OpenRun {
  run_id: string;
  /** Its latest event, epoch milliseconds. */
  last_ms: number;
}

interface RunFacts {
  run_id: string;
  started_ms?: number;
  ended_ms?: number;
  status?: string;
  messages: Json[];
  results: Json[];
  calls: Map<string, CallFacts>;
  /** Starts and ends in the audit log, by the hash of the call id. */
  audited: Map<string, Pick<CallFacts, 'started_ms' | 'ended_ms' | 'status'> & { tool: string }>;
}

/** The status of a run that ended because its gateway did. */
const INTERRUPTED = 'gateway_restarted';

const NESTED_TOOL = 'openclaw.nested-tool.v1';
const SUFFIX_OF_INPUT = ':user';

/** The audit log names a call by the hash of its id. */
const auditId = (call_id: string): string => `sha256:${createHash('sha256').update(call_id).digest('hex')}`;

function createRuns() {
  const runs = new Map<string, RunFacts>();
  return {
    runs,
    of(run_id: string): RunFacts {
      const known = runs.get(run_id);
      if (known !== undefined) return known;
      const run: RunFacts = { run_id, messages: [], results: [], calls: new Map(), audited: new Map() };
      runs.set(run_id, run);
      return run;
    },
  };
}

type Runs = ReturnType<typeof createRuns>;

const own = (row: Json): Json => object(row.__openclaw);
const recordedAt = (row: Json): number => number(own(row).recordTimestampMs) ?? number(row.timestamp) ?? 0;

function readActivity(event: Json, runs: Runs): void {
  const run_id = text(event.runId);
  const ts = number(event.occurredAt);
  if (run_id === undefined || ts === undefined) return;
  const run = runs.of(run_id);
  const status = text(event.status) ?? '';
  if (event.action === 'agent.run.started') run.started_ms ??= ts;
  if (event.action === 'agent.run.finished') {
    run.ended_ms = ts;
    run.status = status;
  }
  const hash = text(event.toolCallId);
  if (hash === undefined) return;
  const call = run.audited.get(hash) ?? { tool: text(event.toolName) ?? 'unknown' };
  run.audited.set(hash, call);
  if (event.action === 'tool.action.started') call.started_ms = ts;
  if (event.action === 'tool.action.finished') {
    call.ended_ms = ts;
    call.status = status;
  }
}

function readAssistant(row: Json, runs: Runs): void {
  const run_id = text(own(row).runId);
  if (run_id === undefined) return;
  const run = runs.of(run_id);
  run.messages.push(row);
  for (const block of list(row.content).map(object)) {
    const call_id = text(block.id);
    if (block.type !== 'toolCall' || call_id === undefined) continue;
    run.calls.set(call_id, {
      call_id,
      tool: text(block.name) ?? 'unknown',
      args: block.arguments,
      asked_ms: recordedAt(row),
    });
  }
}

function readToolResult(row: Json, runs: Runs): void {
  const run_id = text(own(row).runId);
  const call_id = text(row.toolCallId);
  if (run_id === undefined || call_id === undefined) return;
  const { calls, results } = runs.of(run_id);
  results.push(row);
  const written_ms = number(row.timestamp) ?? recordedAt(row);
  const call = calls.get(call_id) ?? {
    call_id,
    tool: text(row.toolName) ?? 'unknown',
    asked_ms: written_ms,
  };
  call.result = { content: row.content, details: row.details, is_error: row.isError === true, written_ms };
  calls.set(call_id, call);
}

/** A call within a call has a row of its own, with both of its times. */
function readNestedTool({ details }: Json, runs: Runs): void {
  const told = object(details);
  const run_id = text(told.runId);
  const call_id = text(told.toolCallId);
  const started_ms = number(told.startedAt);
  const written_ms = number(told.timestamp);
  if (run_id === undefined || call_id === undefined || started_ms === undefined) return;
  const parent_call_id = text(told.parentToolCallId);
  const result = object(told.result);
  runs.of(run_id).calls.set(call_id, {
    call_id,
    tool: text(told.toolName) ?? 'unknown',
    args: told.input,
    asked_ms: started_ms,
    started_ms,
    ...(parent_call_id === undefined ? {} : { parent_call_id }),
    ...(written_ms === undefined
      ? {}
      : {
          result: {
            content: result.content,
            details: result.details,
            is_error: told.isError === true,
            written_ms,
          },
        }),
  });
}

function readRow(row: Json, runs: Runs): void {
  if (row.role === 'assistant') readAssistant(row, runs);
  else if (row.role === 'toolResult') readToolResult(row, runs);
  else if (row.customType === NESTED_TOOL) readNestedTool(row, runs);
}

/** How a session's row says that its last run ended. */
const ROW_STATUS: Record<string, string | undefined> = {
  done: 'succeeded',
  failed: 'failed',
  killed: 'cancelled',
  timeout: 'timed_out',
};

/**
 * The run of which a session's row tells the end. It names none while sub-agents of that run still work; nor after a restart,
 * where the row says of a run that was cut off when the gateway found it.
 */
function lastRun(session: Json, { runs }: Runs, { is_restarted }: RebuildOptions): RunFacts | undefined {
  const run_id = text(session.lastRunId);
  if (run_id !== undefined) return runs.get(run_id);
  if (session.hasActiveRun === true || is_restarted) return undefined;
  return [...runs.values()].reduce<RunFacts | undefined>(
    (last, run) => ((run.started_ms ?? 0) > (last?.started_ms ?? 0) ? run : last),
    undefined,
  );
}

/** An aborted run's end is in no audit log, only in the session's row; and the log can be a second or two behind the row. */
function readSessionEnd(session: Json, runs: Runs, options: RebuildOptions): void {
  const run = lastRun(session, runs, options);
  const ended_ms = number(session.endedAt);
  if (run === undefined || run.ended_ms !== undefined || ended_ms === undefined) return;
  if (ended_ms < (run.started_ms ?? 0)) return;
  if (session.hasActiveRun === true && list(session.activeRunIds).includes(run.run_id)) return;
  run.ended_ms = ended_ms;
  const isWaiting = session.lastRunId === undefined;
  run.status = isWaiting ? 'succeeded' : (ROW_STATUS[text(session.status) ?? ''] ?? 'unknown');
}

/** A run that the gateway took with it when it went: nothing tells of its end. Another run may go on with its request. */
function readInterruption({ open_run, is_restarted }: RebuildOptions, runs: Runs): void {
  if (open_run === undefined || !is_restarted) return;
  const run = runs.of(open_run.run_id);
  if (run.ended_ms !== undefined) return;
  const told = [...run.messages, ...run.results].map(recordedAt);
  const audited = [...run.audited.values()].map(({ started_ms, ended_ms }) => ended_ms ?? started_ms ?? 0);
  run.ended_ms = Math.max(open_run.last_ms, ...told, ...audited);
  run.status = INTERRUPTED;
}

/** Gives each call the times that the audit log has of it; what is left over there is of calls that nothing else tells of. */
function joinAudit({ calls, audited }: RunFacts): void {
  for (const call of calls.values()) {
    const hash = auditId(call.call_id);
    const { started_ms, ended_ms, status } = audited.get(hash) ?? {};
    audited.delete(hash);
    if (started_ms !== undefined) call.started_ms = started_ms;
    if (ended_ms !== undefined) call.ended_ms = ended_ms;
    if (status !== undefined) call.status = status;
  }
}

/** What all frames of a session carry. */
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

/** The result of a call as the gateway pushes it; of a call without a stored result only how it ended is known. */
function resultData(call: CallFacts): Json {
  const common = { phase: 'result', name: call.tool, toolCallId: call.call_id };
  if (call.result !== undefined) {
    const { content, details, is_error } = call.result;
    return { ...common, isError: is_error, result: { content, details } };
  }
  return { ...common, isError: call.status !== 'succeeded', result: {} };
}

interface Ranked extends RebuiltFrame {
  rank: number;
}

function createFrames(facts: Json) {
  const frames: Ranked[] = [];
  return {
    frames,
    agent(run: RunFacts, stream: string, ts_ms: number, rank: number, data: Json, is_gap = false): void {
      const event = stream === 'tool' ? 'session.tool' : 'agent';
      frames.push({
        ts_ms,
        rank,
        event,
        is_gap,
        payload: { ...facts, runId: run.run_id, stream, ts: ts_ms, data },
      });
    },
    message(row: Json, ts_ms: number): void {
      frames.push({
        ts_ms,
        rank: RANK.message,
        event: 'session.message',
        is_gap: false,
        payload: { ...facts, messageId: own(row).id, message: row },
      });
    },
  };
}

type Frames = ReturnType<typeof createFrames>;

/** The frames of one call, and whether something of it is still to come. */
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
  // Results of calls that ran side by side are written when the last one is over: until then the exit code is unknown.
  if (call.result === undefined && (call.status ?? 'succeeded') === 'succeeded' && !isOver) return true;
  const ended_ms = call.ended_ms ?? call.result?.written_ms ?? call.asked_ms;
  out.agent(run, 'tool', ended_ms, RANK.tool_end, resultData(call));
  return false;
}

/** A run stops as its last message did, and after one that asked for tools because a tool ended its turn: a yield. */
function stopReason({ messages }: RunFacts): string | undefined {
  const last = text(messages.at(-1)?.stopReason);
  return last === 'toolUse' ? 'end_turn' : last;
}

function endData(run: RunFacts, session: Json): Json {
  const common = { endedAt: run.ended_ms, executionSettled: true };
  const isLast = session.lastRunId === run.run_id;
  switch (run.status) {
    case 'succeeded':
      return { ...common, phase: 'end', stopReason: stopReason(run) };
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

/** An abort is told before the calls that it cancels: it is why they fail. */
function rebuildAbort(run: RunFacts, ended_ms: number, out: Frames): void {
  const cancelled = [...run.calls.values()].filter(({ status }) => status === 'cancelled');
  const ts_ms = Math.min(ended_ms, ...cancelled.map((call) => call.ended_ms ?? ended_ms));
  out.agent(run, 'lifecycle', ts_ms, RANK.abort, { phase: 'end', aborted: true, status: 'cancelled' });
}

function rebuildRun(run: RunFacts, { session, is_partial }: SessionAnswers, out: Frames): boolean {
  const isOver = run.ended_ms !== undefined;
  if (run.started_ms !== undefined) {
    out.agent(run, 'lifecycle', run.started_ms, RANK.start, { phase: 'start', startedAt: run.started_ms });
  }
  for (const row of run.messages) out.message(row, recordedAt(row));
  let is_pending = false;
  for (const call of run.calls.values()) {
    if (rebuildCall(run, call, isOver, out)) is_pending = true;
  }
  const isUntold = run.audited.size > 0;
  if (run.ended_ms !== undefined && run.status === 'cancelled') rebuildAbort(run, run.ended_ms, out);
  if (run.ended_ms !== undefined) {
    out.agent(run, 'lifecycle', run.ended_ms, RANK.end, endData(run, session), isUntold || is_partial);
  }
  return is_pending || (isUntold && !isOver);
}

/** Older events of a run are kept without what was asked of a tool and what came of it. */
const isThinned = ({ phase, args, result }: Json): boolean =>
  (phase === 'start' && args === undefined) || (phase === 'result' && result === undefined);

/** Of such an event its time counts, which is exact; the rest the transcript has. */
function readThinned(call: CallFacts | undefined, { phase }: Json, ts_ms: number): void {
  if (call === undefined) return;
  if (phase === 'start') call.started_ms = ts_ms;
  else call.ended_ms = ts_ms;
}

/** The latest events of the run that goes on, as they were pushed. */
function replayInFlight({ in_flight }: SessionAnswers, { runs }: Runs, facts: Json, out: Frames): void {
  for (const event of list(in_flight.events).map(object)) {
    const ts_ms = number(event.ts);
    if (ts_ms === undefined) continue;
    const data = object(event.data);
    if (event.stream === 'tool' && isThinned(data)) {
      readThinned(runs.get(text(event.runId) ?? '')?.calls.get(text(data.toolCallId) ?? ''), data, ts_ms);
      continue;
    }
    const payload = { ...facts, ...event };
    out.frames.push({ ts_ms, rank: RANK.pushed, event: 'agent', is_gap: false, payload });
  }
}

/** What the user asked, for the run that the message started. */
function rebuildInput(row: Json, runs: Runs, out: Frames): void {
  const key = text(row.idempotencyKey);
  const run = key?.endsWith(SUFFIX_OF_INPUT)
    ? runs.runs.get(key.slice(0, -SUFFIX_OF_INPUT.length))
    : undefined;
  if (run?.started_ms !== undefined) out.message(row, run.started_ms - 1);
}

/** Runs in which something happened since; rows reach further back than that. */
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

export interface RebuildOptions {
  /** Runs that were over before this are left alone. Epoch milliseconds by the gateway's clock, like all times here. */
  since_ms: number;
  /** Nothing from before this is wanted, not even of a run that goes on. */
  floor_ms: number;
  /** The run of this session that was going on when the gap began. */
  open_run?: OpenRun | undefined;
  /** The gateway that ran it is gone: another process answers now. */
  is_restarted: boolean;
}

/** Rebuilds what happened in one session, in the order in which it did. */
export function rebuildFrames(answers: SessionAnswers, options: RebuildOptions): Rebuilt {
  const runs = createRuns();
  for (const row of answers.rows) readRow(row, runs);
  for (const event of answers.activity) readActivity(event, runs);
  readSessionEnd(answers.session, runs, options);
  readInterruption(options, runs);
  const wanted = runsSince(answers, options);
  const facts = sessionFacts(answers);
  const out = createFrames(facts);
  for (const run of runs.runs.values()) joinAudit(run);
  replayInFlight(answers, runs, facts, out);
  for (const row of answers.rows) if (row.role === 'user') rebuildInput(row, runs, out);
  let is_pending = false;
  for (const run of runs.runs.values()) {
    if (wanted.has(run.run_id) && rebuildRun(run, answers, out)) is_pending = true;
  }
  const frames = out.frames.filter(({ ts_ms }) => ts_ms >= options.floor_ms);
  return { frames: frames.sort((a, b) => a.ts_ms - b.ts_ms || a.rank - b.rank), is_pending };
}
