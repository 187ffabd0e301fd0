/**
 * The `tool` stream, and the frames that complete it. In protocol 3 a call's error text and exit code come just after its
 * result, in `item` and `command_output` frames, so its end is held for them; in protocol 4 only that of a command whose result
 * has no exit code.
 */
import { blockText, isObject, type Json, number, object, text } from '../../util/json.js';
import type { Candidate } from '../decoder.js';
import { toolEnd } from '../tool-end.js';
import { callIdOf, latestCallId } from './call-ids.js';
import type { AgentPayload } from './frame.js';
import { callKey, type GatewayMemory, rememberSpawn, runKey } from './sessions.js';

/** The tools that start a sub-agent, and that start another run of one with a message. */
const SPAWN_TOOL = 'sessions_spawn';
const SEND_TOOL = 'sessions_send';

/** Command-line agents (`claude-cli`) call OpenClaw's own tools over MCP, under these names. */
const MCP_PREFIX = 'mcp__openclaw__';

const isTool = ({ name }: Json, tool: string): boolean => name === tool || name === MCP_PREFIX + tool;

const isStarting = (data: Json): boolean => isTool(data, SPAWN_TOOL) || isTool(data, SEND_TOOL);

interface Result {
  output: string | undefined;
  details: Json;
}

function parseDetails(output = ''): Json {
  try {
    return object(JSON.parse(output));
  } catch {
    return {};
  }
}

/**
 * What a call gave. The result of a tool of a command-line agent is its content alone: the details of OpenClaw's own tools are
 * in it as JSON.
 */
function resultOf(data: Json): Result {
  if (isObject(data.result))
    return { output: blockText(data.result.content), details: object(data.result.details) };
  const output = blockText(data.result);
  return { output, details: isStarting(data) ? parseDetails(output) : {} };
}

function call(payload: AgentPayload, memory: GatewayMemory, call_id: string): Candidate[] {
  const { data } = payload;
  const outer_id = text(data.parentToolCallId);
  const label = text(object(data.args).label);
  if (isTool(data, SPAWN_TOOL) && label !== undefined) memory.labels.set(callKey(payload, call_id), label);
  return [
    {
      type: 'tool.call',
      call_id,
      tool: text(data.name) ?? 'unknown',
      input: data.args,
      parent_call_id: outer_id && latestCallId(payload, outer_id, memory),
    },
  ];
}

function partial({ data }: AgentPayload, call_id: string): Candidate[] {
  return [
    { type: 'tool.output', call_id, partial: true, output: blockText(object(data.partialResult).content) },
  ];
}

/** The session of a sub-agent of which the result names a run that has not been seen yet. */
function childSession(
  { session_key, data }: AgentPayload,
  details: Json,
  memory: GatewayMemory,
): string | undefined {
  if (isTool(data, SPAWN_TOOL)) return text(details.childSessionKey);
  const receiver = text(details.sessionKey);
  if (!isTool(data, SEND_TOOL) || details.status !== 'accepted' || receiver === undefined) return undefined;
  const { parent_session_key, spawns_told } = memory.session(receiver);
  // A message to a run that is going on does not start it.
  const starts = parent_session_key === session_key && !spawns_told.includes(String(details.runId));
  return starts ? receiver : undefined;
}

/** The result of a spawn names the child's session and run: the exact link from call to child. */
function spawned(
  payload: AgentPayload,
  memory: GatewayMemory,
  call_id: string,
  { details }: Result,
): Candidate[] {
  const child = childSession(payload, details, memory);
  const run_id = text(details.runId);
  if (child === undefined || run_id === undefined) return [];
  const session = memory.session(child);
  const label = session.label ?? memory.labels.get(callKey(payload, call_id));
  if (label !== undefined) memory.update(child, { label });
  rememberSpawn(memory, child, run_id, label);
  return [
    {
      type: 'subagent.spawned',
      session_key: child,
      run_id,
      session_id: session.session_id,
      agent_id: undefined,
      channel: undefined,
      parent_session_key: payload.session_key,
      parent_run_id: payload.run_id,
      call_id,
      label,
    },
  ];
}

