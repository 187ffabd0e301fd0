/** Which sessions a gateway is asked about after a gap, of however many it has. */
import { expect, test } from 'vitest';
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
