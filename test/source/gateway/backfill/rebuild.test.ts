/**
 * Frames rebuilt from a gateway's answers match those that it pushed. Tested with recordings of a real gateway, and with what
 * the same gateway answered afterwards about them.
 */
import { createHash } from 'node:crypto';
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { createLineDecoder } from '../../../../src/decode/index.js';
import type { SessionAnswers } from '../../../../src/source/gateway/backfill/answers.js';
import type { RebuildOptions } from '../../../../src/source/gateway/backfill/facts.js';
import { type RebuiltFrame, rebuildFrames } from '../../../../src/source/gateway/backfill/rebuild.js';
import { type Json, object } from '../../../../src/util/json.js';
import {
  type Answers,
  answersOf,
  CLOSE_MS,
  emittedBy,
  essence,
  isOfKnownTool,
  isStored,
  recordedLines,
  SCENARIOS,
  spansOf,
} from '../recorded.js';

const lineOf = ({ event, payload, is_gap }: RebuiltFrame): string =>
  JSON.stringify({ rx: 0, ...(is_gap ? { gap: true } : {}), frame: { type: 'event', event, payload } });

function rebuiltLines({ sessions }: Answers, options: RebuildOptions): string[] {
  const frames = sessions.flatMap((answers) => rebuildFrames(answers, options).frames);
  return frames.sort((a, b) => a.ts_ms - b.ts_ms).map(lineOf);
}

const anew = (since_ms: number): RebuildOptions => ({
  since_ms,
  until_ms: Infinity,
  floor_ms: 0,
  is_restarted: false,
});

describe.each(SCENARIOS)('the recording "%s"', (scenario) => {
  const recorded = recordedLines(scenario);
  const answers = answersOf(scenario);
  const pushed = spansOf(recorded);
  const stored = [...pushed.values()].filter(isStored);

  test('gives the same spans when it is rebuilt completely', () => {
    const rebuilt = spansOf(rebuiltLines(answers, anew(answers.since_ms)));
    const found = [...rebuilt.values()].filter(isStored).map((span) => span.span_id);
    expect(found.sort()).toEqual(stored.map((span) => span.span_id).sort());
    for (const span of stored) {
      const again = rebuilt.get(span.span_id)!;
      // Of a model call that requested a nonexistent tool nothing is stored: its run is marked with a gap.
      const gap = scenario === 'tools' && span.kind === 'run' ? true : undefined;
      expect(essence(again)).toEqual({ ...essence(span), gap });
      if (isOfKnownTool(span)) expect(Math.abs(again.start_ms - span.start_ms)).toBeLessThanOrEqual(CLOSE_MS);
      expect(Math.abs(again.end_ms! - span.end_ms!)).toBeLessThanOrEqual(CLOSE_MS);
    }
  });
});

test('a spawn gives one log record even if a rebuild repeats it', () => {
  const recorded = recordedLines('spawn');
  const answers = answersOf('spawn');
  const countSpawns = (lines: string[]): number =>
    emittedBy(lines).logs.filter(({ event_name }) => event_name === 'openclaw.subagent_spawned').length;
  expect(countSpawns([...recorded, ...rebuiltLines(answers, anew(answers.since_ms))])).toBe(
    countSpawns(recorded),
  );
});

test('runs that ended before the gap are not rebuilt', () => {
  const answers = answersOf('err500');
  const [session] = answers.sessions;
  const runs = new Set(session!.rows.map((row) => (row.__openclaw as { runId?: string }).runId));
  expect([...runs].filter(Boolean).length).toBeGreaterThan(1);
  const { frames } = rebuildFrames(session!, anew(answers.since_ms));
  expect(new Set(frames.map(({ payload }) => payload.runId).filter(Boolean)).size).toBe(1);
});

test('nothing from before the first start of the bridge is rebuilt', () => {
  const answers = answersOf('tools');
  const floor_ms = answers.since_ms + 2_000;
  const lines = answers.sessions.flatMap(
    (each) => rebuildFrames(each, { ...anew(answers.since_ms), floor_ms }).frames,
  );
  expect(lines.length).toBeGreaterThan(0);
  expect(Math.min(...lines.map(({ ts_ms }) => ts_ms))).toBeGreaterThanOrEqual(floor_ms);
});

test.each(['user', 'assistant'])(
  "a run's input comes before its start, as a message with the role %s",
  (role) => {
    const answers = answersOf('tools');
    const [session] = answers.sessions;
    const rows = session!.rows.map((row) => (row.role === 'user' ? { ...row, role } : row));
    const { frames } = rebuildFrames({ ...session!, rows }, anew(answers.since_ms));
    const [asked, started] = frames;
    expect(asked?.payload.message).toMatchObject({ role, idempotencyKey: `${started?.payload.runId}:user` });
    expect(started?.payload.data).toMatchObject({ phase: 'start' });
  },
);

describe('a run that was open when the gap began', () => {
  const answers = answersOf('tools');
  const [session] = answers.sessions;
  const run_id = String(session!.activity[0]!.runId);
  const last_ms = Number(session!.activity[4]!.occurredAt);
  const broken: SessionAnswers = {
    ...session!,
    session: { key: session!.key },
    rows: session!.rows.filter((row) => Number(row.timestamp) <= last_ms),
    activity: session!.activity.slice(0, 5),
  };
  const ends = (is_restarted: boolean): RebuiltFrame[] =>
    rebuildFrames(broken, {
      ...anew(answers.since_ms),
      open_run: { run_id, last_ms },
      is_restarted,
    }).frames.filter(
      ({ payload }) =>
        (payload.data as { executionSettled?: boolean } | undefined)?.executionSettled === true,
    );

  test('ends at the latest time known of it if the gateway was restarted', () => {
    expect(ends(true)).toMatchObject([
      {
        payload: {
          runId: run_id,
          data: { phase: 'error', errorObservation: { failoverReason: 'gateway_restarted' } },
        },
      },
    ]);
    expect(ends(true)[0]!.ts_ms).toBeGreaterThanOrEqual(last_ms);
  });

  test('stays open if only the connection was lost', () => expect(ends(false)).toEqual([]));
});

