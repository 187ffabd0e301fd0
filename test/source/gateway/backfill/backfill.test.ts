/** Which sessions a gateway is asked about again, how far back, and when. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createBackfill } from '../../../../src/source/gateway/backfill/backfill.js';
import type { Answer } from '../../../../src/source/gateway/connection/calls.js';
import type { Connection } from '../../../../src/source/gateway/connection/connection.js';
import type { EventFrame } from '../../../../src/source/gateway/connection/frames.js';
import { createGate } from '../../../../src/source/gateway/gate.js';
import { createOpenRuns } from '../../../../src/source/gateway/open-runs.js';
import { createProgress, type GatewayPosition } from '../../../../src/source/gateway/position.js';
import { createNotifier } from '../../../../src/source/notifier.js';
import { type Json, object } from '../../../../src/util/json.js';

const NOW_MS = Date.UTC(2026, 10, 1);
const HOUR_MS = 3_600_000;
/** How much further back than the wanted time the gateway is asked. */
const MARGIN_MS = 5_000;

/** A tool call of a run that never ends, so its session stays pending. */
const startOfCall = (session_key: string, at_ms: number): Json => ({
  kind: 'tool_action',
  action: 'tool.action.started',
  runId: `run of ${session_key}`,
  sessionKey: session_key,
  occurredAt: at_ms,
  toolCallId: 'sha256:1',
  toolName: 'exec',
});

interface Question {
  hours: number;
  sessions: string[];
}

/** A gateway with these sessions, calls that no transcript has, and messages; records the questions on one connection. */
function createAsked(sessions: (string | Json)[], calls: Json[], messages: Json[] = []) {
  const questions: Question[] = [];
  const refused = new Set<string>();
  const unanswered: { payload: Json; resolve(answer: Answer): void }[] = [];
  let isAnswering = true;
  const listed = sessions.map((each) => (typeof each === 'string' ? { key: each } : each));
  const answers: Record<string, (params: Json) => Json> = {
    'audit.activity.list'({ after }) {
      questions.push({ hours: (NOW_MS - Number(after) - MARGIN_MS) / HOUR_MS, sessions: [] });
      return { events: calls.filter(({ occurredAt }) => Number(occurredAt) >= Number(after)) };
    },
    'sessions.list': () => ({ sessions: listed.map((row) => ({ updatedAt: NOW_MS, ...row })) }),
    'sessions.get'({ key }) {
      questions.at(-1)?.sessions.push(String(key));
      return { messages };
    },
  };
  const connection = {
    call: (method: string, params: Json): Promise<Answer> => {
      const payload = answers[method]?.(params) ?? {};
      const error = { code: 'FORBIDDEN', message: 'not for you', details: {} };
      if (refused.has(method)) return Promise.resolve({ ok: false, error });
      return isAnswering
        ? Promise.resolve({ ok: true, payload })
        : new Promise((resolve) => void unanswered.push({ payload, resolve }));
    },
    ended: new Promise(() => undefined),
    hello: { boot_id: 'boot' },
    clock_offset_ms: 0,
  } as unknown as Connection;
  return {
    connection,
    questions,
    /** The methods that are not answered. */
    refused,
    fallSilent: () => {
      isAnswering = false;
    },
    /** Answers again, and also what it left without an answer. */
    speak() {
      isAnswering = true;
      for (const { payload, resolve } of unanswered.splice(0)) resolve({ ok: true, payload });
    },
    /** Ends what it left without an answer as the end of a connection does. */
    breakOff() {
      const error = { code: 'UNANSWERED', message: 'the connection was closed', details: {} };
      for (const { resolve } of unanswered.splice(0)) resolve({ ok: false, error });
    },
  };
}

type Asked = ReturnType<typeof createAsked>;

