/**
 * Combines a gateway's answers into what is known of the runs of one session: times come from the audit log, arguments and
 * results from the transcript, and the end of the last run from the session's row. Pure.
 */
import { runOfCliAnswer } from '../../../model/input.js';
import { isMasked, isMaskOf } from '../../../model/masked.js';
import { callsIn } from '../../../model/tool-calls.js';
import { blockText, type Json, list, number, object, text } from '../../../util/json.js';
import { auditId, type SessionAnswers } from './answers.js';

export interface RebuildOptions {
  /** Runs that ended before this are ignored. Epoch milliseconds by the gateway's clock, like all times here. */
  since_ms: number;
  /** Everything after this was pushed. */
  until_ms: number;
  /** Nothing from before this is emitted, not even of a run that is still open. */
  floor_ms: number;
  /** The run of this session that was open when the gap began. */
  open_run?: OpenRun | undefined;
  /** Whether another gateway process answers now: the one that ran `open_run` is gone. */
  is_restarted: boolean;
}

/** What is known of one tool call. */
export interface CallFacts {
  call_id: string;
  tool: string;
  args?: unknown;
  parent_call_id?: string;
  /** When the model requested it. */
  asked_ms: number;
  /** No stored message requests it: the model call that did is lost. */
  is_unasked?: true;
  started_ms?: number;
  ended_ms?: number;
  /** The result as the transcript has it. */
  result?: { content: unknown; details: unknown; is_error: boolean; written_ms: number };
  /** How it ended, in the audit log's terms. */
  status?: string;
}

/** A run that is open, as far as its events have been seen. */
export interface OpenRun {
  run_id: string;
  /** Time of its latest event, epoch milliseconds. */
  last_ms: number;
  /** Absent if it is 4. In protocol 3 nothing that is stored names the run. */
  protocol?: 3;
  /** The ids of its open calls, the latest ones if there are many. Absent if there are none. */
  calls?: readonly string[];
}

export interface RunFacts {
  run_id: string;
  /** The id that its session had then: a reset or a rewind gives the session another one. */
  session_id?: string;
  started_ms?: number;
  ended_ms?: number;
  status?: string;
  /** The origin of the prompt, if OpenClaw itself wrote it: for a heartbeat, a schedule or a webhook. */
  provenance?: Json;
  messages: Json[];
  results: Json[];
  calls: Map<string, CallFacts>;
  /** Starts and ends in the audit log, by the hash of the call id; in the end only those of calls that no stored row shows. */
  audited: Map<string, Pick<CallFacts, 'started_ms' | 'ended_ms' | 'status'> & { tool: string }>;
}

/** The status of a run that ended because its gateway did. */
export const INTERRUPTED = 'gateway_restarted';

const NESTED_TOOL = 'openclaw.nested-tool.v1';

function createRuns() {
  const runs = new Map<string, RunFacts>();
  return {
    runs,
    of(run_id: string): RunFacts {
      const whole = isMasked(run_id) ? [...runs.keys()].find((id) => isMaskOf(run_id, id)) : undefined;
      const known = runs.get(whole ?? run_id);
      if (known !== undefined) return known;
      const run: RunFacts = { run_id, messages: [], results: [], calls: new Map(), audited: new Map() };
      runs.set(run_id, run);
      return run;
    },
  };
}

type Runs = ReturnType<typeof createRuns>;

export const own = (row: Json): Json => object(row.__openclaw);
export const recordedAt = (row: Json): number =>
  number(own(row).recordTimestampMs) ?? number(row.timestamp) ?? 0;

function readActivity(event: Json, runs: Runs): void {
  const run_id = text(event.runId);
  const ts = number(event.occurredAt);
  if (run_id === undefined || ts === undefined) return;
  const run = runs.of(run_id);
  const session_id = text(event.sessionId);
  if (session_id !== undefined) run.session_id = session_id;
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
  const run_id = text(own(row).runId) ?? runOfCliAnswer(row);
  if (run_id === undefined) return;
  const run = runs.of(run_id);
  run.messages.push(row);
  for (const block of callsIn(row)) {
    const call_id = text(block.id);
    if (call_id === undefined) continue;
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
    is_unasked: true,
  };
  call.result = { content: row.content, details: row.details, is_error: row.isError === true, written_ms };
  calls.set(call_id, call);
}

