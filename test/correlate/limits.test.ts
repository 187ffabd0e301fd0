/**
 * The correlator with stories that break off, come late or are too long: every wait has a timeout, every collection a limit.
 */

import { describe, expect, test } from 'vitest';
import { type Correlator, createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { Emission } from '../../src/model/telemetry.js';
import { type Records, save, savedIn, write } from '../captures.js';
import { merge } from '../helpers.js';

const NOW_MS = 1_000_000;
const MINUTE_MS = 60_000;

// biome-ignore lint/suspicious/noExplicitAny: a short way to write events; the types are checked where they are used
const event = (type: string, fields: any = {}): AgentEvent =>
  ({ type, ts: NOW_MS, session_key: 'agent:main:s', run_id: 'r', ...fields }) as AgentEvent;

const child = { session_key: 'agent:main:subagent:c', run_id: 'c' };

/** Applies each event at its own timestamp, but not before NOW_MS. */
function begin(events: AgentEvent[], limits = {}) {
  const correlator = createCorrelator({ limits });
  const emissions = events.map((each) => correlator.apply(each, Math.max(NOW_MS, each.ts)));
  return { correlator, emitted: merge(emissions) };
}

const spanOf = ({ spans }: Emission, name: string) => spans.find((span) => span.name === name);

const tokens = (fields = {}) =>
  event('llm.tokens', { model: 'm', provider: 'p', input_tokens: 9, output_tokens: 50, ...fields });

describe('a run that never ends', () => {
  test('is closed after 30 idle minutes together with its calls, and ends at its last event', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { ts: NOW_MS + 5, call_id: '1', tool: 'exec' }),
    ]);
    expect(correlator.expire(NOW_MS + 30 * MINUTE_MS).spans).toEqual([]);
    const closed = correlator.expire(NOW_MS + 30 * MINUTE_MS + 5);
    expect(spanOf(closed, 'invoke_agent main')).toMatchObject({
      end_ms: NOW_MS + 5,
      error: { type: 'idle_timeout' },
    });
    expect(spanOf(closed, 'execute_tool exec')).toMatchObject({
      end_ms: NOW_MS + 5,
      error: { type: 'idle_timeout' },
    });
    expect(correlator.counts()).toMatchObject({ runs_open: 0, given_up: { idle_timeout: 1 } });
  });

  test('is not idle while the source is lost, nor for two minutes after that', () => {
    const { correlator } = begin([event('agent.started')]);
    correlator.waitForReasoning(Number.POSITIVE_INFINITY);
    const back_ms = NOW_MS + 90 * MINUTE_MS;
    expect(correlator.expire(back_ms).spans).toEqual([]);
    correlator.waitForReasoning(back_ms);
    expect(correlator.expire(back_ms + 2 * MINUTE_MS - 1).spans).toEqual([]);
    expect(correlator.nextDeadline()).toBe(back_ms + 2 * MINUTE_MS);
    expect(correlator.expire(back_ms + 2 * MINUTE_MS).spans).toMatchObject([{ end_ms: NOW_MS }]);
  });

  test('is closed at the age limit even while the source is lost', () => {
    const { correlator } = begin([event('agent.started')]);
    correlator.waitForReasoning(Number.POSITIVE_INFINITY);
    expect(correlator.expire(NOW_MS + 24 * 60 * MINUTE_MS).spans).toMatchObject([
      { error: { type: 'max_age' } },
    ]);
  });

  test('was not idle while the bridge was asleep', () => {
    const { correlator } = begin([event('agent.started')]);
    const awake_ms = NOW_MS + 40 * MINUTE_MS;
    correlator.wake(awake_ms);
    expect(correlator.expire(awake_ms).spans).toEqual([]);
    expect(correlator.expire(awake_ms + 2 * MINUTE_MS).spans).toMatchObject([
      { error: { type: 'idle_timeout' } },
    ]);
  });

  test('stays open while a descendant shows signs of life', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('agent.started', { ...child, parent_run_id: 'r' }),
    ]);
    for (let minutes = 20; minutes <= 100; minutes += 20) {
      const now_ms = NOW_MS + minutes * MINUTE_MS;
      correlator.apply(
        event('tool.call', { ...child, ts: now_ms, call_id: `${minutes}`, tool: 'exec' }),
        now_ms,
      );
      expect(correlator.expire(now_ms).spans).toEqual([]);
    }
    expect(
      correlator.expire(NOW_MS + 131 * MINUTE_MS).spans.filter((span) => span.kind === 'run'),
    ).toHaveLength(2);
  });

  test('is closed after 24 hours, however active it is', () => {
    const { correlator } = begin([event('agent.started')]);
    const spans = [];
    for (let minutes = 20; minutes <= 24 * 60; minutes += 20) {
      const now_ms = NOW_MS + minutes * MINUTE_MS;
      spans.push(...correlator.expire(now_ms).spans);
      correlator.apply(event('agent.step_started', { ts: now_ms }), now_ms);
    }
    expect(spans.find((span) => span.kind === 'run')).toMatchObject({ error: { type: 'max_age' } });
  });

  test('stays open while a descendant of an ended child shows signs of life', () => {
    const below = { session_key: 'agent:main:subagent:d', run_id: 'd' };
    const alive = event('tool.call', { ...below, ts: NOW_MS + 20 * MINUTE_MS, call_id: '1', tool: 'exec' });
    const { correlator } = begin([
      event('agent.started'),
      event('agent.started', { ...child, parent_run_id: 'r' }),
      event('agent.started', { ...below, parent_run_id: 'c' }),
      event('agent.finished', { ...child, status: 'ok' }),
      alive,
    ]);
    expect(correlator.expire(NOW_MS + 40 * MINUTE_MS).spans).toEqual([]);
  });

  test('counts as alive until the timestamp of its latest event, even by a clock that is ahead', () => {
    const { correlator } = begin([event('agent.started')]);
    correlator.apply(event('agent.step_started', { ts: NOW_MS + 10 * MINUTE_MS }), NOW_MS + 1);
    expect(correlator.expire(NOW_MS + 40 * MINUTE_MS - 1).spans).toEqual([]);
    expect(correlator.expire(NOW_MS + 40 * MINUTE_MS).spans).toHaveLength(2);
  });

  test('ends at the latest of its events, in whatever order they came', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { ts: NOW_MS + 9, call_id: '1', tool: 'exec' }),
      event('tool.output', { ts: NOW_MS + 4, call_id: '1' }),
    ]);
    const closed = correlator.close(NOW_MS + 50);
    expect(spanOf(closed, 'invoke_agent main')).toMatchObject({ end_ms: NOW_MS + 9 });
  });

  test('is closed with the error type shutdown when the correlator is closed', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { call_id: '1', tool: 'exec' }),
    ]);
    const types = correlator.close(NOW_MS).spans.map((span) => span.error?.type);
    expect(types).toEqual(['shutdown', 'shutdown']);
  });
});

