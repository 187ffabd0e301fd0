/**
 * The content of a gateway recording, counted directly from its frames and independently of the decoder: runs, calls, model calls
 * and their tokens, who called whom, and the ids that follow from that by the published formula.
 */
import { createHash } from 'node:crypto';
import { readLines } from './helpers.js';

// biome-ignore lint/suspicious/noExplicitAny: frames are of any shape, and the oracle looks at them as they are
export type Frame = any;

export interface OracleRun {
  session_key: string;
  start_ms: number;
  end_ms: number;
}

export interface OracleCall {
  run_id: string;
  call_id: string;
  tool: string;
  start_ms: number;
  end_ms: number;
  /** The call within which it was made, if any. */
  parent_call_id?: string;
  failed: boolean;
  /** The label of the sub-agent that it spawns. */
  label?: string;
  /** The run that it spawned. */
  child?: { run_id: string; session_key: string };
}

export interface Oracle {
  /** By run id. */
  runs: Map<string, OracleRun>;
  /** By run id and call id, separated by a space. */
  calls: Map<string, OracleCall>;
  /** Messages of the model, with usage. */
  messages: Frame[];
  /** The frames of model calls that began but have no message. */
  unstored: Frame[];
  /** Reasoning tokens by message id, as far as the gateway was asked for them. */
  reasoning: Map<string, number>;
}

const isModelCall = (message: Frame): boolean =>
  message.role === 'assistant' &&
  message.provider !== 'openclaw' &&
  !(message.stopReason === 'aborted' && message.usage.totalTokens === 0);

/** Leaves out calls after a yield: the gateway announces one that is never made. */
function findUnstored(frames: Frame[], messages: Frame[]): Frame[] {
  const yields = new Set<string>();
  const unstored: Frame[] = [];
  for (const { event, payload } of frames) {
    if (event === 'session.tool' && payload.data.name === 'sessions_yield') yields.add(payload.runId);
    if (event !== 'agent' || payload.stream !== 'lifecycle' || payload.data.phase !== 'model') continue;
    if (payload.data.model === null || yields.has(payload.runId)) continue;
    const isStored = messages.some(
      (message) =>
        message.__openclaw.runId === payload.runId &&
        message.timestamp <= payload.ts &&
        payload.ts <= (message.__openclaw.recordTimestampMs ?? Number.POSITIVE_INFINITY),
    );
    if (!isStored) unstored.push(payload);
  }
  return unstored;
}

/** OpenClaw calls a command that exits with 3 a success; the bridge does not. */
const hasFailed = ({ isError, result }: Frame): boolean =>
  isError === true || (result?.details?.exitCode ?? 0) !== 0;

function lookAtCall(calls: Map<string, OracleCall>, { runId, data, ts }: Frame): void {
  const key = `${runId} ${data.toolCallId}`;
  if (data.phase === 'start') {
    calls.set(key, {
      run_id: runId,
      call_id: data.toolCallId,
      tool: data.name,
      start_ms: ts,
      end_ms: 0,
      ...(data.parentToolCallId === undefined ? {} : { parent_call_id: data.parentToolCallId }),
      ...(data.args?.label === undefined ? {} : { label: data.args.label }),
      failed: false,
    });
  }
  const call = calls.get(key);
  if (call === undefined || data.phase !== 'result') return;
  call.end_ms = ts;
  call.failed = hasFailed(data);
  const { childSessionKey, runId: child_run_id } = data.result?.details ?? {};
  if (childSessionKey === undefined) return;
  call.child = { run_id: child_run_id, session_key: childSessionKey };
}

function lookAtRun(runs: Map<string, OracleRun>, payload: Frame): void {
  const { runId, sessionKey, data, ts } = payload;
  if (data.phase === 'start' && !runs.has(runId))
    runs.set(runId, { session_key: sessionKey, start_ms: ts, end_ms: 0 });
  const run = runs.get(runId);
  const isOver = data.executionSettled === true || payload.agentId === undefined;
  if (run && ['end', 'error'].includes(data.phase) && isOver) run.end_ms ||= data.endedAt;
}