function endOf(data: Json, call_id: string, { output, details }: Result): Candidate {
  return toolEnd({
    call_id,
    tool: text(data.name),
    is_error: data.isError === true,
    exit_code: number(details.exitCode),
    output,
    message: text(details.error),
  });
}

function result(payload: AgentPayload, memory: GatewayMemory, call_id: string): Candidate[] {
  const given = resultOf(payload.data);
  const end: Candidate = { ...endOf(payload.data, call_id, given), ts: payload.ts };
  const key = callKey(payload, call_id);
  memory.update(payload.session_key, { asked_ms: payload.ts });
  const is_command = memory.commands.get(key) === true;
  const is_complete = !is_command || end.type === 'tool.error' || end.exit_code !== undefined;
  if (payload.protocol === 4 && is_complete) return [end, ...spawned(payload, memory, call_id, given)];
  memory.heldEnds.set(key, {
    run_key: runKey(payload),
    is_command,
    event: { ...end, session_key: payload.session_key, run_id: payload.run_id },
  });
  return spawned(payload, memory, call_id, given);
}

/** Decodes frames of the `tool` stream; undefined if the frame is not used. */
export function decodeTool(payload: AgentPayload, memory: GatewayMemory): Candidate[] | undefined {
  const call_id = callIdOf(payload, memory);
  if (call_id === undefined) return undefined;
  switch (payload.phase) {
    case 'start':
      return call(payload, memory, call_id);
    case 'update':
      return partial(payload, call_id);
    case 'result':
      return result(payload, memory, call_id);
    default:
      return undefined;
  }
}

function release(memory: GatewayMemory, key: string, extra: Candidate): Candidate[] {
  const held = memory.heldEnds.get(key);
  if (held === undefined) return [];
  memory.heldEnds.delete(key);
  const { event } = held;
  const message = text(extra.message);
  // A command that ran out of time or was killed has failed without an exit code.
  if (event.type === 'tool.output' && extra.status === 'failed' && extra.exit_code === undefined) {
    const error = { type: 'error', message: text(event.output) ?? 'the command failed' };
    return [{ ...event, type: 'tool.error', output: undefined, error }];
  }
  if (event.type === 'tool.error' && message !== undefined) {
    return [{ ...event, error: { ...object(event.error), message } }];
  }
  const exit_code = extra.exit_code ?? event.exit_code;
  return [{ ...event, exit_code: event.type === 'tool.output' ? exit_code : undefined }];
}

/** Output marks a call as a command; the end of the output completes the call's end, if that is held. */
function commandOutput({ phase, data }: AgentPayload, memory: GatewayMemory, key: string): Candidate[] {
  if (phase === 'end') return release(memory, key, { exit_code: number(data.exitCode), status: data.status });
  memory.commands.set(key, true);
  return [];
}

/** Decodes `item` and `command_output` frames, which complete an end that is held. */
export function decodeToolProgress(payload: AgentPayload, memory: GatewayMemory): Candidate[] | undefined {
  const { data } = payload;
  const given_id = text(data.toolCallId);
  if (given_id === undefined) return undefined;
  const key = callKey(payload, latestCallId(payload, given_id, memory));
  const completed = payload.stream === 'command_output' ? commandOutput(payload, memory, key) : undefined;
  // In protocol 4 a result is complete, except for the exit code of some commands.
  if (payload.protocol === 4) return completed?.length === 0 ? undefined : completed;
  if (completed !== undefined) return completed;
  if (data.kind === 'command') {
    if (payload.phase === 'start') memory.commands.set(key, true);
    return [];
  }
  const waitsForCommand = memory.heldEnds.get(key)?.is_command === true && data.status !== 'failed';
  return payload.phase === 'end' && !waitsForCommand ? release(memory, key, { message: data.error }) : [];
}