describe('ends', () => {
  test('a call that is open when its run ends is closed with the error type run_ended', () => {
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('tool.call', { call_id: '1', tool: 'exec' }),
      event('agent.finished', { ts: NOW_MS + 9, status: 'ok' }),
    ]);
    expect(spanOf(emitted, 'invoke_agent main')).toMatchObject({ end_ms: NOW_MS + 9 });
    const call = spanOf(correlator.expire(NOW_MS + 2_000), 'execute_tool exec');
    expect(call).toMatchObject({ end_ms: NOW_MS + 9, error: { type: 'run_ended' } });
  });

  test('a call that began after the end of its run does not end before it began', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { ts: NOW_MS + 9, call_id: '1', tool: 'exec' }),
      event('agent.finished', { ts: NOW_MS + 4, status: 'ok' }),
    ]);
    const call = spanOf(correlator.expire(NOW_MS + 2_000), 'execute_tool exec');
    expect(call).toMatchObject({ start_ms: NOW_MS + 9, end_ms: NOW_MS + 9 });
  });

  test('a call whose end has an earlier timestamp than its start has a duration of 0', () => {
    const { emitted } = begin([
      event('agent.started'),
      event('tool.call', { ts: NOW_MS + 5, call_id: '1', tool: 'exec' }),
      event('tool.output', { ts: NOW_MS + 2, call_id: '1' }),
    ]);
    expect(emitted.logs.at(-1)?.attributes).toMatchObject({ duration_ms: 0 });
    expect(emitted.measurements).toMatchObject([{ instrument: 'gen_ai.execute_tool.duration', value: 0 }]);
  });

  test.each(['cancelled', 'timeout'])(
    'calls that fail after an unsettled end with status %s count as cancelled, unless their error type is specific',
    (status) => {
      const { emitted } = begin([
        event('agent.started'),
        event('tool.call', { call_id: '1', tool: 'exec' }),
        event('tool.call', { call_id: '2', tool: 'read' }),
        event('agent.finished', { ts: NOW_MS + 1, status, settled: false }),
        event('tool.error', { ts: NOW_MS + 2, call_id: '1', error: { type: 'error', message: 'm' } }),
        event('tool.error', { ts: NOW_MS + 2, call_id: '2', error: { type: 'quota', message: 'm' } }),
      ]);
      expect(emitted.spans.map(({ error }) => error?.type)).toEqual(['cancelled', 'quota']);
    },
  );

  test.each([
    [{ status: 'ok' }, undefined],
    [
      { status: 'error', error: { type: 'quota', message: 'm' } },
      { type: 'quota', message: 'm' },
    ],
    [
      { status: 'error', error: { message: 'm' } },
      { type: 'error', message: 'm' },
    ],
    [{ status: 'error' }, { type: 'error' }],
    [{ status: 'cancelled' }, { type: 'cancelled' }],
    [{ status: 'timeout' }, { type: 'timeout' }],
  ])('a run that ends with %j has the error of that end', (fields, error) => {
    const { emitted } = begin([event('agent.started'), event('agent.finished', fields)]);
    const span = spanOf(emitted, 'invoke_agent main');
    if (error === undefined) expect(span?.error).toBeUndefined();
    else expect(span?.error).toMatchObject(error);
  });

  test('a sub-agent whose own end does not come is closed by subagent.finished', () => {
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('subagent.spawned', {
        ...child,
        parent_session_key: 'agent:main:s',
        parent_run_id: 'r',
        label: 'C',
      }),
      event('agent.started', { ...child, parent_session_key: 'agent:main:s' }),
      event('subagent.finished', {
        ...child,
        ts: NOW_MS + 7,
        status: 'error',
        error: { type: 'lost', message: 'm' },
      }),
    ]);
    expect(emitted.spans).toEqual([]);
    expect(spanOf(correlator.expire(NOW_MS + 1_007), 'invoke_agent C')).toMatchObject({
      end_ms: NOW_MS + 7,
      error: { type: 'lost' },
    });
  });

  test('a run that failed and may continue ends like that only if nothing more of it comes within two minutes', () => {
    const failed = (after_ms: number, message: string) =>
      event('agent.finished', {
        ts: NOW_MS + after_ms,
        status: 'error',
        error: { message },
        may_continue: true,
      });
    const { correlator, emitted } = begin([
      event('agent.started'),
      failed(5, 'first'),
      // It came late: it is from before the failure.
      event('tool.call', { ts: NOW_MS + 4, call_id: '1', tool: 'exec' }),
    ]);
    expect(emitted.spans).toEqual([]);
    expect(correlator.expire(NOW_MS + 2 * MINUTE_MS - 1).spans).toEqual([]);
    const retry_ms = 2 * MINUTE_MS - 1;
    correlator.apply(tokens({ ts: NOW_MS + retry_ms }), NOW_MS + retry_ms);
    expect(spanOf(correlator.expire(NOW_MS + 2 * MINUTE_MS), 'invoke_agent main')).toBeUndefined();
    correlator.apply(failed(retry_ms + 1, 'second'), NOW_MS + retry_ms + 1);
    const ended = correlator.expire(NOW_MS + retry_ms + 1 + 2 * MINUTE_MS);
    expect(spanOf(ended, 'invoke_agent main')).toMatchObject({
      end_ms: NOW_MS + retry_ms + 1,
      error: { type: 'error', message: 'second' },
    });
  });

  test('a run that may continue ends within a second of the start of the next run of its session', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('agent.finished', { ts: NOW_MS + 5, status: 'error', may_continue: true }),
      event('agent.started', { run_id: 'next', ts: NOW_MS + 6 }),
    ]);
    expect(correlator.expire(NOW_MS + 1_005).spans).toEqual([]);
    expect(correlator.expire(NOW_MS + 1_006).spans).toMatchObject([{ end_ms: NOW_MS + 5 }]);
  });

  test('a run that has continued does not end with what ended it before, even if that comes late', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { ts: NOW_MS + 6, call_id: '1', tool: 'exec' }),
      event('agent.finished', { ts: NOW_MS + 5, status: 'error', may_continue: true }),
    ]);
    expect(correlator.expire(NOW_MS + 3 * MINUTE_MS).spans).toEqual([]);
  });

  test('a run that may continue is not the active one after its end', () => {
    const next = { run_id: 'next', ts: NOW_MS + 6 };
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('agent.finished', { ts: NOW_MS + 5, status: 'error', may_continue: true }),
      event('agent.started', next),
      event('agent.finished', { ...next, status: 'ok', ts: NOW_MS + 8 }),
      event('agent.started', { ...child, ts: NOW_MS + 10, parent_session_key: 'agent:main:s' }),
    ]);
    const { spans } = merge([emitted, correlator.close(NOW_MS + 11)]);
    const spanOfRun = (id: string) => spans.find(({ attributes }) => attributes['openclaw.run.id'] === id);
    expect(spanOfRun('c')?.parent_span_id).toBe(spanOfRun('next')?.span_id);
  });

  test('a run that may continue ends as it did if the correlator is closed', () => {
    const finished = (status: string, more = {}) => event('agent.finished', { status, ...more });
    const { correlator } = begin([event('agent.started'), finished('ok', { may_continue: true })]);
    expect(correlator.close(NOW_MS + 9)).toMatchObject({ spans: [{ end_ms: NOW_MS, error: undefined }] });
  });

  test('a task that timed out before its run began does not end it', () => {
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('subagent.spawned', { ...child, parent_session_key: 'agent:main:s', parent_run_id: 'r' }),
      event('subagent.finished', { ...child, ts: NOW_MS + 1, status: 'timeout' }),
      event('agent.started', { ...child, ts: NOW_MS + 2_500, parent_session_key: 'agent:main:s' }),
    ]);
    expect(merge([emitted, correlator.expire(NOW_MS + 9_000)]).spans).toEqual([]);
    const own = event('agent.finished', { ...child, ts: NOW_MS + 10_000, status: 'timeout' });
    expect(correlator.apply(own, own.ts).spans).toMatchObject([
      { start_ms: NOW_MS + 2_500, end_ms: NOW_MS + 10_000, error: { type: 'timeout' } },
    ]);
  });

  test('the first of several ends of a task counts', () => {
    const { correlator } = begin([
      event('agent.started', child),
      event('subagent.finished', { ...child, ts: NOW_MS + 5, status: 'error' }),
      event('subagent.finished', { ...child, ts: NOW_MS + 9, status: 'ok' }),
    ]);
    expect(correlator.close(NOW_MS + 10).spans).toMatchObject([
      { end_ms: NOW_MS + 5, error: { type: 'error' } },
    ]);
  });

  test('the end of a forgotten task does not end a later run of its session', () => {
    const of = { session_key: 'agent:main:t', run_id: 'c' };
    const others = ['1', '2', '3'].flatMap((run_id) => [
      event('agent.started', { run_id }),
      event('agent.finished', { run_id, status: 'ok' }),
    ]);
    const { correlator } = begin(
      [
        event('agent.started', of),
        event('agent.finished', { ...of, status: 'ok' }),
        ...others,
        event('agent.started', { ...of, run_id: 'd' }),
        event('subagent.finished', { ...of, status: 'error' }),
      ],
      { ended_runs: 1 },
    );
    expect(correlator.expire(NOW_MS + 2_000).spans).toEqual([]);
    expect(correlator.counts()).toMatchObject({ runs_open: 1 });
  });

  test('a call that begins after the end of its run may stay open for as long as a child waits for its parent', () => {
    const lateCall = event('tool.call', { ts: NOW_MS + 1, call_id: '1', tool: 'exec' });
    const ended = event('agent.finished', { status: 'ok' });
    const { correlator } = begin([event('agent.started'), ended, lateCall]);
    expect(correlator.nextDeadline()).toBe(NOW_MS + 30_001);
    const { correlator: busy } = begin([
      event('agent.started'),
      tokens({ response_id: 'x' }),
      ended,
      lateCall,
    ]);
    expect(spanOf(busy.expire(NOW_MS + 6_000), 'execute_tool exec')).toBeUndefined();
    expect(spanOf(busy.expire(NOW_MS + 30_000), 'execute_tool exec')).toBeUndefined();
    expect(busy.nextDeadline()).toBe(NOW_MS + 30_001);
    expect(spanOf(busy.expire(NOW_MS + 30_001), 'execute_tool exec')).toMatchObject({
      start_ms: NOW_MS + 1,
      end_ms: NOW_MS + 1,
      error: { type: 'run_ended' },
    });
  });

  test('calls and children that come after the end of a run are placed under it, and tagged late', () => {
    const { emitted } = begin([
      event('agent.started'),
      event('agent.finished', { ts: NOW_MS + 1, status: 'ok' }),
      event('tool.call', { ts: NOW_MS + 2, call_id: '1', tool: 'exec' }),
      event('tool.output', { ts: NOW_MS + 3, call_id: '1' }),
      event('agent.started', {
        ...child,
        ts: NOW_MS + 4,
        parent_session_key: 'agent:main:s',
        parent_run_id: 'r',
      }),
      event('subagent.spawned', {
        ...child,
        ts: NOW_MS + 4,
        parent_session_key: 'agent:main:s',
        parent_run_id: 'r',
      }),
      event('agent.finished', { ...child, ts: NOW_MS + 5, status: 'ok' }),
    ]);
    const [run, call, sub] = emitted.spans;
    expect(call).toMatchObject({ parent_span_id: run?.span_id, attributes: { 'openclaw.late': true } });
    expect(sub).toMatchObject({ parent_span_id: run?.span_id, attributes: { 'openclaw.late': true } });
  });

  test('a call that is only reported after the end of its run is not tagged late', () => {
    const { emitted } = begin([
      event('agent.started'),
      event('agent.finished', { ts: NOW_MS + 3, status: 'ok' }),
      event('tool.call', { ts: NOW_MS + 1, call_id: '1', tool: 'exec' }),
      event('tool.output', { ts: NOW_MS + 2, call_id: '1' }),
    ]);
    const call = emitted.spans.find(({ kind }) => kind === 'tool');
    expect(call).toMatchObject({ end_ms: NOW_MS + 2, attributes: { 'openclaw.late': undefined } });
  });
});

