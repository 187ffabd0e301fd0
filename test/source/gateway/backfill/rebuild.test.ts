/**
 * Frames rebuilt from a gateway's answers match those that it pushed. Tested with recordings of a real gateway, and with what
 * the same gateway answered afterwards about them.
 */
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
