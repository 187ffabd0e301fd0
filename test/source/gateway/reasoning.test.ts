/** Requests for reasoning tokens: for how long they are repeated, by which clock, and what a refusal changes. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Answer, Call } from '../../../src/source/gateway/connection/calls.js';
import { createReasoning } from '../../../src/source/gateway/reasoning.js';
import { type Json, object } from '../../../src/util/json.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const modelCall = (messageId: string, sessionKey = 'agent:main:s') => ({
  type: 'event' as const,
  event: 'session.message',
  payload: { sessionKey, messageId, message: { role: 'assistant', usage: { output: 9 } } },
});

const NOT_YET: Answer = { ok: true, payload: { messages: [] } };

const refused: Answer = {
  ok: false,
  error: {
    code: 'UNAVAILABLE',
    message: 'sessions.get unavailable during gateway restart',
    details: { reason: 'gateway_restarting' },
  },
};
const unanswered: Answer = {
  ok: false,
  error: { code: 'UNANSWERED', message: 'the connection was closed', details: {} },
};

/** An answer with the rows of these messages. */
const rowsOf = (...ids: string[]): Answer => ({
  ok: true,
  payload: { messages: ids.map((id) => ({ usage: { reasoningTokens: 3 }, __openclaw: { id } })) },
});

/** Starts with an open connection. `asked`: requests; `told`: message ids of the rows found; `statuses`: what is reported. */
function start(answer: () => Promise<Answer>) {
  const asked: Json[] = [];
  const told: unknown[] = [];
  const unpushed: unknown[] = [];
  const statuses: string[] = [];
  const onLeftOut = vi.fn();
  const reasoning = createReasoning({
    onRows: (rows) => void told.push(...rows.map((row) => object(row.__openclaw).id)),
    onMessage: (session_key, row) => void unpushed.push([session_key, object(row.__openclaw).id]),
    onRefused: (reason) => void statuses.push(reason),
    onAnswered: () => void statuses.push('answered'),
    onLeftOut,
  });
  const call: Call = (_method, params) => {
    asked.push(params);
    return answer();
  };
  reasoning.begin(call);
  return { reasoning, call, asked, told, unpushed, statuses, onLeftOut };
}

const lifecycle = (ts: number, data: Json, stream = 'lifecycle') => ({
  type: 'event' as const,
  event: 'agent',
  payload: { sessionKey: 'agent:main:s', runId: 'r', ts, stream, data },
});

/** A model call that answers, and the end of its run. */
const ANSWERED = [
  lifecycle(1_000, { phase: 'model', model: 'm' }),
  lifecycle(1_100, { outputTokens: 5 }, 'usage'),
];
const END = lifecycle(2_000, { phase: 'end', executionSettled: true });

const storedAt = (id: string, recordTimestampMs: number, runId = 'r'): Json => ({
  role: 'assistant',
  __openclaw: { id, runId, recordTimestampMs },
});

test('only messages that were stored during a call whose message is not pushed are emitted, when the gateway answers', async () => {
  const others = [storedAt('earlier', 900), storedAt('later', 2_100), storedAt('other', 1_500, 'r2')];
  let answer: Answer = refused;
  const { reasoning, unpushed } = start(async () => answer);
  for (const event of [...ANSWERED, END]) reasoning.see(event);
  await vi.advanceTimersByTimeAsync(600);
  answer = { ok: true, payload: { messages: [...others, storedAt('silent', 1_200)] } };
  await vi.advanceTimersByTimeAsync(60_000);
  expect(unpushed).toEqual([['agent:main:s', 'silent']]);
  expect(vi.getTimerCount()).toBe(0);
});

test.each([
  ['whose message is pushed', [...ANSWERED, modelCall('1')]],
  ['that does not answer', ANSWERED.slice(0, 1)],
])('no message is asked for after a call %s', async (_, events) => {
  const { reasoning, unpushed } = start(async () => ({
    ok: true,
    payload: { messages: [storedAt('1', 1_200)] },
  }));
  for (const event of [...events, END]) reasoning.see(event);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(unpushed).toEqual([]);
});

