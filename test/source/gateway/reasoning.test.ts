/** Reasoning tokens that are asked for on the side: for how long, and by what clock. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Json } from '../../../src/json.js';
import type { Answer } from '../../../src/source/gateway/calls.js';
import { createReasoning } from '../../../src/source/gateway/reasoning.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const modelCall = (messageId: string) => ({
  type: 'event' as const,
  event: 'session.message',
  payload: { sessionKey: 'agent:main:s', messageId, message: { role: 'assistant', usage: { output: 9 } } },
});

const NOT_YET: Answer = { ok: true, payload: { messages: [] } };

function start(answer: () => Promise<Answer>) {
  const asked: Json[] = [];
  const reasoning = createReasoning(
    (_method, params) => {
      asked.push(params);
      return answer();
    },
    () => undefined,
  );
  return { reasoning, asked };
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
  answer({ ok: false, error: { code: 'UNANSWERED', message: 'the connection ended', details: {} } });
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
