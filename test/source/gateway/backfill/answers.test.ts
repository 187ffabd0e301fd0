/** What a gateway is asked for after a gap: about which of its sessions, and how much of each. */
import { describe, expect, test } from 'vitest';
import { askForMissed, auditId } from '../../../../src/source/gateway/backfill/answers.js';
import type { Answer } from '../../../../src/source/gateway/connection/calls.js';
import type { Json } from '../../../../src/util/json.js';

const SINCE_MS = 1_000_000;

/** Sessions, the most recently changed first. */
const sessionsOf = (changed: number, unchanged = 0): Json[] =>
  Array.from({ length: changed + unchanged }, (_, index) => ({
    key: `agent:main:${index}`,
    updatedAt: index < changed ? SINCE_MS : 0,
  }));

function refuse(message: string): Answer {
  return { ok: false, error: { code: 'INVALID_REQUEST', message, details: {} } };
}

/** OpenClaw 2026.4: the first `limit` sessions; an offset is refused. */
function listOnce(sessions: Json[], { limit, offset }: Json): Answer {
  if (offset !== undefined)
    return refuse("invalid sessions.list params: at root: unexpected property 'offset'");
  return { ok: true, payload: { sessions: sessions.slice(0, Number(limit)) } };
}

function listPage(sessions: Json[], { limit, offset = 0 }: Json): Answer {
  const end = Number(offset) + Number(limit);
  return {
    ok: true,
    payload: { sessions: sessions.slice(Number(offset), end), hasMore: end < sessions.length },
  };
}

async function ask(sessions: Json[], listed: typeof listPage) {
  const lists: Json[] = [];
  const call = async (method: string, params: Json): Promise<Answer> => {
    if (method !== 'sessions.list') return { ok: true, payload: {} };
    lists.push(params);
    return listed(sessions, params);
  };
  const asked = await askForMissed({ call, ended: new Promise(() => undefined) }, { since_ms: SINCE_MS });
  return { lists, keys: asked.sessions.map(({ key }) => key), is_partial: asked.is_partial };
}

const keysOf = (sessions: Json[]): unknown[] => sessions.map(({ key }) => key);

test('OpenClaw 2026.4, which has no paging, is asked for its sessions once', async () => {
  const { lists, keys, is_partial } = await ask(sessionsOf(3, 500), listOnce);
  expect(keys).toEqual(keysOf(sessionsOf(3)));
  expect(is_partial).toBe(false);
  expect(lists).toEqual([{ limit: 200 }]);
});

test('if more sessions changed than OpenClaw 2026.4 lists, those listed are asked about, and the answers are partial', async () => {
  const { keys, is_partial } = await ask(sessionsOf(201), listOnce);
  expect(keys).toEqual(keysOf(sessionsOf(200)));
  expect(is_partial).toBe(true);
});

test('pages of sessions are requested until one has no session that changed', async () => {
  const { lists, keys, is_partial } = await ask(sessionsOf(250, 500), listPage);
  expect(keys).toEqual(keysOf(sessionsOf(250)));
  expect(is_partial).toBe(false);
  expect(lists).toEqual([{ limit: 200 }, { limit: 200, offset: 200 }, { limit: 200, offset: 400 }]);
});

test("OpenClaw's internal sessions, which are in the audit log but never pushed, are not asked about", async () => {
  const key =
    'agent:main:internal-session-effects:skill-workshop-review_6d870863-d179-4304-9ba9-c4-a02f058dfee37283';
  const events = [key, 'agent:main:deleted'].map((sessionKey) => ({
    sessionKey,
    runId: 'skill-workshop-review:6d870863-d179-4304-9ba9-c43af6e38df6',
    kind: 'agent_run',
    action: 'agent.run.started',
    occurredAt: SINCE_MS,
  }));
  const call = async (method: string): Promise<Answer> => ({
    ok: true,
    payload: method === 'audit.activity.list' ? { events } : {},
  });
  const { sessions } = await askForMissed(
    { call, ended: new Promise(() => undefined) },
    { since_ms: SINCE_MS },
  );
  expect(sessions.map((session) => session.key)).toEqual(['agent:main:deleted']);
});

type Answers = Record<string, (params: Json) => Answer>;

const ok = (payload: Json): Answer => ({ ok: true, payload });

/** A session that has changed and has an open run. */
const SESSION = { key: 'agent:main:0', updatedAt: SINCE_MS, hasActiveRun: true };
const ONE_SESSION: Answers = { 'sessions.list': () => ok({ sessions: [SESSION], hasMore: false }) };

