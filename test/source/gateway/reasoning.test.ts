/** Reasoning tokens that are asked for on the side: for how long, and by what clock. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Answer, Call } from '../../../src/source/gateway/calls.js';
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
  error: { code: 'UNANSWERED', message: 'the connection ended', details: {} },
};

/** With the rows of these messages. */
const rowsOf = (...ids: string[]): Answer => ({
  ok: true,
  payload: { messages: ids.map((id) => ({ usage: { reasoningTokens: 3 }, __openclaw: { id } })) },
});

/** What is asked with `call`, and what comes of it; a connection stands. */
function start(answer: () => Promise<Answer>) {
  const asked: Json[] = [];
  const told: unknown[] = [];
  const statuses: string[] = [];
  const reasoning = createReasoning({
    onRows: (rows) => void told.push(...rows.map((row) => object(row.__openclaw).id)),
    onRefused: (reason) => void statuses.push(reason),
    onAnswered: () => void statuses.push('answered'),
  });
  const call: Call = (_method, params) => {
    asked.push(params);
    return answer();
  };
  reasoning.begin(call);
  return { reasoning, call, asked, told, statuses };
}

test('a question that is under way when the connection ends is the last one', async () => {
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

test('nobody gives up because the clock was set', async () => {
  const { reasoning, asked } = start(async () => NOT_YET);
  reasoning.see(modelCall('1'));
  vi.setSystemTime(Date.now() + 3_600_000);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked).toHaveLength(7);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toHaveLength(12);
  expect(vi.getTimerCount()).toBe(0);
});

describe('a gateway that gives no answers, as before a restart,', () => {
  /** For as long as this, refused; 20 sessions have something to be asked, all the time. */
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

  test('is asked seldom, and says so each time', async () => {
    const { asked, statuses } = await drain(43_000);
    expect(asked.length).toBeLessThan(15);
    expect(statuses).toEqual(asked.map(() => 'sessions.get unavailable during gateway restart'));
    const { length } = asked;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(length + 15);
  });

  test('is asked for all that is wanted when it answers again', async () => {
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

  test('is asked for it on the next connection', async () => {
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

  test('may take as long to store a message as any other when it answers again', async () => {
    const { asked, answerWith } = await drain(1_000);
    const { length } = asked;
    answerWith(NOT_YET);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(length + 13);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('no more is kept wanted of a session than can be asked for', async () => {
  const { reasoning, call, asked } = start(async () => NOT_YET);
  reasoning.end();
  for (let id = 0; id < 1_000; id++) reasoning.see(modelCall(String(id)));
  reasoning.begin(call);
  expect(asked).toEqual([{ key: 'agent:main:s', limit: 560 }]);
});

test('a refusal that time does not change is an answer', async () => {
  const error = { code: 'FORBIDDEN', message: 'not for you', details: {} };
  const { reasoning, asked, statuses } = start(async () => ({ ok: false, error }));
  reasoning.see(modelCall('1'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(12);
  expect(statuses).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test('no more than 2,000 sessions are waited for', async () => {
  const { reasoning, told } = start(async () => NOT_YET);
  reasoning.end();
  const ids = Array.from({ length: 2_100 }, (_, nth) => String(nth));
  for (const id of ids) reasoning.see(modelCall(id, `agent:main:${id}`));
  reasoning.begin(async () => rowsOf(...ids));
  await vi.advanceTimersByTimeAsync(0);
  expect(told).toEqual(ids.slice(0, 2_000));
});
