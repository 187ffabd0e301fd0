/**
 * One request with a sub-agent, with all eleven event types, and what a backend must have received. The same story goes
 * through every kind of source, so any loss or change in a source shows.
 */
import { expect } from 'vitest';
import { spanId, traceId } from './ids.js';
import type { Log, Sink, Span } from './sink.js';

const PARENT = { session_key: 'agent:main:story', run_id: 'run-1' };
const CHILD = { session_key: 'agent:main:subagent:story', run_id: 'run-2' };
const START_MS = Date.parse('2026-11-22T12:00:00Z');

const at = (ms: number): number => START_MS + ms;

/**
 * In the order of arrival; the second half has timestamps in RFC 3339. Each model call has its reasoning tokens: without
 * them its span would be held for some seconds.
 */
export const STORY: object[] = [
  {
    type: 'agent.started',
    ts: at(0),
    ...PARENT,
    session_id: 'session-1',
    agent_id: 'main',
    trigger: 'user',
    channel: 'chat',
    event_id: 'event-1',
  },
  { type: 'agent.step_started', ts: at(10), ...PARENT, step: 1, model: 'model-a', provider: 'provider-a' },
  {
    type: 'llm.reasoning',
    ts: at(90),
    ...PARENT,
    reasoning_tokens: 7,
    text: 'hidden',
    response_id: 'response-1',
  },
  {
    type: 'llm.tokens',
    ts: at(100),
    ...PARENT,
    model: 'model-a',
    provider: 'provider-a',
    input_tokens: 100,
    output_tokens: 20,
    cache_read_tokens: 60,
    cache_write_tokens: 10,
    reasoning_tokens: 7,
    cost_usd: 0.25,
    response_id: 'response-1',
  },
  {
    type: 'tool.call',
    ts: at(110),
    ...PARENT,
    call_id: 'call-1',
    tool: 'exec',
    input: { command: 'hidden' },
  },
  { type: 'tool.output', ts: at(120), ...PARENT, call_id: 'call-1', partial: true, output: 'half' },
  { type: 'tool.output', ts: at(150), ...PARENT, call_id: 'call-1', exit_code: 3, output: 'hidden' },
  { type: 'tool.call', ts: at(160), ...PARENT, call_id: 'call-2', tool: 'sessions_spawn' },
  {
    type: 'subagent.spawned',
    ts: at(170),
    ...CHILD,
    parent_session_key: PARENT.session_key,
    parent_run_id: PARENT.run_id,
    call_id: 'call-2',
    label: 'Helper',
  },
  {
    type: 'agent.started',
    ts: '2026-11-22T12:00:00.180Z',
    ...CHILD,
    agent_id: 'main',
    parent_session_key: PARENT.session_key,
  },
  { type: 'tool.call', ts: '2026-11-22T12:00:00.190Z', ...CHILD, call_id: 'call-1', tool: 'read' },
  {
    type: 'tool.error',
    ts: '2026-11-22T12:00:00.200Z',
    ...CHILD,
    call_id: 'call-1',
    error: { type: 'not_found', message: 'no such file' },
  },
  {
    type: 'llm.tokens',
    ts: '2026-11-22T12:00:00.260Z',
    ...CHILD,
    model: 'model-b',
    provider: 'provider-b',
    input_tokens: 5,
    output_tokens: 2,
    reasoning_tokens: 0,
    response_id: 'response-2',
    started_at: '2026-11-22T12:00:00.210Z',
    ended_at: '2026-11-22T13:00:00.250+01:00',
  },
  { type: 'subagent.output', ts: '2026-11-22T12:00:00.270Z', ...CHILD, output: 'hidden' },
  {
    type: 'subagent.finished',
    ts: '2026-11-22T12:00:00.280Z',
    ...CHILD,
    status: 'error',
    error: { type: 'gave_up', message: 'no luck' },
  },
  { type: 'tool.output', ts: '2026-11-22T12:00:00.290Z', ...PARENT, call_id: 'call-2' },
  { type: 'agent.finished', ts: '2026-11-22T12:00:00.300Z', ...PARENT, status: 'ok', stop_reason: 'stop' },
];

