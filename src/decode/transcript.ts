/**
 * The dialect `transcript`: a session's JSONL file as OpenClaw 2026.6 and older wrote it. The file has no run ids, so a run
 * is a user's message and what follows it, until an answer that asks for no tool, a yield, or the next message.
 */

import { ANNOUNCE_PREFIX } from '../model/announce.js';
import type { AgentEvent } from '../model/event.js';
import { agentOfSession } from '../model/session-key.js';
import { callsIn } from '../model/tool-calls.js';
import { blockText, isObject, type Json, number, object, text } from '../util/json.js';
import { numbered } from './call-number.js';
import { type Candidate, checkEvents, type Decoded, type Decoder, ignore, reject } from './decoder.js';
import { modelCallEvents, noModelCall } from './message.js';
import { toolEnd } from './tool-end.js';

/** A session, from OpenClaw's `sessions.json` beside the transcripts of an agent. */
export interface TranscriptSession {
  session_key: string;
  parent_session_key?: string;
  label?: string;
  channel?: string;
  /** The name of its file. After a reset, the session has another id, but a file of the same name. */
  file?: string;
}

/** Sessions by their id. The index is asked again for a session that it did not have, and when its first run is emitted. */
export interface TranscriptIndex extends Pick<ReadonlyMap<string, TranscriptSession>, 'get'> {
  /** The agent of sessions whose key does not name it. */
  readonly agent_id?: string | undefined;
}

/**
 * Reads the content of OpenClaw's `sessions.json` (`~/.openclaw/agents/<agent>/sessions/sessions.json`), parsed: an object of
 * session rows by session key. Anything that is not such a row, or has no id, is skipped.
 */
export function readTranscriptIndex(value: unknown): ReadonlyMap<string, TranscriptSession> {
  const index = new Map<string, TranscriptSession>();
  for (const [session_key, row] of Object.entries(object(value))) {
    if (!isObject(row)) continue;
    const id = text(row.sessionId);
    const parent_session_key = text(row.spawnedBy);
    const label = text(row.label);
    const channel = text(row.lastChannel);
    const file = text(row.sessionFile)?.split(/[\\/]/).at(-1);
    if (id === undefined) continue;
    index.set(id, {
      session_key,
      ...(parent_session_key === undefined ? {} : { parent_session_key }),
      ...(label === undefined ? {} : { label }),
      ...(channel === undefined ? {} : { channel }),
      ...(file === undefined ? {} : { file }),
    });
  }
  return index;
}

/** Whether a line looks like one of this dialect. */
export const looksLikeTranscript = (value: Json): boolean =>
  (value.type === 'session' && text(value.id) !== undefined) ||
  (value.type === 'message' && isObject(value.message));

interface State {
  session_id: string;
  /** Undefined until a run is emitted and the index knows the session. */
  known_session: TranscriptSession | undefined;
  /** What is known so far; until the index knows the session, its id stands in for its key. */
  session: TranscriptSession;
  /** The agent, if the session's key does not name it. Absent if an earlier version stored the state. */
  agent_id?: string | undefined;
  /** Entries from before this only serve as context: they are followed to know which run is open. */
  since_ms: number;
  /** The events that opened the open run and its open calls, held because they were only context. */
  unsent: Candidate[];
  run?: Run;
  /** The latest run, if it has yielded or continues one that has. */
  yielded_run_id?: string;
}

interface Run {
  run_id: string;
  last_ts: number;
  /** What identifies its user's message. Absent if OpenClaw stored none. */
  input_key?: string;
  /** Its end has been emitted, but it may continue. */
  may_be_over?: boolean;
  /** How many calls were made under each id. Absent if an earlier version stored the run. */
  calls?: Record<string, number>;
  /** Of ids given to several calls: the number of the latest one that has ended, or will not. */
  ended?: Record<string, number>;
  /** The ids of its responses: some backends give all of them the same. */
  responses?: string[];
}

/** Events that open something that can still be open when events begin to be emitted. */
const OPENING_TYPES: ReadonlySet<unknown> = new Set(['agent.started', 'subagent.spawned', 'tool.call']);

