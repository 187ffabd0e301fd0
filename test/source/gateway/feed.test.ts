/**
 * A recording of a real gateway is pushed with a gap in it, and the same gateway's answers are given as far as it had them by
 * then. Whatever the gap, the resulting stream reports everything exactly once.
 */
import { fc, test as property } from '@fast-check/vitest';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createLineDecoder } from '../../../src/decode/index.js';
import type { LineBatch, SourceStatus } from '../../../src/model/source.js';
import { encodeEntry } from '../../../src/persistence/journal.js';
import type { Answer } from '../../../src/source/gateway/connection/calls.js';
import type { Connection, Ending } from '../../../src/source/gateway/connection/connection.js';
import type { EventFrame } from '../../../src/source/gateway/connection/frames.js';
import type { Hello } from '../../../src/source/gateway/connection/handshake.js';
import { createFeed, type Feed } from '../../../src/source/gateway/feed.js';
import type { GatewayPosition } from '../../../src/source/gateway/position.js';
import type { Json } from '../../../src/util/json.js';
import {
  answersOf,
  byId,
  emittedBy,
  essence,
  isStored,
  recordedLines,
  spansOf,
  startsAndEnds,
} from './recorded.js';

type Scenario = Parameters<typeof answersOf>[0];

interface Pushed {
  rx: number;
  frame: EventFrame;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const pushedOf = (scenario: Scenario): Pushed[] =>
  recordedLines(scenario)
    .map((line) => JSON.parse(line) as Pushed)
    .filter(({ frame }) => frame.type === 'event');

/** A gateway with a recorded past, which answers with the part that had happened by the current time. */
function createGateway(scenario: Scenario, refused: ReadonlySet<string> = new Set()) {
  const { sessions } = answersOf(scenario);
  const pushed = pushedOf(scenario);
  const calls: string[] = [];
  const isPast = (ms: unknown): boolean => Number(ms) <= Date.now();
  const rowsOf = (key: unknown): Json[] =>
    (sessions.find((each) => each.key === key)?.rows ?? []).filter((row) =>
      isPast((row.__openclaw as Json).recordTimestampMs),
    );
  const activity = (): Json[] =>
    sessions.flatMap((each) => each.activity).filter(({ occurredAt }) => isPast(occurredAt));

  /** A session's row describes its latest run, with the end only once that has happened. */
  function sessionRow({ key, session }: (typeof sessions)[number]): Json {
    const { endedAt, lastRunId, status, ...row } = session;
    const ended = activity().filter(
      (each) => each.sessionKey === key && each.action === 'agent.run.finished',
    );
    const isOver = isPast(endedAt);
    const started = activity().filter(
      (each) => each.sessionKey === key && each.action === 'agent.run.started',
    );
    return {
      ...row,
      updatedAt: Date.now(),
      hasActiveRun: !isOver && started.length > ended.length,
      ...(isOver ? { endedAt, lastRunId, status } : {}),
    };
  }

  /** The latest events of a session's open run. They do not name the parent of a nested call. */
  function inFlightRun(key: unknown): Json {
    const events = pushed
      .filter(({ rx, frame }) => isPast(rx) && ['agent', 'session.tool'].includes(frame.event))
      .map(({ frame }) => frame.payload as Json & { data: Json })
      .filter(({ sessionKey }) => sessionKey === key);
    const runId = events.at(-1)?.runId;
    const latest = events
      .filter((event) => event.runId === runId && event.stream === 'tool')
      .slice(-50)
      .map(({ seq, stream, ts, data: { parentToolCallId, ...data } }) => ({ runId, seq, stream, ts, data }));
    return { runId, events: latest };
  }

  const answers: Record<string, (params: Json) => Json> = {
    'sessions.subscribe': () => ({ subscribed: true }),
    'audit.activity.list': ({ after }) => ({
      events: activity()
        .filter(({ occurredAt }) => Number(occurredAt) >= Number(after))
        .sort((a, b) => Number(b.sequence) - Number(a.sequence)),
    }),
    'sessions.list': () => ({ sessions: sessions.map(sessionRow), hasMore: false }),
    'sessions.get': ({ key }) => ({ messages: rowsOf(key) }),
    'chat.history': ({ sessionKey }) => ({ inFlightRun: inFlightRun(sessionKey) }),
  };

  return {
    calls,
    async call(method: string, params: Json): Promise<Answer> {
      calls.push(method);
      const answer = answers[method];
      if (answer === undefined || refused.has(method))
        return { ok: false, error: { code: 'FORBIDDEN', message: 'not for you', details: {} } };
      return { ok: true, payload: answer(params) };
    },
  };
}

type Gateway = ReturnType<typeof createGateway>;

interface Line {
  open: Connection;
  end(ending?: Ending): void;
}

function connect({ call }: Gateway, boot_id = 'one', more: Partial<Hello> = {}): Line {
  let end: (ending: Ending) => void = () => undefined;
  const ended = new Promise<Ending>((resolve) => {
    end = resolve;
  });
  const hello = {
    protocol: 4,
    server_version: '2026.9.6',
    boot_id,
    scopes: [],
    tick_interval_ms: 30_000,
    ...more,
  };
  const nothing = (): void => undefined;
  return {
    open: { hello, clock_offset_ms: 0, call, ended, close: nothing, pause: nothing, resume: nothing },
    end: (ending = { code: 1006, reason: '' }) => end(ending),
  };
}

/** Connects, with one method that is answered only after `answer` is called. */
function connectSlowly(gateway: Gateway, slow: string): { line: Line; answer(): void } {
  let answer = (): void => undefined;
  const line = connect(gateway);
  const waiting = new Promise<void>((resolve) => {
    answer = resolve;
  });
  line.open.call = async (method, params) => {
    if (method === slow) await waiting;
    return gateway.call(method, params);
  };
  return { line, answer: () => answer() };
}

/** Runs everything that waits for no timer. */
const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

interface Following {
  feed: Feed;
  batches: LineBatch[];
  lines: string[];
  /** The statuses that are pushed like lines. */
  statuses: SourceStatus[];
  said: string[];
  /** For each item of `said`: whether something was still missing. */
  behind: boolean[];
  warned: string[];
  position(): GatewayPosition | undefined;
}

function startFeed(resume?: GatewayPosition): Following {
  const batches: LineBatch[] = [];
  const lines: string[] = [];
  const statuses: SourceStatus[] = [];
  const said: string[] = [];
  const behind: boolean[] = [];
  const warned: string[] = [];
  let position: GatewayPosition | undefined;
  const push = async (item: LineBatch | SourceStatus): Promise<void> => {
    if (item.kind !== 'lines') return void statuses.push(item);
    batches.push(item);
    for (const line of item.lines) if ('bytes' in line) lines.push(line.bytes.toString('utf8'));
    position = structuredClone(item.position as GatewayPosition | undefined) ?? position;
  };
  const say = async (message: string, is_behind: boolean): Promise<void> => {
    said.push(message);
    behind.push(is_behind);
  };
  const warn = async (message: string): Promise<void> => void warned.push(message);
  return {
    feed: createFeed({ stream: 'ws://test', push, resume, reportStatus: say, warn }),
    batches,
    lines,
    statuses,
    said,
    behind,
    warned,
    position: () => position,
  };
}

async function pushFrames({ feed }: Following, pushed: Pushed[], first_seq = 1): Promise<void> {
  for (const [index, { rx, frame }] of pushed.entries()) {
    vi.setSystemTime(Math.max(rx, Date.now()));
    feed.onEvent(JSON.stringify({ ...frame, seq: first_seq + index }), { ...frame, seq: first_seq + index });
    await settle();
  }
}

async function follow({ feed }: Following, line: Line): Promise<void> {
  void feed.follow(line.open, new AbortController().signal);
  await settle();
}

/** Waits long enough for reasoning tokens to be requested and answered. */
const askedOnTheSide = (): Promise<unknown> => vi.advanceTimersByTimeAsync(5_000);

const withoutReasoning = (value: object): object => ({
  ...value,
  reasoning_tokens: undefined,
  gap: undefined,
});

/** Expects the lines to report everything in the recording exactly once, and nothing else. */
function expectWhole(scenario: Scenario, lines: string[]): void {
  const [recorded, emitted] = [emittedBy(recordedLines(scenario)), emittedBy(lines)];
  const pushed = byId(recorded);
  const found = byId(emitted);
  for (const span of [...pushed.values()].filter(isStored)) {
    const again = found.get(span.span_id);
    expect(again && withoutReasoning(essence(again)), `${span.name} ${span.span_id}`).toEqual(
      withoutReasoning(essence(span)),
    );
  }
  for (const span of found.values()) expect(pushed.has(span.span_id), span.name).toBe(true);
  // An abort reports an end twice, in two frames.
  const left = startsAndEnds(recorded);
  for (const record of startsAndEnds(emitted)) {
    expect(left).toContain(record);
    left.splice(left.indexOf(record), 1);
  }
}

const gaps = (scenario: Scenario) => {
  const { length } = pushedOf(scenario);
  return fc
    .tuple(fc.integer({ min: 1, max: length }), fc.nat(length))
    .map(([a, b]) => [Math.min(a, b || a), Math.max(a, b)] as const);
};

/** Pushes the first `count` frames of a recording, then loses the connection. */
async function cutAfter(count: number, scenario: Scenario = 'tools', gateway = createGateway(scenario)) {
  const pushed = pushedOf(scenario);
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const following = startFeed();
  const first = connect(gateway);
  await follow(following, first);
  await pushFrames(following, pushed.slice(0, count));
  first.end();
  await settle();
  return { pushed, gateway, following };
}

describe.each(['tools', 'spawn', 'abort'] as const)('the stream of the recording "%s"', (scenario) => {
  const pushed = pushedOf(scenario);

  property.prop({ gap: gaps(scenario) }, { numRuns: 30 })(
    'is complete after any loss of the connection',
    async ({ gap: [from, to] }) => {
      const { gateway, following } = await cutAfter(from, scenario);
      vi.setSystemTime((pushed[to] ?? pushed.at(-1)!).rx);
      await follow(following, connect(gateway));
      await pushFrames(following, pushed.slice(to));
      await askedOnTheSide();
      expectWhole(scenario, following.lines);
    },
  );

  property.prop({ gap: gaps(scenario) }, { numRuns: 15 })(
    'is complete after a bridge that was asleep received the first missed frames and then lost the connection',
    async ({ gap: [from, to] }) => {
      vi.setSystemTime(pushed[0]!.rx - 1_000);
      const gateway = createGateway(scenario);
      const following = startFeed();
      const line = connect(gateway);
      await follow(following, line);
      await pushFrames(following, pushed.slice(0, from));
      vi.setSystemTime(pushed.at(-1)!.rx + 60_000);
      await pushFrames(following, pushed.slice(from, to), from + 1);
      line.end();
      await settle();
      await follow(following, connect(gateway));
      await askedOnTheSide();
      expectWhole(scenario, following.lines);
    },
  );

  property.prop({ gap: gaps(scenario) }, { numRuns: 15 })(
    'is complete after frames were dropped',
    async ({ gap: [from, to] }) => {
      vi.setSystemTime(pushed[0]!.rx - 1_000);
      const following = startFeed();
      await follow(following, connect(createGateway(scenario)));
      await pushFrames(following, pushed.slice(0, from));
      await pushFrames(following, pushed.slice(to), to + 1);
      await askedOnTheSide();
      if (to < pushed.length) expectWhole(scenario, following.lines);
    },
  );
});

property.prop(
  {
    places: fc.uniqueArray(fc.integer({ min: 1, max: pushedOf('spawn').length - 1 }), {
      minLength: 4,
      maxLength: 4,
    }),
  },
  { numRuns: 30 },
)('a stream is complete if frames are dropped while an older gap is asked about', async ({ places }) => {
  const [lost = 0, back = 0, dropped = 0, again = 0] = places.sort((a, b) => a - b);
  const { pushed, gateway, following } = await cutAfter(lost, 'spawn');
  vi.setSystemTime(pushed[back]!.rx);
  const { line, answer } = connectSlowly(gateway, 'sessions.list');
  await follow(following, line);
  await pushFrames(following, pushed.slice(back, dropped));
  await pushFrames(following, pushed.slice(again), again - back + 1);
  answer();
  await askedOnTheSide();
  expectWhole('spawn', following.lines);
});

test('a nested call is placed under its parent call if the gap ends within their run', async () => {
  const pushed = pushedOf('spawn');
  const isWithin = ({ frame }: Pushed): boolean =>
    ((frame.payload as Json).data as Json | undefined)?.parentToolCallId !== undefined;
  const started = pushed.findIndex(isWithin);
  const { gateway, following } = await cutAfter(1, 'spawn');
  vi.setSystemTime(pushed[started]!.rx);
  await follow(following, connect(gateway));
  await pushFrames(following, pushed.slice(started + 1));
  expectWhole('spawn', following.lines);
});

test('a restarted bridge resumes where the last one stopped', async () => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const gateway = createGateway('tools');
  const before = startFeed();
  await follow(before, connect(gateway));
  await pushFrames(before, pushed.slice(0, 20));
  vi.setSystemTime(pushed[60]!.rx);
  const after = startFeed(before.position());
  await follow(after, connect(gateway));
  await pushFrames(after, pushed.slice(60));
  await askedOnTheSide();
  expectWhole('tools', [...before.lines, ...after.lines]);
  expect(after.said).toEqual([
    expect.stringMatching(/\(bridge restarted\) from ws:\/\/test: \d+ events in 1 session$/),
  ]);
});

