/**
 * A replay waits for a destination that is behind, and not for ever.
 */
import { expect, test } from 'vitest';
import type { SignalCounts } from '../../src/model/delivery.js';
import { createBacklog, MAX_PENDING } from '../../src/start/backlog.js';

const DEADLINE_MS = 60_000;

function createFake() {
  const traces: SignalCounts = { produced: 0, delivered: 0, pending: 0, rejected: {}, dropped: {} };
  let now_ms = 0;
  const isBehind = createBacklog(
    { pending: () => traces.pending, summary: () => ({ traces }) },
    DEADLINE_MS,
    () => now_ms,
  );
  return {
    traces,
    isBehindAt(ms: number): boolean {
      now_ms = ms;
      return isBehind();
    },
  };
}

test('it is behind over the bound, and not at it', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING;
  expect(isBehindAt(0)).toBe(false);
  traces.pending++;
  expect(isBehindAt(1)).toBe(true);
});

test('one that answers for something is waited for, however slow it is', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING * 10;
  for (let round = 1; round <= 100; round++) {
    if (round % 2 === 0) traces.delivered++;
    else traces.rejected.http_400 = round;
    expect(isBehindAt(round * (DEADLINE_MS - 1))).toBe(true);
  }
});

test('one that takes nothing is waited for until the deadline, whatever is added and dropped meanwhile', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING * 2;
  expect(isBehindAt(0)).toBe(true);
  for (let ms = 0; ms < DEADLINE_MS; ms += 10_000) {
    traces.pending += ms % 20_000 === 0 ? 100 : -100;
    traces.dropped.memory_full = ms;
    expect(isBehindAt(ms)).toBe(true);
  }
  expect(isBehindAt(DEADLINE_MS)).toBe(false);
});

test('once it answers again, it is waited for again', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING * 2;
  expect(isBehindAt(0)).toBe(true);
  expect(isBehindAt(DEADLINE_MS)).toBe(false);
  traces.delivered = 1;
  expect(isBehindAt(DEADLINE_MS + 1)).toBe(true);
});