describe('a call that is stored only in part', () => {
  const answers = answersOf('tools');
  const [session] = answers.sessions;
  const results = session!.rows.filter((row) => row.role === 'toolResult');
  const untold = new Set(results.slice(-3).map((row) => row.toolCallId));
  const before: SessionAnswers = {
    ...session!,
    session: { key: session!.key, hasActiveRun: true },
    rows: session!.rows.filter((row) => !untold.has(row.toolCallId)),
    activity: session!.activity.filter(({ action }) => action !== 'agent.run.finished'),
  };

  test('leaves its session pending, and no end is made up for it', () => {
    const { frames, is_pending } = rebuildFrames(before, anew(answers.since_ms));
    const ended = frames
      .map(({ payload }) => payload.data as { phase?: string; toolCallId?: string } | undefined)
      .filter((data) => data?.phase === 'result')
      .map((data) => data?.toolCallId);
    expect(is_pending).toBe(true);
    for (const call_id of untold) expect(ended).not.toContain(call_id);
  });
});

/** The results of one call among frames. */
const resultsOf = (frames: RebuiltFrame[], call_id: unknown): object[] =>
  frames
    .map(
      ({ payload }) => payload.data as { phase?: string; toolCallId?: string; result?: object } | undefined,
    )
    .filter((data) => data?.phase === 'result' && data.toolCallId === call_id)
    .map((data) => data?.result ?? {});

test('an older event of the open run gives the time of a call but not its result', () => {
  const answers = answersOf('tools');
  const [session] = answers.sessions;
  const run_id = session!.activity[0]!.runId;
  const row = session!.rows.find(
    ({ details, __openclaw }) => object(details).exitCode === 3 && object(__openclaw).runId === run_id,
  )!;
  const ts = Number(row.timestamp) - 5;
  const event = (phase: string, ts: number): Json => ({
    runId: run_id,
    stream: 'tool',
    ts,
    data: { phase, name: row.toolName, toolCallId: row.toolCallId },
  });
  const { frames } = rebuildFrames(
    {
      ...session!,
      session: { key: session!.key, hasActiveRun: true },
      rows: session!.rows.slice(0, session!.rows.indexOf(row) + 1),
      activity: session!.activity.filter(({ occurredAt }) => Number(occurredAt) < ts),
      in_flight: { runId: run_id, events: [event('start', ts - 10), event('result', ts)] },
    },
    anew(answers.since_ms),
  );
  const told = frames.filter(({ payload }) => object(payload.data).toolCallId === row.toolCallId);
  expect(told.map(({ ts_ms }) => ts_ms)).toEqual([ts - 10, ts]);
  expect(resultsOf(frames, row.toolCallId)).toMatchObject([{ details: { exitCode: 3 } }]);
});

describe('the parent call of an event of the open run, which does not name it', () => {
  const [session] = answersOf('spawn').sessions;
  const row = session!.rows.find(({ customType }) => customType === 'openclaw.nested-tool.v1')!;
  const { runId, toolCallId, toolName, parentToolCallId } = object(row.details);
  const event = (call_id: unknown, ts: number): Json => ({
    runId,
    stream: 'tool',
    ts,
    data: { phase: 'start', name: toolName, toolCallId: call_id, args: {} },
  });

  /** The parent call that the frame of the last of these calls names. */
  function parentTold(call_ids: unknown[], rows: Json[] = []): unknown {
    const events = call_ids.map((call_id, index) => event(call_id, 1_000 + index));
    const answers = { ...session!, rows, activity: [], in_flight: { runId, events } };
    const { frames } = rebuildFrames(answers, anew(0));
    const told = frames.filter(({ ts_ms }) => ts_ms === 999 + call_ids.length);
    return object(told[0]!.payload.data).parentToolCallId;
  }

  test('is taken from its stored row', () => expect(parentTold([toolCallId], [row])).toBe(parentToolCallId));
  test('is taken from its id once the other call is known', () =>
    expect(parentTold([parentToolCallId, toolCallId])).toBe(parentToolCallId));
  test('is taken from its id once the other call is stored', () => {
    const content = [{ type: 'toolCall', id: parentToolCallId, name: 'tool_search_code' }];
    const asked = { role: 'assistant', content, __openclaw: { runId } };
    expect(parentTold([toolCallId], [asked])).toBe(parentToolCallId);
  });
  test('is not taken from its id if that may be shortened', () =>
    expect(parentTold([toolCallId])).toBeUndefined());
  test('is absent if the model itself requested the call', () =>
    expect(parentTold([toolCallId, parentToolCallId])).toBeUndefined());
});

test('a run that waits for its sub-agents has ended, even if the audit log is behind', () => {
  const answers = answersOf('spawn');
  const [session] = answers.sessions;
  const started = session!.activity.find(({ action }) => action === 'agent.run.started')!;
  const finished = session!.activity.find(({ action }) => action === 'agent.run.finished')!;
  const ended_ms = Number(finished.occurredAt);
  const before = {
    ...session!,
    session: { key: session!.key, hasActiveRun: false, endedAt: ended_ms },
    rows: session!.rows.filter((row) => Number(row.timestamp) <= ended_ms),
    activity: session!.activity.filter(({ occurredAt }) => Number(occurredAt) < ended_ms),
  };
  const ends = rebuildFrames(before, anew(answers.since_ms)).frames.filter(
    ({ payload }) => object(payload.data).phase === 'end',
  );
  expect(ends).toMatchObject([
    { ts_ms: ended_ms, payload: { runId: started.runId, data: { stopReason: 'end_turn' } } },
  ]);
});