export const STORY_LINES: string = `${STORY.map((event) => JSON.stringify(event)).join('\n')}\n`;

/** The number of spans, and of log records: one per event except the partial output. */
export const STORY_SPANS = 7;
export const STORY_LOGS = STORY.length - 1;

const RUN_1 = spanId('run', PARENT.session_key, PARENT.run_id, '');
const CALL_2 = spanId('tool', PARENT.session_key, PARENT.run_id, 'call-2');
const RUN_2 = spanId('run', CHILD.session_key, CHILD.run_id, '');

interface Expected {
  name: string;
  span_id: string;
  parent_span_id: string;
  times_ms: [start: number, end: number];
  kind: 'INTERNAL' | 'CLIENT';
  error_type?: string;
  attributes: Record<string, unknown>;
}

const EXPECTED: Expected[] = [
  {
    name: 'invoke_agent main',
    span_id: RUN_1,
    parent_span_id: '',
    times_ms: [0, 300],
    kind: 'INTERNAL',
    attributes: {
      'gen_ai.operation.name': 'invoke_agent',
      'gen_ai.agent.id': 'main',
      'gen_ai.agent.name': 'main',
      'gen_ai.conversation.id': 'session-1',
      'openclaw.session.key': PARENT.session_key,
      'openclaw.run.id': PARENT.run_id,
      'openclaw.trigger': 'user',
      'openclaw.channel': 'chat',
      'openclaw.stop_reason': 'stop',
    },
  },
  {
    name: 'chat model-a',
    span_id: spanId('chat', PARENT.session_key, PARENT.run_id, 'response-1'),
    parent_span_id: RUN_1,
    times_ms: [10, 100],
    kind: 'CLIENT',
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'provider-a',
      'gen_ai.request.model': 'model-a',
      'gen_ai.response.id': 'response-1',
      'gen_ai.conversation.id': 'session-1',
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.output_tokens': 20,
      'gen_ai.usage.cache_read.input_tokens': 60,
      'gen_ai.usage.cache_write.input_tokens': 10,
      'gen_ai.usage.reasoning.output_tokens': 7,
      'openclaw.cost_usd': 0.25,
    },
  },
  {
    name: 'execute_tool exec',
    span_id: spanId('tool', PARENT.session_key, PARENT.run_id, 'call-1'),
    parent_span_id: RUN_1,
    times_ms: [110, 150],
    kind: 'INTERNAL',
    error_type: 'exit_code',
    attributes: {
      'gen_ai.operation.name': 'execute_tool',
      'gen_ai.tool.name': 'exec',
      'gen_ai.tool.call.id': 'call-1',
      'gen_ai.conversation.id': 'session-1',
      'openclaw.tool.exit_code': 3,
    },
  },
  {
    name: 'execute_tool sessions_spawn',
    span_id: CALL_2,
    parent_span_id: RUN_1,
    times_ms: [160, 290],
    kind: 'INTERNAL',
    attributes: { 'gen_ai.tool.call.id': 'call-2' },
  },
  {
    name: 'invoke_agent Helper',
    span_id: RUN_2,
    parent_span_id: CALL_2,
    times_ms: [180, 280],
    kind: 'INTERNAL',
    error_type: 'gave_up',
    attributes: {
      'gen_ai.agent.name': 'Helper',
      'gen_ai.conversation.id': CHILD.session_key,
      'openclaw.parent_session.key': PARENT.session_key,
      'openclaw.session.key': CHILD.session_key,
      'openclaw.run.id': CHILD.run_id,
    },
  },
  {
    name: 'execute_tool read',
    span_id: spanId('tool', CHILD.session_key, CHILD.run_id, 'call-1'),
    parent_span_id: RUN_2,
    times_ms: [190, 200],
    kind: 'INTERNAL',
    error_type: 'not_found',
    attributes: { 'gen_ai.tool.name': 'read' },
  },
  {
    name: 'chat model-b',
    span_id: spanId('chat', CHILD.session_key, CHILD.run_id, 'response-2'),
    parent_span_id: RUN_2,
    times_ms: [210, 250],
    kind: 'CLIENT',
    attributes: { 'gen_ai.usage.input_tokens': 5, 'gen_ai.usage.output_tokens': 2 },
  },
];

