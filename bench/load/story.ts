/**
 * The events of one request, as a gateway would report it: an agent that thinks, uses tools and now and then delegates to a
 * sub-agent. Each event comes with what must arrive because of it, computed independently of the bridge.
 */
import type { Random } from '../../test/crash/random.js';
import type { LogFacts, SpanFacts, Value } from './facts.js';
import { spanId, traceId } from './identity.js';

type Fields = Record<string, unknown>;

export interface Told {
  event: { type: string; ts: number } & Fields;
  /** The span that ends with the event, and the event's log record. */
  span?: SpanFacts;
  log?: LogFacts;
}

const INTERNAL = 1;
const CLIENT = 3;
const ERROR = 2;

const MODELS = ['gpt-5-mini', 'claude-sonnet-4-5', 'gemini-2.5-pro'] as const;
const PROVIDERS = ['openai', 'anthropic', 'google'] as const;
const TOOLS = ['exec', 'read', 'write', 'web_search', 'browser'] as const;
const AGENTS = ['main', 'ops', 'research'] as const;
const LABELS = ['Reader', 'Writer', 'Reviewer'] as const;
const CHANNELS = ['telegram', 'slack', 'webchat'] as const;
const MAX_DEPTH = 2;
const PROSE =
  'Read the log of the last build and tell which step failed, then look up the change that touched it. '.repeat(
    30,
  );

interface Run {
  session_key: string;
  run_id: string;
  session_id: string;
  agent_id: string;
  name: string;
  channel: string | undefined;
  trace_id: string;
  span_id: string;
  parent: { run: Run; span_id: string } | undefined;
  start_ms: number;
  seq: number;
}

/** The state of generating one request; `clock` gives each event its time. */
export interface Teller {
  random: Random;
  clock(): number;
  /** Makes its ids different from those of all other requests. */
  prefix: string;
  /** The number of ids generated so far. */
  names: number;
}

const identity = (run: Run): Record<string, Value> => ({
  'openclaw.session.key': run.session_key,
  'openclaw.run.id': run.run_id,
  'gen_ai.conversation.id': run.session_id,
});

const runIdentity = (run: Run): Record<string, Value> => ({
  'gen_ai.agent.id': run.agent_id,
  'gen_ai.agent.name': run.name,
  ...identity(run),
});

function tell({ clock }: Teller, run: Run, type: string, fields: Fields): Told['event'] {
  const { session_key, run_id, session_id, agent_id } = run;
  run.seq += 1;
  return { type, ts: clock(), session_key, run_id, session_id, agent_id, seq: run.seq, ...fields };
}

function logOf(
  run: Run,
  { event_name, ts_ms, span_id = run.span_id, severity = 'INFO' }: Partial<LogFacts> & { ts_ms: number },
  attributes: LogFacts['attributes'],
): LogFacts {
  return { trace_id: run.trace_id, span_id, event_name: event_name ?? '', severity, ts_ms, attributes };
}

/** An event with a log record on its run that ends no span. */
function told(
  teller: Teller,
  run: Run,
  type: string,
  fields: Fields,
  own: LogFacts['attributes'] = {},
): Told {
  const event = tell(teller, run, type, fields);
  const event_name = `openclaw.${type.replaceAll('.', '_')}`;
  return { event, log: logOf(run, { event_name, ts_ms: event.ts }, { ...runIdentity(run), ...own }) };
}

const text = ({ random }: Teller, min: number, max: number): string => PROSE.slice(0, random.int(min, max));

const newName = (teller: Teller, what: string): string =>
  `${what}-${teller.prefix}-${(++teller.names).toString(36)}`;