/** A nested call has a row of its own, with its start and its end. */
function readNestedTool({ details }: Json, runs: Runs): void {
  const fields = object(details);
  const run_id = text(fields.runId);
  const call_id = text(fields.toolCallId);
  const started_ms = number(fields.startedAt);
  const written_ms = number(fields.timestamp);
  if (run_id === undefined || call_id === undefined || started_ms === undefined) return;
  const parent_call_id = text(fields.parentToolCallId);
  const result = object(fields.result);
  runs.of(run_id).calls.set(call_id, {
    call_id,
    tool: text(fields.toolName) ?? 'unknown',
    args: fields.input,
    asked_ms: started_ms,
    started_ms,
    ...(parent_call_id === undefined ? {} : { parent_call_id }),
    ...(written_ms === undefined
      ? {}
      : {
          result: {
            content: result.content,
            details: result.details,
            is_error: fields.isError === true,
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

/** The run that started last, of those whose start is known. */
export const lastStarted = (runs: Iterable<RunFacts>): RunFacts | undefined =>
  [...runs].reduce<RunFacts | undefined>(
    (last, run) => ((run.started_ms ?? 0) > (last?.started_ms ?? 0) ? run : last),
    undefined,
  );

/**
 * A prompt that OpenClaw itself wrote names no run: its run is the one whose first message follows, else the one that has started
 * since and has no message yet.
 */
function readPrompts(rows: Json[], { runs }: Runs): void {
  let prompt: Json | undefined;
  for (const row of rows) {
    if (row.role === 'user') prompt = object(row.provenance).kind === 'internal_system' ? row : undefined;
    const run = row.role === 'assistant' ? runs.get(text(own(row).runId) ?? '') : undefined;
    if (run === undefined || prompt === undefined) continue;
    if (run.messages[0] === row) run.provenance = object(prompt.provenance);
    prompt = undefined;
  }
  const latest = lastStarted(runs.values());
  if (prompt === undefined || latest?.messages.length !== 0) return;
  if ((latest.started_ms ?? 0) >= recordedAt(prompt)) latest.provenance = object(prompt.provenance);
}

/** The audit log's terms for the ends that a session's row reports. */
const ROW_STATUS: Record<string, string | undefined> = {
  done: 'succeeded',
  failed: 'failed',
  killed: 'cancelled',
  timeout: 'timed_out',
};

/** The same for protocol 3, which reports an abort as a timeout. */
const UNNAMED_STATUS: Record<string, string | undefined> = { ...ROW_STATUS, timeout: 'cancelled' };

/** How the last run of a session ended. While the session is running, its row has no status of that run. */
function rowStatus({ status, abortedLastRun, lastRunError }: Json): string {
  if (abortedLastRun === true) return 'cancelled';
  if (status === 'running' && text(lastRunError) === undefined) return 'succeeded';
  return ROW_STATUS[text(status) ?? ''] ?? 'unknown';
}

/**
 * The run whose end a session's row reports. The row names no run while sub-agents of that run still work: then it is the run
 * that started last. After a restart the row names none either; the end that it then reports for an interrupted run is the time
 * at which the gateway found that run.
 */
function lastRun(session: Json, { runs }: Runs, { is_restarted }: RebuildOptions): RunFacts | undefined {
  const run_id = text(session.lastRunId);
  if (run_id !== undefined) return runs.get(run_id);
  if (session.hasActiveRun === true || is_restarted) return undefined;
  return lastStarted(runs.values());
}

/**
 * Reads the end of a session's last run from its row, since the audit log is behind: by a second or two, and by 15 s if the run
 * did not succeed.
 */
function readSessionEnd(session: Json, runs: Runs, options: RebuildOptions): void {
  const run = lastRun(session, runs, options);
  const ended_ms = number(session.endedAt);
  if (run === undefined || run.ended_ms !== undefined || ended_ms === undefined) return;
  if (ended_ms < (run.started_ms ?? 0)) return;
  if (session.hasActiveRun === true && list(session.activeRunIds).includes(run.run_id)) return;
  run.ended_ms = ended_ms;
  const isWaiting = session.lastRunId === undefined;
  run.status = isWaiting ? 'succeeded' : rowStatus(session);
}

/**
 * In protocol 3 the row of a session only says when its latest run began and ended: that was the open run, unless another one has
 * begun since. A run that was interrupted is marked as failed and as aborted when the next gateway process finds it; OpenClaw 2026.5
 * leaves it as running, and says that the session has no active run.
 */
function readUnnamedEnd(session: Json, { runs }: Runs, { open_run }: RebuildOptions): void {
  const run = runs.get(open_run?.run_id ?? '');
  const { status, abortedLastRun, hasActiveRun } = session;
  const isForgotten = status === 'running' && hasActiveRun === false;
  const started_ms = number(session.startedAt);
  const ended_ms = number(session.endedAt) ?? (isForgotten ? open_run?.last_ms : undefined);
  if (open_run?.protocol !== 3 || run === undefined || started_ms === undefined || ended_ms === undefined)
    return;
  if (started_ms > open_run.last_ms || ended_ms < open_run.last_ms) return;
  const isInterrupted = isForgotten || (abortedLastRun === true && status === 'failed');
  run.ended_ms = isInterrupted ? open_run.last_ms : ended_ms;
  run.status = isInterrupted ? INTERRUPTED : (UNNAMED_STATUS[text(status) ?? ''] ?? 'unknown');
}

/** Ends the run that was open when its gateway went down, since nothing reports that end. Another run may continue its request. */
function readInterruption({ open_run, is_restarted }: RebuildOptions, runs: Runs): void {
  if (open_run === undefined || !is_restarted) return;
  const run = runs.of(open_run.run_id);
  if (run.ended_ms !== undefined) return;
  const recorded_ms = [...run.messages, ...run.results].map(recordedAt);
  const audited = [...run.audited.values()].map(({ started_ms, ended_ms }) => ended_ms ?? started_ms ?? 0);
  run.ended_ms = Math.max(open_run.last_ms, ...recorded_ms, ...audited);
  run.status = INTERRUPTED;
}

/** What a model answers that has nothing to say. */
const SILENT = 'NO_REPLY';

/** The text in a message, unless that says that there is nothing to say. */
export function answerIn({ content }: Json): string | undefined {
  const answer = blockText(content);
  return answer?.trim() === SILENT ? undefined : answer;
}

/** A run whose model gave no answer is stored as an aborted one, but pushed as a failed one. */
function readUnanswered(run: RunFacts): void {
  const last = run.messages.at(-1);
  const isUnanswered = last?.stopReason === 'stop' && answerIn(last) === undefined;
  if (run.status === 'cancelled' && isUnanswered) run.status = 'failed';
}

/** Adds the calls that were open when the gap began, if no row shows them: those of command-line agents are not stored. */
function readOpenCalls({ open_run }: RebuildOptions, runs: Runs): void {
  if (open_run === undefined) return;
  const { calls, audited } = runs.of(open_run.run_id);
  for (const call_id of open_run.calls ?? []) {
    const { tool, started_ms } = audited.get(auditId(call_id)) ?? {};
    if (calls.has(call_id) || tool === undefined || started_ms === undefined) continue;
    calls.set(call_id, { call_id, tool, asked_ms: started_ms });
  }
}

/** Gives each call its times from the audit log. The entries that are left over belong to calls that no stored row shows. */
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

/** Everything that is known of the runs of a session. */
export function readRuns(answers: SessionAnswers, options: RebuildOptions): Map<string, RunFacts> {
  const runs = createRuns();
  // Rows come last: where they have only masked ids, the whole ones have to be known.
  if (options.open_run !== undefined) runs.of(options.open_run.run_id);
  for (const event of answers.activity) readActivity(event, runs);
  for (const row of answers.rows) readRow(row, runs);
  readOpenCalls(options, runs);
  readPrompts(answers.rows, runs);
  readSessionEnd(answers.session, runs, options);
  readUnnamedEnd(answers.session, runs, options);
  readInterruption(options, runs);
  for (const run of runs.runs.values()) {
    readUnanswered(run);
    joinAudit(run);
  }
  return runs.runs;
}