const COUNTERS: Record<string, number> = {
  'gen_ai.client.inference.usage.input_tokens': 105,
  'gen_ai.client.inference.usage.output_tokens': 22,
  'gen_ai.client.inference.usage.cache_read.input_tokens': 60,
  'gen_ai.client.inference.usage.cache_write.input_tokens': 10,
  'gen_ai.client.inference.usage.reasoning.output_tokens': 7,
  'openclaw.cost': 0.25,
  // Seconds and numbers of calls, both runs together.
  'gen_ai.client.inference.duration': 0.13,
  'gen_ai.execute_tool.duration': 0.18,
  'gen_ai.invoke_agent.duration': 0.4,
  'gen_ai.invoke_agent.inference_calls': 2,
  'gen_ai.invoke_agent.tool_calls': 3,
};

const LOG_NAMES: Record<string, number> = {
  'openclaw.agent_started': 2,
  'openclaw.agent_step_started': 1,
  'openclaw.agent_finished': 1,
  'openclaw.tool_call': 3,
  'openclaw.tool_result': 3,
  'openclaw.subagent_spawned': 1,
  'openclaw.subagent_output': 1,
  'openclaw.subagent_finished': 1,
  'openclaw.llm_tokens': 2,
  'openclaw.llm_reasoning': 1,
};

function expectSpans(spans: Span[]): void {
  expect(spans.map(({ name }) => name).sort()).toEqual(EXPECTED.map(({ name }) => name).sort());
  for (const { name, span_id, parent_span_id, times_ms, kind, error_type, attributes } of EXPECTED) {
    const span = spans.find((each) => each.name === name);
    expect(span, name).toMatchObject({
      trace_id: traceId(PARENT.session_key, PARENT.run_id),
      span_id,
      parent_span_id,
      start_ms: at(times_ms[0]),
      end_ms: at(times_ms[1]),
      kind: kind === 'CLIENT' ? 3 : 1,
      status: error_type === undefined ? 0 : 2,
      attributes,
    });
    expect(span?.attributes['error.type'], name).toBe(error_type);
  }
}

function expectLogs(logs: Log[]): void {
  const names: Record<string, number> = {};
  for (const { event_name } of logs) names[event_name] = (names[event_name] ?? 0) + 1;
  expect(names).toEqual(LOG_NAMES);
  const result = logs.find(
    ({ event_name, span_id }) => event_name === 'openclaw.tool_result' && span_id === EXPECTED[2]?.span_id,
  );
  expect(result).toMatchObject({
    trace_id: traceId(PARENT.session_key, PARENT.run_id),
    attributes: { success: false, duration_ms: 40, 'gen_ai.tool.call.id': 'call-1' },
  });
}

/**
 * Expects the backend to have exactly the spans, logs and sums of the story. `sumOf`: by default the cumulative sums of a
 * single process.
 */
export function expectStory(sink: Sink, sumOf = sink.sumOf): void {
  expectSpans(sink.spans());
  expectLogs(sink.logs());
  for (const [name, value] of Object.entries(COUNTERS)) expect(sumOf(name), name).toBeCloseTo(value, 6);
  // Content is left out unless it is asked for.
  for (const { bytes } of sink.requests) expect(bytes.includes('hidden')).toBe(false);
}