/** Maximum number of such events that are remembered for one run. */
const MAX_UNSENT = 1_000;

/** Maximum number of call ids, and of response ids, that are remembered for one run; later ones count as used once. */
const MAX_CALL_IDS = 1_000;

/** The statuses of results that OpenClaw counts as failures; `isError` is only set for calls that threw an error. */
const FAILURES: ReadonlySet<unknown> = new Set(['error', 'timeout']);

const timeOf = (entry: Json): number => {
  const recorded = Date.parse(text(entry.timestamp) ?? '');
  return Number.isNaN(recorded) ? (number(object(entry.message).timestamp) ?? 0) : recorded;
};

/** Ends the open run. If it may continue, what follows still belongs to it. */
function finish(state: State, ts: number, end: Candidate): Candidate[] {
  const { run } = state;
  if (run === undefined) return [];
  if (end.may_continue === true) run.may_be_over = true;
  else delete state.run;
  if (end.yielded === true) state.yielded_run_id = run.run_id;
  return [{ type: 'agent.finished', run_id: run.run_id, ts, ...end }];
}

const ANNOUNCEMENT = 'subagent_announce';

/** How the reports of OpenClaw 2026.2 and of OpenClaw 2026.1 name the child: by its id and by its key. */
const REPORT_OF_ID = /^(?:\[[^\]]*\] )?\[System Message\] \[sessionId: ([^\]]+)\] A subagent task /;
const REPORT_OF_KEY = /^A background task .* sessionKey (\S+:subagent:\S+)/s;

/**
 * The child whose report the message is, if it is one: it names the child's session. A report opens a run that continues the
 * request.
 */
function announcedChild(
  { provenance }: Json,
  content: string | undefined,
  index: TranscriptIndex,
): string | undefined {
  const { sourceTool, sourceSessionKey } = object(provenance);
  if (sourceTool === ANNOUNCEMENT) return text(sourceSessionKey);
  if (content === undefined) return undefined;
  if (content.startsWith('[Inter-session message]') && content.includes(ANNOUNCEMENT))
    return /sourceSession=(\S+)/.exec(content)?.[1];
  const id = REPORT_OF_ID.exec(content)?.[1];
  return id === undefined ? REPORT_OF_KEY.exec(content)?.[1] : index.get(id)?.session_key;
}

/** A schedule puts its id before its message. */
const triggerIn = (content: string | undefined): string | undefined =>
  content?.startsWith('[cron:') ? 'cron' : undefined;

function userMessage(state: State, entry: Json, message: Json, index: TranscriptIndex): Candidate[] {
  // A run that is still open at the next message was abandoned, without an entry in the file.
  const given_up = state.run?.may_be_over
    ? []
    : finish(state, state.run?.last_ts ?? 0, { status: 'cancelled' });
  const content = blockText(message.content);
  const child = announcedChild(message, content, index);
  const entry_id = text(entry.id) ?? String(timeOf(entry));
  const run_id =
    child === undefined ? `${state.session_id}:${entry_id}` : `${ANNOUNCE_PREFIX}v1:${child}:${entry_id}`;
  const ts = number(message.timestamp) ?? timeOf(entry);
  delete state.yielded_run_id;
  const input_key = text(message.idempotencyKey);
  state.run = { run_id, last_ts: ts, calls: {}, ...(input_key === undefined ? {} : { input_key }) };
  const { parent_session_key, label } = state.session;
  const isChild = child === undefined && parent_session_key !== undefined;
  const spawn =
    isChild && label !== undefined
      ? [{ type: 'subagent.spawned', run_id, ts, parent_session_key, label }]
      : [];
  const trigger = child !== undefined ? 'announce' : isChild ? 'subagent' : triggerIn(content);
  return [
    ...given_up,
    ...spawn,
    {
      type: 'agent.started',
      ts,
      trigger,
      parent_session_key: isChild ? parent_session_key : undefined,
      input: content,
    },
  ];
}

const countIn = (counts: Record<string, number> = {}, call_id: string): number =>
  Object.hasOwn(counts, call_id) ? (counts[call_id] ?? 0) : 0;

