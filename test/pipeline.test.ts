/**
 * The pipeline by itself: when its timer fires and what a sleeping machine changes, what waits for the store, and what reaches
 * the destinations in which portions.
 */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Correlator, createCorrelator, emptyEmission } from '../src/correlate/index.js';
import { createIntake } from '../src/intake.js';
import type { LineBatch, Source } from '../src/model/source.js';
import type { Emission } from '../src/model/telemetry.js';
import type { JournalEntry } from '../src/persistence/journal.js';
import type { JournalOutcome } from '../src/persistence/persistence.js';
import { openSavedState } from '../src/persistence/saved-state.js';
import { createPipeline, type PipelineParts } from '../src/pipeline.js';
import { deferred } from './export/fakes.js';
import { createSink, merge } from './helpers.js';
import { createMemoryStore } from './store/memory.js';

const MINUTE_MS = 60_000;
const EVENT = { ts: 0, session_key: 'agent:main:s', run_id: 'r' };
const START = { type: 'agent.started' };
const CALL = { type: 'tool.call', call_id: '1', tool: 'exec' };

const source: Source = { name: 'stdin', open: () => Promise.reject(), close: async () => undefined };
const file: Source = { ...source, name: 'file:/log', is_rereadable: true };

const batchOf = (events: object[], more: Partial<LineBatch> = {}): LineBatch => ({
  kind: 'lines',
  stream: 'stdin',
  end: false,
  lines: events.map((event, index) => ({
    number: index + 1,
    bytes: Buffer.from(JSON.stringify({ ...EVENT, ...event })),
  })),
  arrival_ms: 0,
  ...more,
});

/** A persistence that is ready and writes at once; the calls of it are recorded. */
function createFakePersistence(outcome: JournalOutcome = 'written') {
  return {
    ready: vi.fn((): Promise<void> => Promise.resolve()),
    journal: vi.fn(async () => outcome),
    isRecoverable: vi.fn(() => true),
    advance: vi.fn(),
    wake: vi.fn(),
  };
}

type Options = Partial<Omit<PipelineParts, 'correlator'>> & { correlator?: Partial<Correlator> };

