/**
 * When a replay waits for a destination that is behind, when a live source waits for one whose memory is filling, and when
 * each stops waiting.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Signal, SignalCounts, SignalLoad } from '../../src/model/delivery.js';
import {
  createBacklog,
  createHold,
  createThrottle,
  holdFiles,
  MAX_PENDING,
} from '../../src/start/backlog.js';

const DEADLINE_MS = 60_000;
const MB = 1024 * 1024;
const NOTHING: SignalCounts = { produced: 0, delivered: 0, pending: 0, rejected: {}, dropped: {} };
const NEVER = new AbortController().signal;

function createFake() {
  const traces: SignalCounts = { ...NOTHING, rejected: {}, dropped: {} };
  const logs: SignalCounts = { ...NOTHING };
  let now_ms = 0;
  const isBehind = createBacklog(
    { summary: () => ({ traces, logs }) },
    DEADLINE_MS,
    () => now_ms,
    ({ pending }) => pending > MAX_PENDING,
  );
  return {
    traces,
    logs,
    isBehindAt(ms: number): boolean {
      now_ms = ms;
      return isBehind();
    },
  };
}

test('a destination is behind over the limit, and not at it', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING;
  expect(isBehindAt(0)).toBe(false);
  traces.pending++;
  expect(isBehindAt(1)).toBe(true);
});

test('a destination that answers anything is waited for, however slow it is', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING * 10;
  for (let round = 1; round <= 100; round++) {
    if (round % 2 === 0) traces.delivered++;
    else traces.rejected.http_400 = round;
    expect(isBehindAt(round * (DEADLINE_MS - 1))).toBe(true);
  }
});

test('a destination that takes nothing is waited for until the deadline, whatever is added and dropped meanwhile', () => {
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

test('a signal that gets no answer is waited for until the deadline, whatever another one gets', () => {
  const { traces, logs, isBehindAt } = createFake();
  logs.pending = MAX_PENDING * 2;
  for (let ms = 0; ms < DEADLINE_MS; ms += 10_000) {
    traces.delivered += 1;
    expect(isBehindAt(ms)).toBe(true);
  }
  traces.delivered += 1;
  expect(isBehindAt(DEADLINE_MS)).toBe(false);
});

test('a destination that answers again is waited for again', () => {
  const { traces, isBehindAt } = createFake();
  traces.pending = MAX_PENDING * 2;
  expect(isBehindAt(0)).toBe(true);
  expect(isBehindAt(DEADLINE_MS)).toBe(false);
  traces.delivered = 1;
  expect(isBehindAt(DEADLINE_MS + 1)).toBe(true);
});

test('a destination that had nothing to do for long is waited for like any other', () => {
  const { traces, isBehindAt } = createFake();
  expect(isBehindAt(0)).toBe(false);
  expect(isBehindAt(10 * DEADLINE_MS)).toBe(false);
  traces.pending = MAX_PENDING * 2;
  expect(isBehindAt(10 * DEADLINE_MS + 1)).toBe(true);
});

test('a signal ends the wait of a replay', async () => {
  const interrupt = new AbortController();
  const summary = () => {
    interrupt.abort();
    return { traces: { ...NOTHING, pending: 2 * MAX_PENDING } };
  };
  const limits = { deadline_ms: DEADLINE_MS, store_limit_bytes: MB };
  await createThrottle([{ summary }], { ...limits, signal: interrupt.signal })();
});

test.each([
  ['its memory is filling', { is_crowded: true, stored_bytes: 0 }],
  ['it needs more than its share of the store', { is_crowded: false, stored_bytes: 0.025 * MB + 1 }],
])('a replay waits for a destination if %s, however few items that is', async (_why, waiting) => {
  let looked = 0;
  const load = (): Partial<Record<Signal, SignalLoad>> => ({
    logs: ++looked < 4 ? waiting : { is_crowded: false, stored_bytes: 0.025 * MB },
  });
  const destinations = [{ summary: () => ({ logs: NOTHING }), load }, { summary: () => ({}) }];
  const limits = { deadline_ms: DEADLINE_MS, store_limit_bytes: MB };
  await createThrottle(destinations, { ...limits, signal: NEVER })();
  expect(looked).toBe(4);
});

test('a change of the wall clock does not make a destination look stuck', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  let looked = 0;
  const summary = () => {
    vi.setSystemTime(Date.now() + 2 * DEADLINE_MS);
    return { traces: { ...NOTHING, pending: ++looked < 4 ? 2 * MAX_PENDING : 0 } };
  };
  const limits = { deadline_ms: DEADLINE_MS, store_limit_bytes: MB };
  await createThrottle([{ summary }], { ...limits, signal: NEVER })();
  expect(looked).toBe(4);
});

describe('a live source', () => {
  /**
   * A destination that is crowded for the first `looks` checks. `answers`: whether it delivers something between two
   * checks.
   */
  function createCrowded(looks: number, answers: boolean) {
    let looked = 0;
    const counts = (): SignalCounts => ({
      produced: 0,
      delivered: answers ? looked : 0,
      pending: 5,
      rejected: {},
      dropped: {},
    });
    return {
      pending: () => 5,
      summary: () => ({ traces: counts() }),
      load: () => ({ traces: { is_crowded: ++looked <= looks, stored_bytes: 0 } }),
      looked: () => looked,
    };
  }
  const IDLE = { pending: () => 0, summary: () => ({}) };
  const FOR_EVER = Infinity;

  test('is not held up if there is room', () => {
    expect(
      createHold([createCrowded(0, true), IDLE], { is_persisted: false, hasStopped: () => false })(),
    ).toBeUndefined();
  });

  test('waits in memory until there is room', async () => {
    const destination = createCrowded(6, true);
    await createHold([destination], { is_persisted: false, hasStopped: () => false })();
    expect(destination.looked()).toBe(7);
  });

  test.each([
    ['data that does not fit goes to the disk', true, []],
    ['another destination has nothing left to do', false, [IDLE]],
  ])('waits only one turn if %s', async (_where, is_persisted, others) => {
    const destination = createCrowded(FOR_EVER, true);
    await createHold([destination, ...others], { is_persisted, hasStopped: () => false })();
    expect(destination.looked()).toBe(2);
  });

  test('does not wait forever for a destination that answers nothing, and then not at all', async () => {
    let now_ms = 0;
    const hold = createHold([createCrowded(FOR_EVER, false)], {
      is_persisted: false,
      hasStopped: () => false,
      now: () => (now_ms += 100),
    });
    await hold();
    expect(now_ms).toBeGreaterThanOrEqual(1_000);
    expect(hold()).toBeUndefined();
  });

  test('stops waiting when it is stopped', async () => {
    let has_stopped = false;
    const destination = createCrowded(FOR_EVER, true);
    const held = createHold([destination], { is_persisted: false, hasStopped: () => has_stopped })();
    has_stopped = true;
    await held;
    expect(destination.looked()).toBeLessThanOrEqual(3);
  });
});