const callCount = ({ calls }: Run, call_id: string): number => countIn(calls, call_id);

/** The id of another call of the run that is given this id. */
function nextCall(run: Run, call_id: string): string {
  const count = callCount(run, call_id) + 1;
  run.calls ??= {};
  if (count > 1 || Object.keys(run.calls).length < MAX_CALL_IDS) run.calls[call_id] = count;
  return numbered(call_id, count);
}

function setEnded(run: Run, call_id: string, count: number): void {
  run.ended ??= {};
  run.ended[call_id] = count;
}

/**
 * The id of the call that a result ends: the first in the latest message with this id that has no result, else the latest. If
 * there is none, OpenClaw has removed that call from its message.
 */
function endedCall(run: Run, call_id: string): string {
  const count = callCount(run, call_id);
  if (count === 0) return nextCall(run, call_id);
  if (count === 1) return call_id;
  const ended = Math.min(countIn(run.ended, call_id) + 1, count);
  setEnded(run, call_id, ended);
  return numbered(call_id, ended);
}

function toolCalls(run: Run, message: Json, ts: number): Candidate[] {
  // Earlier calls without a result will not get one.
  for (const { id } of callsIn(message)) {
    const count = typeof id === 'string' ? callCount(run, id) : 0;
    if (count > 0) setEnded(run, String(id), count);
  }
  return callsIn(message).map((block) => ({
    type: 'tool.call',
    ts,
    call_id: typeof block.id === 'string' ? nextCall(run, block.id) : block.id,
    tool: text(block.name) ?? 'unknown',
    input: block.arguments,
  }));
}

/** A failure, after which OpenClaw may call the model again. */
const failure = (message: string | undefined, stop_reason?: string): Candidate => ({
  status: 'error',
  stop_reason,
  error: { type: 'error', message: message ?? 'the run failed' },
  may_continue: true,
});

/**
 * How an answer ends its run, or undefined if the run continues: OpenClaw makes the calls in an answer whatever its stop reason,
 * which some backends give as `stop` then.
 */
function endOfRun(message: Json): Candidate | undefined {
  const stop_reason = text(message.stopReason);
  if (stop_reason === 'error') return failure(text(message.errorMessage), stop_reason);
  if (stop_reason === 'aborted') return { status: 'cancelled', stop_reason };
  if (callsIn(message).length > 0) return undefined;
  // OpenClaw removes calls of unknown tools from a message: if there were any, their errors and another answer follow.
  const may_continue = stop_reason === 'toolUse' ? true : undefined;
  return { status: 'ok', stop_reason, output: blockText(message.content), may_continue };
}

/** The message, without its response id if an earlier one of the run has the same: its own id identifies it then. */
function withOwnId(run: Run, message: Json): Json {
  const id = text(message.responseId);
  if (id === undefined) return message;
  run.responses ??= [];
  if (run.responses.includes(id)) return { ...message, responseId: undefined };
  if (run.responses.length < MAX_CALL_IDS) run.responses.push(id);
  return message;
}

function assistantMessage(state: State, run: Run, entry: Json, message: Json): Candidate[] {
  const ts = timeOf(entry);
  const call = modelCallEvents(withOwnId(run, message), {
    message_id: text(entry.id),
    ended_at: ts,
    asked_at: run.last_ts,
  });
  const end = endOfRun(message);
  return [...call, ...toolCalls(run, message, ts), ...(end === undefined ? [] : finish(state, ts, end))];
}

function spawnedChild(message: Json, call_id: string | undefined, session_key: string): Candidate[] {
  if (message.toolName !== 'sessions_spawn') return [];
  const child = text(object(message.details).childSessionKey) ?? childInText(blockText(message.content));
  if (child === undefined) return [];
  return [
    {
      type: 'subagent.spawned',
      session_key: child,
      run_id: undefined,
      parent_session_key: session_key,
      call_id,
    },
  ];
}

const childInText = (content: string | undefined): string | undefined =>
  /"childSessionKey":\s*"([^"\\]+)"/.exec(content ?? '')?.[1];

