/**
 * Runs that are known but not open yet: an event about such a run counts for it and no other, and a child is placed under the run
 * that spawned it, however long that run itself has to wait.
 */
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { type Correlator, createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { Emission } from '../../src/model/telemetry.js';
import { save, savedIn } from '../captures.js';
import { identities, merge, NOW_MS } from '../helpers.js';
import { requestsOfASession } from './stories.js';

const SESSION = 'agent:main:s';
const X = 'agent:main:subagent:x';
const Y = 'agent:main:subagent:y';

// biome-ignore lint/suspicious/noExplicitAny: a short way to write events; the types are checked where they are used
const at = (ms: number, type: string, session_key: string, run_id: string | undefined, fields: any = {}) =>
  ({ type, ts: NOW_MS + ms, session_key, run_id, ...fields }) as AgentEvent;

const started = (ms: number, session_key: string, run_id: string, fields = {}): AgentEvent =>
  at(ms, 'agent.started', session_key, run_id, fields);
const finished = (ms: number, session_key: string, run_id: string, fields = {}): AgentEvent =>
  at(ms, 'agent.finished', session_key, run_id, { status: 'ok', ...fields });
const called = (ms: number, run_id: string, call_id: string): AgentEvent =>
  at(ms, 'tool.call', SESSION, run_id, { call_id, tool: 'sessions_spawn' });
const answered = (ms: number, run_id: string, call_id: string): AgentEvent =>
  at(ms, 'tool.output', SESSION, run_id, { call_id });
const spawned = (ms: number, session_key: string, run_id: string | undefined, fields = {}): AgentEvent =>
  at(ms, 'subagent.spawned', session_key, run_id, { parent_session_key: SESSION, ...fields });

function expireUntil(correlator: Correlator, now_ms: number): Emission[] {
  const emissions: Emission[] = [];
  for (let due_ms = correlator.nextDeadline(); due_ms !== undefined && due_ms <= now_ms; ) {
    emissions.push(correlator.expire(due_ms));
    due_ms = correlator.nextDeadline();
  }
  return emissions;
}

/** Applies each event at its arrival time, then lets every timeout pass. `restart_before`: index of an event. */
function playAt(coming: { event: AgentEvent; come_ms: number }[], restart_before?: number): Emission {
  let correlator = createCorrelator();
  const emissions: Emission[] = [];
  coming.forEach(({ event, come_ms }, index) => {
    if (index === restart_before) correlator = createCorrelator({}, savedIn(save(correlator)));
    emissions.push(...expireUntil(correlator, come_ms), correlator.apply(event, come_ms));
  });
  const end_ms = (coming.at(-1)?.come_ms ?? 0) + 60_000;
  return merge([...emissions, ...expireUntil(correlator, end_ms), correlator.close(end_ms)]);
}

/** Applies each event at its own timestamp or, if it is out of order, together with the one before it. */
function play(events: AgentEvent[], restart_before?: number): Emission {
  let now_ms = 0;
  const coming = events.map((event) => {
    now_ms = Math.max(now_ms, event.ts);
    return { event, come_ms: now_ms };
  });
  return playAt(coming, restart_before);
}

/** Applies all events at the same time. */
function playAtOnce(events: AgentEvent[]): Emission {
  const correlator = createCorrelator();
  const emissions = events.map((event) => correlator.apply(event, NOW_MS + 100_000));
  return merge([...emissions, correlator.close(NOW_MS + 100_000)]);
}

const nameOf = ({ attributes }: { attributes: Record<string, unknown> }): string =>
  String(attributes['gen_ai.tool.call.id'] ?? attributes['openclaw.run.id']);

/** The parent of each run: a run, a call, or undefined. */
function parentsOf({ spans }: Emission): Record<string, string | undefined> {
  const names = new Map(spans.map((span) => [span.span_id, nameOf(span)]));
  const traces = new Map(spans.map((span) => [span.span_id, span.trace_id]));
  const runs = spans.filter(({ kind }) => kind === 'run');
  for (const { parent_span_id, trace_id } of runs)
    if (parent_span_id !== undefined) expect(traces.get(parent_span_id)).toBe(trace_id);
  return Object.fromEntries(runs.map((span) => [nameOf(span), names.get(span.parent_span_id ?? '')]));
}

const runOf = ({ spans }: Emission, run_id: string) =>
  spans.find(({ kind, attributes }) => kind === 'run' && attributes['openclaw.run.id'] === run_id);

describe('an event about a sub-agent whose run is not open yet', () => {
  const parent = { parent_session_key: SESSION, parent_run_id: 'r' };
  const boom = { status: 'error', error: { type: 'boom', message: 'b' } };
  const before = [started(0, SESSION, 'r'), started(10, X, 'c1', parent)];
  const after = [finished(3_500, X, 'c1'), finished(4_000, SESSION, 'r')];
  /** The second run of the session waits for its spawn until 2,500 ms. */
  const second = started(1_500, X, 'c2', parent);

  const expectEnded = (given: Emission, c1_end_ms = 3_500): void => {
    expect(runOf(given, 'c1')).toMatchObject({ end_ms: NOW_MS + c1_end_ms, error: undefined });
    expect(runOf(given, 'c2')).toMatchObject({ end_ms: NOW_MS + 1_900, error: { type: 'boom' } });
    const logs = given.logs.filter(({ event_name }) => event_name === 'openclaw.subagent_finished');
    expect(logs.map(({ span_id }) => span_id)).toEqual([runOf(given, 'c2')?.span_id]);
  };

  test.each([
    ['that it names', 'c2'],
    ['that is the latest of its session, if it names no known run', 'task-7'],
  ])('counts for the run %s', (_, run_id) => {
    const end = at(1_900, 'subagent.finished', X, run_id, boom);
    expectEnded(play([...before, second, end, ...after]));
  });

  test('ends the run that it names if the run before that has ended', () => {
    const end = at(1_900, 'subagent.finished', X, 'c2', boom);
    const events = [finished(1_000, X, 'c1'), second, end, finished(4_000, SESSION, 'r')];
    expectEnded(play([...before, ...events]), 1_000);
  });

  test('counts for the run that it names, even if only a spawn has named that run before', () => {
    const events = [
      spawned(1_490, X, 'c2', { parent_run_id: 'r' }),
      at(1_900, 'subagent.finished', X, 'c2', boom),
      second,
    ];
    expectEnded(play([...before, ...events, ...after]));
  });

  test('counts for the latest open run if it names no known run', () => {
    const end = at(1_900, 'subagent.finished', X, 'task-7', boom);
    expect(runOf(play([...before, end, finished(4_000, SESSION, 'r')]), 'c1')).toMatchObject({
      end_ms: NOW_MS + 1_900,
      error: { type: 'boom' },
    });
  });

  test('is a span event of the run that it names', () => {
    const output = at(1_900, 'subagent.output', X, 'c2', { output: 'o' });
    const given = play([...before, second, output, finished(2_000, X, 'c2'), ...after]);
    expect(runOf(given, 'c1')?.events).toEqual([]);
    expect(runOf(given, 'c2')?.events).toMatchObject([{ name: 'openclaw.subagent_output' }]);
  });
});

const ANNOUNCE = `announce:requester-settle:main:${SESSION}:c1:yield-1`;

/** An announce run waits for the run that it reports on, and spawns a sub-agent meanwhile. */
const spawnOfWaiting = [
  started(0, SESSION, 'r1'),
  started(10, X, 'c1', { parent_session_key: SESSION, parent_run_id: 'r1' }),
  finished(50, SESSION, 'r1', { yielded: true }),
  finished(300, X, 'c1'),
  started(350, SESSION, ANNOUNCE),
  called(400, ANNOUNCE, 'k'),
  spawned(401, Y, 'c2', { call_id: 'k' }),
  started(405, Y, 'c2'),
  answered(420, ANNOUNCE, 'k'),
  finished(700, Y, 'c2'),
  finished(2_500, SESSION, ANNOUNCE),
];

const earlier = [started(0, SESSION, 'r0'), finished(50, SESSION, 'r0')];

/** The start of the child comes before that of the run that spawned it. */
const overtaken = [
  ...earlier,
  called(1_840, 'r1', 'k'),
  started(1_846, X, 'c1', { parent_session_key: SESSION }),
  started(1_783, SESSION, 'r1'),
  answered(1_900, 'r1', 'k'),
  finished(4_200, X, 'c1'),
  finished(4_300, SESSION, 'r1'),
];

/** The start of the run that spawned the child never comes, but that of a later run of the session does. */
const missed = [
  called(0, 'r1', 'k'),
  started(10, X, 'c1', { parent_session_key: SESSION }),
  answered(20, 'r1', 'k'),
  finished(100, X, 'c1'),
  finished(200, SESSION, 'r1'),
  started(3_000, SESSION, 'r2'),
  finished(4_600, SESSION, 'r2'),
];

const byCall = [
  ...earlier,
  called(1_000, 'r1', 'k'),
  spawned(1_005, X, 'c1', { call_id: 'k' }),
  started(1_010, X, 'c1'),
  answered(1_020, 'r1', 'k'),
  finished(1_100, X, 'c1'),
];

describe('a child is placed under the run that spawned it, if that run', () => {
  const cases: [string, AgentEvent[], Record<string, string | undefined>][] = [
    ['waits for another run', spawnOfWaiting, { r1: undefined, c1: 'r1', [ANNOUNCE]: 'r1', c2: 'k' }],
    ['has a start that comes after that of the child', overtaken, { r0: undefined, r1: undefined, c1: 'r1' }],
    ['has no start', missed, { r1: undefined, r2: undefined, c1: 'r1' }],
    [
      'has no start and made the call that the spawn names',
      [...byCall, finished(1_200, SESSION, 'r1')],
      { r0: undefined, r1: undefined, c1: 'k' },
    ],
    [
      'has a start that comes long after the call that the spawn names',
      [...byCall, at(3_500, 'agent.step_started', SESSION, 'r1'), started(900, SESSION, 'r1')],
      { r0: undefined, r1: undefined, c1: 'k' },
    ],
    [
      'is unknown when the child comes, whose spawn names a call',
      [
        ...earlier,
        spawned(1_005, X, 'c1', { call_id: 'k' }),
        started(1_010, X, 'c1'),
        finished(3_500, X, 'c1'),
        started(900, SESSION, 'r1'),
        called(1_000, 'r1', 'k'),
      ],
      { r0: undefined, r1: undefined, c1: 'k' },
    ],
  ];

  test.each(cases)('%s', (_, events, parents) => {
    expect(parentsOf(play(events))).toEqual(parents);
    expect(parentsOf(playAtOnce(events))).toEqual(parents);
  });

  test.each(cases)('%s, with a restart anywhere', (_, events) => {
    const { spans } = play(events);
    for (let index = 1; index < events.length; index++) expect(play(events, index).spans).toEqual(spans);
  });

  test('waits for another run: the spawn is logged on its call', () => {
    const { spans, logs } = play(spawnOfWaiting);
    const call = spans.find(({ attributes }) => attributes['gen_ai.tool.call.id'] === 'k');
    expect(logs.find(({ event_name }) => event_name === 'openclaw.subagent_spawned')).toMatchObject({
      trace_id: call?.trace_id,
      span_id: call?.span_id,
    });
  });
});

describe('a child that names only its parent session', () => {
  const child = [started(1_000, X, 'c1', { parent_session_key: SESSION }), finished(1_500, X, 'c1')];

  test('is not placed under a run that began after it, and becomes a root', () => {
    const events = [...child, started(3_000, SESSION, 'r2'), finished(3_100, SESSION, 'r2')];
    expect(parentsOf(play(events))).toEqual({ c1: undefined, r2: undefined });
    expect(parentsOf(playAtOnce(events))).toEqual({ c1: undefined, r2: undefined });
  });

  test('is placed under a run that began at the same time, by a clock that is up to 1 s ahead', () => {
    const events = [started(1_900, SESSION, 'r2'), ...child, finished(3_100, SESSION, 'r2')];
    expect(parentsOf(play(events))).toEqual({ c1: 'r2', r2: undefined });
  });

  test('is placed under a run that is first seen after it, but may have begun before', () => {
    const events = [...child, called(9_000, 'r2', 'k'), finished(9_100, SESSION, 'r2')];
    expect(parentsOf(play(events))).toEqual({ c1: 'r2', r2: undefined });
  });

  const active: [string, AgentEvent[], string][] = [
    [
      'is still going on, not a later one that has ended',
      [started(0, SESSION, 'r1'), started(20, SESSION, 'r2'), finished(50, SESSION, 'r2')],
      'r1',
    ],
    [
      'ends as the child starts, not a later one that has ended before',
      [
        started(0, SESSION, 'r1'),
        started(20, SESSION, 'r2'),
        finished(50, SESSION, 'r2'),
        finished(1_000, SESSION, 'r1'),
      ],
      'r1',
    ],
    [
      'begins with the child, not an earlier one that has ended',
      [started(0, SESSION, 'r1'), finished(50, SESSION, 'r1'), started(1_000, SESSION, 'r2')],
      'r2',
    ],
  ];

  test.each(active)('is placed under the active run: the one that %s', (_, events, parent) => {
    expect(parentsOf(play([...events, ...child]))).toMatchObject({ c1: parent });
  });

  test('becomes a root without waiting if that is its own session', () => {
    const correlator = createCorrelator();
    const { previews } = correlator.apply(started(0, SESSION, 'r1', { parent_session_key: SESSION }), NOW_MS);
    expect(previews.map(nameOf)).toEqual(['r1']);
  });

  test('waits one second for its spawn, whatever events of it come meanwhile', () => {
    const correlator = createCorrelator();
    const told = [
      started(900, SESSION, 'r1'),
      ...child.slice(0, 1),
      at(1_100, 'agent.step_started', X, 'c1'),
    ];
    expect(merge(told.map((event) => correlator.apply(event, event.ts))).previews.map(nameOf)).toEqual([
      'r1',
    ]);
    expect(correlator.nextDeadline()).toBe(NOW_MS + 2_000);
  });

  test('is opened as soon as the call that its spawn names comes, even after the end of that call’s run', () => {
    const events = [...earlier, spawned(100, X, 'c1', { call_id: 'k' }), started(110, X, 'c1')];
    const correlator = createCorrelator();
    const emitted = merge(events.map((event) => correlator.apply(event, event.ts)));
    expect(emitted.previews.map(nameOf)).toEqual(['r0']);
    const { previews } = correlator.apply(called(40, 'r0', 'k'), NOW_MS + 5_000);
    expect(previews.map(nameOf)).toEqual(['k', 'c1']);
    expect(previews[1]?.parent_span_id).toBe(previews[0]?.span_id);
  });
});

describe('a sub-agent whose parent is not named', () => {
  const told = [
    started(0, SESSION, 'r1'),
    started(10, X, 'c1'),
    at(1_600, 'agent.step_started', SESSION, 'r1'),
    spawned(5, X, 'c1', { parent_run_id: 'r1' }),
    finished(3_000, X, 'c1'),
    finished(3_500, SESSION, 'r1'),
  ];

  test('waits for its spawn, even if that comes long after it', () => {
    expect(parentsOf(play(told))).toEqual({ r1: undefined, c1: 'r1' });
  });

  test('becomes a root if its spawn has not come after 30 s', () => {
    const correlator = createCorrelator();
    const emissions = [
      correlator.apply(started(0, X, 'c1'), NOW_MS),
      ...expireUntil(correlator, NOW_MS + 29_999),
    ];
    expect(merge(emissions).previews).toEqual([]);
    expect(correlator.expire(NOW_MS + 30_000).previews.map(nameOf)).toEqual(['c1']);
  });

  test('waits only 1 s if it is not the first run of its session, and then becomes a root', () => {
    const correlator = createCorrelator();
    for (const event of told) correlator.apply(event, NOW_MS + 4_000);
    correlator.apply(started(5_000, X, 'c2'), NOW_MS + 5_000);
    expect(correlator.expire(NOW_MS + 5_999).previews).toEqual([]);
    expect(correlator.expire(NOW_MS + 6_000).previews.map(nameOf)).toEqual(['c2']);
  });
});

describe('a spawn', () => {
  const parents = [started(0, SESSION, 'r1'), started(1, SESSION, 'r2'), started(2, Y, 'y1')];
  const child = started(10, X, 'c1');

  test('that names the run takes precedence over one that names only its session', () => {
    const told = [
      spawned(5, X, undefined, { parent_run_id: 'r2' }),
      spawned(6, X, 'c1', { parent_run_id: 'r1' }),
    ];
    expect(parentsOf(playAtOnce([...parents, ...told, child]))).toMatchObject({ c1: 'r1' });
  });

  test('that names another parent session replaces everything of the one before', () => {
    const told = [
      spawned(5, X, 'c1', { parent_run_id: 'r1' }),
      spawned(6, X, 'c1', { parent_session_key: Y }),
    ];
    expect(parentsOf(playAtOnce([...parents, ...told, child]))).toMatchObject({ c1: 'y1' });
  });

  test('that names only a call stays with the run that made it then, if a later run has a call of the same id', () => {
    const announced = `announce:requester-settle:main:${SESSION}:c1:yield-1`;
    const told = [
      ...[started(0, SESSION, 'r1'), called(10, 'r1', 'k'), spawned(20, X, 'c1', { call_id: 'k' })],
      ...[started(30, X, 'c1'), finished(40, SESSION, 'r1', { yielded: true })],
      ...[started(50, SESSION, announced), called(60, announced, 'k'), finished(70, X, 'c1')],
    ];
    const emission = playAtOnce(told);
    const call = emission.spans.find(({ kind, start_ms }) => kind === 'tool' && start_ms === NOW_MS + 10);
    expect(runOf(emission, 'c1')?.parent_span_id).toBe(call?.span_id);
  });

  test('without a label keeps the label of the one before', () => {
    const told = [spawned(5, X, 'c1', { label: 'C' }), spawned(6, X, 'c1', { call_id: 'k' })];
    expect(runOf(playAtOnce([...parents, ...told, child]), 'c1')).toMatchObject({ name: 'invoke_agent C' });
  });

  test('that comes before both runs has its log record on the run that made it', () => {
    const { logs } = playAtOnce([spawned(5, X, 'c1', { parent_run_id: 'r1' }), child, ...parents]);
    const record = logs.find(({ event_name }) => event_name === 'openclaw.subagent_spawned');
    expect(record?.attributes['openclaw.run.id']).toBe('r1');
  });

  test('whose child never comes has its log record on the call, even if the run that made it is opened at the end', () => {
    const { logs } = playAtOnce([spawned(5, X, undefined, { call_id: 'k' }), called(4, 'r1', 'k')]);
    const [call, spawn] = ['tool_call', 'subagent_spawned'].map((name) =>
      logs.find(({ event_name }) => event_name === `openclaw.${name}`),
    );
    expect(spawn).toMatchObject({ trace_id: call?.trace_id, span_id: call?.span_id });
  });

  test('that names only the run has its log record on the call that one for its session named before', () => {
    const { logs } = playAtOnce([
      ...[started(0, SESSION, 'r1'), called(4, 'r1', 'k')],
      ...[spawned(5, X, undefined, { call_id: 'k', parent_run_id: 'r1' }), finished(6, SESSION, 'r1')],
      ...[started(7, SESSION, 'r2'), spawned(8, X, 'c1', { label: 'C' }), started(8, X, 'c1')],
    ]);
    const spawns = logs.filter(({ event_name }) => event_name === 'openclaw.subagent_spawned');
    expect(spawns).toHaveLength(2);
    expect(new Set(spawns.map(({ span_id }) => span_id)).size).toBe(1);
  });

  test('names the parent session of a run whose parent is never seen', () => {
    const alone = runOf(playAtOnce([spawned(5, X, 'c1'), child]), 'c1');
    expect(alone?.parent_span_id).toBeUndefined();
    expect(alone?.attributes['openclaw.parent_session.key']).toBe(SESSION);
  });
});

test('a run whose parent comes after it was opened stays a root, with a trace of its own', () => {
  const child = started(0, X, 'c1', { parent_session_key: SESSION, parent_run_id: 'r1' });
  const emission = play([child, started(31_000, SESSION, 'r1'), finished(32_000, X, 'c1')]);
  expect(runOf(emission, 'c1')?.parent_span_id).toBeUndefined();
  expect(runOf(emission, 'c1')?.trace_id).not.toBe(runOf(emission, 'r1')?.trace_id);
});

test('a run that ends before the call that spawned it is seen is emitted under that call', () => {
  const correlator = createCorrelator();
  const told = [
    started(0, SESSION, 'r1'),
    spawned(5, X, 'c1', { parent_run_id: 'r1', call_id: 'k' }),
    ...[started(10, X, 'c1'), finished(20, X, 'c1')],
  ];
  expect(merge(told.map((event) => correlator.apply(event, event.ts))).spans).toEqual([]);
  const { spans, previews } = correlator.apply(called(30, 'r1', 'k'), NOW_MS + 30);
  expect(spans.map(nameOf)).toEqual(['c1']);
  expect(spans[0]?.parent_span_id).toBe(previews[0]?.span_id);
});

test('an announce run is placed under the latest run of its session that has yielded, even if that has not ended', () => {
  const announced = (number: number) => `announce:requester-settle:main:${SESSION}:c1:yield-${number}`;
  const emission = playAtOnce([
    started(0, SESSION, 'r1'),
    started(10, X, 'c1', { parent_session_key: SESSION, parent_run_id: 'r1' }),
    finished(20, SESSION, 'r1', { yielded: true }),
    started(30, SESSION, announced(1)),
    at(40, 'tool.call', SESSION, announced(1), { call_id: 'k', tool: 'sessions_yield' }),
    started(50, SESSION, announced(2)),
  ]);
  expect(parentsOf(emission)).toMatchObject({ [announced(1)]: 'r1', [announced(2)]: announced(1) });
});

test('an unsettled end does not end anything: a run that waits for its start continues to wait', () => {
  const correlator = createCorrelator();
  for (const event of [
    called(0, 'r1', 'k'),
    finished(10, SESSION, 'r1', { status: 'cancelled', settled: false }),
  ])
    correlator.apply(event, event.ts);
  expect(correlator.releaseEnded(NOW_MS + 10).spans).toEqual([]);
  expect(correlator.counts()).toMatchObject({ runs_opened: 0 });
});

test('when no source is left, an ended run is emitted with the calls that wait for others, but not one that goes on', () => {
  const correlator = createCorrelator();
  const inside = (ms: number, call_id: string) =>
    at(ms, 'tool.call', SESSION, 'r1', { call_id, tool: 'exec', parent_call_id: 'unseen' });
  const told = [
    ...[started(0, SESSION, 'r1'), inside(10, 'k1'), answered(20, 'r1', 'k1'), inside(30, 'k2')],
    ...[answered(40, 'r1', 'k3'), finished(50, SESSION, 'r1')],
    ...[started(0, SESSION, 'r2'), finished(50, SESSION, 'r2'), called(60, 'r2', 'k4')],
  ];
  for (const event of told) correlator.apply(event, event.ts);
  const { spans } = correlator.releaseEnded(NOW_MS + 60);
  expect(spans.map(nameOf).sort()).toEqual(['k1', 'k2', 'k3']);
  const [later] = correlator.apply(answered(70, 'r2', 'k4'), NOW_MS + 70).spans;
  expect(later).toMatchObject({ end_ms: NOW_MS + 70, error: undefined });
});

test('when no source is left, a spawn is logged on the run that made it, although its child has not been seen', () => {
  const correlator = createCorrelator();
  const told = [spawned(5, X, undefined, { call_id: 'k' }), called(4, 'r1', 'k'), finished(9, SESSION, 'r1')];
  for (const event of told) correlator.apply(event, NOW_MS + 10);
  const { logs, spans } = correlator.releaseEnded(NOW_MS + 10);
  const record = logs.find(({ event_name }) => event_name === 'openclaw.subagent_spawned');
  expect(record?.span_id).toBe(spans.find(({ kind }) => kind === 'tool')?.span_id);
});

test('events that waited for a start are logged by timestamp, then by sequence number, with their own arrival times', () => {
  const correlator = createCorrelator();
  const tokens = (ms: number, seq: number | undefined): AgentEvent =>
    at(ms, 'llm.tokens', SESSION, 'r1', {
      seq,
      model: 'm',
      provider: 'p',
      input_tokens: 1,
      output_tokens: 1,
    });
  const told = [tokens(7, undefined), tokens(8, 4), tokens(8, 3), tokens(5, undefined)];
  told.forEach((event, index) => void correlator.apply(event, NOW_MS + 10 + index));
  const { logs } = correlator.expire(NOW_MS + 30_010);
  expect(logs.map(({ ts_ms, observed_ms }) => [ts_ms - NOW_MS, observed_ms - NOW_MS])).toEqual([
    [5, 13],
    [7, 10],
    [8, 12],
    [8, 11],
  ]);
});

describe('what is known about a session holds for all of its runs', () => {
  const OTHER = 'chat-1';

  test('its agent and its id are on their spans and log records', () => {
    const { spans, logs } = playAtOnce([
      started(0, OTHER, 'r1', { agent_id: 'helper', session_id: 'id-1' }),
      finished(10, OTHER, 'r1'),
      started(20, OTHER, 'r2'),
      at(30, 'tool.call', OTHER, 'r2', { call_id: 'k', tool: 'exec' }),
      at(40, 'llm.tokens', OTHER, 'r2', { model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1 }),
    ]);
    expect(spans).toHaveLength(4);
    for (const { attributes } of [...spans, ...logs])
      expect(attributes).toMatchObject({ 'gen_ai.agent.id': 'helper', 'gen_ai.conversation.id': 'id-1' });
  });

  test('but what is left of a run when its session is reset has the id from before', () => {
    const { spans } = playAtOnce([
      started(0, OTHER, 'r1', { session_id: 'id-1' }),
      at(10, 'agent.step_started', OTHER, 'r1', { model: 'm', provider: 'p' }),
      at(20, 'tool.call', OTHER, 'r1', { call_id: 'k', tool: 'exec' }),
      finished(30, OTHER, 'r1'),
      started(40, OTHER, 'r2', { session_id: 'id-2' }),
      finished(50, OTHER, 'r2'),
    ]);
    expect(
      spans
        .map(({ attributes }) => [attributes['openclaw.run.id'], attributes['gen_ai.conversation.id']])
        .sort(),
    ).toEqual([
      ['r1', 'id-1'],
      ['r1', 'id-1'],
      ['r1', 'id-1'],
      ['r2', 'id-2'],
    ]);
  });

  test('and so does a run that is still open then', () => {
    const { spans } = playAtOnce([
      started(0, OTHER, 'r1', { session_id: 'id-1' }),
      at(10, 'tool.call', OTHER, 'r1', { call_id: 'k', tool: 'exec' }),
      started(20, OTHER, 'r2', { session_id: 'id-2' }),
      finished(30, OTHER, 'r2'),
      at(40, 'tool.output', OTHER, 'r1', { call_id: 'k' }),
      finished(50, OTHER, 'r1'),
    ]);
    for (const { attributes } of spans)
      expect(attributes['gen_ai.conversation.id']).toBe(
        attributes['openclaw.run.id'] === 'r1' ? 'id-1' : 'id-2',
      );
    expect(spans).toHaveLength(3);
  });

  test('and so does a run that had to wait for its parent', () => {
    const child = (ms: number, run_id: string, session_id: string) => [
      started(ms, X, run_id, { session_id, parent_session_key: SESSION }),
      finished(ms + 5, X, run_id),
    ];
    const { spans } = playAtOnce([
      ...child(10, 'id-1', 'id-1'),
      ...child(20, 'id-2', 'id-2'),
      started(0, SESSION, 'r1'),
    ]);
    const children = spans.filter(({ attributes }) => attributes['openclaw.session.key'] === X);
    expect(children).toHaveLength(2);
    for (const { attributes } of children)
      expect(attributes['gen_ai.conversation.id']).toBe(attributes['openclaw.run.id']);
  });
});

test('an announce run in the session of a sub-agent has the same parent agent as the sub-agent', () => {
  const announced = `announce:requester-settle:main:${X}:d1:yield-1`;
  const { spans } = playAtOnce([
    started(0, SESSION, 'r1'),
    started(10, X, 'c1', { parent_session_key: SESSION, parent_run_id: 'r1', agent_id: 'sub' }),
    finished(20, X, 'c1', { yielded: true }),
    started(30, X, announced),
  ]);
  expect(spans.map((span) => [nameOf(span), span.parent_agent_id]).sort()).toEqual([
    [announced, 'main'],
    ['c1', 'main'],
    ['r1', undefined],
  ]);
});

test('a run begins with its start, even if an event of it has an earlier timestamp', () => {
  const emission = playAtOnce([at(-5, 'agent.step_started', SESSION, 'r1'), started(0, SESSION, 'r1')]);
  expect(runOf(emission, 'r1')).toMatchObject({ start_ms: NOW_MS });
});

test('a run without a start begins with its first event, and not with the spawn that waits with it', () => {
  const events = [
    ...byCall.slice(0, 4),
    at(1_050, 'agent.step_started', X, 'c1'),
    finished(1_100, X, 'c1'),
    finished(1_200, SESSION, 'r1'),
  ];
  for (const restart_before of [undefined, 4])
    expect(runOf(play(events, restart_before), 'c1')).toMatchObject({
      start_ms: NOW_MS + 1_050,
      attributes: { 'openclaw.partial': true },
    });
});

test('runs that wait for each other are opened after 30 s', () => {
  const events = [
    started(0, X, 'c1', { parent_session_key: Y }),
    started(0, Y, 'c2', { parent_session_key: X }),
    finished(40_000, X, 'c1'),
    finished(40_000, Y, 'c2'),
  ];
  const parents = Object.values(parentsOf(play(events)));
  expect(parents).toHaveLength(2);
  expect(parents.filter((parent) => parent === undefined)).toHaveLength(1);
});

/** Each event comes at its own timestamp or up to half a second later. */
const jittered = requestsOfASession.chain((events) =>
  fc.tuple(
    fc.constant(events),
    fc
      .array(fc.nat(500), { minLength: events.length, maxLength: events.length })
      .map((delays) =>
        events
          .map((event, index) => ({ event, come_ms: event.ts + (delays[index] ?? 0) }))
          .sort((a, b) => a.come_ms - b.come_ms),
      ),
  ),
);

test.prop([jittered], { numRuns: 300 })(
  'if only times and calls show which run spawned another, the parent is the same with any delays up to half a second',
  ([events, mixed]) => {
    const inOrder = events.map((event) => ({ event, come_ms: event.ts }));
    expect(identities(playAt(mixed).spans)).toEqual(identities(playAt(inOrder).spans));
  },
);