describe('a child', () => {
  const of_parent = { parent_session_key: 'agent:main:s', parent_run_id: 'r' };
  const startedAt = (ms: number) => event('agent.started', { ...child, ts: NOW_MS + ms, ...of_parent });
  const endedAt = (ms: number) => event('agent.finished', { ...child, ts: NOW_MS + ms, status: 'ok' });
  const parentEndedAt = (ms: number, fields = {}) =>
    event('agent.finished', { ts: NOW_MS + ms, status: 'ok', ...fields });

  const lateOf = (correlator: Correlator, emissions: Emission[]): unknown => {
    const { spans } = merge([...emissions, correlator.close(NOW_MS)]);
    return spans.find(({ attributes }) => attributes['openclaw.run.id'] === 'c')?.attributes['openclaw.late'];
  };

  /** The tag of the child: with each event applied at its own timestamp, and with all applied at once. */
  const isLate = (events: AgentEvent[]): unknown[] =>
    [(at: AgentEvent) => at.ts, () => NOW_MS + MINUTE_MS].map((nowOf) => {
      const correlator = createCorrelator();
      return lateOf(
        correlator,
        [event('agent.started'), ...events].map((each) =>
          merge([correlator.expire(nowOf(each)), correlator.apply(each, nowOf(each))]),
        ),
      );
    });

  test.each([
    ['before the end of its parent', [startedAt(100), endedAt(400), parentEndedAt(500)]],
    ['before the end of its parent and ends after it', [startedAt(100), parentEndedAt(500), endedAt(3_000)]],
    ['at the end of its parent', [startedAt(500), parentEndedAt(500), endedAt(900)]],
    ['after its parent has yielded', [parentEndedAt(500, { yielded: true }), startedAt(600), endedAt(900)]],
    [
      'after its parent has called the tool to yield',
      [
        event('tool.call', { ts: NOW_MS + 400, call_id: '1', tool: 'sessions_yield' }),
        event('tool.output', { ts: NOW_MS + 400, call_id: '1' }),
        ...[parentEndedAt(500), startedAt(600), endedAt(900)],
      ],
    ],
  ])('is not late if it begins %s, at any pace', (_, events) => {
    expect(isLate(events)).toEqual([undefined, undefined]);
  });

  test.each([
    ['comes first', [parentEndedAt(500), startedAt(600), endedAt(4_000)]],
    ['comes later', [startedAt(600), parentEndedAt(500), endedAt(4_000)]],
  ])('is late if it begins after the end of its parent, where that end %s', (_, events) => {
    expect(isLate(events)).toEqual([true, true]);
  });

  test('is late if it begins after its parent was closed, and not if it begins before that', () => {
    const correlator = createCorrelator();
    const closed = [
      correlator.apply(event('agent.started'), NOW_MS),
      correlator.expire(NOW_MS + 30 * MINUTE_MS),
    ];
    const after = startedAt(31 * MINUTE_MS);
    expect(lateOf(correlator, [...closed, correlator.apply(after, after.ts)])).toBe(true);
    const { correlator: idle } = begin([event('agent.started')]);
    idle.expire(NOW_MS + 30 * MINUTE_MS);
    expect(lateOf(idle, [idle.apply(startedAt(10 * MINUTE_MS), after.ts)])).toBeUndefined();
    const { correlator: open, emitted } = begin([event('agent.started'), startedAt(2_000)]);
    expect(lateOf(open, [emitted])).toBeUndefined();
  });
});

