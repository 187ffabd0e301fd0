/**
 * One documented event of each type, with the events that must precede it to give it a meaning.
 */
import { type AgentEvent, agentEventSchema, normaliseInstants } from '../../src/model/event.js';

const START_MS = Date.UTC(2026, 10, 22, 12);

let told = 0;
function event(fields: object): AgentEvent {
  told += 1;
  return normaliseInstants(agentEventSchema.parse({ ts: START_MS + told * 1_000, ...fields }));
}

const PARENT = { session_key: 'agent:main:support', run_id: 'run-1' };
const CHILD = { session_key: 'agent:main:subagent:reader', run_id: 'run-2' };
const MODEL = { model: 'claude-opus-4-8', provider: 'anthropic' };
const USAGE = {
  ...MODEL,
  input_tokens: 2_400,
  output_tokens: 310,
  cache_read_tokens: 1_800,
  cache_write_tokens: 100,
  cost_usd: 0.0125,
  response_id: 'resp-1',
  finish_reason: 'stop',
};

const started = event({
  type: 'agent.started',
  ...PARENT,
  session_id: '5b6c2d0e-6f1b-4b4e-9f39-0d6f3a1c7e11',
  channel: 'telegram',
  trigger: 'user',
});
const step = event({ type: 'agent.step_started', ...PARENT, step: 1, ...MODEL });
const tokens = event({ type: 'llm.tokens', ...PARENT, ...USAGE, reasoning_tokens: 192 });
const unreasoned = event({ type: 'llm.tokens', ...PARENT, ...USAGE });
const reasoning = event({
  type: 'llm.reasoning',
  ...PARENT,
  reasoning_tokens: 192,
  duration_ms: 640,
  response_id: 'resp-1',
});
const call = event({ type: 'tool.call', ...PARENT, call_id: 'call-1', tool: 'exec' });
const partial_output = event({ type: 'tool.output', ...PARENT, call_id: 'call-1', partial: true });
const output = event({ type: 'tool.output', ...PARENT, call_id: 'call-1', exit_code: 1 });
const failure = event({
  type: 'tool.error',
  ...PARENT,
  call_id: 'call-1',
  error: { type: 'not_found', message: 'no such file' },
});
const spawning = event({ type: 'tool.call', ...PARENT, call_id: 'call-2', tool: 'sessions_spawn' });
const spawned = event({
  type: 'subagent.spawned',
  ...CHILD,
  parent_session_key: PARENT.session_key,
  parent_run_id: PARENT.run_id,
  call_id: 'call-2',
  label: 'Reader',
});
const child_started = event({
  type: 'agent.started',
  ...CHILD,
  parent_session_key: PARENT.session_key,
  trigger: 'subagent',
});
const child_output = event({ type: 'subagent.output', ...CHILD, output: 'The test file was renamed.' });
const child_finished = event({ type: 'subagent.finished', ...CHILD, status: 'ok' });
const finished = event({ type: 'agent.finished', ...PARENT, status: 'ok', stop_reason: 'stop' });

export interface DocumentedEvent {
  event: AgentEvent;
  /** What distinguishes it from others of its type. */
  remark?: string;
  before: AgentEvent[];
  /** The event whose spans show the effect of this one. */
  seen_with?: AgentEvent;
}

export const DOCUMENTED: DocumentedEvent[] = [
  { event: started, before: [] },
  { event: child_started, remark: 'of a sub-agent', before: [started, spawning, spawned] },
  { event: step, before: [started] },
  { event: finished, before: [started] },
  { event: call, before: [started] },
  { event: output, before: [started, call] },
  { event: partial_output, remark: 'partial', before: [started, call], seen_with: output },
  { event: failure, before: [started, call] },
  { event: spawned, before: [started, spawning], seen_with: child_started },
  { event: child_output, before: [started, spawning, spawned, child_started], seen_with: child_finished },
  { event: child_finished, before: [started, spawning, spawned, child_started] },
  { event: tokens, before: [started, step] },
  {
    event: reasoning,
    remark: 'after an `llm.tokens` without reasoning tokens',
    before: [started, unreasoned],
  },
];

const failed_tokens = event({ ...tokens, error: { type: 'rate_limit', message: 'too many requests' } });
const failed_run = event({ ...finished, status: 'error' });

/** Failures, whose measurements have one more attribute. They have no sections of their own. */
export const FAILED: DocumentedEvent[] = [
  { event: failed_tokens, before: [started, step] },
  { event: failed_run, before: [started] },
];