property.prop({ gap: gaps('spawn'), is_told: fc.boolean() }, { numRuns: 30 })(
  'a stream is complete after the bridge was killed, however old its last emitted position was',
  async ({ gap: [killed, back], is_told }) => {
    const pushed = pushedOf('spawn');
    vi.setSystemTime(pushed[0]!.rx - 1_000);
    const gateway = createGateway('spawn');
    const before = startFeed();
    await follow(before, connect(gateway));
    for (const [index, each] of pushed.slice(0, killed).entries()) {
      if (is_told) await vi.advanceTimersByTimeAsync(Math.max(0, each.rx - Date.now()));
      await pushFrames(before, [each], index + 1);
    }
    vi.setSystemTime((pushed[back] ?? pushed.at(-1)!).rx);
    const after = startFeed(before.position());
    await follow(after, connect(gateway));
    await pushFrames(after, pushed.slice(back));
    await askedOnTheSide();
    expectWhole('spawn', [...before.lines, ...after.lines]);
  },
);

describe('a position', () => {
  const agent = (session: number, data: Json): EventFrame => ({
    type: 'event',
    event: 'agent',
    payload: {
      runId: `run-${session}`,
      sessionKey: `agent:main:${session}`,
      agentId: 'main',
      stream: 'lifecycle',
      ts: Date.now(),
      data,
    },
  });
  const start = (session: number): EventFrame => agent(session, { phase: 'start' });
  const end = (session: number): EventFrame => agent(session, { phase: 'end', executionSettled: true });

  async function pushFrame({ feed }: Following, frame: EventFrame): Promise<void> {
    feed.onEvent(JSON.stringify(frame), frame);
    await settle();
  }

  /** Follows a gateway with one open run in each of `count` sessions. */
  async function followSessions(count: number) {
    vi.setSystemTime(1_790_000_000_000);
    const gateway = createGateway('tools');
    const following = startFeed();
    const line = connect(gateway);
    await follow(following, line);
    for (let session = 0; session < count; session++) await pushFrame(following, start(session));
    await vi.advanceTimersByTimeAsync(1_000);
    return { gateway, following, line };
  }

  const journaledBytes = (batch: LineBatch): number =>
    encodeEntry({ source: 'ws://test', batch, now_ms: Date.now() }).reduce(
      (sum, { length }) => sum + length,
      0,
    );

  test('is not journaled with every frame, however many runs are open', async () => {
    const { following } = await followSessions(1_000);
    expect(Object.keys(following.position()?.open_runs ?? {})).toHaveLength(1_000);
    await pushFrame(following, start(0));
    following.batches.length = 0;
    for (let session = 0; session < 100; session++) await pushFrame(following, start(session));
    expect(following.batches).toHaveLength(100);
    expect(Math.max(...following.batches.map(journaledBytes))).toBeLessThan(1_000);
  });

  test('is emitted within a second, even if no more frames come', async () => {
    const { following } = await followSessions(2);
    await pushFrame(following, end(0));
    await pushFrame(following, end(1));
    const seen_ms = Date.now();
    await vi.advanceTimersByTimeAsync(999);
    expect(following.position()?.open_runs).toHaveProperty(['agent:main:1']);
    await vi.advanceTimersByTimeAsync(1);
    expect(following.position()).toMatchObject({ seen_ms, open_runs: {} });
    const { length } = following.batches;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(following.batches).toHaveLength(length);
  });

  test('is emitted at the end', async () => {
    const { following } = await followSessions(1);
    await pushFrame(following, start(0));
    await pushFrame(following, end(0));
    await following.feed.flush();
    expect(following.position()?.open_runs).toEqual({});
    expect(vi.getTimerCount()).toBe(0);
  });

  test('does not change once it is emitted', async () => {
    const { following } = await followSessions(2);
    const given = following.batches.findLast(({ position }) => position !== undefined)?.position;
    const copy = structuredClone(given);
    await pushFrame(following, end(0));
    await pushFrame(following, start(2));
    expect(given).toEqual(copy);
  });

  test('does not include held frames until the backfill is done', async () => {
    const { gateway, following, line } = await followSessions(1);
    await pushFrame(following, start(0));
    const seen_ms = Date.now();
    await vi.advanceTimersByTimeAsync(500);
    line.end();
    await settle();
    const { line: next, answer } = connectSlowly(gateway, 'sessions.list');
    await follow(following, next);
    await pushFrame(following, end(0));
    await vi.advanceTimersByTimeAsync(5_000);
    await following.feed.flush();
    expect(following.position()).toMatchObject({ seen_ms, open_runs: { 'agent:main:0': {} } });
    answer();
    await settle();
    await pushFrame(following, start(1));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(Object.keys(following.position()?.open_runs ?? {})).toEqual(['agent:main:1']);
  });

  test('does not move past a gap if too much is held back', async () => {
    const { gateway, following, line } = await followSessions(1);
    line.end();
    await settle();
    const { seen_ms = 0 } = following.position() ?? {};
    const { line: next } = connectSlowly(gateway, 'sessions.list');
    await follow(following, next);
    const { length } = following.lines;
    for (let mebibytes = 0; mebibytes < 40; mebibytes++)
      following.feed.onEvent(' '.repeat(2 ** 20), { type: 'event', event: 'tick', payload: {} });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(following.lines).toHaveLength(length + 40);
    expect(following.position()?.seen_ms).toBe(seen_ms);
  });
});