describe('an event that never comes', () => {
  test('a run without a start is opened after 30 s, begins at its first event, and is marked as partial', () => {
    const { correlator, emitted } = begin([event('tool.call', { call_id: '1', tool: 'exec' })]);
    expect(emitted.previews).toEqual([]);
    expect(correlator.expire(NOW_MS + 29_999).previews).toEqual([]);
    const { previews } = correlator.expire(NOW_MS + 30_000);
    expect(previews).toMatchObject([
      { kind: 'run', start_ms: NOW_MS, attributes: { 'openclaw.partial': true } },
      { kind: 'tool' },
    ]);
  });

  test('a child whose parent stays unknown becomes a root after 30 s', () => {
    const { correlator, emitted } = begin([
      event('agent.started', { parent_session_key: 'agent:main:gone' }),
    ]);
    expect(emitted.previews).toEqual([]);
    const [root] = correlator.expire(NOW_MS + 30_000).previews;
    expect(root).toMatchObject({ kind: 'run' });
    expect(root?.parent_span_id).toBeUndefined();
  });

  test('a sub-agent that names only its parent session waits one second for its spawn', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { call_id: '1', tool: 'sessions_spawn' }),
      event('agent.started', { ...child, parent_session_key: 'agent:main:s' }),
    ]);
    expect(correlator.expire(NOW_MS + 999).previews).toEqual([]);
    expect(correlator.expire(NOW_MS + 1_000).previews).toHaveLength(1);
    correlator.apply(
      event('subagent.spawned', {
        ...child,
        parent_session_key: 'agent:main:s',
        parent_run_id: 'r',
        call_id: '1',
      }),
      NOW_MS + 1_500,
    );
    const { spans } = correlator.apply(event('agent.finished', { ...child, status: 'ok' }), NOW_MS + 2_000);
    const call = correlator.close(NOW_MS + 2_000).spans.find((span) => span.kind === 'tool');
    expect(spans[0]?.parent_span_id).toBe(call?.span_id);
  });

  test('an end without its call becomes a call of the run, begins when it ends, and is marked as partial', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.output', { call_id: '1', tool: 'exec' }),
    ]);
    expect(spanOf(correlator.expire(NOW_MS + 30_000), 'execute_tool exec')).toMatchObject({
      start_ms: NOW_MS,
      end_ms: NOW_MS,
      attributes: { 'openclaw.partial': true },
    });
  });
});

describe('several waits', () => {
  test('have a timeout each: that of an end for its call, and that of a call for its parent call', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('tool.call', { call_id: 'in', tool: 'inner', parent_call_id: 'out' }),
      event('tool.output', { ts: NOW_MS + 1, call_id: 'in' }),
    ]);
    expect(correlator.nextDeadline()).toBe(NOW_MS + 30_001);
    correlator.apply(event('tool.output', { call_id: 'out', tool: 'outer' }), NOW_MS + 2);
    correlator.apply(tokens({ response_id: 'x' }), NOW_MS + 3);
    expect(correlator.expire(NOW_MS + 5_003).spans).toMatchObject([{ kind: 'chat' }]);
    expect(correlator.expire(NOW_MS + 30_001).spans).toMatchObject([{ name: 'execute_tool inner' }]);
    expect(correlator.expire(NOW_MS + 30_002).spans).toMatchObject([{ name: 'execute_tool outer' }]);
  });

  test('do not interfere: a shorter wait does not cut short that of an open call for its end', () => {
    const { correlator } = begin(
      [
        event('agent.started'),
        tokens({ response_id: 'x' }),
        event('tool.call', { call_id: '1', tool: 'exec' }),
        event('agent.finished', { status: 'ok' }),
      ],
      { settle_ms: 9_000 },
    );
    expect(correlator.expire(NOW_MS + 5_000).spans).toMatchObject([{ kind: 'chat' }]);
    expect(correlator.nextDeadline()).toBe(NOW_MS + 9_000);
  });

  test('do not interfere: a shorter wait does not cut short that of reasoning for its call', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('llm.reasoning', { reasoning_tokens: 3 }),
      event('tool.call', { call_id: '1', tool: 'exec' }),
      event('agent.finished', { status: 'ok' }),
    ]);
    expect(correlator.expire(NOW_MS + 1_000).spans).toMatchObject([{ kind: 'tool' }]);
    expect(correlator.nextDeadline()).toBe(NOW_MS + 5_000);
  });
});

describe('closing the correlator', () => {
  test('loses no span that waits for a call of an ended run', () => {
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('agent.finished', { status: 'ok' }),
      event('subagent.spawned', {
        ...child,
        parent_session_key: 'agent:main:s',
        parent_run_id: 'r',
        call_id: 'never',
      }),
      event('agent.started', { ...child, parent_session_key: 'agent:main:s' }),
    ]);
    const [parent] = emitted.spans;
    expect(correlator.close(NOW_MS).spans).toMatchObject([{ kind: 'run', parent_span_id: parent?.span_id }]);
  });
});

