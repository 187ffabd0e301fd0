/** Runs of which the gateway pushes only the messages: when they are asked about, and until when. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createQuietRuns } from '../../../src/source/gateway/quiet-runs.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const message = (run_id: string, role = 'assistant', session_key = 'agent:main:s') => ({
  sessionKey: session_key,
  message: { role, timestamp: 1_000_000, __openclaw: { runId: run_id } },
});

function start({ seen = [] as string[], isOpen = (): boolean => false } = {}) {
  const asked: [string, number][] = [];
  const quiet = createQuietRuns({
    isSeen: (run_id) => seen.includes(run_id),
    isOpen,
    ask: (...question) => void asked.push(question),
  });
  return { quiet, asked };
}

test('a run of which only messages are pushed is asked about once it has been quiet', () => {
  const { quiet, asked } = start();
  quiet.see(message('heartbeat'));
  vi.advanceTimersByTime(1_000);
  quiet.see(message('heartbeat'));
  vi.advanceTimersByTime(1_499);
  expect(asked).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(asked).toEqual([['agent:main:s', 400_000]]);
  vi.advanceTimersByTime(3_600_000);
  expect(asked).toHaveLength(1);
});

test('a run that is still open is asked about until it has ended', () => {
  let is_open = true;
  const { quiet, asked } = start({ isOpen: () => is_open });
  quiet.see(message('heartbeat'));
  vi.advanceTimersByTime(1_500 + 2 * 30_000);
  expect(asked).toHaveLength(3);
  is_open = false;
  vi.advanceTimersByTime(3_600_000);
  expect(asked).toHaveLength(3);
});

test('a run that other events have shown is not asked about, nor is a message that is from no model or names no run', () => {
  const { quiet, asked } = start({ seen: ['usual'] });
  quiet.see(message('usual'));
  quiet.see(message('other', 'user'));
  quiet.see({ sessionKey: 'agent:main:s', message: { role: 'assistant' } });
  vi.advanceTimersByTime(3_600_000);
  expect(asked).toEqual([]);
});

test('a run of which only the end is reported by its session is asked about, unless protocol 3 does so', () => {
  const { quiet, asked } = start({ seen: ['usual'] });
  const end = { sessionKey: 'agent:main:s', agentId: 'main', phase: 'end', ts: 1_000_000 };
  quiet.see({ ...end, runId: 'usual' });
  quiet.see({ ...end, runId: 'begins', phase: 'start' });
  quiet.see({ ...end, runId: 'old', agentId: undefined });
  vi.advanceTimersByTime(3_600_000);
  expect(asked).toEqual([]);
  quiet.see({ ...end, runId: 'heartbeat' });
  vi.advanceTimersByTime(1_500);
  expect(asked).toEqual([['agent:main:s', 400_000]]);
});

test('nothing is asked once the connection has ended', () => {
  const { quiet, asked } = start();
  quiet.see(message('heartbeat'));
  quiet.end();
  vi.advanceTimersByTime(3_600_000);
  expect(asked).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test('no more than 1,000 runs are waited for, and further ones once some of them have ended', () => {
  const { quiet, asked } = start();
  for (let nth = 0; nth <= 1_000; nth++) quiet.see(message('heartbeat', 'assistant', `agent:main:${nth}`));
  vi.advanceTimersByTime(1_500);
  expect(asked).toHaveLength(1_000);
  vi.advanceTimersByTime(60_000);
  quiet.see(message('heartbeat', 'assistant', 'agent:main:1000'));
  vi.advanceTimersByTime(1_500);
  expect(asked.slice(1_000)).toEqual([['agent:main:1000', 400_000]]);
});