const reasoningIn = (answers: Frame[]): Map<string, number> =>
  new Map(
    answers
      .flatMap(({ payload }) => payload.messages ?? [])
      .filter(({ usage }) => usage?.reasoningTokens !== undefined)
      .map((message) => [message.__openclaw.id, message.usage.reasoningTokens]),
  );

export function lookAt(path: string): Oracle {
  const all = readLines(path).flatMap((line) => (JSON.parse(line).frame as Frame) ?? []);
  const frames = all.filter((frame) => frame.type === 'event');
  const runs = new Map<string, OracleRun>();
  const calls = new Map<string, OracleCall>();
  for (const { payload } of frames) {
    if (payload.stream === 'lifecycle') lookAtRun(runs, payload);
    if (payload.stream === 'tool') lookAtCall(calls, payload);
  }
  const messages = frames
    .filter(({ event }) => event === 'session.message')
    .map(({ payload }) => payload.message)
    .filter(isModelCall);
  return {
    runs,
    calls,
    messages,
    unstored: findUnstored(frames, messages),
    reasoning: reasoningIn(all.filter((frame) => frame.type === 'res' && frame.ok)),
  };
}

/** Sums over the model calls of a recording; `undefined` if the recording has no such numbers. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cached_tokens: number;
  reasoning_tokens: number | undefined;
  cost_usd: number;
}

export function usageOf({ messages, reasoning }: Oracle): Usage {
  const total = (pick: (usage: Frame) => number): number =>
    messages.reduce((sum, { usage }) => sum + pick(usage), 0);
  const known = messages.flatMap((message) => reasoning.get(message.__openclaw.id) ?? []);
  return {
    input_tokens: total(({ input, cacheRead, cacheWrite }) => input + cacheRead + cacheWrite),
    output_tokens: total(({ output }) => output),
    cached_tokens: total(({ cacheRead }) => cacheRead),
    reasoning_tokens: known.length === 0 ? undefined : known.reduce((sum, each) => sum + each, 0),
    cost_usd: total(({ cost }) => cost?.total ?? 0),
  };
}

/** The UTF-8 bytes of a text, prefixed with their number as four bytes, big-endian. */
function frame(text: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(text));
  return Buffer.concat([length, Buffer.from(text)]);
}

const digest = (...parts: string[]): string =>
  createHash('sha256')
    .update(Buffer.concat(parts.map(frame)))
    .digest('hex');

export const traceId = (session_key: string, run_id: string): string =>
  digest('trace', session_key, run_id).slice(0, 32);

export const spanId = (
  kind: 'run' | 'tool' | 'chat',
  session_key: string,
  run_id: string,
  own_id = '',
): string => digest(kind, session_key, run_id, own_id).slice(0, 16);

/** From span id to parent span id; `undefined` for the root. */
export type Parents = Record<string, string | undefined>;

export interface OracleTree {
  trace_id: string;
  parents: Parents;
  /** From the span id of an announce run to those of the runs that it reports on. */
  links: Record<string, string[]>;
  /** `parent → child` for each sub-agent, by their names, sorted. */
  edges: string[];
  /** The span ids of the calls that failed, sorted. */
  failed: string[];
}

/** The name of a session's agent: the label of a sub-agent, else the agent id in the session key. */
function agentNames({ calls }: Oracle): (session_key: string) => string {
  const labels = new Map([...calls.values()].map(({ child, label }) => [child?.session_key, label]));
  return (session_key) => labels.get(session_key) ?? session_key.split(':')[1] ?? '';
}