async function askFor(answers: Answers, also: string[] = [], only?: ReadonlySet<string>) {
  const calls: [string, Json][] = [];
  const call = async (method: string, params: Json): Promise<Answer> => {
    calls.push([method, params]);
    return answers[method]?.(params) ?? ok({});
  };
  const asking = { call, ended: new Promise<never>(() => undefined) };
  const asked = await askForMissed(asking, { since_ms: SINCE_MS, also, ...(only && { only }) });
  const paramsOf = (wanted: string): Json[] =>
    calls.filter(([method]) => method === wanted).map(([, params]) => params);
  return { ...asked, paramsOf };
}

describe('the messages of a session', () => {
  /** Messages, one per millisecond until a second after the gap began. */
  const rowsOf = (count: number): Json[] =>
    Array.from({ length: count }, (_, nth) => ({
      __openclaw: { recordTimestampMs: SINCE_MS + 1_000 - count + nth },
    }));

  const askRows = (count: number) => {
    const rows = rowsOf(count);
    return askFor({
      ...ONE_SESSION,
      'sessions.get': ({ limit }) => ok({ messages: rows.slice(-Number(limit)) }),
    });
  };

  test.each([
    ['are all requested in one call if they are few', 3, [200], 3, false],
    ['are all requested, in several calls', 900, [200, 1_000], 900, false],
    ['are requested up to a limit, beyond which they are partial', 10_000, [200, 1_000, 5_000], 5_000, true],
  ])('%s', async (_what, count, limits, found, is_partial) => {
    const { sessions, paramsOf } = await askRows(count);
    expect(paramsOf('sessions.get')).toEqual(limits.map((limit) => ({ key: SESSION.key, limit })));
    expect(sessions).toMatchObject([{ key: SESSION.key, is_partial }]);
    expect(sessions[0]?.rows).toHaveLength(found);
  });

  test('are requested only as far back as needed', async () => {
    const rows = rowsOf(500).map((row, nth) =>
      nth < 400 ? { __openclaw: { recordTimestampMs: SINCE_MS - 10_000 } } : row,
    );
    const { sessions, paramsOf } = await askFor({
      ...ONE_SESSION,
      'sessions.get': ({ limit }) => ok({ messages: rows.slice(-Number(limit)) }),
    });
    expect(paramsOf('sessions.get')).toHaveLength(1);
    expect(sessions).toMatchObject([{ is_partial: false }]);
  });
});

describe('the audit log', () => {
  const PAGE = 500;

  /** Events, newest first; every second one is of a kind that is not used. */
  function askAudit(count: number) {
    const events = Array.from({ length: count }, (_, nth) => ({
      kind: nth % 2 === 0 ? 'agent_run' : 'message_in',
      sessionKey: SESSION.key,
      nth,
    })).reverse();
    return askFor({
      ...ONE_SESSION,
      'audit.activity.list': ({ limit, cursor = '0' }) => {
        const end = Number(cursor) + Number(limit);
        const more = end < events.length ? { nextCursor: String(end) } : {};
        return ok({ events: events.slice(Number(cursor), end), ...more });
      },
    });
  }

  test('is requested in pages, from a little before the gap, and its events are returned oldest first', async () => {
    const { sessions, paramsOf, is_partial } = await askAudit(2 * PAGE + 1);
    const asked = paramsOf('audit.activity.list');
    expect(asked.map(({ cursor }) => cursor)).toEqual([undefined, '500', '1000']);
    expect(asked.map(({ after }) => after)).toEqual(asked.map(() => SINCE_MS - 5_000));
    expect(sessions[0]?.activity.map(({ nth }) => nth)).toEqual(
      Array.from({ length: PAGE + 1 }, (_, nth) => 2 * nth),
    );
    expect(is_partial).toBe(false);
  });

  test('is requested up to 20 pages, beyond which it is partial', async () => {
    const { paramsOf, is_partial } = await askAudit(21 * PAGE);
    expect(paramsOf('audit.activity.list')).toHaveLength(20);
    expect(is_partial).toBe(true);
  });
});

describe('a refused call', () => {
  test.each([
    ['audit.activity.list', true, [false]],
    ['sessions.list', true, [false]],
    ['sessions.get', false, [true]],
    ['chat.history', false, [true]],
  ])('to %s marks what is missing as partial', async (refused, is_partial, of_sessions) => {
    const asked = await askFor(
      { 'audit.activity.list': () => ok({}), ...ONE_SESSION, [refused]: () => refuse('not for you') },
      [SESSION.key],
    );
    expect(asked.is_partial).toBe(is_partial);
    expect(asked.sessions.map((session) => session.is_partial)).toEqual(of_sessions);
  });
});