function* think(teller: Teller, run: Run): Generator<Told> {
  const { random } = teller;
  const at = random.int(0, MODELS.length - 1);
  const [model, provider] = [MODELS[at] ?? MODELS[0], PROVIDERS[at] ?? PROVIDERS[0]];
  const response_id = newName(teller, 'resp');
  const span_id = spanId('chat', run.session_key, run.run_id, response_id);
  const step = told(teller, run, 'agent.step_started', { model, provider });
  yield step;
  const reasoning_tokens = random.int(0, 400);
  if (random.chance(0.5)) {
    const reasoning = told(teller, run, 'llm.reasoning', {
      reasoning_tokens,
      response_id,
      text: text(teller, 20, 200),
    });
    yield { ...reasoning, ...(reasoning.log ? { log: { ...reasoning.log, span_id } } : {}) };
  }
  const usage = {
    input_tokens: random.int(500, 20_000),
    output_tokens: random.int(50, 2_000),
    cache_read_tokens: random.int(0, 500),
    reasoning_tokens,
    // Multiples of 1/1024: their sums are exact, in whatever order they are added.
    cost_usd: random.int(1, 64) / 1_024,
  };
  const finish_reason = random.pick(['stop', 'tool_calls']);
  const event = tell(teller, run, 'llm.tokens', { model, provider, response_id, finish_reason, ...usage });
  const request_model = { 'gen_ai.request.model': model };
  yield {
    event,
    log: logOf(
      run,
      { event_name: 'openclaw.llm_tokens', ts_ms: event.ts, span_id },
      { ...runIdentity(run), 'gen_ai.provider.name': provider, ...request_model },
    ),
    span: {
      ...spanOf(run, span_id, run.span_id),
      kind: CLIENT,
      name: `chat ${model}`,
      start_ms: step.event.ts,
      end_ms: event.ts,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': provider,
        ...request_model,
        ...runIdentity(run),
        'gen_ai.usage.input_tokens': usage.input_tokens,
        'gen_ai.usage.output_tokens': usage.output_tokens,
        'gen_ai.usage.cache_read.input_tokens': usage.cache_read_tokens,
        'gen_ai.usage.reasoning.output_tokens': usage.reasoning_tokens,
        'openclaw.cost_usd': usage.cost_usd,
        'gen_ai.response.id': response_id,
        'gen_ai.response.finish_reasons': [finish_reason],
      },
    },
  };
}

const spanOf = (run: Run, span_id: string, parent_span_id: string) => ({
  trace_id: run.trace_id,
  span_id,
  parent_span_id,
  status: 0,
  message: '',
  events: 0,
});

interface Call {
  call_id: string;
  tool: string;
  span_id: string;
  start_ms: number;
}

const callIdentity = (run: Run, { tool, call_id }: Call): Record<string, Value> => ({
  'gen_ai.tool.name': tool,
  'gen_ai.tool.call.id': call_id,
  'gen_ai.agent.id': run.agent_id,
  ...identity(run),
});

function beginCall(teller: Teller, run: Run, tool: string, input: unknown): { call: Call; told: Told } {
  const call_id = newName(teller, 'call');
  const span_id = spanId('tool', run.session_key, run.run_id, call_id);
  const event = tell(teller, run, 'tool.call', { call_id, tool, input });
  const call = { call_id, tool, span_id, start_ms: event.ts };
  const log = logOf(
    run,
    { event_name: 'openclaw.tool_call', ts_ms: event.ts, span_id },
    callIdentity(run, call),
  );
  return { call, told: { event, log } };
}

interface CallEnd {
  type: 'tool.output' | 'tool.error';
  fields: Fields;
  exit_code?: number;
  error?: { type: string; message: string };
  /** The number of partial outputs before it. */
  partial?: number;
}

function endCall(
  teller: Teller,
  run: Run,
  call: Call,
  { type, fields, exit_code, error, partial }: CallEnd,
): Told {
  const event = tell(teller, run, type, { call_id: call.call_id, exit_code, ...fields });
  const failure = { 'error.type': error?.type };
  const log = logOf(
    run,
    {
      event_name: 'openclaw.tool_result',
      ts_ms: event.ts,
      span_id: call.span_id,
      severity: error ? 'ERROR' : 'INFO',
    },
    {
      ...callIdentity(run, call),
      ...failure,
      success: error === undefined,
      error: error?.message,
      duration_ms: event.ts - call.start_ms,
    },
  );
  const span: SpanFacts = {
    ...spanOf(run, call.span_id, run.span_id),
    kind: INTERNAL,
    name: `execute_tool ${call.tool}`,
    start_ms: call.start_ms,
    end_ms: event.ts,
    status: error ? ERROR : 0,
    message: error?.message ?? '',
    events: partial ?? 0,
    attributes: {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.agent.name': run.name,
      ...callIdentity(run, call),
      'openclaw.tool.exit_code': exit_code,
      ...failure,
    },
  };
  return { event, log, span };
}

function* useTool(teller: Teller, run: Run): Generator<Told> {
  const { random } = teller;
  const input = { command: text(teller, 40, 400), timeout_s: random.int(1, 60) };
  const { call, told: begun } = beginCall(teller, run, random.pick(TOOLS), input);
  yield begun;
  const partial = random.chance(0.6) ? 1 : 0;
  if (partial > 0) {
    const fields = { call_id: call.call_id, partial: true, output: text(teller, 20, 400) };
    yield { event: tell(teller, run, 'tool.output', fields) };
  }
  if (random.chance(0.08)) {
    const error = { type: 'not_found', message: 'no such file or directory' };
    yield endCall(teller, run, call, { type: 'tool.error', fields: { error }, error, partial });
    return;
  }
  const exit_code = random.chance(0.1) ? 1 : 0;
  const error = exit_code === 0 ? {} : { error: { type: 'exit_code', message: `exit code ${exit_code}` } };
  const fields = { output: text(teller, 50, 1_200) };
  yield endCall(teller, run, call, { type: 'tool.output', fields, exit_code, partial, ...error });
}