describe('answers of any shape', () => {
  const json = fc.jsonValue({ maxDepth: 3 });
  const known = fc.record(
    {
      role: fc.constantFrom('assistant', 'toolResult', 'user', 'custom'),
      customType: fc.constant('openclaw.nested-tool.v1'),
      kind: fc.constantFrom('agent_run', 'tool_action'),
      action: fc.constantFrom('agent.run.started', 'agent.run.finished', 'tool.action.started'),
      runId: fc.oneof(fc.constant('r'), json),
      toolCallId: fc.oneof(fc.constant('c'), json),
      occurredAt: fc.oneof(fc.nat(), json),
      timestamp: fc.oneof(fc.nat(), json),
      content: json,
      details: fc.oneof(fc.record({ runId: fc.constant('r'), toolCallId: json, startedAt: json }), json),
      data: fc.oneof(fc.record({ phase: json, toolCallId: json }), json),
      ts: fc.oneof(fc.nat(), json),
      stream: fc.constantFrom('tool', 'lifecycle'),
      __openclaw: fc.oneof(fc.record({ runId: fc.constant('r'), recordTimestampMs: json }), json),
    },
    { requiredKeys: [] },
  ) as fc.Arbitrary<Json>;
  const session = fc.dictionary(
    fc.constantFrom('lastRunId', 'endedAt', 'status', 'hasActiveRun', 'activeRunIds', 'agentId', 'label'),
    json,
  );

  property.prop([fc.array(known), fc.array(known), fc.array(known), session])(
    'never make the rebuild throw, and give frames in order of time',
    (rows, activity, events, row) => {
      const { frames } = rebuildFrames(
        {
          key: 'agent:main:s',
          session: row,
          rows,
          activity,
          in_flight: { runId: 'r', events },
          is_partial: false,
        },
        { ...anew(0), open_run: { run_id: 'r', last_ms: 1 }, is_restarted: true },
      );
      const times = frames.map(({ ts_ms }) => ts_ms);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      const decoder = createLineDecoder('gateway');
      for (const frame of frames) decoder.decode(Buffer.from(lineOf(frame)), 0);
    },
  );
});

const KEY = 'agent:main:s';

const auditId = (call_id: string): string => `sha256:${createHash('sha256').update(call_id).digest('hex')}`;

/** An entry of the audit log about the run `r`. */
const audited = (action: string, occurredAt: number, fields: Json = {}): Json => ({
  action,
  runId: 'r',
  occurredAt,
  ...fields,
});
const auditedCall = (action: 'started' | 'finished', at_ms: number, call_id: string, status?: string): Json =>
  audited(`tool.action.${action}`, at_ms, { toolCallId: auditId(call_id), toolName: 'exec', status });

/** The message with which the run `r` requests calls. */
const request = (at_ms: number, ...call_ids: string[]): Json => ({
  role: 'assistant',
  stopReason: 'toolUse',
  content: call_ids.map((id) => ({ type: 'toolCall', id, name: 'exec', arguments: { command: id } })),
  __openclaw: { runId: 'r', id: `message-${at_ms}`, recordTimestampMs: at_ms },
});

const resultRow = (at_ms: number, call_id: string, fields: Json = {}): Json => ({
  role: 'toolResult',
  toolCallId: call_id,
  toolName: 'exec',
  content: [{ type: 'text', text: 'done' }],
  details: { exitCode: 0 },
  timestamp: at_ms,
  ...fields,
  __openclaw: { runId: 'r', recordTimestampMs: at_ms + 1 },
});

/** What is rebuilt of a session of which only this is known. */
const rebuilt = (known: Partial<SessionAnswers>, options: Partial<RebuildOptions> = {}) =>
  rebuildFrames(
    { key: KEY, session: {}, rows: [], activity: [], in_flight: {}, is_partial: false, ...known },
    { ...anew(0), ...options },
  );

/** A frame in short: its time, its stream, its phase. */
const inShort = ({ ts_ms, payload }: RebuiltFrame): string =>
  [ts_ms, payload.stream ?? 'message', object(payload.data).phase].join(' ').trim();

const dataOf = (frames: RebuiltFrame[], phase: string): unknown[] =>
  frames.map(({ payload }) => payload.data).filter((data) => object(data).phase === phase);

test('frames of the same time are in the order in which they are pushed', () => {
  const { frames } = rebuilt({
    rows: [request(5, 'c')],
    activity: [
      audited('agent.run.finished', 5, { status: 'cancelled' }),
      auditedCall('finished', 5, 'c', 'cancelled'),
      auditedCall('started', 5, 'c'),
      audited('agent.run.started', 5),
    ],
    in_flight: {
      runId: 'r',
      events: [{ runId: 'r', stream: 'tool', ts: 5, data: { phase: 'update', toolCallId: 'c' } }],
    },
  });
  expect(frames.map(({ event, payload }) => [event, object(payload.data).phase])).toEqual([
    ['agent', 'update'],
    ['agent', 'start'],
    ['session.message', undefined],
    ['session.tool', 'start'],
    ['agent', 'end'],
    ['session.tool', 'result'],
    ['agent', 'end'],
  ]);
  expect(frames.map(({ payload }) => object(payload.data).executionSettled)).toEqual([
    ...Array(6).fill(undefined),
    true,
  ]);
  expect(dataOf(frames, 'start')[0]).toEqual({ phase: 'start', startedAt: 5 });
});

test.each([
  ['as its row names them', 'other'],
  ['with the agent of its key if its row names none', undefined],
])('every frame has the facts of its session, %s', (_, agentId) => {
  const facts = { sessionId: 'id', spawnedBy: 'agent:main:p', label: 'check', lastChannel: 'slack' };
  const { frames } = rebuilt({
    session: { ...facts, agentId },
    rows: [request(2, 'c')],
    activity: [audited('agent.run.started', 1)],
    in_flight: {
      runId: 'r',
      events: [{ runId: 'r', stream: 'tool', ts: 3, data: { phase: 'update', toolCallId: 'c' } }],
    },
  });
  expect(frames.map(inShort)).toEqual(['1 lifecycle start', '2 message', '3 tool update']);
  for (const { payload } of frames)
    expect(payload).toMatchObject({ ...facts, sessionKey: KEY, agentId: agentId ?? 'main' });
});