function start(first: Asked, seen_ms: number, resume?: GatewayPosition) {
  let connection: Connection | undefined = first.connection;
  const through = createNotifier();
  const lines: Json[] = [];
  const statuses: [string, boolean][] = [];
  const held_back: boolean[] = [];
  const runs = createOpenRuns(resume?.open_runs);
  const progress = createProgress(resume, runs.open);
  if (resume === undefined) progress.see(seen_ms, 'boot');
  const backfill = createBackfill({
    stream: 'ws://gateway',
    resume,
    runs,
    progress,
    gate: createGate(() => undefined, through.notify),
    connection: () => connection,
    now: () => NOW_MS,
    add: (line) => void lines.push(JSON.parse(line)),
    reportStatus: async (message, is_behind) => void statuses.push([message, is_behind]),
    reportHeldBack: (is_behind) => void held_back.push(is_behind),
  });
  return {
    backfill,
    runs,
    progress,
    lines,
    statuses,
    /** The reports that events are held back, and no longer. */
    held_back,
    missed: () => lines.map(({ missed }) => missed).filter((each) => each !== undefined),
    /** Resolves when nothing is being asked and no line is held back. */
    through: () => through.wait(),
    connect({ connection: next }: Asked) {
      connection = undefined;
      backfill.lose('connection_lost');
      connection = next;
      backfill.start();
    },
  };
}

const message = (sessionKey: string): EventFrame =>
  ({ event: 'session.message', payload: { sessionKey } }) as EventFrame;

test('each pending session is asked about as far back as it needs, and only once something has been stored in it', async () => {
  const gateway = createAsked(['old', 'new'], [startOfCall('old', NOW_MS - 24 * HOUR_MS + 1)]);
  const { backfill, through } = start(gateway, NOW_MS - 24 * HOUR_MS);
  backfill.drop();
  await through();
  expect(gateway.questions).toEqual([{ hours: 24, sessions: ['old', 'new'] }]);
  backfill.askAbout('new', NOW_MS - HOUR_MS);
  await through();
  expect(gateway.questions.slice(1)).toEqual([{ hours: 1, sessions: ['new'] }]);
  backfill.see(message('old'));
  await through();
  expect(gateway.questions.slice(2)).toEqual([{ hours: 24, sessions: ['old'] }]);
});

test('a question that the end of a connection interrupts is asked again on the next one, as far back', async () => {
  const broken = createAsked(['quiet'], []);
  const { backfill, through, connect } = start(broken, NOW_MS);
  backfill.start();
  await through();
  broken.fallSilent();
  backfill.askAbout('quiet', NOW_MS - HOUR_MS);
  expect(broken.questions).toEqual([{ hours: 1, sessions: [] }]);
  const next = createAsked(['quiet'], []);
  connect(next);
  await through();
  expect(next.questions).toContainEqual({ hours: 1, sessions: ['quiet'] });
});

test('a session in which something is stored while it is asked about is asked about once more', async () => {
  const gateway = createAsked(['busy'], [startOfCall('busy', NOW_MS - HOUR_MS + 1)]);
  const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
  backfill.drop();
  backfill.see(message('busy'));
  await through();
  expect(gateway.questions).toEqual([
    { hours: 1, sessions: ['busy'] },
    { hours: 1, sessions: ['busy'] },
  ]);
});

test('nothing more is asked if something is stored meanwhile in a session of which nothing is expected', async () => {
  const gateway = createAsked(['s'], []);
  const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
  backfill.drop();
  backfill.see(message('s'));
  await through();
  expect(gateway.questions).toEqual([{ hours: 1, sessions: ['s'] }]);
});

test('what was stored in a session before the gap is no reason to ask about it again', async () => {
  const gateway = createAsked([{ key: 's', hasActiveRun: true }], []);
  const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
  backfill.see(message('s'));
  backfill.drop();
  await through();
  expect(gateway.questions).toEqual([{ hours: 1, sessions: ['s'] }]);
});

test('a session is asked about again if that is wanted while it is asked about, whatever the time', async () => {
  const gateway = createAsked(['s'], []);
  const { backfill, through } = start(gateway, NOW_MS);
  backfill.askAbout('s', NOW_MS - HOUR_MS);
  backfill.askAbout('s', NOW_MS - HOUR_MS / 2);
  await through();
  expect(gateway.questions).toEqual([
    { hours: 1, sessions: ['s'] },
    { hours: 0.5, sessions: ['s'] },
  ]);
});

test('a pending session is asked about from the earliest time that is wanted', async () => {
  const broken = createAsked(['s', 'other'], []);
  const { backfill, connect, through } = start(broken, NOW_MS);
  broken.fallSilent();
  backfill.askAbout('other', NOW_MS);
  backfill.askAbout('s', NOW_MS - HOUR_MS);
  backfill.askAbout('s', NOW_MS - HOUR_MS / 2);
  const next = createAsked(['s', 'other'], []);
  connect(next);
  await through();
  expect(next.questions.at(-1)).toEqual({ hours: 1, sessions: ['s', 'other'] });
});