describe('after a restart of the bridge', () => {
  const withId = (gateway: Gateway, deviceId: string): Gateway => ({
    ...gateway,
    call: async (method, params) =>
      method === 'gateway.identity.get' ? { ok: true, payload: { deviceId } } : gateway.call(method, params),
  });

  /** Follows the first half of a recording from one OpenClaw, and the rest from another one after a gap. */
  async function followBoth(first_id: string, second_id: string) {
    const pushed = pushedOf('tools');
    vi.setSystemTime(pushed[0]!.rx - 1_000);
    const before = startFeed();
    await follow(before, connect(withId(createGateway('tools'), first_id)));
    await pushFrames(before, pushed.slice(0, 20));
    await before.feed.flush();
    const back_ms = pushed[60]!.rx;
    vi.setSystemTime(back_ms);
    const gateway = createGateway('tools');
    const after = startFeed(before.position());
    await follow(after, connect(withId(gateway, second_id)));
    await pushFrames(after, pushed.slice(60, 61));
    await after.feed.flush();
    return { gateway, after, back_ms };
  }

  test('another OpenClaw is asked for nothing from before', async () => {
    const { gateway, after, back_ms } = await followBoth('one', 'another');
    expect(gateway.calls).toEqual(['sessions.subscribe']);
    expect(after.said).toEqual([
      'the gateway at ws://test belongs to another OpenClaw than the one followed before: it is followed from now on',
    ]);
    expect(after.behind).toEqual([false]);
    expect(after.lines).toHaveLength(1);
    expect(after.position()).toEqual({
      seen_ms: back_ms,
      first_ms: back_ms,
      boot_id: 'one',
      openclaw_id: 'another',
      open_runs: {},
    });
  });

  test.each([
    ['the same', 'one', 'one', 'one'],
    ['one that tells no id', 'one', '', 'one'],
    ['one of which no id was known', '', 'one', 'one'],
  ])('%s is asked for what was missed', async (_, first_id, second_id, openclaw_id) => {
    const { after } = await followBoth(first_id, second_id);
    expect(after.said).toEqual([expect.stringMatching(/^backfilled a gap of .*bridge restarted/)]);
    expect(after.position()).toMatchObject({ openclaw_id });
  });
});

