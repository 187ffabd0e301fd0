/**
 * Starts and ends that are reported again as distinct events: nothing changes, nothing is measured twice, and each has its log
 * record on the span that it is about.
 */
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent, EventType } from '../../src/model/event.js';
import type { Emission } from '../../src/model/telemetry.js';
import { save } from '../captures.js';
import { correlate, identities, merge, NOW_MS } from '../helpers.js';
import { repeatsOf, requests } from './stories.js';

// biome-ignore lint/suspicious/noExplicitAny: a short way to write events; the types are checked where they are used
const event = (type: EventType, fields: any = {}): AgentEvent =>
  ({ type, ts: NOW_MS, session_key: 'agent:main:s', run_id: 'r', ...fields }) as AgentEvent;

const model = { model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1 };
const started = event('agent.started', { seq: 1 });
const call = event('tool.call', { seq: 2, ts: NOW_MS + 10, call_id: 'c', tool: 'exec' });
const output = event('tool.output', { seq: 3, ts: NOW_MS + 20, call_id: 'c' });
const tokens = event('llm.tokens', { seq: 4, response_id: 'one', ...model });
const finished = event('agent.finished', { seq: 5, ts: NOW_MS + 30, status: 'ok' });
const whole = [started, call, output, tokens, finished];

const again = (told: AgentEvent, more = {}): AgentEvent =>
  ({ ...told, ts: NOW_MS + 90, seq: (told.seq ?? 0) + 100, ...more }) as AgentEvent;

const spanOf = ({ spans }: Emission, kind: string) => spans.find((span) => span.kind === kind);

/** Inserts events after the first `first` ones of the story: spans and measurements must stay the same. */
function tellAgain(first: number, more: AgentEvent[]) {
  const told = correlate([...whole.slice(0, first), ...more, ...whole.slice(first)]);
  const alone = correlate(whole);
  expect(told.spans).toEqual(alone.spans);
  expect(told.measurements).toEqual(alone.measurements);
  const logs = told.logs.filter((log) => log.ts_ms === NOW_MS + 90);
  expect(told.logs).toHaveLength(whole.length + more.length);
  expect(logs).toHaveLength(more.length);
  return { told, logs };
}

const OF_CALL = { 'gen_ai.tool.name': 'exec', 'gen_ai.tool.call.id': 'c', 'gen_ai.agent.name': 'main' };
const OF_RUN = { 'gen_ai.agent.id': 'main', 'openclaw.run.id': 'r' };
const OF_CHAT = { 'gen_ai.provider.name': 'p', 'gen_ai.request.model': 'm', 'openclaw.run.id': 'r' };

describe.each([
  ['a repeated start of an open run', 1, again(started), 'run', OF_RUN],
  ['a repeated start of an ended run', 5, again(started), 'run', OF_RUN],
  ['a repeated call that is open', 2, again(call, { tool: 'other' }), 'tool', OF_CALL],
  ['a repeated call that has ended', 3, again(call), 'tool', OF_CALL],
  ['a repeated call whose run has ended', 5, again(call), 'tool', OF_CALL],
  ['a repeated end of a call', 3, again(output, { tool: 'exec' }), 'tool', { ...OF_CALL, success: true }],
  [
    'a repeated end of a call whose run has ended',
    5,
    again(output),
    'tool',
    { 'gen_ai.tool.call.id': 'c', success: true },
  ],
  ['a repeated model call', 4, again(tokens), 'chat', OF_CHAT],
  ['a repeated model call whose run has ended', 5, again(tokens), 'chat', OF_CHAT],
  ['a repeated end of a run', 5, again(finished), 'run', { ...OF_RUN, success: true }],
] as const)('%s', (_, first, repeat, kind, identity) => {
  test('has a log record on the span, which stays unchanged', () => {
    const { told, logs } = tellAgain(first, [repeat]);
    const { trace_id, span_id } = spanOf(told, kind)!;
    expect(logs).toMatchObject([{ trace_id, span_id, attributes: identity }]);
  });

  test('has no log record if it is the same event', () => {
    const same = { ...repeat, seq: whole[first - 1]!.seq } as AgentEvent;
    expect(correlate([...whole.slice(0, first), same, ...whole.slice(first)]).logs).toHaveLength(5);
  });
});

test('a repeated end that failed is logged as a failure, whatever the first end was', () => {
  const failure = { type: 'tool.error', error: { type: 'broken', message: 'it broke' } };
  const { logs } = tellAgain(3, [again(output, failure)]);
  expect(logs).toMatchObject([
    { severity: 'ERROR', attributes: { success: false, error: 'it broke', 'error.type': 'broken' } },
  ]);
});

test('an end that comes twice before its call has two log records', () => {
  const emission = correlate([started, output, again(output), call, finished]);
  expect(emission.logs.map(({ event_name }) => event_name).sort()).toEqual([
    'openclaw.agent_finished',
    'openclaw.agent_started',
    'openclaw.tool_call',
    'openclaw.tool_result',
    'openclaw.tool_result',
  ]);
  const { span_id } = spanOf(emission, 'tool')!;
  expect(emission.logs.filter((log) => log.span_id === span_id)).toHaveLength(3);
});

test('a start that comes after its run was opened without it has a log record', () => {
  const correlator = createCorrelator();
  const emission = merge([
    correlator.apply(call, NOW_MS),
    correlator.expire(NOW_MS + 30_000),
    correlator.apply(started, NOW_MS + 30_001),
    correlator.close(NOW_MS + 30_002),
  ]);
  expect(emission.spans.filter(({ kind }) => kind === 'run')).toHaveLength(1);
  expect(emission.logs.map(({ event_name }) => event_name)).toContain('openclaw.agent_started');
});