test('no more than 1,000 sessions are pending: the one that has been so the longest is given up', async () => {
  const keys = Array.from({ length: 1_001 }, (_, nth) => `s${nth}`);
  const broken = createAsked(['first'], []);
  const { backfill, connect, through } = start(broken, NOW_MS);
  broken.fallSilent();
  backfill.drop();
  for (const key of keys) backfill.askAbout(key, NOW_MS - HOUR_MS);
  const next = createAsked(keys, []);
  connect(next);
  await through();
  expect(next.questions.map(({ sessions }) => sessions)).toEqual([keys, keys.slice(1)]);
});

describe('a session with an open run', () => {
  const open = [{ key: 's', hasActiveRun: true }, 'other'];
  const agent = (payload: Json): EventFrame => ({
    type: 'event',
    event: 'agent',
    payload: { sessionKey: 's', stream: 'lifecycle', ...payload },
  });

  test.each([
    ['a message is stored', message('s')],
    ['a run ends', agent({ data: { executionSettled: true } })],
  ])('is asked about again when %s', async (_, frame) => {
    const gateway = createAsked(open, []);
    const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
    backfill.drop();
    await through();
    backfill.see(frame);
    await through();
    expect(gateway.questions).toEqual([
      { hours: 1, sessions: ['s', 'other'] },
      { hours: 1, sessions: ['s'] },
    ]);
  });

  test.each([
    ['its run goes on', agent({ data: { phase: 'update' } })],
    ['a message is stored in another one', message('other')],
  ])('is not asked about again when %s', async (_, frame) => {
    const gateway = createAsked(open, []);
    const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
    backfill.drop();
    await through();
    backfill.see(frame);
    expect(gateway.questions).toHaveLength(1);
  });
});

test('sessions that are asked about together are pending again from the time of each', async () => {
  const calls = ['old', 'new'].map((key) => startOfCall(key, NOW_MS));
  const broken = createAsked(['old', 'new'], calls);
  const { backfill, connect, through } = start(broken, NOW_MS);
  broken.fallSilent();
  backfill.askAbout('old', NOW_MS - 24 * HOUR_MS);
  backfill.askAbout('new', NOW_MS - HOUR_MS);
  const next = createAsked(['old', 'new'], calls);
  connect(next);
  await through();
  backfill.see(message('new'));
  await through();
  expect(next.questions.slice(1)).toEqual([
    { hours: 24, sessions: ['old', 'new'] },
    { hours: 1, sessions: ['new'] },
  ]);
});

test('a filled gap is reported with its length, its reason and what was found', async () => {
  const { backfill, statuses, through } = start(createAsked(['s'], []), NOW_MS - HOUR_MS / 2_000);
  backfill.drop();
  await through();
  expect(statuses).toEqual([
    ['backfilled a gap of 1.8 s (frames dropped) from ws://gateway: 0 events in 1 session', false],
  ]);
});

test('a gap is not shorter than nothing, even if the clock of the gateway is set back', async () => {
  const { backfill, statuses, through } = start(createAsked([], []), NOW_MS + HOUR_MS);
  backfill.drop();
  await through();
  expect(statuses[0]?.[0]).toMatch(/^backfilled a gap of 0\.0 s /);
});

test('what a lost connection did not answer is not taken for an answer', async () => {
  const broken = createAsked(['s'], []);
  const { backfill, missed, statuses, connect, through } = start(broken, NOW_MS - HOUR_MS);
  broken.fallSilent();
  backfill.drop();
  const next = createAsked(['s'], []);
  connect(next);
  broken.breakOff();
  await through();
  next.fallSilent();
  backfill.askAbout('s', NOW_MS - HOUR_MS);
  const last = createAsked(['s'], []);
  connect(last);
  next.breakOff();
  await through();
  expect(missed()).toMatchObject([
    { reason: 'frames_dropped', unknown: [] },
    { reason: 'connection_lost', unknown: [] },
  ]);
  expect(statuses).toHaveLength(2);
  expect(last.questions).toContainEqual({ hours: 1, sessions: ['s'] });
});