test('a first start asks for nothing from before that start', async () => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[30]!.rx);
  const gateway = createGateway('tools');
  const following = startFeed();
  await follow(following, connect(gateway));
  await pushFrames(following, pushed.slice(30));
  expect(gateway.calls.filter((method) => method !== 'sessions.get')).toEqual([
    'sessions.subscribe',
    'gateway.identity.get',
  ]);
});

test('frames that come during a backfill are held back until it is done', async () => {
  const { pushed, gateway, following } = await cutAfter(20);
  vi.setSystemTime(pushed[40]!.rx);
  const { line, answer } = connectSlowly(gateway, 'audit.activity.list');
  const count = following.lines.length;
  await follow(following, line);
  await pushFrames(following, pushed.slice(40, 50));
  expect(following.lines).toHaveLength(count);
  answer();
  await settle();
  const after = following.lines.slice(count).map((line) => JSON.parse(line));
  const since_ms = Math.max(
    ...pushed.slice(0, 20).map(({ frame }) => Number((frame.payload as Json).ts ?? 0)),
  );
  expect(after[0].missed).toEqual({ reason: 'connection_lost', since_ms, until_ms: Date.now(), unknown: [] });
  expect(after.slice(-10).every((line) => line.rebuilt === undefined)).toBe(true);
  const rebuilt = after.slice(1, -10).filter(({ frame }) => frame.type === 'event');
  expect(rebuilt.length).toBeGreaterThan(0);
  expect(rebuilt.every((line) => line.rebuilt === true)).toBe(true);
});

test('frames that come before the subscription is answered are held back after a gap, and do not move the position', async () => {
  const { pushed, gateway, following } = await cutAfter(20);
  await following.feed.flush();
  const position = following.position();
  const { length } = following.lines;
  vi.setSystemTime(pushed[40]!.rx);
  const { line, answer } = connectSlowly(gateway, 'sessions.subscribe');
  await follow(following, line);
  await pushFrames(following, pushed.slice(40, 50));
  await following.feed.flush();
  expect(following.lines).toHaveLength(length);
  expect(following.position()).toEqual(position);
  answer();
  await settle();
  expect(JSON.parse(following.lines[length]!).missed).toMatchObject({ reason: 'connection_lost' });
  expect(following.lines.length).toBeGreaterThan(length + 10);
});

test('frames that are held back when the connection is lost come from the answers on the next one', async () => {
  const { pushed, gateway, following } = await cutAfter(20);
  const { length } = following.lines;
  vi.setSystemTime(pushed[40]!.rx);
  const { line } = connectSlowly(gateway, 'audit.activity.list');
  await follow(following, line);
  await pushFrames(following, pushed.slice(40, 50));
  line.end();
  await settle();
  await follow(following, connect(gateway));
  const frames = following.lines
    .slice(length)
    .map((each) => JSON.parse(each))
    .filter(({ frame }) => frame?.type === 'event');
  expect(frames.length).toBeGreaterThan(0);
  expect(frames.every(({ rebuilt }) => rebuilt === true)).toBe(true);
});

test('a run is marked with a gap if the gateway refuses to answer about the missed time', async () => {
  const gateway = createGateway('tools', new Set(['audit.activity.list', 'sessions.get', 'chat.history']));
  const { pushed, following } = await cutAfter(30, 'tools', gateway);
  vi.setSystemTime(pushed[60]!.rx);
  await follow(following, connect(gateway));
  await pushFrames(following, pushed.slice(60));
  const runs = [...spansOf(following.lines).values()].filter((span) => span.kind === 'run');
  expect(runs).toMatchObject([{ attributes: { 'openclaw.gap': true } }]);
  expect(following.said).toEqual([expect.stringContaining('not everything could be recovered')]);
});