describe('reasoning', () => {
  const nameless = (reasoning_tokens: number, fields = {}) =>
    event('llm.reasoning', { reasoning_tokens, ...fields });
  const failure = tokens({
    input_tokens: 0,
    output_tokens: 0,
    error: { type: 'timeout', message: 'no answer' },
  });
  const counted = (events: AgentEvent[]): number => {
    const { correlator, emitted } = begin([event('agent.started'), ...events]);
    const { measurements } = merge([emitted, correlator.close(NOW_MS)]);
    return measurements
      .filter(({ instrument }) => instrument.endsWith('reasoning.output_tokens'))
      .reduce((total, { value }) => total + value, 0);
  };

  test.each([
    ['with the tokens', [tokens({ reasoning_tokens: 40 })]],
    [
      'after the tokens, with an id',
      [tokens({ response_id: 'x' }), event('llm.reasoning', { response_id: 'x', reasoning_tokens: 40 })],
    ],
    [
      'before the tokens, with an id',
      [event('llm.reasoning', { response_id: 'x', reasoning_tokens: 40 }), tokens({ response_id: 'x' })],
    ],
    [
      'with the tokens and after them, with an id',
      [
        tokens({ response_id: 'x', reasoning_tokens: 40 }),
        event('llm.reasoning', { response_id: 'x', reasoning_tokens: 40 }),
      ],
    ],
    ['after the tokens, without an id', [tokens(), event('llm.reasoning', { reasoning_tokens: 40 })]],
    [
      'with the tokens and after them, without an id',
      [tokens({ reasoning_tokens: 40 }), event('llm.reasoning', { reasoning_tokens: 40 })],
    ],
    [
      'in pieces, during a step',
      [
        event('agent.step_started'),
        ...[15, 25].map((reasoning_tokens) => event('llm.reasoning', { reasoning_tokens })),
        tokens(),
      ],
    ],
    ['without any tokens, with an id', [event('llm.reasoning', { response_id: 'x', reasoning_tokens: 40 })]],
    ['before the tokens, without an id', [nameless(40), tokens()]],
    ['before the tokens and with them, without an id', [nameless(40), tokens({ reasoning_tokens: 40 })]],
    ['before the tokens in pieces, without an id', [nameless(15), nameless(25), tokens()]],
    [
      'before the tokens in pieces, of which one has an id',
      [
        event('agent.step_started'),
        nameless(15),
        nameless(25, { response_id: 'x' }),
        tokens({ response_id: 'x' }),
      ],
    ],
    ['before a step and during it', [nameless(15), event('agent.step_started'), nameless(25), tokens()]],
    [
      'after a failed step, and with the next call',
      [
        event('agent.step_started'),
        failure,
        nameless(40),
        tokens({ ts: NOW_MS + 1, started_at: NOW_MS + 1, reasoning_tokens: 40 }),
      ],
    ],
    ['without any tokens, in pieces without an id', [nameless(15), nameless(25)]],
    [
      'before the tokens, and with them in another number, with an id',
      [
        event('llm.reasoning', { response_id: 'x', reasoning_tokens: 30 }),
        tokens({ response_id: 'x', reasoning_tokens: 40 }),
      ],
    ],
    [
      'with the tokens, and without an id after the end of a run of which no event is missing',
      [
        tokens({ seq: 1, response_id: 'x', reasoning_tokens: 40 }),
        event('agent.finished', { seq: 2, status: 'ok' }),
        nameless(40),
      ],
    ],
  ])('counts once if it is reported %s', (_, events) => {
    expect(counted(events)).toBe(40);
  });

  const REASONING = 'gen_ai.usage.reasoning.output_tokens';
  const reasoned = ({ measurements }: Emission) =>
    measurements
      .filter(({ instrument }) => instrument.endsWith('reasoning.output_tokens'))
      .map(({ value, attributes }) => [attributes['gen_ai.request.model'], value]);
  const chatsOf = ({ spans }: Emission) =>
    spans
      .filter(({ kind }) => kind === 'chat')
      .map(({ start_ms, attributes }) => [start_ms - NOW_MS, attributes[REASONING]]);

  test.each([
    ['with a restart in between', true],
    ['without a restart', false],
  ])('that names no call belongs to the first call after it, %s', (_, is_restored) => {
    const { correlator: before, emitted } = begin([event('agent.started'), nameless(15)]);
    expect(reasoned(emitted)).toEqual([]);
    const correlator = is_restored ? createCorrelator({}, savedIn(save(before))) : before;
    const call = correlator.apply(tokens({ response_id: 'x' }), NOW_MS);
    expect(chatsOf(call)).toEqual([[0, 15]]);
    expect(reasoned(merge([call, correlator.close(NOW_MS)]))).toEqual([['m', 15]]);
  });

  test('that names no call and comes after a failed attempt belongs to the next attempt', () => {
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('agent.step_started'),
      nameless(1, { ts: NOW_MS + 10 }),
      { ...failure, ts: NOW_MS + 20 },
      nameless(2, { ts: NOW_MS + 40 }),
      tokens({ ts: NOW_MS + 90, started_at: NOW_MS + 30, response_id: 'x' }),
      nameless(4, { ts: NOW_MS + 95 }),
    ]);
    expect(chatsOf(merge([emitted, correlator.close(NOW_MS + 100)]))).toEqual([
      [30, 2],
      [0, 1],
    ]);
  });

  test('that names no call counts once, even if its call was emitted without it', () => {
    const { correlator } = begin([event('agent.started'), tokens({ response_id: 'x' })]);
    correlator.expire(NOW_MS + 5_000);
    const told = [10, 11].map((ms) => correlator.apply(nameless(3, { ts: NOW_MS + ms }), NOW_MS + 6_000));
    expect(reasoned(merge(told))).toEqual([['unknown', 3]]);
  });

  test('has the total duration of all of its pieces', () => {
    const { emitted } = begin([
      event('agent.started'),
      ...[3, 4].map((duration_ms) => event('llm.reasoning', { response_id: 'x', duration_ms })),
      tokens({ response_id: 'x', reasoning_tokens: 1 }),
    ]);
    expect(emitted.spans).toMatchObject([{ attributes: { 'openclaw.reasoning.duration_ms': 7 } }]);
  });

  test('has the text and the duration of all of its pieces, whether or not they name their call', () => {
    const correlator = createCorrelator({ content: true });
    const told = [
      event('agent.started'),
      event('agent.step_started'),
      event('llm.reasoning', { text: 'one thought, ', duration_ms: 3 }),
      event('llm.reasoning', { response_id: 'x', text: 'and another', duration_ms: 4 }),
      tokens({ response_id: 'x', reasoning_tokens: 1 }),
    ].map((each) => correlator.apply(each, NOW_MS));
    const [chat] = merge(told).spans;
    expect(chat?.attributes).toMatchObject({
      'openclaw.reasoning.duration_ms': 7,
      'openclaw.reasoning.size_bytes': 24,
    });
    expect(chat?.attributes['gen_ai.output.messages']).toContain('one thought, and another');
  });

  test('text from before the tokens of a call stays when the number of reasoning tokens comes', () => {
    const correlator = createCorrelator({ content: true });
    const told = [
      event('agent.started'),
      event('llm.reasoning', { response_id: 'x', text: 'a second thought' }),
      tokens({ response_id: 'x' }),
      event('llm.reasoning', { response_id: 'x', reasoning_tokens: 3 }),
    ].map((each) => correlator.apply(each, NOW_MS));
    const [chat] = merge(told).spans;
    expect(chat?.attributes).toMatchObject({ [REASONING]: 3 });
    expect(chat?.attributes['gen_ai.output.messages']).toContain('a second thought');
  });

  test('that names no call and comes after the end of its run waits 5 s for a call', () => {
    const { correlator } = begin([
      event('agent.started'),
      event('agent.finished', { status: 'ok' }),
      nameless(3),
    ]);
    expect(reasoned(correlator.expire(NOW_MS + 4_999))).toEqual([]);
    expect(reasoned(correlator.expire(NOW_MS + 5_000))).toEqual([['unknown', 3]]);
  });

  test('that names no call counts on its own if no call comes within 5 s after the end of its run', () => {
    const { correlator } = begin([
      event('agent.started'),
      nameless(15),
      event('agent.finished', { status: 'ok' }),
    ]);
    expect(correlator.nextDeadline()).toBe(NOW_MS + 5_000);
    expect(reasoned(correlator.expire(NOW_MS + 4_999))).toEqual([]);
    expect(reasoned(correlator.expire(NOW_MS + 5_000))).toEqual([['unknown', 15]]);
    expect(correlator.nextDeadline()).toBeUndefined();
    expect(reasoned(correlator.close(NOW_MS + 5_001))).toEqual([]);
  });

  test.each([
    ['that was open', {}],
    ['that was held', child],
  ])('with the same timestamp as a call belongs to that call, in a run %s', (_, identity) => {
    const at = (each: AgentEvent) => ({ ...each, ...identity }) as AgentEvent;
    const { correlator, emitted } = begin([
      at(event('agent.started')),
      at(tokens({ ts: NOW_MS + 10, response_id: 'x', started_at: NOW_MS })),
      at(tokens({ ts: NOW_MS + 20, response_id: 'y', started_at: NOW_MS + 15 })),
      at(nameless(3, { ts: NOW_MS + 20 })),
      at(event('agent.finished', { ts: NOW_MS + 30, status: 'ok' })),
    ]);
    expect(chatsOf(merge([emitted, correlator.close(NOW_MS + 100)])).sort()).toEqual([
      [0, undefined],
      [15, 3],
    ]);
  });

  test('with the same timestamp as two calls belongs to the one that came before it, if all were held', () => {
    const { correlator } = begin([
      tokens({ ts: NOW_MS + 5, response_id: 'x', started_at: NOW_MS + 1 }),
      nameless(3, { ts: NOW_MS + 5 }),
      tokens({ ts: NOW_MS + 5, response_id: 'y', started_at: NOW_MS + 2 }),
    ]);
    const given = [correlator.expire(NOW_MS + 30_005), correlator.close(NOW_MS + 40_000)];
    expect(chatsOf(merge(given)).sort()).toEqual([
      [1, 3],
      [2, undefined],
    ]);
  });
});