/** The sum of input and output tokens, by agent name. */
export function tokensByAgent(oracle: Oracle): Map<string, number> {
  const nameOf = agentNames(oracle);
  const tokens = new Map<string, number>();
  for (const { __openclaw, usage } of oracle.messages) {
    const agent = nameOf(oracle.runs.get(__openclaw.runId)?.session_key ?? '');
    tokens.set(agent, (tokens.get(agent) ?? 0) + usage.totalTokens);
  }
  return tokens;
}

/** The tree of a recording of a single request. */
export function treeIn(oracle: Oracle): OracleTree {
  const { runs, calls } = oracle;
  const sessionOf = (run_id: string): string => runs.get(run_id)?.session_key ?? '';
  const idOf = (kind: 'run' | 'tool' | 'chat', run_id: string, own_id = ''): string =>
    spanId(kind, sessionOf(run_id), run_id, own_id);
  const spawning = [...calls.values()].filter(({ child }) => child !== undefined);
  const parents: Parents = {};
  const links: Record<string, string[]> = {};
  for (const run_id of runs.keys()) {
    const call = spawning.find(({ child }) => child?.run_id === run_id);
    const reported = reportedOn(run_id, runs);
    const parent = reported.length > 0 ? idOf('run', yieldedRun(run_id, runs)) : undefined;
    parents[idOf('run', run_id)] = call ? idOf('tool', call.run_id, call.call_id) : parent;
    if (reported.length > 0) links[idOf('run', run_id)] = reported.map((id) => idOf('run', id)).sort();
  }
  for (const { run_id, call_id, parent_call_id } of calls.values()) {
    parents[idOf('tool', run_id, call_id)] =
      parent_call_id === undefined ? idOf('run', run_id) : idOf('tool', run_id, parent_call_id);
  }
  for (const [run_id, own_id] of modelCalls(oracle)) {
    parents[idOf('chat', run_id, own_id)] = idOf('run', run_id);
  }
  const nameOf = agentNames(oracle);
  const edges = spawning.map(
    ({ run_id, child }) => `${nameOf(sessionOf(run_id))} → ${nameOf(child?.session_key ?? '')}`,
  );
  const failed = [...calls.values()].filter((call) => call.failed);
  const [root = ''] = runs.keys();
  return {
    trace_id: traceId(sessionOf(root), root),
    parents,
    links,
    edges: edges.sort(),
    failed: failed.map(({ run_id, call_id }) => idOf('tool', run_id, call_id)).sort(),
  };
}

/** The other runs that the id of an announce run names, without those that are part of another's id. */
function reportedOn(run_id: string, runs: Map<string, OracleRun>): string[] {
  if (!run_id.startsWith('announce:')) return [];
  const named = [...runs.keys()].filter((other) => other !== run_id && run_id.includes(other));
  return named.filter((id) => !named.some((other) => other !== id && other.includes(id)));
}

/** The previous run of the same session. */
function yieldedRun(run_id: string, runs: Map<string, OracleRun>): string {
  const of_session = [...runs]
    .filter(([, run]) => run.session_key === runs.get(run_id)?.session_key)
    .map(([id]) => id);
  return of_session[of_session.indexOf(run_id) - 1] ?? '';
}

/**
 * The run of each model call and its own id: that of its response or message, or its number in the run. Messages of protocol 3
 * do not name their run, but its recordings have only one.
 */
function modelCalls({ runs, messages, unstored }: Oracle): [run_id: string, own_id: string][] {
  const [only_run] = runs.keys();
  const stored = messages.map((message) => ({
    run_id: String(message.__openclaw.runId ?? only_run),
    ts: Number(message.timestamp),
    own_id: String(message.responseId ?? message.__openclaw.id),
  }));
  const failed = unstored.map(({ runId, ts }) => ({
    run_id: String(runId),
    ts: Number(ts),
    own_id: undefined,
  }));
  const all = [...stored, ...failed].sort((a, b) => a.ts - b.ts);
  return all.map((call) => {
    const number = all.filter(({ run_id }) => run_id === call.run_id).indexOf(call) + 1;
    return [call.run_id, call.own_id ?? String(number)];
  });
}