describe('an event of a run that was not seen before', () => {
  const KEY = 'agent:main:s';
  const unseen = (runId: string): EventFrame => ({
    type: 'event',
    event: 'agent',
    payload: { sessionKey: KEY, runId, agentId: 'main', stream: 'tool', seq: 9, data: {} },
  });

  test('makes its session be asked about, as far back as any gap of this connection', async () => {
    const gateway = createAsked([KEY], []);
    const { backfill, progress, connect, through } = start(gateway, NOW_MS - 2 * HOUR_MS);
    backfill.see(unseen('before any question'));
    expect(gateway.questions).toEqual([]);
    backfill.drop();
    await through();
    progress.see(NOW_MS - HOUR_MS, 'boot');
    backfill.drop();
    await through();
    backfill.see(unseen('a'));
    await through();
    expect(gateway.questions.map(({ hours }) => hours)).toEqual([2, 1, 2]);
    const next = createAsked([KEY], []);
    connect(next);
    await through();
    backfill.see(unseen('b'));
    await through();
    expect(next.questions.map(({ hours }) => hours)).toEqual([1, 1]);
  });

  test('does not, if that is a message event', async () => {
    const gateway = createAsked([KEY], []);
    const { backfill, through } = start(gateway, NOW_MS - HOUR_MS);
    backfill.drop();
    await through();
    backfill.see({ ...unseen('a'), event: 'session.message' });
    expect(gateway.questions).toHaveLength(1);
  });
});

test('a run that a gap showed to be open is asked about after the next one, even if nothing happened in it', async () => {
  const key = 'agent:main:s';
  const started = { ...startOfCall(key, NOW_MS), kind: 'agent_run', action: 'agent.run.started' };
  const { backfill, connect, through } = start(createAsked([key], [started]), NOW_MS - HOUR_MS);
  backfill.drop();
  await through();
  const next = createAsked([{ key, updatedAt: 0 }], []);
  connect(next);
  await through();
  expect(next.questions.map(({ sessions }) => sessions)).toEqual([[key]]);
});

describe('a run that is over, and whose end is stored late', () => {
  const key = 'agent:main:s';
  const { toolCallId: _, ...ofRun } = startOfCall(key, NOW_MS);
  const started = { ...ofRun, kind: 'agent_run', action: 'agent.run.started' };
  const later = { ...started, runId: 'later' };
  const session = { key, hasActiveRun: true, activeRunIds: ['later'] };

  /** Runs a test on the bridge's own timers. */
  const inTime = (act: () => Promise<void>) => async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    await act().finally(() => void vi.useRealTimers());
  };

  test(
    'is asked about once more',
    inTime(async () => {
      const calls: Json[] = [started, later];
      const gateway = createAsked([session], calls);
      const { backfill, lines, connect, through } = start(gateway, NOW_MS - HOUR_MS);
      backfill.drop();
      await through();
      calls.push({ ...started, action: 'agent.run.finished', status: 'cancelled' });
      vi.advanceTimersByTime(15_999);
      expect(gateway.questions).toHaveLength(1);
      vi.advanceTimersByTime(1);
      await through();
      expect(gateway.questions.slice(1)).toEqual([{ hours: 1, sessions: [key] }]);
      expect(lines.at(-1)).toMatchObject({ frame: { payload: { data: { status: 'cancelled' } } } });
      connect(gateway);
      await through();
      vi.advanceTimersByTime(HOUR_MS);
      expect(gateway.questions).toHaveLength(3);
    }),
  );

  test(
    'is asked about on the next connection if this one ends before that, unless that is to another OpenClaw',
    inTime(async () => {
      const first = createAsked([key], [started]);
      const { backfill, progress, connect, through } = start(first, NOW_MS - HOUR_MS);
      backfill.drop();
      await through();
      progress.see(NOW_MS - HOUR_MS / 2, 'boot');
      const next = createAsked([key], [started]);
      backfill.lose('connection_lost');
      expect(vi.getTimerCount()).toBe(0);
      connect(next);
      await through();
      vi.advanceTimersByTime(16_000);
      await through();
      expect(next.questions.at(-1)).toEqual({ hours: 1, sessions: [key] });
      expect(first.questions).toHaveLength(1);
      connect(first);
      await through();
      backfill.forget();
      const count = first.questions.length;
      vi.advanceTimersByTime(HOUR_MS);
      expect(first.questions).toHaveLength(count);
    }),
  );

  test(
    'is asked about from its latest event on, if it began before the gap',
    inTime(async () => {
      const open_runs = { [key]: { run_id: 'r', last_ms: NOW_MS - 2 * HOUR_MS } };
      const left = { seen_ms: NOW_MS - HOUR_MS, first_ms: 0, boot_id: 'boot', open_runs };
      const gateway = createAsked([key], []);
      const { backfill, through } = start(gateway, 0, left);
      backfill.start();
      await through();
      vi.advanceTimersByTime(16_000);
      await through();
      expect(gateway.questions.map(({ hours }) => hours)).toEqual([1, 2]);
    }),
  );
});