test('a session whose answers can not be used does not affect the others, and the gateway is still followed', async () => {
  const { pushed, gateway, following } = await cutAfter(30, 'spawn');
  vi.setSystemTime(pushed.at(-2)!.rx);
  const line = connect(gateway);
  const [odd] = answersOf('spawn').sessions;
  const nested = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000));
  line.open.call = async (method, params) => {
    const answer = await gateway.call(method, params);
    if (method !== 'sessions.get' || params.key !== odd!.key || !answer.ok) return answer;
    const messages = (answer.payload.messages as Json[]).map((row) => ({ ...row, content: nested }));
    return { ok: true, payload: { messages } };
  };
  const { length } = following.lines;
  await follow(following, line);
  await pushFrames(following, pushed.slice(-1));
  const told = following.lines.slice(length).map((each) => JSON.parse(each));
  expect(told[0].missed.unknown).toEqual([odd!.key]);
  const sessions = told.slice(1, -1).map(({ frame }) => frame.payload.sessionKey);
  expect(sessions.length).toBeGreaterThan(0);
  expect(sessions).not.toContain(odd!.key);
  expect(told.at(-1).frame.payload).toEqual(pushed.at(-1)!.frame.payload);
  expect(following.said).toEqual([expect.stringContaining('not everything could be recovered')]);
});

test('reasoning tokens are requested in few calls, and each is counted once', async () => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const gateway = createGateway('tools');
  const following = startFeed();
  await follow(following, connect(gateway));
  await pushFrames(following, pushed);
  await askedOnTheSide();
  const spans = [...spansOf(following.lines).values()].filter(
    (span) => span.kind === 'chat' && isStored(span),
  );
  const tokens = spans.map((span) => span.attributes['gen_ai.usage.reasoning.output_tokens']);
  expect(spans).toHaveLength(7);
  expect(tokens.every((each) => each !== undefined)).toBe(true);
  expect(tokens.reduce<number>((sum, each) => sum + Number(each), 0)).toBe(12 + 5 + 9);
  expect(gateway.calls.filter((method) => method === 'sessions.get').length).toBeLessThanOrEqual(5);
});

test('reasoning tokens are also requested for model calls that are pushed before the subscription is answered', async () => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const gateway = createGateway('tools');
  const following = startFeed();
  const { line, answer } = connectSlowly(gateway, 'sessions.subscribe');
  await follow(following, line);
  await pushFrames(following, pushed);
  answer();
  await askedOnTheSide();
  const tokens = [...spansOf(following.lines).values()].map((span) =>
    Number(span.attributes['gen_ai.usage.reasoning.output_tokens'] ?? 0),
  );
  expect(tokens.reduce((sum, each) => sum + each, 0)).toBe(12 + 5 + 9);
});