describe('a file that is followed', () => {
  const PART = 0.05 * MB;

  /** Reads one batch after another. `stored` is asked before each, with how many have been read. */
  async function readWith(
    stored: (read: number) => number,
    others: { pending: () => number; summary: () => object }[] = [],
  ) {
    const is_stopping = new AbortController();
    let read = 0;
    const destination = {
      pending: () => 1,
      summary: () => ({ logs: NOTHING }),
      load: () => ({ logs: { is_crowded: false, stored_bytes: stored(read) } }),
    };
    async function* items() {
      for (; read < 5; read++) yield { kind: 'status' as const, state: 'up' as const, message: '' };
    }
    const file = {
      name: 'file:a',
      is_rereadable: true as const,
      open: async () => items(),
      close: async () => {},
    };
    const options = { store_limit_bytes: MB, hasStopped: () => is_stopping.signal.aborted };
    const [held] = holdFiles([file], [destination, ...others], options);
    const reading = (async () => {
      for await (const _ of (await held?.open()) ?? []);
    })();
    return { reading, stop: () => is_stopping.abort() };
  }

  test('waits while a destination that answers needs much of the store', async () => {
    const looks: number[] = [];
    const { reading } = await readWith((read) => (looks.push(read) < 4 ? PART + 1 : PART));
    await reading;
    expect(looks).toEqual([0, 0, 0, 0, 1, 2, 3, 4]);
  });

  test('does not wait if another destination has nothing left to do, or after a stop', async () => {
    await (await readWith(() => MB, [{ pending: () => 0, summary: () => ({}) }])).reading;
    const { reading, stop } = await readWith(() => MB);
    stop();
    await reading;
  });
});