function toolResult(state: State, run: Run, entry: Json, message: Json): Candidate[] {
  const ts = number(message.timestamp) ?? timeOf(entry);
  const asked_id = text(message.toolCallId);
  const call_id = asked_id && endedCall(run, asked_id);
  const details = object(message.details);
  const end = toolEnd({
    call_id,
    tool: text(message.toolName),
    is_error: message.isError === true || FAILURES.has(details.status),
    exit_code: number(details.exitCode),
    output: blockText(message.content),
    message: text(details.error),
  });
  const spawn = spawnedChild(message, call_id, state.session.session_key).map((event) => ({
    ...event,
    ts,
    parent_run_id: run.run_id,
  }));
  return [{ ...end, ts }, ...spawn];
}

/** Whether an entry is a user's message, and not one that is repeated for another attempt of the open run. */
function isNewInput({ run }: State, entry: Json): boolean {
  const { role, idempotencyKey } = object(entry.message);
  return role === 'user' && (idempotencyKey === undefined || idempotencyKey !== run?.input_key);
}

/** Whether a request goes on after it has yielded: OpenClaw 2026.5 and 2026.6 do not store the report that continues it. */
const isContinuation = ({ run, yielded_run_id }: State, message: Json): boolean =>
  run === undefined && yielded_run_id !== undefined && noModelCall(message) === undefined;

function continuation(state: State, entry: Json, message: Json): Candidate[] {
  const { session, yielded_run_id } = state;
  const run_id = `${ANNOUNCE_PREFIX}v1:${session.session_key}:${yielded_run_id}`;
  const ts = number(message.timestamp) ?? timeOf(entry);
  const run = { run_id, last_ts: ts, calls: {} };
  state.run = run;
  state.yielded_run_id = run_id;
  return [
    { type: 'agent.started', ts, trigger: 'announce' },
    ...assistantMessage(state, run, entry, message),
  ];
}

function decodeMessageEntry(state: State, entry: Json, index: TranscriptIndex): Candidate[] | string {
  const message = object(entry.message);
  if (isNewInput(state, entry)) return userMessage(state, entry, message, index);
  if (message.role === 'user') return 'message.repeated';
  if (isContinuation(state, message)) return continuation(state, entry, message);
  const { run } = state;
  if (run === undefined) return 'entry.outside_of_a_run';
  const ignored = message.role === 'toolResult' ? undefined : noModelCall(message);
  if (ignored !== undefined) return ignored;
  delete run.may_be_over;
  return message.role === 'toolResult'
    ? toolResult(state, run, entry, message)
    : assistantMessage(state, run, entry, message);
}

/** A run that failed in another way than by an answer of the model, for example because it ran out of time. */
const isPromptError = ({ type, customType }: Json): boolean =>
  type === 'custom' && customType === 'openclaw:prompt-error';

function decodeEntry(state: State, entry: Json, index: TranscriptIndex): Candidate[] | string {
  if (entry.type === 'message') return decodeMessageEntry(state, entry, index);
  if (entry.type === 'custom_message' && entry.customType === 'openclaw.sessions_yield') {
    return finish(state, timeOf(entry), { status: 'ok', yielded: true });
  }
  if (isPromptError(entry) && state.run !== undefined && !state.run.may_be_over)
    return finish(state, timeOf(entry), failure(text(object(entry.data).error)));
  return `entry.${text(entry.type)?.slice(0, 30) ?? 'other'}`;
}

/** Adds what every event of a transcript carries. */
function withCommon(event: Candidate, { session_id, session, agent_id }: State): Candidate {
  const { session_key, channel } = session;
  if (event.type === 'subagent.spawned' && event.session_key !== undefined)
    return { ...event, agent_id: agentOfSession(String(event.session_key)) };
  return { session_key, session_id, agent_id: agentOfSession(session_key) ?? agent_id, channel, ...event };
}

/** Gives an entry's events the run that they belong to, and ids, so that an entry that is read twice counts once. */
function identify(
  events: Candidate[],
  entry: Json,
  session_id: string,
  run_id: string | undefined,
): Candidate[] {
  const entry_id = text(entry.id) ?? String(timeOf(entry));
  return events.map((event, index) => ({
    run_id,
    ...event,
    event_id: `${session_id}:${entry_id}:${index}`,
  }));
}