test('at most ten pages of sessions are requested, and beyond that the answers are partial', async () => {
  const { lists, keys, is_partial } = await ask(sessionsOf(2_500), listPage);
  expect([lists.length, keys.length, is_partial]).toEqual([10, 2_000, true]);
});

test('sessions that changed, are active or are in the audit log are asked about, with `only` just those that it names', async () => {
  const activity = [{ kind: 'agent_run', sessionKey: 'agent:main:audited' }, { kind: 'agent_run' }];
  const answers: Answers = {
    'audit.activity.list': () => ok({ events: activity }),
    'sessions.list': () =>
      ok({
        sessions: [
          { key: 'agent:main:changed', updatedAt: SINCE_MS },
          { key: 'agent:main:running', updatedAt: 0, hasActiveRun: true },
          { key: 'agent:main:quiet', updatedAt: 0 },
        ],
        hasMore: false,
      }),
  };
  const keys = async (only?: ReadonlySet<string>) =>
    (await askFor(answers, [], only)).sessions.map(({ key }) => key);
  expect(await keys()).toEqual(['agent:main:changed', 'agent:main:running', 'agent:main:audited']);
  expect(await keys(new Set(['agent:main:running']))).toEqual(['agent:main:running']);
});

test('a session that is asked about although nothing happened in it has its row of the list, if there is one', async () => {
  const quiet = { key: 'agent:main:quiet', updatedAt: 0, agentId: 'main' };
  const { sessions } = await askFor(
    { 'sessions.list': () => ok({ sessions: [SESSION, quiet], hasMore: false }) },
    [quiet.key, 'agent:main:unlisted'],
  );
  expect(sessions.map(({ session }) => session)).toEqual([SESSION, quiet, { key: 'agent:main:unlisted' }]);
});

describe('the session of one run of a schedule', () => {
  const shared = { key: 'agent:main:cron:j', sessionId: 'latest', updatedAt: SINCE_MS, status: 'done' };
  const key = `${shared.key}:run:1`;
  const activity = [{ kind: 'agent_run', sessionKey: key, runId: 'own' }];
  const rows: Json[] = [
    { role: 'user' },
    { role: 'assistant', __openclaw: { runId: 'own' } },
    { customType: 'openclaw.nested-tool.v1', details: { runId: 'own' } },
    { role: 'assistant', __openclaw: { runId: 'other' } },
    { customType: 'openclaw.nested-tool.v1', details: { runId: 'other' } },
  ];
  const askWith = (stored: Record<string, Json[]>) =>
    askFor({
      'sessions.list': () => ok({ sessions: [shared], hasMore: false }),
      'audit.activity.list': () => ok({ events: activity }),
      'sessions.get': (params) => ok({ messages: stored[String(params.key)] ?? [] }),
    });

  test('has what is stored of that run in the session that all runs share, which is none of its own', async () => {
    const { sessions } = await askWith({ [shared.key]: rows });
    expect(sessions).toMatchObject([{ key, session: { key, status: 'done' }, activity, is_partial: false }]);
    expect(sessions[0]?.session).not.toHaveProperty('sessionId');
    expect(sessions[0]?.rows).toEqual(rows.slice(0, 3));
  });

  test('has its own messages, if there are any', async () => {
    const { sessions, paramsOf } = await askWith({ [key]: rows.slice(1, 2), [shared.key]: rows });
    expect(sessions.map((session) => session.rows)).toEqual([rows.slice(1, 2)]);
    expect(paramsOf('sessions.get')).toHaveLength(1);
  });
});

test('the latest events of a run are requested only for sessions with an open run, and only one message with them', async () => {
  const quiet = { key: 'agent:main:quiet', updatedAt: SINCE_MS };
  const { sessions, paramsOf } = await askFor({
    'sessions.list': () => ok({ sessions: [SESSION, quiet], hasMore: false }),
    'chat.history': () => ok({ inFlightRun: { runId: 'r' } }),
  });
  expect(paramsOf('chat.history')).toEqual([{ sessionKey: SESSION.key, limit: 1 }]);
  expect(sessions.map(({ in_flight }) => in_flight)).toEqual([{ runId: 'r' }, {}]);
});

test('an audit log that is too long, or is refused in the middle, gives what it gave, oldest first', async () => {
  const page = (cursor: unknown): Json => ({
    events: [{ kind: 'agent_run', sessionKey: SESSION.key, at: 100 - Number(cursor ?? 0) }],
    nextCursor: String(Number(cursor ?? 0) + 1),
  });
  const times = async (refused_at: number) => {
    const { sessions } = await askFor({
      ...ONE_SESSION,
      'audit.activity.list': ({ cursor }) =>
        Number(cursor ?? 0) < refused_at ? ok(page(cursor)) : refuse('not for you'),
    });
    return sessions[0]?.activity.map(({ at }) => at);
  };
  expect(await times(3)).toEqual([98, 99, 100]);
  expect(await times(100)).toEqual(Array.from({ length: 20 }, (_, nth) => 81 + nth));
});