test('nothing more is requested if the connection ends during a request', async () => {
  let answer = (_: Answer): void => undefined;
  const { reasoning, asked } = start(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  reasoning.see(modelCall('1'));
  await vi.advanceTimersByTimeAsync(400);
  reasoning.end();
  answer(unanswered);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toHaveLength(1);
  expect(vi.getTimerCount()).toBe(0);
});

test.each([
  ['of one session, over 180', 182, () => 'agent:main:s'],
  ['of further sessions, over 2,000', 2_002, (id: number) => `agent:main:${id}`],
])('model calls that stay without their tokens are reported: those %s', (_, count, sessionOf) => {
  const { reasoning, onLeftOut } = start(async () => refused);
  for (let id = 0; id < count; id++) reasoning.see(modelCall(String(id), sessionOf(id)));
  expect(onLeftOut).toHaveBeenCalledTimes(2);
  reasoning.end();
});

test('a change of the system clock does not shorten the wait for tokens', async () => {
  const { reasoning, asked } = start(async () => NOT_YET);
  reasoning.see(modelCall('1'));
  vi.setSystemTime(Date.now() + 3_600_000);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked).toHaveLength(7);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toHaveLength(12);
  expect(vi.getTimerCount()).toBe(0);
});

describe('a gateway that gives no answers, as before a restart', () => {
  /** Refuses all requests for this long; each second there is a new model call, in one of 20 sessions in turn. */
  async function drain(duration_ms: number) {
    let answer = refused;
    const started = start(async () => answer);
    for (let spent_ms = 0, id = 0; spent_ms < duration_ms; spent_ms += 1_000) {
      started.reasoning.see(modelCall(String(id), `agent:main:${id++ % 20}`));
      await vi.advanceTimersByTimeAsync(1_000);
    }
    return {
      ...started,
      answerWith: (next: Answer) => {
        answer = next;
      },
    };
  }

  test('is asked rarely, and each refusal is reported', async () => {
    const { asked, statuses } = await drain(43_000);
    expect(asked.length).toBeLessThan(15);
    expect(statuses).toEqual(asked.map(() => 'sessions.get unavailable during gateway restart'));
    const { length } = asked;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(length + 15);
  });

  test('is asked for everything that is still wanted when it answers again', async () => {
    const { asked, told, statuses, answerWith } = await drain(43_000);
    const { length } = asked;
    const all = Array.from({ length: 43 }, (_, id) => String(id));
    answerWith(rowsOf(...all));
    await vi.advanceTimersByTimeAsync(4_000);
    expect(told.sort()).toEqual(all.sort());
    expect(statuses.at(-1)).toBe('answered');
    expect(asked).toHaveLength(length + 20);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(length + 20);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is asked for everything that is still wanted on the next connection', async () => {
    const { reasoning, asked, told, statuses } = await drain(43_000);
    const { length } = asked;
    reasoning.end();
    expect(vi.getTimerCount()).toBe(0);
    await vi.advanceTimersByTimeAsync(3_600_000);
    const all = Array.from({ length: 43 }, (_, id) => String(id));
    reasoning.begin(async () => rowsOf(...all));
    await vi.advanceTimersByTimeAsync(0);
    expect(told.sort()).toEqual(all.sort());
    expect(asked).toHaveLength(length);
    expect(statuses).not.toContain('answered');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('has the usual time to store a message once it answers again', async () => {
    const { asked, answerWith } = await drain(1_000);
    const { length } = asked;
    answerWith(NOT_YET);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(length + 13);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('no more model calls of a session stay wanted than can be requested', async () => {
  const { reasoning, call, asked } = start(async () => NOT_YET);
  reasoning.end();
  for (let id = 0; id < 1_000; id++) reasoning.see(modelCall(String(id)));
  reasoning.begin(call);
  expect(asked).toEqual([{ key: 'agent:main:s', limit: 560 }]);
});

test('a permanent refusal counts as an answer', async () => {
  const error = { code: 'FORBIDDEN', message: 'not for you', details: {} };
  const { reasoning, asked, statuses } = start(async () => ({ ok: false, error }));
  reasoning.see(modelCall('1'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(12);
  expect(statuses).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test('reasoning tokens of no more than 2,000 sessions are waited for', async () => {
  const { reasoning, told } = start(async () => NOT_YET);
  reasoning.end();
  const ids = Array.from({ length: 2_100 }, (_, nth) => String(nth));
  for (const id of ids) reasoning.see(modelCall(id, `agent:main:${id}`));
  reasoning.begin(async () => rowsOf(...ids));
  await vi.advanceTimersByTimeAsync(0);
  expect(told).toEqual(ids.slice(0, 2_000));
});