test('events that are held back for more than a second are reported, until they are released or the connection ends', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const slow = createAsked(['s'], []);
  const { backfill, held_back, connect, through } = start(slow, NOW_MS);
  backfill.start();
  await through();
  vi.advanceTimersByTime(HOUR_MS);
  expect(held_back).toEqual([]);
  slow.fallSilent();
  backfill.askAbout('s', NOW_MS);
  vi.advanceTimersByTime(999);
  expect(held_back).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(held_back).toEqual([true]);
  slow.speak();
  await through();
  expect(held_back).toEqual([true, false]);
  slow.fallSilent();
  backfill.askAbout('s', NOW_MS);
  connect(createAsked(['s'], []));
  await through();
  vi.advanceTimersByTime(HOUR_MS);
  expect(held_back).toEqual([true, false]);
});

describe('reasoning tokens of stored messages', () => {
  const row = (id: string, at_ms: number, fields: Json = {}): Json => ({
    role: 'assistant',
    responseId: `response of ${id}`,
    content: 'not needed',
    usage: { output: 9, reasoningTokens: 3 },
    ...fields,
    __openclaw: { id, runId: 'r', recordTimestampMs: at_ms },
  });

  /** The ids of the messages whose tokens are emitted after a gap of an hour, in a bridge that was started then. */
  async function found(started_ms: number, rows: Json[]) {
    const { backfill, progress, lines, through } = start(createAsked(['s'], [], rows), started_ms);
    progress.see(NOW_MS - HOUR_MS, 'boot');
    backfill.drop();
    await through();
    return lines.flatMap(({ frame }) => (object(frame).type === 'res' ? [object(frame).payload] : []));
  }

  test('are emitted once the messages are, without their content', async () => {
    expect(await found(0, [row('a', NOW_MS)])).toEqual([
      {
        messages: [
          {
            role: 'assistant',
            responseId: 'response of a',
            usage: { reasoningTokens: 3 },
            __openclaw: { id: 'a', runId: 'r', recordTimestampMs: NOW_MS },
          },
        ],
      },
    ]);
  });

  test.each<[string, Json, number, number]>([
    ['of a minute before the gap', row('a', NOW_MS - HOUR_MS - 60_000), 0, 1],
    ['of longer before it', row('a', NOW_MS - HOUR_MS - 60_001), 0, 0],
    ['of the first start of the bridge', row('a', NOW_MS - HOUR_MS - 100), NOW_MS - HOUR_MS - 100, 1],
    ['of before that', row('a', NOW_MS - HOUR_MS - 101), NOW_MS - HOUR_MS - 100, 0],
    ['of a message that has none', row('a', NOW_MS, { usage: { output: 9 } }), 0, 0],
    ['of a message that is no model call', row('a', NOW_MS, { role: 'user' }), 0, 0],
  ])('are those that may have been missed: %s', async (_, stored, started_ms, count) => {
    expect(await found(started_ms, [stored])).toHaveLength(count);
  });
});