describe('limits', () => {
  test('over the limit of open runs the oldest is closed, and counted', () => {
    const runs = ['1', '2', '3'].map((id) => event('agent.started', { session_key: `s${id}`, run_id: id }));
    const { correlator, emitted } = begin(runs, { open_runs: 2 });
    expect(emitted.spans).toMatchObject([
      { attributes: { 'openclaw.run.id': '1' }, error: { type: 'given_up' } },
    ]);
    expect(correlator.counts()).toMatchObject({ runs_open: 2, given_up: { open_runs: 1 } });
  });

  test('over the limit of open calls the oldest is closed, and counted', () => {
    const calls = ['1', '2', '3'].map((call_id) => event('tool.call', { call_id, tool: `t${call_id}` }));
    const { correlator, emitted } = begin([event('agent.started'), ...calls], { open_calls: 2 });
    expect(emitted.spans).toMatchObject([{ name: 'execute_tool t1', error: { type: 'given_up' } }]);
    expect(correlator.counts().given_up).toEqual({ open_calls: 1 });
  });

  test('an ended call does not count as open, and a call closed over the limit ends at the latest event', () => {
    const { correlator, emitted } = begin(
      [
        event('agent.started'),
        event('tool.call', { call_id: '1', tool: 't1' }),
        event('tool.output', { call_id: '1', ts: NOW_MS + 1 }),
        event('tool.call', { call_id: '2', tool: 't2', ts: NOW_MS + 2 }),
      ],
      { open_calls: 1 },
    );
    expect(emitted.spans).toMatchObject([{ name: 'execute_tool t1', error: undefined }]);
    const third = event('tool.call', { call_id: '3', tool: 't3', ts: NOW_MS + 9 });
    expect(correlator.apply(third, NOW_MS + 20).spans).toMatchObject([
      { name: 'execute_tool t2', end_ms: NOW_MS + 9, error: { type: 'given_up' } },
    ]);
  });

  test('at most 1,000 ends of one run wait for their calls, and the rest is counted', () => {
    const ends = Array.from({ length: 1_001 }, (_, at) =>
      event('tool.output', { call_id: `${at}`, tool: 'x' }),
    );
    const { correlator, emitted } = begin([event('agent.started'), ...ends]);
    expect(correlator.counts().given_up).toEqual({ early_ends: 1 });
    expect(emitted.logs.map(({ attributes }) => attributes['gen_ai.tool.call.id'])).toEqual([
      undefined,
      '1000',
    ]);
  });

  test('over the limit of held events the run held longest is opened as it is', () => {
    const held = ['1', '2', '3'].map((id) =>
      event('tool.call', { session_key: `s${id}`, run_id: id, call_id: id, tool: 'x' }),
    );
    const { correlator, emitted } = begin(held, { held_events: 2 });
    expect(emitted.previews).toMatchObject([
      { attributes: { 'openclaw.run.id': '1', 'openclaw.partial': true } },
      {},
    ]);
    expect(correlator.counts().given_up).toEqual({ held_events: 1 });
  });

  test('at most 1,000 steps of one run wait for their calls, and over that the oldest is emitted', () => {
    const { correlator, emitted } = begin([event('agent.started')]);
    expect(emitted.spans).toEqual([]);
    const stepAt = (ms: number): Emission =>
      correlator.apply(event('agent.step_started', { ts: NOW_MS + ms }), NOW_MS);
    for (let ms = 1; ms <= 1_000; ms++) expect(stepAt(ms).spans).toEqual([]);
    expect(stepAt(1_001).spans).toMatchObject([{ kind: 'chat', start_ms: NOW_MS + 1, end_ms: NOW_MS + 2 }]);
    for (let ms = 1_002; ms <= 10_000; ms++) stepAt(ms);
    expect(correlator.expire(NOW_MS + 5_000).spans).toHaveLength(999);
    expect(correlator.counts().given_up).toEqual({ steps: 9_000 });
  });

  test('the span of a call or a run has at most 128 events, and the rest is counted', () => {
    const many = <T>(tell: (ms: number) => T): T[] => Array.from({ length: 130 }, (_, at) => tell(at + 1));
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('tool.call', { call_id: '1', tool: 'x' }),
      ...many((ms) => event('tool.output', { ts: NOW_MS + ms, call_id: '1', partial: true, output: 'a' })),
      ...many((ms) => event('subagent.output', { ts: NOW_MS + ms, event_id: `${ms}`, output: 'b' })),
      event('tool.output', { ts: NOW_MS + 200, call_id: '1' }),
      event('agent.finished', { ts: NOW_MS + 201, status: 'ok' }),
    ]);
    expect(emitted.spans.map(({ name, events }) => [name, events.length])).toEqual([
      ['execute_tool x', 128],
      ['invoke_agent main', 128],
    ]);
    expect(correlator.counts().given_up).toEqual({ span_events: 4 });
  });

  test('a partial output whose call has not been seen is dropped, and counted', () => {
    const { correlator, emitted } = begin([
      event('agent.started'),
      event('tool.output', { call_id: '1', partial: true, output: 'a' }),
      event('tool.call', { call_id: '1', tool: 'x' }),
      event('tool.output', { ts: NOW_MS + 1, call_id: '1' }),
      event('tool.output', { ts: NOW_MS + 2, call_id: '1', partial: true, output: 'b' }),
    ]);
    expect(emitted.spans).toMatchObject([{ name: 'execute_tool x', events: [] }]);
    expect(correlator.counts().given_up).toEqual({ early_outputs: 1 });
  });

  test('the reasoning of at most 100 responses of one run waits for their tokens, and the rest is counted', () => {
    const reasoning = Array.from({ length: 103 }, (_, at) =>
      event('llm.reasoning', { response_id: `${at}`, reasoning_tokens: 1 }),
    );
    const { correlator } = begin([event('agent.started'), ...reasoning]);
    expect(correlator.counts().given_up).toEqual({ early_reasoning: 3 });
    correlator.apply(event('llm.reasoning', { reasoning_tokens: 1 }), NOW_MS);
    expect(correlator.counts().given_up).toEqual({ early_reasoning: 4 });
    correlator.apply(event('llm.reasoning', { response_id: '0', reasoning_tokens: 1 }), NOW_MS);
    expect(correlator.apply(tokens({ response_id: '0' }), NOW_MS).spans).toMatchObject([
      { attributes: { 'gen_ai.usage.reasoning.output_tokens': 2 } },
    ]);
    expect(correlator.counts().given_up).toEqual({ early_reasoning: 4 });
  });

  test('a run that is opened to make room for its own spawn is opened once', () => {
    const parent_session_key = 'agent:main:p';
    const { correlator, emitted } = begin(
      [
        event('agent.started', { ...child, parent_session_key }),
        event('tool.call', { session_key: parent_session_key, run_id: 'p', call_id: '1', tool: 'exec' }),
        event('subagent.spawned', { ...child, seq: 2, parent_session_key }),
      ],
      { held_events: 2 },
    );
    expect(correlator.counts()).toMatchObject({ runs_opened: 2, given_up: { held_events: 1 } });
    expect(emitted.previews.filter(({ kind }) => kind === 'run')).toHaveLength(2);
  });

  test('allow 50,000 open runs and 100,000 open calls', () => {
    const correlator = createCorrelator();
    for (let run = 0; run < 50_000; run++) {
      const of = { session_key: `s${run}`, run_id: `${run}` };
      correlator.apply(event('agent.started', of), NOW_MS);
      for (const call_id of ['a', 'b'])
        correlator.apply(event('tool.call', { ...of, call_id, tool: 'x' }), NOW_MS);
    }
    expect(correlator.counts()).toMatchObject({ runs_open: 50_000, given_up: {} });
  }, 60_000);

  test('the memory of ended runs, sessions and ids is bounded, and the oldest entries are forgotten', () => {
    const correlator = createCorrelator({
      limits: { ended_runs: 10, seen_ids: 10, sessions: 10, spawns: 10 },
    });
    for (let run = 0; run < 1_000; run++) {
      const of = { session_key: `s${run}`, run_id: `${run}` };
      correlator.apply(event('agent.started', { ...of, event_id: `start ${run}` }), NOW_MS);
      correlator.apply(event('agent.finished', { ...of, seq: 2, status: 'ok' }), NOW_MS);
    }
    // Everything remembered is saved: two records per part, one for each generation, and none for a single run.
    const parts = [...save(correlator).keys()].map((key) => key.split('/')[1]);
    const countOf = (part: string): number => parts.filter((each) => each === part).length;
    expect(countOf('runs')).toBe(0);
    for (const part of ['archive', 'sessions', 'seen_events', 'ended_spans', 'by_run_id'])
      expect(countOf(part)).toBe(2);
    // The first capture contains everything, later ones only changes.
    expect(save(correlator).size).toBe(0);
  });
});