/** Remembers, of events that are only context, those that opened the run that is still open after them. */
function understand(state: State, events: Candidate[]): void {
  if (events.some(({ type }) => type === 'agent.started')) state.unsent = [];
  for (const event of events) {
    if (event.type === 'agent.finished' && event.may_continue !== true) state.unsent = [];
    if (event.type === 'tool.output' || event.type === 'tool.error') {
      state.unsent = state.unsent.filter((each) => each.call_id !== event.call_id);
    }
    if (!OPENING_TYPES.has(event.type) || state.unsent.length >= MAX_UNSENT) continue;
    // The call that made a spawn has ended and is not emitted, so the child becomes a child of the run.
    state.unsent.push(event.type === 'subagent.spawned' ? { ...event, call_id: undefined } : event);
  }
}

/**
 * Prepares for an entry that is emitted: looks up the session if a run is emitted with it, and forgets an earlier run that was
 * abandoned before any of it was emitted.
 */
function prepareToEmit(state: State, index: TranscriptIndex, opensRun: boolean): void {
  if (opensRun || state.unsent.length > 0) lookUp(state, index);
  if (!opensRun || state.unsent.length === 0) return;
  state.unsent = [];
  delete state.run;
}

/** OpenClaw creates the row of a session before it adds its parent and label; when the first run starts it is complete. */
function lookUp(state: State, index: TranscriptIndex): void {
  state.known_session ??= index.get(state.session_id);
  state.session = state.known_session ?? state.session;
}

/** A file that continues another one begins with copies of that one's entries, which are older than the file. */
function openState(entry: Json, session_id: string, index: TranscriptIndex, since_ms: number): State {
  const copied_until_ms = text(entry.parentSession) === undefined ? 0 : timeOf(entry);
  return {
    session_id,
    known_session: undefined,
    session: index.get(session_id) ?? { session_key: session_id },
    agent_id: index.agent_id,
    since_ms: Math.max(since_ms, copied_until_ms),
    unsent: [],
  };
}

function decodeSessionEntry(state: State, entry: Json, index: TranscriptIndex): Decoded {
  const opensRun = isNewInput(state, entry) || isContinuation(state, object(entry.message));
  const isEmitted = timeOf(entry) >= state.since_ms;
  if (isEmitted) prepareToEmit(state, index, opensRun);
  const before = state.run?.run_id;
  const candidates = decodeEntry(state, entry, index);
  if (typeof candidates === 'string') return ignore(candidates);
  if (state.run !== undefined) state.run.last_ts = Math.max(state.run.last_ts, timeOf(entry));
  // A continuation may be over with its first entry.
  const run_id = opensRun ? (state.run?.run_id ?? state.yielded_run_id) : before;
  const events = identify(candidates, entry, state.session_id, run_id);
  if (!isEmitted) {
    understand(state, events);
    return ignore('entry.before_start');
  }
  const emitted = [...state.unsent, ...events];
  state.unsent = [];
  return checkEvents(
    emitted.map((event) => withCommon(event, state)),
    'message',
  );
}

/**
 * Creates a decoder for one file. If the index does not know the session, its id stands in for its key. Of what was written
 * before `since_ms`, epoch milliseconds, only what opened a run that is still open after it is emitted.
 */
export function createTranscriptDecoder(index: TranscriptIndex = new Map(), since_ms = 0): Decoder {
  let state: State | undefined;
  return {
    decode(entry) {
      if (entry.type === 'session') {
        const session_id = text(entry.id);
        if (session_id === undefined) return reject('invalid_event', 'id', 'a session entry needs an id');
        state = openState(entry, session_id, index, since_ms);
        return ignore('entry.session');
      }
      if (state === undefined)
        return reject('invalid_event', 'type', 'a transcript must begin with its session entry');
      return decodeSessionEntry(state, entry, index);
    },
    end: (): AgentEvent[] => [],
    memory: {
      state: {
        save: () => state,
        restore(saved) {
          state = saved as State | undefined;
        },
      },
    },
  };
}