test('every frame has the id that the session had when the run was made, as far as the audit log has it', () => {
  const rows = [{ ...request(2, 'c'), idempotencyKey: 'r:user' }, resultRow(4, 'c')];
  const sessionIds = (sessionId?: string): unknown[] => {
    const activity = [audited('agent.run.started', 1, { sessionId })];
    const { frames } = rebuilt({ session: { sessionId: 'now' }, rows, activity });
    return [...new Set(frames.map(({ payload }) => payload.sessionId))];
  };
  expect(sessionIds('then')).toEqual(['then']);
  expect(sessionIds()).toEqual(['now']);
});

describe('a call', () => {
  const started = audited('agent.run.started', 1);
  const finished = audited('agent.run.finished', 9, { status: 'succeeded' });
  const running = { hasActiveRun: true };
  const toolFrames = ({ frames }: ReturnType<typeof rebuilt>) =>
    frames.filter(({ payload }) => payload.stream === 'tool');

  test('has its arguments, and its result has what is stored of it', () => {
    const { frames } = rebuilt({
      rows: [request(2, 'c'), resultRow(4, 'c', { isError: true })],
      activity: [started, auditedCall('started', 3, 'c')],
    });
    expect(frames.map(inShort)).toEqual(['1 lifecycle start', '2 message', '3 tool start', '4 tool result']);
    expect(dataOf(frames, 'start')).toContainEqual({
      phase: 'start',
      name: 'exec',
      toolCallId: 'c',
      args: { command: 'c' },
    });
    expect(dataOf(frames, 'result')).toEqual([
      {
        phase: 'result',
        name: 'exec',
        toolCallId: 'c',
        isError: true,
        result: { content: [{ type: 'text', text: 'done' }], details: { exitCode: 0 } },
      },
    ]);
  });

  test('of which no start is known began when it was requested', () => {
    const { frames } = rebuilt({ rows: [request(2, 'c'), resultRow(4, 'c')], activity: [started] });
    expect(frames.map(inShort).slice(2)).toEqual(['2 tool start', '4 tool result']);
  });

  test('that was open when the gap began ends as the audit log says, though no row shows it', () => {
    const activity = [
      ...['c', 'd'].map((call_id) => auditedCall('started', 1, call_id)),
      ...['c', 'd'].map((call_id) => auditedCall('finished', 3, call_id, 'succeeded')),
      audited('agent.run.finished', 4, { status: 'succeeded' }),
    ];
    const open_run = { run_id: 'r', last_ms: 1, calls: ['c', 'other'] };
    const { frames } = rebuilt({ activity }, { open_run });
    expect(frames.map(inShort)).toEqual(['1 tool start', '3 tool result', '4 lifecycle end']);
  });

  test('that is only requested has not begun', () => {
    expect(toolFrames(rebuilt({ rows: [request(2, 'c')], activity: [started, finished] }))).toEqual([]);
  });

  test('of which no end is stored gets none, even if its run is over', () => {
    const known = rebuilt({
      rows: [request(2, 'c')],
      activity: [started, auditedCall('started', 3, 'c'), finished],
    });
    expect(toolFrames(known).map(inShort)).toEqual(['3 tool start']);
    expect(known.is_pending).toBe(false);
  });

  test.each([
    ['succeeded', false, {}],
    [undefined, true, {}],
    ['failed', true, {}],
    ['cancelled', true, { content: 'Aborted' }],
  ])(
    'whose result is not stored ended as the audit log says, once its run is over: %s',
    (status, isError, result) => {
      const known = rebuilt({
        rows: [request(2, 'c')],
        activity: [
          started,
          auditedCall('started', 3, 'c'),
          auditedCall('finished', 4, 'c', status),
          finished,
        ],
      });
      expect(toolFrames(known).map(inShort)).toEqual(['3 tool start', '4 tool result']);
      expect(dataOf(known.frames, 'result')).toEqual([expect.objectContaining({ isError, result })]);
      expect(known.is_pending).toBe(false);
    },
  );

  test.each([
    ['succeeded', ['3 tool start'], true],
    ['failed', ['3 tool start', '4 tool result'], false],
    ['cancelled', ['3 tool start', '4 tool result'], false],
  ])(
    'that %s in an open run waits for its result only if that has an exit code',
    (status, shown, is_pending) => {
      const known = rebuilt({
        session: running,
        rows: [request(2, 'c')],
        activity: [started, auditedCall('started', 3, 'c'), auditedCall('finished', 4, 'c', status)],
      });
      expect(toolFrames(known).map(inShort)).toEqual(shown);
      expect(known.is_pending).toBe(is_pending);
    },
  );
});