describe('a duplicate event', () => {
  const of = { session_key: 's', run_id: 'r' };
  const started = event('agent.started', { ...of, seq: 1 });
  const finished = event('agent.finished', { ...of, seq: 9, status: 'ok' });

  test('opens nothing after its run has been forgotten', () => {
    const { correlator, emitted } = begin([started, finished], { ended_runs: 1 });
    const others = ['1', '2'].flatMap((run_id) => [
      event('agent.started', { ...of, run_id }),
      event('agent.finished', { ...of, run_id, status: 'ok' }),
    ]);
    const after = merge([...others, started, finished].map((each) => correlator.apply(each, NOW_MS)));
    expect(emitted.spans).toHaveLength(1);
    expect(after.spans.map((span) => span.attributes['openclaw.run.id'])).toEqual(['1', '2']);
    expect(correlator.counts()).toMatchObject({ duplicates: 2, runs_open: 0 });
  });

  test('is recognised before its run opens, and after', () => {
    const call = event('tool.call', { ...of, seq: 2, call_id: 'c', tool: 'exec' });
    const { correlator, emitted } = begin([call, call, started, call, started, finished, call]);
    expect(merge([emitted, correlator.expire(NOW_MS + MINUTE_MS)]).logs).toHaveLength(3);
    expect(correlator.counts()).toMatchObject({ duplicates: 4 });
  });
});

describe('depth', () => {
  test('a chain of 20,000 sub-agents is one trace, also if the events come from last to first', () => {
    const chain = Array.from({ length: 20_000 }, (_, depth) =>
      event('agent.started', {
        session_key: `s${depth}`,
        run_id: `${depth}`,
        ts: NOW_MS + depth,
        ...(depth === 0 ? {} : { parent_run_id: `${depth - 1}`, parent_session_key: `s${depth - 1}` }),
      }),
    );
    for (const order of [chain, chain.toReversed()]) {
      const { correlator, emitted } = begin(order, { link_ms: 0 });
      const { spans } = merge([emitted, correlator.close(NOW_MS)]);
      expect(spans).toHaveLength(20_000);
      expect(new Set(spans.map((span) => span.trace_id)).size).toBe(1);
    }
  });
});

describe('traceparent', () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

  test('sets the trace and the parent of a root, whose span id is still derived', () => {
    const { emitted } = begin([
      event('agent.started', { traceparent }),
      event('agent.finished', { status: 'ok' }),
    ]);
    const { emitted: plain } = begin([event('agent.started'), event('agent.finished', { status: 'ok' })]);
    expect(emitted.spans[0]).toMatchObject({
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      parent_span_id: 'b7ad6b7169203331',
      span_id: plain.spans[0]?.span_id,
    });
  });

  test('of a sub-agent does not move it out of the trace of its request', () => {
    const { emitted, correlator } = begin([
      event('agent.started'),
      event('agent.started', { ...child, parent_run_id: 'r', traceparent }),
      event('agent.finished', { ...child, status: 'ok' }),
    ]);
    const [root] = correlator.close(NOW_MS).spans;
    expect(emitted.spans[0]).toMatchObject({ trace_id: root?.trace_id, parent_span_id: root?.span_id });
  });
});

/** A model call that has ended without its reasoning tokens. */
const unreasoned_call = event('llm.tokens', {
  model: 'm',
  provider: 'p',
  input_tokens: 10,
  output_tokens: 5,
  response_id: 'x',
});

describe('reasoning tokens that come after their call was emitted', () => {
  const reasoning = event('llm.reasoning', { response_id: 'x', reasoning_tokens: 3 });
  const REASONING = 'gen_ai.client.inference.usage.reasoning.output_tokens';

  test('count with the attributes of the call, and correct its span', () => {
    const { correlator } = begin([event('agent.started'), unreasoned_call]);
    const [given] = correlator.expire(NOW_MS + 5_000).spans;
    const late = correlator.apply(reasoning, NOW_MS + 60_000);
    expect(late.spans).toEqual([]);
    expect(late.corrections).toEqual([
      { ...given, attributes: { ...given!.attributes, 'gen_ai.usage.reasoning.output_tokens': 3 } },
    ]);
    expect(late.measurements).toMatchObject([
      { instrument: REASONING, value: 3, attributes: { 'gen_ai.request.model': 'm' } },
    ]);
  });

  test('count once, however often they are reported', () => {
    const { correlator } = begin([event('agent.started'), unreasoned_call]);
    correlator.expire(NOW_MS + 5_000);
    correlator.apply(reasoning, NOW_MS + 6_000);
    const again = correlator.apply(reasoning, NOW_MS + 7_000);
    expect(again).toMatchObject({ corrections: [], measurements: [] });
  });
});

describe('a gap', () => {
  test('is marked on the run, whichever of its events reports it', () => {
    const { correlator } = begin([event('agent.started')]);
    const { spans } = correlator.apply(event('agent.finished', { status: 'ok', gap: true }), NOW_MS);
    expect(spans).toMatchObject([{ attributes: { 'openclaw.gap': true } }]);
  });

  test('is counted if an event of a held run reports it', () => {
    const { correlator } = begin([event('tool.call', { call_id: '1', tool: 'exec', gap: true })]);
    correlator.expire(NOW_MS + 30_000);
    expect(correlator.counts()).toMatchObject({ runs_with_gap: 1 });
  });

  test('is marked on a run whose start reports it', () => {
    const { correlator } = begin([event('agent.started', { gap: true })]);
    const { spans } = correlator.apply(event('agent.finished', { status: 'ok' }), NOW_MS);
    expect(spans).toMatchObject([{ attributes: { 'openclaw.gap': true } }]);
  });
});