test('a repeated start is no sign of life, whether or not its run waited for its parent', () => {
  const child = { session_key: 'agent:main:subagent:c', run_id: 'c' };
  const begun = event('agent.started', { ...child, parent_run_id: 'r' });
  const endOf = (events: AgentEvent[]) =>
    correlate(events).spans.find(({ attributes }) => attributes['openclaw.run.id'] === 'c')?.end_ms;
  expect(endOf([started, begun, again(begun)])).toBe(NOW_MS);
  expect(endOf([begun, again(begun), started])).toBe(NOW_MS);
});

test('the log record of reasoning that comes after its call was emitted names the model of the call', () => {
  const correlator = createCorrelator();
  for (const each of [started, tokens]) correlator.apply(each, NOW_MS);
  correlator.expire(NOW_MS + 5_000);
  const reasoning = event('llm.reasoning', { seq: 6, response_id: 'one', reasoning_tokens: 1 });
  const { logs } = correlator.apply(reasoning, NOW_MS + 5_001);
  expect(logs).toMatchObject([{ attributes: OF_CHAT }]);
});

describe('an event that reports a gap in its run', () => {
  const gapOf = (events: AgentEvent[]) =>
    correlate(events).spans.find(({ kind }) => kind === 'run')?.attributes['openclaw.gap'];

  test('has no log record if it is a duplicate', () =>
    expect(correlate([...whole, { ...started, gap: true }]).logs).toHaveLength(5));

  test('marks a run that is open', () => expect(gapOf([started, { ...started, gap: true }])).toBe(true));

  test('marks a run that waits for its start', () =>
    expect(gapOf([call, { ...call, gap: true }, started])).toBe(true));

  test('is counted if the run has ended', () => {
    const correlator = createCorrelator();
    for (const each of [...whole, { ...finished, gap: true }]) correlator.apply(each, NOW_MS);
    correlator.expire(NOW_MS + 60_000);
    correlator.apply({ ...started, gap: true }, NOW_MS + 60_000);
    expect(correlator.counts()).toMatchObject({ runs_with_gap: 1 });
  });

  test.each([
    ['a repeated end', { ...finished, gap: true } as AgentEvent],
    ['an output', event('subagent.output', { output: 'x', gap: true })],
  ])('is counted if the run has ended and was archived: %s', (_, told) => {
    const correlator = createCorrelator();
    for (const each of whole) correlator.apply(each, NOW_MS);
    correlator.expire(NOW_MS + 60_000);
    correlator.apply(told, NOW_MS + 60_000);
    expect(correlator.counts()).toMatchObject({ runs_with_gap: 1 });
    // The run is archived again.
    const parts = [...save(correlator).keys()].map((key) => key.split('/')[1]);
    expect(parts).toContain('archive');
    expect(parts).not.toContain('runs');
  });
});

test('an unsettled end of a run and the end that follows have a log record each', () => {
  const told = event('agent.finished', { seq: 6, ts: NOW_MS + 25, status: 'cancelled', settled: false });
  const ended = { ...finished, status: 'cancelled' } as AgentEvent;
  const { spans, logs } = correlate([started, call, output, tokens, told, ended]);
  const run = spans.find(({ kind }) => kind === 'run');
  expect(run).toMatchObject({ end_ms: NOW_MS + 30, error: { type: 'cancelled' } });
  expect(logs.filter(({ event_name }) => event_name === 'openclaw.agent_finished')).toMatchObject(
    [25, 30].map((ms) => ({
      ts_ms: NOW_MS + ms,
      span_id: run?.span_id,
      severity: 'ERROR',
      attributes: { ...OF_RUN, success: false, 'error.type': 'cancelled' },
    })),
  );
});

test('a partial output of a call that has ended has no log record', () => {
  const partial = again(output, { partial: true });
  expect(correlate([...whole.slice(0, 3), partial, ...whole.slice(3)]).logs).toHaveLength(5);
});

test('outputs of two sub-agents of a session are no duplicates, although they have the same sequence number', () => {
  const correlator = createCorrelator();
  const given = (run_id: string) => event('subagent.output', { run_id, seq: 1, output: run_id });
  for (const run_id of ['a', 'b']) correlator.apply(event('agent.started', { run_id }), NOW_MS);
  const told = merge(['a', 'b', 'a'].map((run_id) => correlator.apply(given(run_id), NOW_MS)));
  expect(told.logs.map(({ attributes }) => attributes['openclaw.run.id'])).toEqual(['a', 'b']);
  expect(correlator.counts()).toMatchObject({ duplicates: 1 });
});

describe('starts and ends that all come twice', () => {
  const told = requests.chain((events) => {
    const all = [...events, ...repeatsOf(events)];
    return fc.tuple(fc.constant(events), fc.shuffledSubarray(all, { minLength: all.length }));
  });

  property.prop([told], { numRuns: 300 })(
    'have a log record each, in any order, and add no spans',
    ([events, mixed]) => {
      const partial = events.filter((each) => each.type === 'tool.output' && each.partial === true).length;
      const [alone, emission] = [correlate(events), correlate(mixed)];
      expect(emission.logs).toHaveLength(mixed.length - partial);
      expect(identities(emission.spans)).toEqual(identities(alone.spans));
      const ids = new Set(emission.spans.map((span) => `${span.trace_id} ${span.span_id}`));
      // A spawn that comes before everything it names refers to a run that has not been seen yet.
      for (const { event_name, trace_id, span_id } of emission.logs)
        if (event_name !== 'openclaw.subagent_spawned') expect(ids).toContain(`${trace_id} ${span_id}`);
    },
  );

  property.prop([requests], { numRuns: 100 })('add no measurements', (events) => {
    const { measurements } = correlate([...events, ...repeatsOf(events)]);
    expect(measurements).toEqual(correlate(events).measurements);
  });
});