describe('the end of a run', () => {
  const started = audited('agent.run.started', 1);
  const ends = ({ frames }: ReturnType<typeof rebuilt>): unknown[] =>
    frames
      .map(({ payload }) => object(payload.data))
      .filter(({ executionSettled }) => executionSettled !== undefined);
  const common = { executionSettled: true, endedAt: 9 };

  test.each([
    ['succeeded', { phase: 'end', stopReason: 'end_turn' }],
    ['cancelled', { phase: 'end', aborted: true, status: 'cancelled', stopReason: 'aborted' }],
    ['timed_out', { phase: 'end', status: 'timeout' }],
    ['failed', { phase: 'error', error: 'the run failed' }],
    ['something new', { phase: 'error', error: 'the run failed' }],
  ])('that the audit log calls %s is reported as it is pushed', (status, data) => {
    const activity = [started, audited('agent.run.finished', 9, { status })];
    expect(ends(rebuilt({ rows: [request(2, 'c')], activity }))).toEqual([{ ...common, ...data }]);
  });

  test.each([
    ['done', { phase: 'end', stopReason: 'end_turn' }],
    ['killed', { phase: 'end', aborted: true, status: 'cancelled', stopReason: 'aborted' }],
    ['timeout', { phase: 'end', status: 'timeout' }],
    ['failed', { phase: 'error', error: 'quota' }],
    ['something new', { phase: 'error', error: 'quota' }],
    [undefined, { phase: 'error', error: 'quota' }],
  ])("that only its session's row knows, as %s, is reported the same way", (status, data) => {
    const session = { lastRunId: 'r', endedAt: 9, status, lastRunError: 'quota' };
    expect(ends(rebuilt({ session, rows: [request(2, 'c')], activity: [started] }))).toEqual([
      { ...common, ...data },
    ]);
  });

  test.each([
    [{ abortedLastRun: true }, { phase: 'end', aborted: true, status: 'cancelled', stopReason: 'aborted' }],
    [{ lastRunError: 'quota' }, { phase: 'error', error: 'quota' }],
    [{ lastRunError: null }, { phase: 'end', stopReason: 'end_turn' }],
  ])('is told by the rest of the row, %j, if its session runs again', (row, data) => {
    const running = { status: 'running', hasActiveRun: true, activeRunIds: ['next'] };
    const session = { ...running, lastRunId: 'r', endedAt: 9, ...row };
    expect(ends(rebuilt({ session, rows: [request(2, 'c')], activity: [started] }))).toEqual([
      { ...common, ...data },
    ]);
  });

  const answered = (at_ms: number, content: unknown): Json => ({
    role: 'assistant',
    stopReason: 'stop',
    content,
    __openclaw: { runId: 'r', id: `answer-${at_ms}`, recordTimestampMs: at_ms },
  });
  const thought = [{ type: 'thinking', thinking: 'hm' }];
  const done = [...thought, { type: 'text', text: 'Done.' }];

  test.each([
    ['gave no answer', thought, { phase: 'error', error: 'the run failed' }],
    ['had nothing to say', 'NO_REPLY', { phase: 'error', error: 'the run failed' }],
    ['answered', done, { phase: 'end', aborted: true, status: 'cancelled', stopReason: 'aborted' }],
  ])('that is stored as an abort is an error if the model %s', (_, content, data) => {
    const activity = [started, audited('agent.run.finished', 9, { status: 'cancelled' })];
    const known = rebuilt({ rows: [request(2, 'c'), answered(8, content)], activity });
    expect(ends(known)).toEqual([{ ...common, ...data }]);
  });

  test.each([
    ['its last message', [answered(7, 'Not yet.'), answered(8, done)], { text: 'Done.' }],
    ['nothing if that is silent', [answered(8, 'NO_REPLY')], undefined],
    ['nothing if that requests a call', [{ ...request(8), content: 'First, a look.' }], undefined],
  ])('reports as its answer %s', (_, rows, terminalReply) => {
    const activity = [started, audited('agent.run.finished', 9, { status: 'succeeded' })];
    expect(ends(rebuilt({ rows, activity }))).toMatchObject([{ terminalReply }]);
  });

  const aborted = {
    role: 'assistant',
    stopReason: 'aborted',
    __openclaw: { runId: 'r', id: 'aborted', recordTimestampMs: 8 },
  };
  const answer = { ...aborted, stopReason: 'stop' };
  const cut = { isError: true, content: [{ type: 'text', text: 'Aborted' }] };
  const timeout = { phase: 'end', status: 'timeout', stopReason: 'toolUse' };
  test.each([
    ['a call was cut off', [resultRow(7, 'c', cut)], timeout],
    ['the model was not asked again', [resultRow(7, 'c', cut), aborted], timeout],
    ['the model answered', [resultRow(7, 'c', cut), answer], { phase: 'end', stopReason: 'stop' }],
    ['a call failed', [resultRow(7, 'c', { isError: true })], { phase: 'end', stopReason: 'end_turn' }],
    [
      'a call printed it',
      [resultRow(7, 'c', { ...cut, isError: false })],
      { phase: 'end', stopReason: 'end_turn' },
    ],
  ])('that the audit log calls succeeded, where %s, is a timeout or not', (_, rows, data) => {
    const activity = [started, audited('agent.run.finished', 9, { status: 'succeeded' })];
    expect(ends(rebuilt({ rows: [request(2, 'c'), ...rows], activity }))).toEqual([{ ...common, ...data }]);
  });

  test("has no error of a later run, which is the one that its session's row is about", () => {
    const activity = [started, audited('agent.run.finished', 9, { status: 'failed' })];
    const session = { lastRunId: 'later', lastRunError: 'quota' };
    expect(ends(rebuilt({ session, activity }))).toMatchObject([{ error: 'the run failed' }]);
  });

  test('is the one in the audit log, which is exact, if there are two', () => {
    const activity = [started, audited('agent.run.finished', 9, { status: 'failed' })];
    const session = { lastRunId: 'r', endedAt: 10, status: 'done' };
    expect(ends(rebuilt({ session, activity }))).toMatchObject([{ endedAt: 9, phase: 'error' }]);
  });

  test('is reported together with its abort, which comes before the calls that it cancelled', () => {
    const { frames } = rebuilt({
      rows: [request(2, 'ended', 'first', 'second')],
      activity: [
        started,
        ...['ended', 'first', 'second'].map((id) => auditedCall('started', 3, id)),
        auditedCall('finished', 4, 'ended', 'failed'),
        auditedCall('finished', 6, 'first', 'cancelled'),
        auditedCall('finished', 7, 'second', 'cancelled'),
        audited('agent.run.finished', 9, { status: 'cancelled' }),
      ],
    });
    expect(frames.map(inShort).slice(5)).toEqual([
      '4 tool result',
      '6 lifecycle end',
      '6 tool result',
      '7 tool result',
      '9 lifecycle end',
    ]);
    expect(dataOf(frames, 'end')[0]).toEqual({ phase: 'end', aborted: true, status: 'cancelled' });
  });

  test.each([
    ['that has another run open', { hasActiveRun: true, activeRunIds: ['other'] }, 1],
    ['in which it is still open', { hasActiveRun: true, activeRunIds: ['r'] }, 0],
    ['that is no longer active, whatever it lists', { activeRunIds: ['r'] }, 1],
    ['whose end is that of an earlier run', { endedAt: 0 }, 0],
    ['that ended when it started', { endedAt: 1 }, 1],
    ['that has ended another run', { lastRunId: 'other' }, 0],
    ['that names no run, if a run is open', { lastRunId: undefined, hasActiveRun: true }, 0],
  ])('is taken from the row of a session only if it is about that run: a session %s', (_, row, count) => {
    const session = { lastRunId: 'r', endedAt: 9, status: 'done', ...row };
    expect(ends(rebuilt({ session, activity: [started] }))).toHaveLength(count);
  });

  test('that its session reports without naming a run is that of the run that started last', () => {
    const activity = [
      { ...audited('agent.run.started', 5), runId: 'last' },
      started,
      { ...audited('agent.run.started', 3), runId: 'middle' },
    ];
    const { frames } = rebuilt({ session: { endedAt: 9, status: 'killed' }, activity });
    const ended = frames.filter(({ payload }) => object(payload.data).phase === 'end');
    expect(ended).toMatchObject([{ ts_ms: 9, payload: { runId: 'last' } }]);
    expect(object(ended[0]!.payload.data)).not.toHaveProperty('aborted');
  });
});