describe('the saved state', () => {
  const of_run = (run: number) => ({ session_key: `agent:main:${run}`, run_id: `${run}` });

  test('lets the next process continue with the open runs, and count from those', () => {
    const { correlator } = begin([
      event('agent.started', { session_key: 'agent:main:old', run_id: 'open' }),
      event('tool.call', { session_key: 'agent:main:old', run_id: 'open', call_id: '1', tool: 'exec' }),
    ]);
    for (let run = 0; run < 100; run++) {
      correlator.apply(event('agent.started', { ...of_run(run), event_id: `${run}` }), NOW_MS);
      correlator.apply(
        event('agent.finished', { ...of_run(run), event_id: `${run} end`, status: 'ok' }),
        NOW_MS,
      );
    }
    const next = createCorrelator({}, savedIn(save(correlator)));
    expect(next.counts()).toMatchObject({ runs_opened: 1, runs_ended: 0, runs_open: 1 });
    const { spans } = next.apply(
      event('agent.finished', { session_key: 'agent:main:old', run_id: 'open', status: 'ok' }),
      NOW_MS,
    );
    expect(spans).toMatchObject([{ name: 'invoke_agent main' }]);
    expect(next.expire(NOW_MS + 1_000).spans).toMatchObject([{ name: 'execute_tool exec' }]);
  });

  test('stays within the limits of held events and of open calls, of which the oldest is closed first', () => {
    const callOf = (call_id: string, run_id: string) =>
      event('tool.call', { run_id, call_id, tool: `t${call_id}` });
    const { correlator: holding } = begin(['1', '2', '3'].map((id) => callOf(id, id)));
    const held = createCorrelator({ limits: { held_events: 3 } }, savedIn(save(holding)));
    const opened = held.apply(callOf('4', '4'), NOW_MS).previews.filter(({ kind }) => kind === 'run');
    expect(opened.map(({ attributes }) => attributes['openclaw.run.id'])).toEqual(['1']);
    expect(held.counts().given_up).toEqual({ held_events: 1 });
    const { correlator: calling } = begin([
      ...['b', 'r'].map((run_id) => event('agent.started', { run_id })),
      ...[callOf('2', 'r'), callOf('1', 'b'), callOf('3', 'r')],
    ]);
    const called = createCorrelator({ limits: { open_calls: 3 } }, savedIn(save(calling)));
    const given = ['4', '5', '6'].map((id) => called.apply(callOf(id, 'r'), NOW_MS));
    expect(merge(given).spans.map(({ name }) => name)).toEqual(
      ['2', '1', '3'].map((id) => `execute_tool t${id}`),
    );
  });

  test('contains only what has changed, however large the state is', () => {
    const { correlator } = begin([]);
    for (let run = 0; run < 1_000; run++) correlator.apply(event('agent.started', of_run(run)), NOW_MS);
    const all = save(correlator);
    const bytesOf = (records: Records): number =>
      [...records.values()].reduce((sum, { length }) => sum + length, 0);
    correlator.apply(event('tool.call', { ...of_run(7), call_id: '1', tool: 'exec' }), NOW_MS);
    const changed = save(correlator);
    // The run, and the record that says which records are valid.
    expect(changed.size).toBe(2);
    expect(bytesOf(all)).toBeGreaterThan(500 * bytesOf(changed));
  });

  test('does not grow with repeated changes of the same session', () => {
    const { correlator } = begin([]);
    const records = save(correlator);
    for (let turn = 0; turn < 10_000; turn++) {
      correlator.apply(event('agent.started', { ...of_run(1), session_id: `${turn}` }), NOW_MS);
      if (turn % 100 === 0) save(correlator, records);
    }
    expect([...records.keys()].filter((key) => key.startsWith('state/sessions/')).length).toBeLessThan(20);
    const [next, same] = [createCorrelator({}, savedIn(save(correlator, records))), correlator];
    const call = event('tool.call', { ...of_run(1), call_id: '1', tool: 'exec' });
    expect(next.apply(call, NOW_MS)).toEqual(same.apply(call, NOW_MS));
  });

  test('does not grow with the length of event ids', () => {
    const { correlator } = begin([event('agent.started', { event_id: 'start' })]);
    const toolCall = (id: number) =>
      event('tool.output', { call_id: '1', partial: true, event_id: `${'x'.repeat(100_000)}${id}` });
    for (let id = 0; id < 100; id++) correlator.apply(toolCall(id), NOW_MS);
    const records = save(correlator);
    expect([...records.values()].reduce((sum, { length }) => sum + length, 0)).toBeLessThan(100_000);
    const next = createCorrelator({}, savedIn(records));
    for (const each of [toolCall(0), toolCall(99), toolCall(100)]) next.apply(each, NOW_MS);
    expect(next.counts().duplicates).toBe(2);
  });

  test('is as of the time of its capture, whatever changes before it is written', () => {
    const { correlator } = begin([event('agent.started', of_run(1)), event('agent.started', of_run(2))]);
    const capture = correlator.capture();
    for (const run of [1, 2])
      correlator.apply(event('agent.finished', { ...of_run(run), status: 'ok' }), NOW_MS);
    expect(capture.advance(1)).toBe(false);
    expect(() => correlator.capture()).toThrow('not complete');
    expect(capture.advance(Infinity)).toBe(true);
    const records = new Map();
    write(records, capture);
    expect(createCorrelator({}, savedIn(records)).counts().runs_open).toBe(2);
    expect(createCorrelator({}, savedIn(save(correlator, records))).counts().runs_open).toBe(0);
  });

  test('omits only what can not be encoded', () => {
    let nested: unknown = 'deep';
    for (let depth = 0; depth < 20_000; depth++) nested = [nested];
    const held = { session_key: 'agent:main:subagent:x', run_id: 'x', call_id: '1', tool: 'exec' };
    const { correlator } = begin([
      event('agent.started', of_run(1)),
      event('tool.call', { ...held, input: nested }),
    ]);
    expect(createCorrelator({}, savedIn(save(correlator))).counts().runs_open).toBe(1);
  });
});

describe('while no source can be asked for reasoning tokens', () => {
  test('an ended call waits for them, and gets them when they come', () => {
    const { correlator } = begin([event('agent.started'), unreasoned_call]);
    correlator.waitForReasoning(Number.POSITIVE_INFINITY);
    expect(correlator.expire(NOW_MS + 5_000).spans).toEqual([]);
    expect(correlator.expire(NOW_MS + 60_000).spans).toEqual([]);
    correlator.waitForReasoning(NOW_MS + 65_000);
    const reasoning = event('llm.reasoning', { response_id: 'x', reasoning_tokens: 3 });
    expect(correlator.apply(reasoning, NOW_MS + 61_000).spans).toMatchObject([
      { attributes: { 'gen_ai.usage.reasoning.output_tokens': 3 } },
    ]);
  });

  test('an ended call waits at most two minutes more', () => {
    const { correlator } = begin([event('agent.started'), unreasoned_call]);
    correlator.waitForReasoning(Number.POSITIVE_INFINITY);
    expect(correlator.expire(NOW_MS + 5_000 + 119_999).spans).toEqual([]);
    expect(correlator.nextDeadline()).toBeLessThanOrEqual(NOW_MS + 5_000 + 121_000);
    expect(correlator.expire(NOW_MS + 5_000 + 121_000).spans).toHaveLength(1);
  });

  test('an ended call is emitted when the time for asking a source that is back has passed', () => {
    const { correlator } = begin([event('agent.started'), unreasoned_call]);
    correlator.waitForReasoning(Number.POSITIVE_INFINITY);
    correlator.expire(NOW_MS + 5_000);
    correlator.waitForReasoning(NOW_MS + 7_000);
    expect(correlator.expire(NOW_MS + 6_999).spans).toEqual([]);
    expect(correlator.expire(NOW_MS + 8_000).spans).toHaveLength(1);
  });

  describe('a step whose message has not come', () => {
    const ended = [
      event('agent.started'),
      event('agent.step_started'),
      event('agent.finished', { ts: NOW_MS + 9, status: 'ok' }),
    ];

    test('waits for it, and is ended by it', () => {
      const { correlator } = begin(ended);
      correlator.waitForReasoning(Number.POSITIVE_INFINITY);
      expect(correlator.expire(NOW_MS + 60_000).spans).toEqual([]);
      correlator.waitForReasoning(NOW_MS + 65_000);
      const call = { message_id: 'm', reasoning_tokens: 3, started_at: NOW_MS, ended_at: NOW_MS + 5 };
      expect(correlator.apply(tokens(call), NOW_MS + 61_000).spans).toMatchObject([
        { end_ms: NOW_MS + 5, attributes: { 'gen_ai.usage.reasoning.output_tokens': 3 } },
      ]);
      expect(correlator.expire(NOW_MS + 10 * MINUTE_MS).spans).toEqual([]);
    });

    test('waits at most two minutes more', () => {
      const { correlator } = begin(ended);
      correlator.waitForReasoning(Number.POSITIVE_INFINITY);
      expect(correlator.expire(NOW_MS + 5_000 + 119_999).spans).toEqual([]);
      expect(correlator.nextDeadline()).toBeLessThanOrEqual(NOW_MS + 5_000 + 121_000);
      expect(correlator.expire(NOW_MS + 5_000 + 121_000).spans).toMatchObject([{ end_ms: NOW_MS + 9 }]);
    });

    test('is emitted in time if it has failed: a failed call has no message', () => {
      const { correlator } = begin([
        event('agent.started'),
        event('agent.step_started'),
        tokens({ ts: NOW_MS + 5, input_tokens: 0, output_tokens: 0, error: { message: 'm' } }),
      ]);
      correlator.waitForReasoning(Number.POSITIVE_INFINITY);
      expect(correlator.expire(NOW_MS + 5_005).spans).toHaveLength(1);
    });
  });

  test('an ended call is still emitted when the correlator is closed', () => {
    const { correlator } = begin([event('agent.started'), unreasoned_call]);
    correlator.waitForReasoning(Number.POSITIVE_INFINITY);
    expect(
      correlator
        .close(NOW_MS)
        .spans.map(({ kind }) => kind)
        .sort(),
    ).toEqual(['chat', 'run']);
  });
});