test('reasoning tokens that a gateway refuses before its restart are requested after it', async () => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const gateway = createGateway('tools');
  const following = startFeed();
  const draining = connect(gateway);
  draining.open.call = async (method, params) =>
    method === 'sessions.get'
      ? { ok: false, error: { code: 'UNAVAILABLE', message: 'restarting', details: {} } }
      : gateway.call(method, params);
  await follow(following, draining);
  await pushFrames(following, pushed);
  await vi.advanceTimersByTimeAsync(120_000);
  await pushFrames(
    following,
    [{ rx: Date.now(), frame: { type: 'event', event: 'tick', payload: {} } }],
    pushed.length + 1,
  );
  draining.end({ code: 1012, reason: 'service restart' });
  await vi.advanceTimersByTimeAsync(30_000);
  await follow(following, connect(gateway, 'two'));
  await askedOnTheSide();
  const tokens = [...spansOf(following.lines).values()].map((span) =>
    Number(span.attributes['gen_ai.usage.reasoning.output_tokens'] ?? 0),
  );
  expect(tokens.reduce((sum, each) => sum + each, 0)).toBe(12 + 5 + 9);
  expect(new Set(following.warned)).toEqual(
    new Set([expect.stringMatching(/^the gateway at ws:\/\/test can't answer requests now: restarting; /)]),
  );
});

test('an exception during a backfill ends the connection, and the gap is asked about on the next one', async () => {
  const { pushed, gateway, following } = await cutAfter(30);
  vi.setSystemTime(pushed.at(-1)!.rx);
  const line = connect(gateway);
  line.open.call = (method, params) =>
    method === 'sessions.list' ? Promise.reject(new Error('a fault')) : gateway.call(method, params);
  const close = vi.fn(() => line.end({ code: 1000, reason: '' }));
  line.open.close = close;
  await follow(following, line);
  expect(close).toHaveBeenCalledTimes(1);
  expect(following.said).toEqual(['backfill from ws://test failed: a fault; reconnecting to try again']);
  expect(following.behind).toEqual([true]);
  await follow(following, connect(gateway));
  await askedOnTheSide();
  expectWhole('tools', following.lines);
});

test('a gateway that is followed again is reported as behind until the gap is filled', async () => {
  const { gateway, following } = await cutAfter(20);
  const behind: boolean[] = [];
  const { line, answer } = connectSlowly(gateway, 'sessions.list');
  void following.feed.follow(line.open, new AbortController().signal, (is_behind) => behind.push(is_behind));
  await settle();
  expect(behind).toEqual([true]);
  answer();
  await askedOnTheSide();
  expect(following.behind).toEqual([false]);
});

test('a busy gateway is asked again', async () => {
  const { pushed, gateway, following } = await cutAfter(20);
  vi.setSystemTime(pushed.at(-1)!.rx);
  const busy = connect(gateway);
  let refusals = 3;
  busy.open.call = async (method, params) =>
    method === 'audit.activity.list' && refusals-- > 0
      ? { ok: false, error: { code: 'UNAVAILABLE', message: 'starting', details: {} } }
      : gateway.call(method, params);
  await follow(following, busy);
  await askedOnTheSide();
  expectWhole('tools', following.lines);
  expect(following.said).toEqual([expect.not.stringContaining('not everything could be recovered')]);
});

test('a busy gateway is no longer waited for once its connection has ended', async () => {
  const { gateway, following } = await cutAfter(20);
  const { open, end } = connect(gateway);
  let asked = 0;
  open.call = async (method, params) => {
    if (method !== 'audit.activity.list') return gateway.call(method, params);
    asked += 1;
    return { ok: false, error: { code: 'UNAVAILABLE', message: 'starting', details: {} } };
  };
  await follow(following, { open, end });
  expect(asked).toBe(1);
  end();
  await settle();
  await following.feed.flush();
  expect(vi.getTimerCount()).toBe(0);
});

describe('a model call of which the gateway stored nothing', () => {
  const gapOf = (lines: string[]): unknown =>
    [...spansOf(lines).values()].find((span) => span.kind === 'run')?.attributes['openclaw.gap'];

  test('is marked as a gap on its run if it was missed', async () => {
    const { pushed, gateway, following } = await cutAfter(20);
    vi.setSystemTime(pushed.at(-1)!.rx);
    await follow(following, connect(gateway));
    await askedOnTheSide();
    expect(gapOf(following.lines)).toBe(true);
  });

  test('is not marked as a gap if it was seen', async () => {
    const { pushed, gateway, following } = await cutAfter(20);
    vi.setSystemTime(pushed[30]!.rx);
    await follow(following, connect(gateway));
    await pushFrames(following, pushed.slice(30));
    await askedOnTheSide();
    expect(gapOf(following.lines)).toBeUndefined();
  });
});

test.each([
  [{ code: 1006, reason: '' }, 'connection_lost'],
  [{ code: 1008, reason: 'slow consumer' }, 'slow_consumer'],
  [{ code: 1008, reason: 'policy' }, 'connection_lost'],
  [{ code: 1006, reason: 'slow consumer' }, 'connection_lost'],
  [{ code: 1012, reason: 'service restart' }, 'gateway_restarted'],
])('a connection that ends with %o leaves a gap with the reason %s', async (ending, reason) => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const gateway = createGateway('tools');
  const following = startFeed();
  const first = connect(gateway);
  await follow(following, first);
  await pushFrames(following, pushed.slice(0, 10));
  first.end(ending);
  await settle();
  await follow(following, connect(gateway));
  expect(following.lines.map((line) => JSON.parse(line).missed?.reason).filter(Boolean)).toEqual([reason]);
});

test('no more than 32 MiB are held back during a backfill, whatever characters they are', async () => {
  const { pushed, gateway, following } = await cutAfter(20);
  vi.setSystemTime(pushed[40]!.rx);
  const { line } = connectSlowly(gateway, 'audit.activity.list');
  await follow(following, line);
  const frame: EventFrame = { type: 'event', event: 'tick', payload: {} };
  const euros = '€'.repeat(4 * 2 ** 20);
  for (const gone of [0, 0, 3]) {
    following.feed.onEvent(euros, frame);
    await settle();
    expect(following.lines.filter((each) => each.endsWith('€}'))).toHaveLength(gone);
  }
});

test('a new connection is paused, too, if the consumer was already behind', async () => {
  const pushed = pushedOf('tools');
  vi.setSystemTime(pushed[0]!.rx - 1_000);
  const feed = createFeed({
    stream: 'ws://test',
    push: () => new Promise(() => undefined),
    resume: undefined,
    reportStatus: async () => undefined,
    warn: async () => undefined,
  });
  const frame: EventFrame = { type: 'event', event: 'tick', payload: {} };
  const paused: string[] = [];
  for (const name of ['first', 'second']) {
    const { open, end } = connect(createGateway('tools'));
    open.pause = () => void paused.push(name);
    void feed.follow(open, new AbortController().signal);
    await settle();
    for (let mebibytes = 0; mebibytes < 20; mebibytes++) {
      feed.onEvent(' '.repeat(2 ** 20), frame);
      await settle();
    }
    end();
    await settle();
  }
  expect(new Set(paused)).toEqual(new Set(['first', 'second']));
});

test('a connection is paused while more than 16 MiB wait for the consumer, and resumed then', async () => {
  vi.setSystemTime(0);
  let pull = (): void => undefined;
  const feed = createFeed({
    stream: 'ws://test',
    push: () =>
      new Promise((resolve) => {
        pull = resolve;
      }),
    resume: undefined,
    reportStatus: async () => undefined,
    warn: async () => undefined,
  });
  const { open } = connect(createGateway('tools'));
  const states: string[] = [];
  open.pause = () => void states.push('paused');
  open.resume = () => void states.push('resumed');
  void feed.follow(open, new AbortController().signal);
  await settle();
  const frame: EventFrame = { type: 'event', event: 'tick', payload: {} };
  for (let mebibytes = 0; mebibytes <= 16; mebibytes++) {
    expect(states).toEqual([]);
    feed.onEvent(' '.repeat(2 ** 20), frame);
    await settle();
  }
  // The first one is with the consumer.
  expect(states).toEqual(['paused']);
  pull();
  await settle();
  expect(states).toEqual(['paused', 'resumed']);
  pull();
  await settle();
  feed.onEvent(' '.repeat(2 ** 20), frame);
  await settle();
  expect(states).toEqual(['paused', 'resumed']);
});

test('a restarted bridge has the position of the one before until it has caught up, and then its open runs', async () => {
  vi.setSystemTime(1_000_000);
  const open_runs = { 'agent:main:s': { run_id: 'r', last_ms: 900_000 } };
  const position = { seen_ms: 900_000, first_ms: 500_000, boot_id: 'one', open_runs };
  const following = startFeed(position);
  await following.feed.flush();
  expect(following.position()).toEqual(position);
  await follow(following, connect(createGateway('tools')));
  await following.feed.flush();
  expect(following.position()).toEqual({ ...position, seen_ms: 1_000_000 });
});

test('the open runs have their open calls', async () => {
  const following = startFeed();
  await follow(following, connect(createGateway('tools')));
  const common = { sessionKey: 'agent:main:s', runId: 'r', agentId: 'main', ts: 1_000 };
  const push = (event: string, stream: string, data: object) =>
    pushFrames(following, [
      { rx: 1_000, frame: { type: 'event', event, payload: { ...common, stream, data } } },
    ]);
  await push('agent', 'lifecycle', { phase: 'start' });
  await push('session.tool', 'tool', { phase: 'start', toolCallId: 'c' });
  await following.feed.flush();
  expect(following.position()).toMatchObject({ open_runs: { 'agent:main:s': { calls: ['c'] } } });
});

test('in protocol 3 a run that only its session reports is one of the open runs', async () => {
  const following = startFeed();
  await follow(following, connect(createGateway('tools')));
  const payload = { sessionKey: 'agent:main:s', runId: 'r', phase: 'start', ts: 1_000 };
  await pushFrames(following, [{ rx: 1_000, frame: { type: 'event', event: 'sessions.changed', payload } }]);
  await following.feed.flush();
  const open_runs = { 'agent:main:s': { run_id: 'r', last_ms: 1_000, protocol: 3 } };
  expect(following.position()).toMatchObject({ open_runs });
});

test('a run that began during a backfill ends if its gateway was restarted', async () => {
  const { pushed, gateway, following } = await cutAfter(1);
  const { line } = connectSlowly(gateway, 'audit.activity.list');
  await follow(following, line);
  await pushFrames(following, pushed.slice(1, 30));
  line.end();
  await settle();
  await follow(following, connect(gateway, 'two'));
  await askedOnTheSide();
  const runs = [...spansOf(following.lines).values()].filter((span) => span.kind === 'run');
  expect(runs).toMatchObject([{ error: { type: 'gateway_restarted' } }]);
});

test('a model call whose reasoning tokens are not asked for, since too many are, is counted', async () => {
  const following = startFeed();
  await follow(following, connect(createGateway('tools')));
  for (let id = 0; id <= 180; id++) {
    const message = { role: 'assistant', usage: { output: 9 } };
    const payload = { sessionKey: 'agent:main:s', messageId: String(id), message };
    const frame: EventFrame = { type: 'event', event: 'session.message', payload };
    following.feed.onEvent(JSON.stringify(frame), frame);
  }
  await settle();
  const { decode } = createLineDecoder('gateway');
  const ignored = following.lines.map((line) => decode(Buffer.from(line), 0).ignored);
  expect(ignored.filter((reason) => reason === 'missed.reasoning_tokens')).toHaveLength(1);
});

test('a frame that is sent on several lines is emitted on one', async () => {
  const following = startFeed();
  await follow(following, connect(createGateway('tools')));
  const frame: EventFrame = { type: 'event', event: 'tick', payload: { ts: 1 } };
  following.feed.onEvent(JSON.stringify(frame, undefined, 2).replaceAll('\n', '\r\n'), frame);
  await settle();
  expect(following.lines).toHaveLength(1);
  expect(following.lines[0]).not.toMatch(/[\r\n]/);
  expect(JSON.parse(following.lines[0]!).frame).toEqual(frame);
});

test('a connection on which the subscription is refused is closed', async () => {
  const line = connect(createGateway('tools', new Set(['sessions.subscribe'])));
  const close = vi.fn();
  line.open.close = close;
  const { feed } = startFeed();
  expect(await feed.follow(line.open, new AbortController().signal)).toMatchObject({ kind: 'refusal' });
  expect(close).toHaveBeenCalledTimes(1);
});

describe('stopping', () => {
  const message: EventFrame = {
    type: 'event',
    event: 'session.message',
    payload: {
      sessionKey: 'agent:main:s',
      messageId: '1',
      message: { role: 'assistant', usage: { output: 9 } },
    },
  };

  /** Stops, while the reasoning tokens of a message are wanted or not; notes when the connection is closed. */
  async function stopped(are_wanted: boolean, stop = new AbortController()) {
    vi.setSystemTime(0);
    const following = startFeed();
    const { line, answer } = connectSlowly(createGateway('tools'), 'sessions.get');
    const closed: number[] = [];
    line.open.close = () => void closed.push(Date.now());
    void following.feed.follow(line.open, stop.signal);
    await settle();
    if (are_wanted) following.feed.onEvent(JSON.stringify(message), message);
    await settle();
    stop.abort();
    await settle();
    return { answer, closed };
  }

  test('waits for reasoning tokens that are still wanted', async () => {
    const { answer, closed } = await stopped(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(closed).toEqual([]);
    answer();
    await settle();
    expect(closed).toEqual([1_000]);
  });

  test('waits for them for two seconds at most', async () => {
    const { closed } = await stopped(true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(closed).toEqual([2_000]);
  });

  test('closes at once if none are wanted, even if it came before the subscription', async () => {
    expect((await stopped(false)).closed).toEqual([0]);
    const early = new AbortController();
    early.abort();
    expect((await stopped(false, early)).closed).toEqual([0]);
  });

  test('does not close a connection that has ended', async () => {
    vi.setSystemTime(0);
    const following = startFeed();
    const line = connect(createGateway('tools'));
    const closed: number[] = [];
    line.open.close = () => void closed.push(Date.now());
    const stop = new AbortController();
    const ending = following.feed.follow(line.open, stop.signal);
    await settle();
    line.end();
    expect(await ending).toEqual({ code: 1006, reason: '' });
    stop.abort();
    await settle();
    expect(closed).toEqual([]);
  });
});

describe('the sequence numbers of a connection', () => {
  const ticks = (...numbers: number[]): Pushed[] =>
    numbers.map((seq) => ({ rx: Date.now(), frame: { type: 'event', event: 'tick', payload: {}, seq } }));

  /** The number of gaps asked about after frames with these numbers, some of them before the connection is followed. */
  async function gapsOf(before: number[], after: number[], more?: Partial<Hello>) {
    const gateway = createGateway('tools');
    const following = startFeed();
    for (const { frame } of ticks(...before)) following.feed.onEvent(JSON.stringify(frame), frame);
    await follow(following, connect(gateway, 'one', more));
    for (const { frame } of ticks(...after)) following.feed.onEvent(JSON.stringify(frame), frame);
    await settle();
    return gateway.calls.filter((method) => method === 'audit.activity.list').length;
  }

  test.each([
    ['count up from anywhere', [], [7, 8, 9], 0],
    ['leave one out', [], [7, 9], 1],
    ['leave one out between the handshake and the subscription', [1], [3], 1],
    ['leave one out before the subscription', [1, 3], [4], 1],
    ['count on after the subscription', [1, 2], [3], 0],
    ['repeat one', [], [7, 7, 8], 0],
    ['leave one out twice', [], [1, 3, 4, 6], 2],
  ])('show whether frames were dropped: they %s', async (_, before, after, gaps) => {
    expect(await gapsOf(before, after)).toBe(gaps);
  });

  test.each([
    ['2026.3.28', 0],
    ['2026.4.15', 0],
    ['dev', 0],
    ['2026.4.20', 2],
    ['2026.4.29', 2],
    ['2027.1.1', 2],
  ])('are not its own in protocol 3 before OpenClaw 2026.4.20: %s', async (server_version, gaps) => {
    expect(await gapsOf([1, 3], [4, 6], { protocol: 3, server_version })).toBe(gaps);
  });

  test('are not compared with those of the connection before', async () => {
    const gateway = createGateway('tools');
    const following = startFeed();
    for (const numbers of [
      [1, 2],
      [9, 10],
    ]) {
      const line = connect(gateway);
      await follow(following, line);
      for (const { frame } of ticks(...numbers)) following.feed.onEvent(JSON.stringify(frame), frame);
      await settle();
      line.end();
      await settle();
    }
    const asked = gateway.calls.filter((method) => method === 'audit.activity.list');
    // About the loss of the first connection.
    expect(asked).toHaveLength(1);
  });
});

describe("the time up to which everything was seen, by the gateway's clock,", () => {
  const HOUR_MS = 3_600_000;

  /** Follows a gateway whose clock is an hour ahead, from 0, and pushes a frame of this time by that clock. */
  async function seenAfter(ts: number): Promise<number | undefined> {
    vi.setSystemTime(0);
    const following = startFeed();
    const line = connect(createGateway('tools'));
    line.open.clock_offset_ms = HOUR_MS;
    await follow(following, line);
    vi.setSystemTime(5_000);
    const frame: EventFrame = { type: 'event', event: 'agent', payload: { ts } };
    following.feed.onEvent(JSON.stringify(frame), frame);
    await settle();
    return following.position()?.seen_ms;
  }

  test.each([
    ['is that of the latest event', HOUR_MS + 4_000, HOUR_MS + 4_000],
    ['is not in the future', HOUR_MS + 6_000, HOUR_MS + 5_000],
    ['is not before the connection', HOUR_MS - 1, HOUR_MS],
  ])('%s', async (_, ts, seen_ms) => {
    expect(await seenAfter(ts)).toBe(seen_ms);
  });
});

test('a run of which only messages are pushed is asked about, with what it does until it is over', async () => {
  const gateway = createGateway('tools');
  const following = startFeed();
  vi.setSystemTime(pushedOf('tools')[0]!.rx);
  await follow(following, connect(gateway));
  const asked = (): number => gateway.calls.filter((method) => method === 'audit.activity.list').length;
  const frame = (event: string, fields: Json): EventFrame => ({
    type: 'event',
    event,
    payload: { sessionKey: 'agent:main:s', agentId: 'main', ...fields },
  });
  const message = (runId: string): EventFrame =>
    frame('session.message', { message: { role: 'assistant', __openclaw: { runId } } });
  const push = (pushed: EventFrame): void => following.feed.onEvent(JSON.stringify(pushed), pushed);
  push(frame('agent', { runId: 'seen', stream: 'lifecycle', data: { phase: 'start' } }));
  push(message('seen'));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked()).toBe(0);
  push(message('quiet'));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(asked()).toBe(1);
  // It is not open as far as its gateway knows, but another run of its session is.
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked()).toBe(1);
  push(message('open'));
  await vi.advanceTimersByTimeAsync(2_000);
  push(frame('agent', { runId: 'open', stream: 'lifecycle', data: { phase: 'start' } }));
  await vi.advanceTimersByTimeAsync(30_000);
  expect(asked()).toBe(3);
});

test('a run of which only messages are pushed is no longer asked about once the connection has ended', async () => {
  const following = startFeed();
  const line = connect(createGateway('tools'));
  await follow(following, line);
  const message = { role: 'assistant', __openclaw: { runId: 'quiet' } };
  const payload = { sessionKey: 'agent:main:s', message };
  const frame: EventFrame = { type: 'event', event: 'session.message', payload };
  following.feed.onEvent(JSON.stringify(frame), frame);
  line.end();
  await following.feed.flush();
  expect(vi.getTimerCount()).toBe(0);
});

test('a feed is behind, which is not shown, while a slow gateway is asked about a run', async () => {
  const following = startFeed();
  const { line, answer } = connectSlowly(createGateway('tools'), 'sessions.list');
  await follow(following, line);
  const payload = {
    sessionKey: 'agent:main:s',
    runId: 'quiet',
    agentId: 'main',
    phase: 'end',
    ts: Date.now(),
  };
  const frame: EventFrame = { type: 'event', event: 'sessions.changed', payload };
  following.feed.onEvent(JSON.stringify(frame), frame);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(following.statuses).toMatchObject([{ state: 'up', is_behind: true, is_silent: true }]);
  answer();
  await settle();
  expect(following.statuses.slice(1)).toMatchObject([{ state: 'up', is_behind: false, is_silent: true }]);
  expect(following.said).toEqual([]);
});

test.each([
  ['is not behind', undefined, false],
  ['is behind while a gap is open', { seen_ms: 0, first_ms: 0, open_runs: {} }, true],
])('a gateway that answers requests again %s', async (_, resume, is_behind) => {
  const following = startFeed(resume);
  const { line } = connectSlowly(createGateway('tools'), 'audit.activity.list');
  const { call } = line.open;
  let refusals = 1;
  line.open.call = async (method, params) =>
    method === 'sessions.get' && refusals-- > 0
      ? { ok: false, error: { code: 'UNAVAILABLE', message: 'restarting', details: {} } }
      : call(method, params);
  await follow(following, line);
  const message = { role: 'assistant', usage: { output: 9 } };
  const payload = { sessionKey: 'agent:main:s', messageId: '1', message };
  const frame: EventFrame = { type: 'event', event: 'session.message', payload };
  following.feed.onEvent(JSON.stringify(frame), frame);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(following.said).toEqual(['the gateway at ws://test answers requests again']);
  expect(following.behind).toEqual([is_behind]);
});