describe('a run that its gateway left open when it was restarted', () => {
  const restarted = { open_run: { run_id: 'r', last_ms: 2 }, is_restarted: true };
  const ending = (known: Partial<SessionAnswers>): RebuiltFrame[] =>
    rebuilt(known, restarted).frames.filter(({ payload }) => object(payload.data).phase === 'error');

  test('is reported as interrupted', () => {
    expect(ending({})).toMatchObject([
      {
        ts_ms: 2,
        payload: {
          runId: 'r',
          data: {
            phase: 'error',
            endedAt: 2,
            executionSettled: true,
            error: 'the gateway stopped in the middle of the run',
            errorObservation: { failoverReason: 'gateway_restarted' },
            yielded: true,
          },
        },
      },
    ]);
  });

  test.each<[string, Partial<SessionAnswers>, number]>([
    ['its last message', { rows: [request(5, 'c')] }, 5],
    ['its last result', { rows: [resultRow(5, 'c')] }, 6],
    ['the start of its last call', { activity: [auditedCall('started', 5, 'c')] }, 5],
    [
      'the end of its last call',
      { activity: [auditedCall('started', 5, 'c'), auditedCall('finished', 7, 'c', 'failed')] },
      7,
    ],
    ['its last event that was pushed', { rows: [request(1, 'c')] }, 2],
  ])('ends with %s', (_, known, at_ms) => {
    expect(ending(known).map(({ ts_ms }) => ts_ms)).toEqual([at_ms]);
  });

  test('ends as the gateway reports it, if it does', () => {
    const activity = [audited('agent.run.finished', 9, { status: 'succeeded' })];
    expect(rebuilt({ activity }, restarted).frames.map(inShort)).toEqual(['9 lifecycle end']);
    const session = { lastRunId: 'r', endedAt: 9, status: 'timeout' };
    expect(rebuilt({ session }, restarted).frames.map(inShort)).toEqual(['9 lifecycle end']);
  });

  test('does not end with the time of its session, at which the gateway found it', () => {
    const session = { endedAt: 99, status: 'failed' };
    const activity = [audited('agent.run.started', 1)];
    expect(ending({ session, activity }).map(({ ts_ms }) => ts_ms)).toEqual([2]);
  });
});

describe('in protocol 3 the row of a session, which names no run,', () => {
  const row = { startedAt: 1, endedAt: 9, status: 'done' };
  const endOf = (session: Json, protocol: object = { protocol: 3 }) =>
    rebuilt({ session }, { open_run: { run_id: 'r', last_ms: 2, ...protocol } }).frames.map(
      ({ ts_ms, payload }) => [ts_ms, object(payload.data).status ?? object(payload.data).phase],
    );

  test.each([
    ['done', {}, [9, 'end']],
    ['failed', { status: 'failed' }, [9, 'error']],
    ['aborted', { status: 'timeout' }, [9, 'cancelled']],
    ['interrupted', { status: 'failed', abortedLastRun: true }, [2, 'error']],
    ['interrupted, in 2026.5', { status: 'running', hasActiveRun: false, endedAt: undefined }, [2, 'error']],
  ])('reports the end of the open run: %s', (_, fields, end) => {
    expect(endOf({ ...row, ...fields }).at(-1)).toEqual(end);
  });

  test.each([
    ['is still open', { ...row, endedAt: undefined, status: 'running' }],
    ['is still active', { ...row, endedAt: undefined, status: 'running', hasActiveRun: true }],
    ['is not the latest', { ...row, startedAt: 5 }],
    ['has begun anew since', { ...row, endedAt: 1 }],
  ])('does not report the end of a run that %s', (_, session) => expect(endOf(session)).toEqual([]));

  test('is not used in protocol 4', () => expect(endOf(row, {})).toEqual([]));
});