/** Opens a pipeline in fake time; a part of its correlator may be replaced. */
function open({ correlator, ...parts }: Options = {}) {
  vi.useFakeTimers({ now: 0, toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const { destination, emitted } = createSink();
  const accept = vi.fn(destination.accept);
  const pipeline = createPipeline({
    intake: createIntake({ dialect: 'catalog', max_line_bytes: 1_000, onProblem: () => expect.fail() }),
    correlator: { ...createCorrelator(), ...correlator },
    destinations: [{ ...destination, accept }],
    persistence: undefined,
    now: Date.now,
    ...parts,
  });
  return { pipeline, accept, emitted, spans: () => merge(emitted).spans };
}

/** What a correlator does that has something due once, and the calls of it. */
function createDue(due_ms: number) {
  const due = [due_ms];
  return {
    nextDeadline: () => due[0],
    expire: vi.fn(() => {
      due.pop();
      return emptyEmission();
    }),
    apply: vi.fn(emptyEmission),
    wake: vi.fn(),
  };
}

const logsOf = (emitted: Emission[]): (string | undefined)[] =>
  merge(emitted).logs.map(({ event_name }) => event_name);

test.each([
  ['a run that is silent for 30 minutes is idle', 29.5, 0, 30],
  ['a timer that is late by a minute makes no difference', 29.5, MINUTE_MS, 31],
  [
    'nothing was received while the machine slept: a run has two minutes from then on',
    14.5,
    20 * MINUTE_MS,
    37,
  ],
])('%s', async (_, sleeps_at_min, slept_ms, ends_at_min) => {
  let asleep_ms = 0;
  const { pipeline, spans } = open({ now: () => Date.now() + asleep_ms });
  const at = (minute: number) => vi.advanceTimersByTimeAsync(minute * MINUTE_MS - asleep_ms - Date.now());
  await pipeline.take(source, batchOf([START]));
  await at(sleeps_at_min);
  asleep_ms = slept_ms;
  await at(ends_at_min - 0.01);
  expect(spans()).toEqual([]);
  await at(ends_at_min);
  expect(spans()).toMatchObject([{ error: { type: 'idle_timeout' } }]);
});

describe('the timer', () => {
  test('is one, and is gone when it is stopped: what comes then sets none', async () => {
    const { pipeline } = open();
    await pipeline.take(source, batchOf([START]));
    await pipeline.take(source, batchOf([CALL]));
    expect(vi.getTimerCount()).toBe(1);
    pipeline.stop();
    expect(vi.getTimerCount()).toBe(0);
    await pipeline.take(source, batchOf([{ ...START, run_id: 'other' }]));
    expect(vi.getTimerCount()).toBe(0);
  });

  test('fires at once for what is long overdue, which is no sign of a sleep', async () => {
    const correlator = createDue(-10 * MINUTE_MS);
    const { pipeline } = open({ correlator });
    pipeline.start();
    await vi.advanceTimersByTimeAsync(1);
    expect(correlator.expire).toHaveBeenCalled();
    expect(correlator.wake).not.toHaveBeenCalled();
  });

  test('applies nothing that came due before it was stopped', async () => {
    const persistence = createFakePersistence();
    const { promise, resolve } = deferred<void>();
    persistence.ready.mockReturnValue(promise);
    const correlator = createDue(0);
    const { pipeline } = open({ correlator, persistence });
    pipeline.start();
    await vi.advanceTimersByTimeAsync(1);
    pipeline.stop();
    resolve();
    await vi.advanceTimersByTimeAsync(1);
    expect(correlator.expire).not.toHaveBeenCalled();
  });
});

describe('with a store', () => {
  test('nothing is applied before the store is ready', async () => {
    const persistence = createFakePersistence();
    const { promise, resolve } = deferred<void>();
    persistence.ready.mockReturnValue(promise);
    const correlator = createDue(0);
    const { apply, expire } = correlator;
    const { pipeline } = open({ correlator, persistence });
    pipeline.start();
    await vi.advanceTimersByTimeAsync(1);
    const taken = pipeline.take(source, batchOf([START]));
    await vi.advanceTimersByTimeAsync(1);
    expect([apply.mock.calls, expire.mock.calls]).toEqual([[], []]);
    resolve();
    expect(await taken).toBe(1);
    expect([apply.mock.calls.length, expire.mock.calls.length]).toEqual([1, 1]);
  });

  test('each deadline up to the arrival of a chunk is applied at its own time, before the chunk', async () => {
    const due = [10, 20, 30, 31];
    const applied: string[] = [];
    const { pipeline } = open({
      correlator: {
        nextDeadline: () => due[0],
        expire: (now_ms) => {
          applied.push(`expire ${now_ms}`);
          due.shift();
          return emptyEmission();
        },
        apply: (_, now_ms) => {
          applied.push(`apply ${now_ms}`);
          return emptyEmission();
        },
      },
      persistence: createFakePersistence(),
      now: () => 30,
    });
    await pipeline.take(source, batchOf([START]));
    expect(applied).toEqual(['expire 10', 'expire 20', 'expire 30', 'apply 30']);
  });

  test.each<[JournalOutcome, boolean, boolean]>([
    ['written', true, true],
    ['comes_again', true, false],
    ['lost', false, false],
  ])(
    'of a chunk that is %s, what is derived can be recovered: %s; its sender need not repeat it: %s',
    async (outcome, is_recoverable, is_settled) => {
      const settle = vi.fn();
      const { pipeline, accept } = open({ persistence: createFakePersistence(outcome) });
      await pipeline.take(source, batchOf([START], { receipt: { settle, reject: () => expect.fail() } }));
      await pipeline.settled();
      expect(accept.mock.calls.map(([, recoverable]) => recoverable)).toEqual([is_recoverable]);
      expect(settle.mock.calls).toEqual([[is_settled]]);
    },
  );

  test('what belongs to no chunk can be recovered if everything before it can, and wakes the store', async () => {
    const persistence = createFakePersistence();
    persistence.isRecoverable.mockReturnValue(false);
    const { pipeline, accept } = open({ persistence });
    await pipeline.take(source, batchOf([START]));
    await pipeline.close();
    await pipeline.settled();
    expect(accept.mock.calls.map(([, recoverable]) => recoverable)).toEqual([false, true]);
    expect(persistence.wake).toHaveBeenCalledTimes(2);
  });
});

describe('a batch that can be read again', () => {
  const events = [START, CALL, { type: 'agent.finished', status: 'ok' }];

  /** Takes a batch of three events, the second of which is delayed until `resolve` says whether it is wanted, or skipped. */
  function takePaced(is_skipped = false) {
    const { promise: shaped, resolve } = deferred<boolean>();
    const persistence = createFakePersistence();
    const settle = vi.fn();
    const { pipeline, emitted } = open({
      persistence,
      beforeEvent: (event) =>
        event.type !== 'tool.call'
          ? event
          : is_skipped
            ? undefined
            : shaped.then((is_wanted) => (is_wanted ? event : undefined)),
    });
    const batch = batchOf(events, { receipt: { settle, reject: () => expect.fail() } });
    return { taken: pipeline.take(file, batch), resolve, emitted, persistence, settle };
  }

  test('is delivered up to an event that has to wait, with the timer set meanwhile', async () => {
    const { taken, resolve, emitted, persistence, settle } = takePaced();
    await vi.advanceTimersByTimeAsync(0);
    expect(logsOf(emitted)).toEqual(['openclaw.agent_started']);
    expect(vi.getTimerCount()).toBe(1);
    const { promise: ready, resolve: setReady } = deferred<void>();
    persistence.ready.mockReturnValue(ready);
    resolve(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(emitted).toHaveLength(1);
    setReady();
    expect(await taken).toBe(3);
    await vi.advanceTimersByTimeAsync(0);
    expect(logsOf(emitted)).toHaveLength(3);
    expect(persistence.advance).toHaveBeenCalledTimes(1);
    expect(persistence.journal).not.toHaveBeenCalled();
    expect(settle.mock.calls).toEqual([[true]]);
  });

  test.each([
    ['at once', true],
    ['after a wait', false],
  ])('is delivered up to an event that is skipped %s, and is not passed', async (_, at_once) => {
    const { taken, resolve, emitted, persistence, settle } = takePaced(at_once);
    resolve(false);
    expect(await taken).toBe(3);
    await vi.advanceTimersByTimeAsync(0);
    expect(logsOf(emitted)).toEqual(['openclaw.agent_started']);
    expect(persistence.advance).not.toHaveBeenCalled();
    expect(settle).not.toHaveBeenCalled();
  });
});

test('a journal is applied again at its own times, with the deadlines between; streams without a position have ended', () => {
  const due = [5, 15, 25, 26];
  const applied: string[] = [];
  const note = (what: string, time_ms: number): Emission => {
    applied.push(`${what} ${time_ms}`);
    return emptyEmission();
  };
  const intake = createIntake({ dialect: 'catalog', max_line_bytes: 1_000, onProblem: () => expect.fail() });
  const end = vi.spyOn(intake, 'end');
  const { pipeline } = open({
    intake,
    correlator: {
      waitForReasoning: (until_ms) => void note('wait', until_ms),
      nextDeadline: () => due[0],
      expire: (now_ms) => note('expire', due.shift() === now_ms ? now_ms : -1),
      apply: (_, now_ms) => note('apply', now_ms),
      wake: (now_ms) => void note('wake', now_ms),
    },
    now: () => 100,
  });
  const resume = (entries: JournalEntry[], last_ms: number, can_be_asked: boolean) =>
    pipeline.resume(
      {
        ...openSavedState(createMemoryStore(), 'run'),
        journal: { records: [], entries },
        positions: { stdin: { going: 1 } },
        answers: { keys: [], last_ms },
      },
      can_be_asked,
    );
  const batches = ['going', 'over'].map((stream) => batchOf([START], { stream }));
  resume(
    batches.map((batch, index) => ({ source: 'stdin', batch, now_ms: 10 * (index + 1) })),
    25,
    true,
  );
  expect(applied.splice(0)).toEqual([
    'wait Infinity',
    ...['expire 5', 'apply 10', 'expire 15', 'apply 20'],
    ...['expire 25', 'wake 100'],
  ]);
  expect(end.mock.calls).toEqual([['over']]);
  resume([], 0, false);
  expect(applied).toEqual(['wake 100']);
});

test('at the end everything is delivered in portions of a thousand, each after the one before it', async () => {
  const items = (count: number) => Array.from({ length: count }, (_, index) => index) as never[];
  const last: Emission = {
    spans: items(1_001),
    previews: items(1_002),
    corrections: items(1_003),
    logs: items(1_004),
    measurements: items(2_500),
  };
  const portions: number[] = [];
  const { pipeline, emitted } = open({
    correlator: { close: () => last },
    async afterPortion() {
      await new Promise((resolve) => setImmediate(resolve));
      portions.push(emitted.length);
    },
  });
  await pipeline.close();
  expect(portions).toEqual([1, 2, 3]);
  expect(emitted.map(({ measurements }) => measurements.length)).toEqual([1_000, 1_000, 500]);
  expect(emitted.map(({ logs }) => logs.length)).toEqual([1_000, 4, 0]);
  expect(merge(emitted)).toEqual(last);
});

test.each<keyof Emission>(['spans', 'previews', 'corrections', 'logs', 'measurements'])(
  'what is only %s is delivered, and nothing else is not',
  async (part) => {
    const only = { ...emptyEmission(), [part]: [1 as never] };
    const recordMeasurements = vi.fn();
    const { pipeline, emitted } = open({
      correlator: { releaseEnded: () => only, expire: emptyEmission },
      recordMeasurements,
    });
    pipeline.emitEnded();
    expect(emitted).toEqual([only]);
    expect(recordMeasurements.mock.calls).toEqual([[only.measurements]]);
  },
);
