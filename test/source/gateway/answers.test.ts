/** What a gateway is asked for after a gap: of which sessions, of however many it has, and how much of each. */
import { describe, expect, test } from 'vitest';
import { askForMissed } from '../../../src/source/gateway/answers.js';
import type { Answer } from '../../../src/source/gateway/calls.js';
import type { Json } from '../../../src/util/json.js';

const SINCE_MS = 1_000_000;

/** Sessions, those first that changed last. */
const sessionsOf = (changed: number, unchanged = 0): Json[] =>
  Array.from({ length: changed + unchanged }, (_, index) => ({
    key: `agent:main:${index}`,
    updatedAt: index < changed ? SINCE_MS : 0,
  }));

function refuse(message: string): Answer {
  return { ok: false, error: { code: 'INVALID_REQUEST', message, details: {} } };
}

/** OpenClaw 2026.4: as many as asked for, from the first one on. */
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

test('OpenClaw 2026.4, which has no pages, is asked for one', async () => {
  const { lists, keys, is_partial } = await ask(sessionsOf(3, 500), listOnce);
  expect(keys).toEqual(keysOf(sessionsOf(3)));
  expect(is_partial).toBe(false);
  expect(lists).toEqual([{ limit: 200 }]);
});

test('where more sessions changed than that page has, those on it are asked about, and that is said', async () => {
  const { keys, is_partial } = await ask(sessionsOf(201), listOnce);
  expect(keys).toEqual(keysOf(sessionsOf(200)));
  expect(is_partial).toBe(true);
});

test('pages are asked for while there are sessions on them that changed', async () => {
  const { lists, keys, is_partial } = await ask(sessionsOf(250, 500), listPage);
  expect(keys).toEqual(keysOf(sessionsOf(250)));
  expect(is_partial).toBe(false);
  expect(lists).toEqual([{ limit: 200 }, { limit: 200, offset: 200 }, { limit: 200, offset: 400 }]);
});

test('what OpenClaw does for itself is in the audit log, and was never pushed: it is not asked about', async () => {
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

/** A gateway with one session that has changed, and goes on. */
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

describe('of a session', () => {
  /** Messages, one for each millisecond up to a second after the gap began. */
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
    ['all messages are asked for where there are few', 3, [200], 3, false],
    ['all, in more than one call', 900, [200, 1_000], 900, false],
    ['those that reach back far enough, since clocks differ', 10_000, [200, 1_000, 5_000], 5_000, true],
  ])('%s', async (_what, count, limits, found, is_partial) => {
    const { sessions, paramsOf } = await askRows(count);
    expect(paramsOf('sessions.get')).toEqual(limits.map((limit) => ({ key: SESSION.key, limit })));
    expect(sessions).toMatchObject([{ key: SESSION.key, is_partial }]);
    expect(sessions[0]?.rows).toHaveLength(found);
  });

  test('no more messages are asked for than reach back far enough', async () => {
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

describe('of the audit log', () => {
  const PAGE = 500;

  /** Newest first, with what is of no use here in between. */
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

  test('all pages are asked for, from a little before the gap; what came first stands first', async () => {
    const { sessions, paramsOf, is_partial } = await askAudit(2 * PAGE + 1);
    const asked = paramsOf('audit.activity.list');
    expect(asked.map(({ cursor }) => cursor)).toEqual([undefined, '500', '1000']);
    expect(asked.map(({ after }) => after)).toEqual(asked.map(() => SINCE_MS - 5_000));
    expect(sessions[0]?.activity.map(({ nth }) => nth)).toEqual(
      Array.from({ length: PAGE + 1 }, (_, nth) => 2 * nth),
    );
    expect(is_partial).toBe(false);
  });

  test('no more than 20, and that is said', async () => {
    const { paramsOf, is_partial } = await askAudit(21 * PAGE);
    expect(paramsOf('audit.activity.list')).toHaveLength(20);
    expect(is_partial).toBe(true);
  });
});

describe('what is refused', () => {
  test.each([
    ['audit.activity.list', true, [false]],
    ['sessions.list', true, [false]],
    ['sessions.get', false, [true]],
    ['chat.history', false, [true]],
  ])('%s: it is said of what is missing then', async (refused, is_partial, of_sessions) => {
    const asked = await askFor(
      { 'audit.activity.list': () => ok({}), ...ONE_SESSION, [refused]: () => refuse('not for you') },
      [SESSION.key],
    );
    expect(asked.is_partial).toBe(is_partial);
    expect(asked.sessions.map((session) => session.is_partial)).toEqual(of_sessions);
  });
});

test('no more than ten pages of sessions are asked for, and that is said', async () => {
  const { lists, keys, is_partial } = await ask(sessionsOf(2_500), listPage);
  expect([lists.length, keys.length, is_partial]).toEqual([10, 2_000, true]);
});

test('asked about are sessions that changed, that go on, and of which the audit log tells; of these only those that are wanted', async () => {
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

test('a session that is asked about though nothing happened in it is asked with what is known of it', async () => {
  const quiet = { key: 'agent:main:quiet', updatedAt: 0, agentId: 'main' };
  const { sessions } = await askFor(
    { 'sessions.list': () => ok({ sessions: [SESSION, quiet], hasMore: false }) },
    [quiet.key, 'agent:main:unlisted'],
  );
  expect(sessions.map(({ session }) => session)).toEqual([SESSION, quiet, { key: 'agent:main:unlisted' }]);
});