describe('what is marked as a gap', () => {
  const started = audited('agent.run.started', 1);
  const finished = audited('agent.run.finished', 9, { status: 'succeeded' });
  const marks = ({ frames }: ReturnType<typeof rebuilt>): unknown[] =>
    frames.filter(({ payload }) => payload.stream === 'lifecycle').map(({ is_gap }) => is_gap);

  test.each([
    [5, 5, true],
    [6, 9, false],
    [1, 4, false],
  ])(
    'is a run with a call that no message requests, if that was missed from %i to %i',
    (since_ms, until_ms, is_gap) => {
      const known = { rows: [resultRow(5, 'c')], activity: [started, finished] };
      expect(marks(rebuilt(known, { since_ms, until_ms }))).toEqual([is_gap, is_gap]);
    },
  );

  test('is the end of a run with calls that no row shows; an open run waits for them', () => {
    const activity = [started, auditedCall('started', 3, 'c'), auditedCall('finished', 4, 'c', 'succeeded')];
    const over = rebuilt({ activity: [...activity, finished] });
    expect([marks(over), over.is_pending]).toEqual([[false, true], false]);
    const open = rebuilt({ activity });
    expect([marks(open), open.is_pending]).toEqual([[false], true]);
  });

  test('is the end of a run of which nothing is stored, since its session has been reset, unless it ended before', () => {
    const known = { activity: [started, finished] };
    expect(marks(rebuilt(known, { since_ms: 9 }))).toEqual([false, true]);
    expect(marks(rebuilt(known, { since_ms: 10 }))).toEqual([false, false]);
  });

  test('is nothing of a run of a command-line agent, whose answer names it by its key', () => {
    const { __openclaw: named, ...row } = request(2);
    const rows = [
      { ...row, idempotencyKey: 'cli-assistant:r', __openclaw: { ...object(named), runId: undefined } },
    ];
    expect(marks(rebuilt({ rows, activity: [started, finished] }))).toEqual([false, false]);
  });

  test('is the end of a run in a session of which not everything could be asked for', () => {
    expect(marks(rebuilt({ activity: [started, finished], is_partial: true }))).toEqual([false, true]);
  });

  test('is nothing of a run of which everything is stored', () => {
    const rows = [request(2, 'c'), resultRow(4, 'c')];
    const activity = [started, auditedCall('started', 3, 'c'), auditedCall('finished', 4, 'c', 'succeeded')];
    expect(marks(rebuilt({ rows, activity: [...activity, finished] }))).toEqual([false, false]);
  });
});

test('a run has the origin of a prompt that OpenClaw wrote, if its first message follows that prompt', () => {
  const prompt = (at_ms: number, provenance?: Json): Json => ({
    role: 'user',
    provenance,
    __openclaw: { id: `prompt-${at_ms}`, recordTimestampMs: at_ms },
  });
  const schedule = { kind: 'internal_system', sourceTool: 'cron' };
  const of = (run_id: string, row: Json): Json => ({
    ...row,
    __openclaw: { ...object(row.__openclaw), runId: run_id },
  });
  const rows = [
    ...[prompt(1, { kind: 'internal_system', sourceTool: 'heartbeat' }), of('heartbeat', request(2))],
    ...[prompt(3, schedule), prompt(4), of('user', request(5))],
    ...[prompt(6, { kind: 'inter_session', sourceTool: 'sessions_send' }), of('sent', request(7))],
    ...[prompt(8, schedule), of('sent', request(9)), of('later', request(10))],
    ...[prompt(11, schedule), of('cron', request(12)), of('next', request(13))],
  ];
  const activity = rows
    .filter(({ role }) => role === 'assistant')
    .map(({ __openclaw }) => ({ ...audited('agent.run.started', 1), runId: object(__openclaw).runId }));
  const { frames } = rebuilt({ rows, activity });
  const starts = frames.filter(({ payload }) => object(payload.data).phase === 'start');
  const told = starts.map(({ payload }) => [
    payload.runId,
    object(object(payload.data).provenance).sourceTool,
  ]);
  expect(Object.fromEntries(told)).toEqual({
    heartbeat: 'heartbeat',
    user: undefined,
    sent: undefined,
    later: undefined,
    cron: 'cron',
    next: undefined,
  });
});

describe('a run without a message has the origin of the last prompt', () => {
  const provenance = { kind: 'internal_system', sourceTool: 'cron' };
  const prompt: Json = { role: 'user', provenance, __openclaw: { recordTimestampMs: 4 } };

  test.each<[string, number, Json[], unknown]>([
    ['if it started after that', 4, [prompt], 'cron'],
    ['unless it started before', 3, [prompt], undefined],
    ['unless it has a message', 4, [request(3), prompt], undefined],
    ['unless a user has written since', 4, [prompt, { role: 'user' }], undefined],
  ])('%s', (_, started_ms, rows, sourceTool) => {
    const { frames } = rebuilt({ rows, activity: [audited('agent.run.started', started_ms)] });
    const [start] = dataOf(frames, 'start');
    expect(object(object(start).provenance).sourceTool).toBe(sourceTool);
  });
});

describe('a run without an end', () => {
  const activity = [
    audited('agent.run.started', 1),
    { ...audited('agent.run.started', 3), runId: 'next' },
    { ...audited('agent.run.finished', 4, { status: 'succeeded' }), runId: 'next' },
  ];
  const [first, ...next] = activity;

  test.each<[string, Json, Json[], boolean]>([
    ['is over if no run of its session goes on', {}, activity, true],
    ['is over if another one goes on', { hasActiveRun: true, activeRunIds: ['next'] }, activity, true],
    ['is over if one that started later goes on', { hasActiveRun: true }, activity, true],
    ['goes on if its session says so', { hasActiveRun: true, activeRunIds: ['r', 'next'] }, activity, false],
    ['goes on if a run of its session does, and none is later', { hasActiveRun: true }, [first!], false],
    ['is not there', {}, next, false],
  ])('%s', (_, session, known, is_unended) => {
    expect(rebuilt({ session, activity: known }).is_unended).toBe(is_unended);
  });
});

describe('a run from before the gap', () => {
  const before: Partial<SessionAnswers> = { rows: [request(2, 'c')] };
  const nested = {
    customType: 'openclaw.nested-tool.v1',
    details: { runId: 'r' },
    __openclaw: { recordTimestampMs: 10 },
  };

  test.each<[string, Partial<SessionAnswers>, Partial<RebuildOptions>, boolean]>([
    ['nothing more is known', {}, {}, false],
    ['the audit log names it', { activity: [auditedCall('started', 10, 'c')] }, {}, true],
    ['a message came later', { rows: [request(2, 'c'), request(10)] }, {}, true],
    ['a nested call came later', { rows: [request(2, 'c'), nested] }, {}, true],
    ['its session ended later', { session: { lastRunId: 'r', endedAt: 10 } }, {}, true],
    ['its session ended before', { session: { lastRunId: 'r', endedAt: 9 } }, {}, false],
    ['it is open', { in_flight: { runId: 'r' } }, {}, true],
    ['it was open', {}, { open_run: { run_id: 'r', last_ms: 2 } }, true],
  ])('is rebuilt only if something of it may have been missed: %s', (_, known, options, isRebuilt) => {
    const { frames } = rebuilt({ ...before, ...known }, { since_ms: 10, ...options });
    expect(frames.map(inShort).includes('2 message')).toBe(isRebuilt);
  });
});