describe('the audit log, which is written late', () => {
  const NOW_MS = SINCE_MS + 60_000;
  const REQUEST = { role: 'assistant', content: [{ type: 'toolCall', id: 'call-1' }] };
  const resultAt = (ms: number, toolCallId = 'call-1'): Json => ({
    role: 'toolResult',
    toolCallId,
    __openclaw: { recordTimestampMs: ms },
  });
  const entry = (action: string): Json => ({
    kind: 'tool_action',
    sessionKey: SESSION.key,
    toolCallId: auditId('call-1'),
    action,
  });
  const START = entry('tool.action.started');
  const END = entry('tool.action.finished');

  /** Asks about a session with these rows, of which the log has the end in its `ends_in`th answer: how often it is asked. */
  async function asked(messages: Json[], { first = [START], ends_in = Infinity, now_ms = NOW_MS } = {}) {
    let times = 0;
    const answers: Answers = {
      ...ONE_SESSION,
      'audit.activity.list': () => ok({ events: ++times < ends_in ? first : [END, START] }),
      'sessions.get': () => ok({ messages }),
    };
    const call = async (method: string, params: Json): Promise<Answer> => answers[method]?.(params) ?? ok({});
    const asking = { call, ended: Promise.resolve({ code: 1006, reason: '' }) };
    const { sessions } = await askForMissed(asking, { since_ms: SINCE_MS, now_ms });
    return { times, actions: sessions[0]?.activity.map(({ action }) => action) };
  }

  test('is asked again until it has the end of a call whose result was just stored', async () => {
    expect(await asked([REQUEST, resultAt(NOW_MS - 1_000)], { ends_in: 3 })).toEqual({
      times: 3,
      actions: ['tool.action.started', 'tool.action.finished'],
    });
  });

  test('is not asked again for ever', async () => {
    expect((await asked([REQUEST, resultAt(NOW_MS - 1_000)])).times).toBe(11);
  });

  test.each([
    ['has the end', [REQUEST, resultAt(NOW_MS)], { ends_in: 1 }],
    ['has had time enough', [REQUEST, resultAt(NOW_MS - 20_000)], {}],
    ['never has it, since no such tool exists', [REQUEST, resultAt(NOW_MS, 'call-2')], {}],
    ['is not written at all', [REQUEST, resultAt(NOW_MS)], { first: [] }],
  ])('is asked once if it %s', async (_, messages, options) => {
    expect((await asked(messages, options)).times).toBe(1);
  });
});

test('four sessions are asked about at a time, and the answers are in the order of the sessions', async () => {
  const keys = Array.from({ length: 10 }, (_, nth) => `agent:main:${nth}`);
  const waiting: (() => void)[] = [];
  const call = (method: string): Promise<Answer> => {
    if (method === 'sessions.list')
      return Promise.resolve(ok({ sessions: keys.map((key) => ({ key, updatedAt: SINCE_MS })) }));
    if (method !== 'sessions.get') return Promise.resolve(ok({}));
    return new Promise((resolve) => void waiting.push(() => resolve(ok({}))));
  };
  const asked = askForMissed({ call, ended: new Promise(() => undefined) }, { since_ms: SINCE_MS });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const at_a_time: number[] = [];
  for (await turn(); waiting.length > 0; await turn()) {
    at_a_time.push(waiting.length);
    // The one that came last is answered first.
    for (const answer of waiting.splice(0).reverse()) answer();
  }
  expect(at_a_time).toEqual([4, 4, 2]);
  expect((await asked).sessions.map(({ key }) => key)).toEqual(keys);
});

describe('a gateway that is too busy to answer', () => {
  const busy: Answer = { ok: false, error: { code: 'UNAVAILABLE', message: 'busy', details: {} } };

  test.each([
    ['is asked five times', busy, 5],
    ['is asked once if it refuses', refuse('not for you'), 1],
  ])('%s', async (_, answer, count) => {
    let asked = 0;
    const call = async (method: string): Promise<Answer> => {
      if (method === 'sessions.list') asked++;
      return answer;
    };
    await askForMissed({ call, ended: Promise.resolve({ code: 1006, reason: '' }) }, { since_ms: SINCE_MS });
    expect(asked).toBe(count);
  });
});