function newRun(teller: Teller, parent?: { run: Run; span_id: string }): Run {
  const { random } = teller;
  const agent_id = parent === undefined ? random.pick(AGENTS) : 'main';
  const kind = parent === undefined ? 'direct' : 'subagent';
  const session_key = `agent:${agent_id}:${kind}:${newName(teller, 'chat')}`;
  const run_id = newName(teller, 'run-8d1c54f0-6d0a');
  return {
    session_key,
    run_id,
    agent_id,
    session_id: newName(teller, 'session-5b6c2d0e'),
    name: parent === undefined ? agent_id : random.pick(LABELS),
    channel: parent === undefined ? random.pick(CHANNELS) : undefined,
    trace_id: parent?.run.trace_id ?? traceId(session_key, run_id),
    span_id: spanId('run', session_key, run_id),
    parent,
    start_ms: 0,
    seq: 0,
  };
}

function endRun(teller: Teller, run: Run): Told {
  const ended = told(
    teller,
    run,
    'agent.finished',
    { status: 'ok', stop_reason: 'stop', output: text(teller, 50, 800) },
    {
      success: true,
    },
  );
  const span: SpanFacts = {
    ...spanOf(run, run.span_id, run.parent?.span_id ?? ''),
    kind: INTERNAL,
    name: `invoke_agent ${run.name}`,
    start_ms: run.start_ms,
    end_ms: ended.event.ts,
    attributes: {
      'gen_ai.operation.name': 'invoke_agent',
      ...runIdentity(run),
      'openclaw.parent_session.key': run.parent?.run.session_key,
      'openclaw.trigger': run.parent === undefined ? 'user' : 'subagent',
      'openclaw.channel': run.channel,
      'openclaw.stop_reason': 'stop',
    },
  };
  return { ...ended, span };
}

function* spawnAgent(teller: Teller, parent: Run, depth: number): Generator<Told> {
  const { call, told: begun } = beginCall(teller, parent, 'sessions_spawn', { task: text(teller, 50, 400) });
  yield begun;
  const run = newRun(teller, { run: parent, span_id: call.span_id });
  const { session_key, run_id } = run;
  const origin = { parent_session_key: parent.session_key, parent_run_id: parent.run_id };
  const spawned = { type: 'subagent.spawned', ts: teller.clock(), session_key, run_id, ...origin };
  yield {
    event: { ...spawned, call_id: call.call_id, label: run.name },
    log: logOf(
      parent,
      { event_name: 'openclaw.subagent_spawned', ts_ms: spawned.ts, span_id: call.span_id },
      {
        ...runIdentity(parent),
        'openclaw.child_session.key': session_key,
        'openclaw.child_run.id': run_id,
        'gen_ai.tool.name': 'sessions_spawn',
        'gen_ai.tool.call.id': call.call_id,
      },
    ),
  };
  yield endCall(teller, parent, call, { type: 'tool.output', fields: { output: { status: 'accepted' } } });
  const started = told(teller, run, 'agent.started', { trigger: 'subagent', ...origin });
  run.start_ms = started.event.ts;
  yield started;
  yield* work(teller, run, depth + 1);
  yield endRun(teller, run);
  yield told(teller, run, 'subagent.finished', { status: 'ok' }, { success: true });
}

function* work(teller: Teller, run: Run, depth: number): Generator<Told> {
  const { random } = teller;
  for (let left = random.int(1, 3); left > 0; left--) {
    yield* think(teller, run);
    for (let tools = random.int(0, 2); tools > 0; tools--) yield* useTool(teller, run);
    if (depth < MAX_DEPTH && random.chance(0.06)) yield* spawnAgent(teller, run, depth);
  }
}

/** A request from start to end. */
export function* tellRequest(teller: Teller): Generator<Told> {
  const run = newRun(teller);
  const { channel } = run;
  const fields = { trigger: 'user', channel, input: text(teller, 40, 600) };
  const started = told(teller, run, 'agent.started', fields);
  run.start_ms = started.event.ts;
  yield started;
  yield* work(teller, run, 0);
  yield endRun(teller, run);
}