describe('a run that was open when a gap began, and whose gateway has been restarted since', () => {
  const key = 'agent:main:s';
  const begins = (runId: string): Json => ({
    sessionKey: key,
    runId,
    agentId: 'main',
    stream: 'lifecycle',
    ts: NOW_MS,
    data: { phase: 'start' },
  });
  const interrupted = (lines: Json[]): unknown[] =>
    lines
      .map(({ frame }) => object(object(frame).payload))
      .filter(({ data }) => object(data).phase === 'error')
      .map(({ runId }) => runId);

  test('has ended, also if the bridge was restarted too', async () => {
    const open_runs = { [key]: { run_id: 'r', last_ms: NOW_MS - HOUR_MS } };
    const left = { seen_ms: NOW_MS - HOUR_MS, first_ms: 0, boot_id: 'earlier', open_runs };
    const { backfill, lines, missed, through } = start(createAsked([key], []), 0, left);
    backfill.start();
    await through();
    expect(interrupted(lines)).toEqual(['r']);
    expect(missed()).toMatchObject([{ reason: 'bridge_restarted', since_ms: NOW_MS - HOUR_MS }]);
  });

  test('has ended, even if another run of its session begins while the gateway is asked', async () => {
    const { runs, progress, lines, connect, through } = start(createAsked([], []), NOW_MS);
    progress.see(NOW_MS, 'earlier');
    runs.see(begins('r'));
    const next = createAsked([key], []);
    next.fallSilent();
    connect(next);
    runs.see(begins('later'));
    next.speak();
    await through();
    expect(interrupted(lines)).toEqual(['r']);
  });

  test.each<[string, Json, string]>([
    ['has ended, if its own end was held back by then and lost', { executionSettled: true }, 'r'],
    ['is the one that began while the gateway was asked before its restart', { phase: 'start' }, 'later'],
  ])('%s', async (_, data, runId) => {
    const { runs, progress, lines, connect, through } = start(createAsked([], []), NOW_MS);
    progress.see(NOW_MS, 'earlier');
    runs.see(begins('r'));
    const silent = createAsked([key], []);
    silent.fallSilent();
    connect(silent);
    runs.see({ ...begins(runId), data });
    connect(createAsked([key], []));
    await through();
    expect(interrupted(lines)).toEqual([runId]);
  });
});

test.each([
  ['sessions.get', ['s']],
  ['sessions.list', true],
  ['audit.activity.list', true],
])(
  'if %s is refused, the gap says in which sessions something may be missing: %o',
  async (method, unknown) => {
    const gateway = createAsked(['s'], []);
    gateway.refused.add(method);
    const { backfill, missed, statuses, through } = start(gateway, NOW_MS - HOUR_MS);
    backfill.drop();
    await through();
    expect(missed()).toMatchObject([{ unknown }]);
    expect(statuses).toEqual([
      [
        expect.stringMatching(/; not everything could be recovered: affected runs have openclaw\.gap=true$/),
        false,
      ],
    ]);
  },
);

test('events of different sessions are in order of time', async () => {
  const started = ['agent:main:late', 'agent:main:early', 'agent:main:middle'];
  const ages = [1, 3, 2];
  const calls = started.map((key, nth) => ({
    ...startOfCall(key, NOW_MS - ages[nth]! * 1_000),
    kind: 'agent_run',
    action: 'agent.run.started',
  }));
  const { backfill, lines, through } = start(createAsked(started, calls), NOW_MS - HOUR_MS);
  backfill.drop();
  await through();
  const keys = lines.slice(1).map(({ frame }) => object(object(frame).payload).sessionKey);
  expect(keys).toEqual(['agent:main:early', 'agent:main:middle', 'agent:main:late']);
});

test.each([
  ['before', 0, true],
  ['after', 1, false],
])(
  'a call that no stored message requests is a gap only if its message was not pushed: it came %s the gap ended',
  async (_, late_ms, is_gap) => {
    const key = 'agent:main:s';
    const at_ms = NOW_MS + late_ms;
    const result = {
      role: 'toolResult',
      toolCallId: 'c',
      timestamp: at_ms,
      __openclaw: { runId: `run of ${key}`, recordTimestampMs: at_ms },
    };
    const started = { ...startOfCall(key, NOW_MS - 1_000), kind: 'agent_run', action: 'agent.run.started' };
    const { backfill, lines, through } = start(createAsked([key], [started], [result]), NOW_MS - HOUR_MS);
    backfill.drop();
    await through();
    expect(lines.some(({ gap }) => gap === true)).toBe(is_gap);
  },
);

test('the position stands still while dropped frames are asked about', async () => {
  const gateway = createAsked([], []);
  const { backfill, runs, progress, through } = start(gateway, NOW_MS);
  gateway.fallSilent();
  backfill.drop();
  const key = 'agent:main:s';
  runs.see({ sessionKey: key, runId: 'r', agentId: 'main', stream: 'lifecycle', ts: NOW_MS });
  expect(progress.position()?.open_runs).toEqual({});
  gateway.speak();
  await through();
  expect(progress.position()?.open_runs).toEqual({ [key]: { run_id: 'r', last_ms: NOW_MS } });
});