test('what happened at the first start of the bridge is still rebuilt', () => {
  const known = { rows: [request(2, 'c'), request(3, 'd')] };
  expect(rebuilt(known, { floor_ms: 3 }).frames.map(inShort)).toEqual(['3 message']);
});

test('the input of a run comes just before its start, whenever it was stored', () => {
  const input: Json = { role: 'user', idempotencyKey: 'r:user', __openclaw: { recordTimestampMs: 7 } };
  const known = {
    rows: [input],
    activity: [audited('agent.run.started', 5), audited('agent.run.started', 8)],
  };
  expect(rebuilt(known).frames.map(inShort)).toEqual(['4 message', '5 lifecycle start']);
});

test('rows are dated by when they were recorded, and results by when they came, as far as that is stored', () => {
  const undated = { ...request(0), timestamp: 3, __openclaw: { runId: 'r' } };
  const { frames } = rebuilt({
    rows: [request(2, 'c', 'd'), undated, resultRow(4, 'c'), resultRow(6, 'd', { timestamp: undefined })],
    activity: [audited('agent.run.started', 1)],
  });
  expect(frames.filter(({ payload }) => object(payload.data).phase !== 'start').map(inShort)).toEqual([
    '2 message',
    '3 message',
    '4 tool result',
    '7 tool result',
  ]);
});

describe('a nested call', () => {
  const row = (fields: Json): Json => ({
    customType: 'openclaw.nested-tool.v1',
    details: { runId: 'r', toolCallId: 'inner', parentToolCallId: 'outer', toolName: 'read', ...fields },
    __openclaw: { recordTimestampMs: 5 },
  });
  const start = {
    phase: 'start',
    name: 'read',
    toolCallId: 'inner',
    args: { path: 'file' },
    parentToolCallId: 'outer',
  };

  test.each([true, false])('has what its own row has; an error: %s', (isError) => {
    const result = { content: [{ type: 'text', text: 'done' }], details: { size: 1 } };
    const { frames } = rebuilt({
      rows: [row({ startedAt: 3, timestamp: 4, input: { path: 'file' }, result, isError })],
    });
    expect(frames.map(inShort)).toEqual(['3 tool start', '4 tool result']);
    expect(frames.map(({ payload }) => payload.data)).toEqual([
      start,
      { phase: 'result', name: 'read', toolCallId: 'inner', isError, result },
    ]);
  });

  test('has not ended if its row has no time for that, and has not begun if it has no start', () => {
    const known = { in_flight: { runId: 'r' } };
    const open = rebuilt({ ...known, rows: [row({ startedAt: 3, input: { path: 'file' } })] });
    expect(open.frames.map(({ payload }) => payload.data)).toEqual([start]);
    expect(rebuilt({ ...known, rows: [row({ timestamp: 4 })] }).frames).toEqual([]);
  });
});

describe('the latest events of an open run', () => {
  const event = (ts: unknown, stream: string, data: Json): Json => ({ runId: 'r', stream, ts, data });
  const known: Partial<SessionAnswers> = { session: { hasActiveRun: true }, rows: [request(2, 'c')] };

  test('are replayed as they were pushed, except those without a time', () => {
    const events = [
      event(1, 'lifecycle', { phase: 'start' }),
      event(2, 'tool', { phase: 'start', toolCallId: 'c', args: {} }),
      event(3, 'tool', { phase: 'update', toolCallId: 'c', parentToolCallId: 'named' }),
      event(4, 'approval', { phase: 'asked', toolCallId: 'tool_search_code:c:exec:1' }),
      event(5, 'tool', { phase: 'result', toolCallId: 'c', result: {} }),
    ];
    const untimed = event(undefined, 'lifecycle', { phase: 'lost' });
    const { frames } = rebuilt({ in_flight: { runId: 'r', events: [untimed, ...events] } });
    expect(frames.map(({ payload }) => payload.data)).toEqual(events.map(({ data }) => data));
  });

  test('do not end a call whose result was removed from them and is not stored yet', () => {
    const events = [
      event(3, 'tool', { phase: 'start', toolCallId: 'c' }),
      event(4, 'tool', { phase: 'result', toolCallId: 'c' }),
    ];
    const { frames, is_pending } = rebuilt({ ...known, in_flight: { runId: 'r', events } });
    expect(frames.map(inShort)).toEqual(['2 message', '3 tool start']);
    expect(is_pending).toBe(true);
  });
});

test.each<[string, Partial<SessionAnswers>, Partial<RebuildOptions>]>([
  [
    'the audit log',
    { activity: [{ ...audited('agent.run.started', 1), runId: 'a:561707452823:f-4b99' }] },
    {},
  ],
  ['the events before the gap', {}, { open_run: { run_id: 'a:561707452823:f-4b99', last_ms: 1 } }],
])(
  'messages in which the id of their run is masked are of the run that is known from %s',
  (_, known, options) => {
    const masked = { ...request(2, 'c'), __openclaw: { runId: 'a:561707…4b99', recordTimestampMs: 2 } };
    const result = { ...resultRow(3, 'c'), __openclaw: { runId: 'a:561707…4b99', recordTimestampMs: 3 } };
    const { frames } = rebuilt({ ...known, rows: [masked, result] }, options);
    const told = frames.filter(({ payload }) => payload.stream === 'tool');
    expect(told.map(({ payload }) => payload.runId)).toEqual(Array(2).fill('a:561707452823:f-4b99'));
  },
);
