/**
 * Model calls without an id, and the steps that they end: whatever comes out of order, each call is one span, and so is each
 * step that no call has ended, all with ids of their own.
 */
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { Emission } from '../../src/model/telemetry.js';
import { save, savedIn } from '../captures.js';
import { correlate, merge, NOW_MS } from '../helpers.js';

const START_MS = NOW_MS - 100_000;
const DURATION = 'gen_ai.client.inference.duration';
const REASONING = 'gen_ai.client.inference.usage.reasoning.output_tokens';

// biome-ignore lint/suspicious/noExplicitAny: a short way to write events; the types are checked where they are used
const at = (ms: number, type: string, fields: any = {}): AgentEvent =>
  ({ type, ts: START_MS + ms, session_key: 'agent:main:s', run_id: 'r', ...fields }) as AgentEvent;

const started = at(0, 'agent.started');
const finished = at(90_000, 'agent.finished', { status: 'ok' });
const stepAt = (ms: number): AgentEvent => at(ms, 'agent.step_started');
const tokensAt = (ms: number, fields = {}): AgentEvent =>
  at(ms, 'llm.tokens', { model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1, ...fields });

const chatsOf = (events: AgentEvent[]) => correlate(events).spans.filter(({ kind }) => kind === 'chat');

const idsOf = (spans: { span_id: string }[]): string[] => spans.map(({ span_id }) => span_id);

/** The number of steps that no call has ended; each call ends the latest open step before it. */
function countLeftSteps(events: AgentEvent[]): number {
  let open = 0;
  for (const { type } of events.toSorted((a, b) => a.ts - b.ts)) {
    if (type === 'agent.step_started') open++;
    else if (type === 'llm.tokens' && open > 0) open--;
  }
  return open;
}

describe.each([
  ['held for its reasoning', {}],
  ['emitted at once', { reasoning_tokens: 1 }],
])('a call that is %s', (_, fields) => {
  test('keeps its id when its step turns out to belong to an earlier call', () => {
    const calls = [tokensAt(2_000, { input_tokens: 200, ...fields }), tokensAt(1_000, fields)];
    const chats = chatsOf([started, stepAt(100), ...calls, finished]);
    expect(
      chats
        .map(({ start_ms, end_ms, attributes }) => [
          start_ms - START_MS,
          end_ms! - START_MS,
          attributes['gen_ai.usage.input_tokens'],
        ])
        .sort(),
    ).toEqual([
      [100, 1_000, 1],
      [100, 2_000, 200],
    ]);
    expect(new Set(idsOf(chats)).size).toBe(2);
  });

  test('keeps its id when a later step turns out to be its own', () => {
    const chats = chatsOf([started, stepAt(100), tokensAt(2_000, fields), stepAt(1_500), finished]);
    expect(chats.map(({ name }) => name).sort()).toEqual(['chat m', 'chat unknown']);
    expect(new Set(idsOf(chats)).size).toBe(2);
  });

  test('has an id from the number of its step, if all events come in order', () => {
    const inOrder = [stepAt(100), tokensAt(200, fields), tokensAt(300, fields), stepAt(400), stepAt(500)];
    const numbers = chatsOf([started, ...inOrder, tokensAt(600, fields), finished])
      .toSorted((a, b) => a.end_ms! - b.end_ms!)
      .map(({ span_id }) => span_id);
    const named = ['1', '2', '3', '4'].map((response_id) => tokensAt(700, { response_id }));
    expect(numbers).toEqual(idsOf(chatsOf([started, ...named, finished])));
  });
});

test('a step that comes after its call and after the end of its run does not count again, if it was the missing event', () => {
  const [first, call, end, step] = [started, tokensAt(900, { reasoning_tokens: 1 }), finished, stepAt(100)];
  const told = [first, call, end, step].map(
    (each, index) => ({ ...each, seq: [1, 3, 4, 2][index] }) as AgentEvent,
  );
  expect(chatsOf(told)).toHaveLength(1);
});

test('a step that comes after its call does not count again', () => {
  const call = tokensAt(200, { response_id: 'one' });
  const inOrder = chatsOf([started, stepAt(100), call, stepAt(300), finished]);
  const swapped = chatsOf([started, call, stepAt(100), stepAt(300), finished]);
  expect(idsOf(swapped).sort()).toEqual(idsOf(inOrder).sort());
});

const failedAt = (ms: number): AgentEvent =>
  tokensAt(ms, { input_tokens: 0, output_tokens: 0, error: { type: 'timeout', message: 'no answer' } });

test('attempts that failed before their responses began are each a call of their own', () => {
  const chats = chatsOf([
    started,
    failedAt(1_000),
    failedAt(3_000),
    stepAt(5_000),
    failedAt(5_100),
    finished,
  ]);
  expect(chats.map(({ end_ms, error }) => [end_ms! - START_MS, error?.type])).toEqual([
    [1_000, 'timeout'],
    [3_000, 'timeout'],
    [5_100, 'timeout'],
  ]);
});

const failedEnd = at(90_000, 'agent.finished', { status: 'error', error: { type: 'broken', message: 'no' } });

/** The start of each call, and its end if it failed with an error of its own. */
const attemptsOf = (events: AgentEvent[]) =>
  chatsOf([started, ...events])
    .map(({ start_ms, end_ms, error }) => [start_ms, error?.type === 'timeout' ? end_ms : undefined])
    .sort(([a], [b]) => Number(a) - Number(b));

/** Steps and failures that name no call, each with its own timestamp, and the run's end; the same in another order. */
const failing: fc.Arbitrary<[AgentEvent[], AgentEvent[]]> = fc
  .tuple(fc.array(fc.constantFrom(stepAt, failedAt), { minLength: 1, maxLength: 8 }), fc.constantFrom(1, 100))
  .map(([kinds, apart_ms]) => [...kinds.map((tell, index) => tell(apart_ms * (index + 1))), failedEnd])
  .chain((events) =>
    fc.tuple(fc.constant(events), fc.shuffledSubarray(events, { minLength: events.length })),
  );

test.prop([failing], { numRuns: 300 })(
  'failures belong to the same steps in any order, and those without a step are calls of their own',
  ([events, other]) => {
    expect(attemptsOf(other)).toEqual(attemptsOf(events));
  },
);

test.each([
  ['without an id', {}],
  ['with a message of its own', { message_id: 'one', started_at: START_MS + 100 }],
])('a failure is another attempt if a call %s had ended its step before it', (_, fields) => {
  const [call, failure] = [tokensAt(1_000, fields), failedAt(2_000)];
  const told = [call, failure].map((_, first) =>
    chatsOf([started, stepAt(100), ...(first === 0 ? [call, failure] : [failure, call]), finished])
      .map(({ start_ms, end_ms, error }) => [start_ms - START_MS, end_ms! - START_MS, error?.type])
      .sort(),
  );
  expect(told).toEqual(
    Array(2).fill([
      [100, 1_000, undefined],
      [2_000, 2_000, 'timeout'],
    ]),
  );
});

/** The start, end and error type of each call. */
const timesOf = (events: AgentEvent[]) =>
  chatsOf([started, ...events, finished])
    .map(({ start_ms, end_ms, error }) => [start_ms - START_MS, end_ms! - START_MS, error?.type])
    .sort(([a], [b]) => Number(a) - Number(b));

/** A call that states its own start. */
const toldAt = (start_ms: number, ms: number, fields = {}): AgentEvent =>
  tokensAt(ms, { started_at: START_MS + start_ms, ...fields });

/** All permutations. */
const ordersOf = <T>(items: readonly T[]): T[][] =>
  items.length < 2
    ? [[...items]]
    : items.flatMap((item, at) => ordersOf(items.toSpliced(at, 1)).map((rest) => [item, ...rest]));

describe.each([
  ['without an id', {}],
  ['with an id', { response_id: 'one' }],
])('a call that states its own start, %s', (_, fields) => {
  test.each(ordersOf([0, 1, 2]))(
    'does not end a step that had failed by then, with the events in order %d %d %d',
    (...order) => {
      const events = [stepAt(100), failedAt(300), toldAt(600, 900, fields)];
      expect(timesOf(order.map((at) => events[at]!))).toEqual([
        [100, 300, 'timeout'],
        [600, 900, undefined],
      ]);
    },
  );

  test('does not end any of several attempts that had failed by then', () => {
    const events = [stepAt(100), failedAt(300), failedAt(500), toldAt(600, 900, fields)];
    for (const told of ordersOf(events))
      expect(timesOf(told)).toEqual([
        [100, 300, 'timeout'],
        [500, 500, 'timeout'],
        [600, 900, undefined],
      ]);
  });

  test('does not end a step that another step had followed by then', () => {
    const events = [stepAt(100), stepAt(200), toldAt(200, 300, { response_id: 'other' })];
    expect(timesOf([...events, toldAt(600, 900, fields)])).toEqual([
      [100, 200, undefined],
      [200, 300, undefined],
      [600, 900, undefined],
    ]);
    for (const told of ordersOf([...events, toldAt(600, 900, fields)]))
      expect(timesOf(told).map(([start_ms]) => start_ms)).toEqual([100, 200, 600]);
  });

  test('ends the current step of its run, even if the step began earlier or failed just before', () => {
    expect(timesOf([stepAt(100), toldAt(600, 900, fields)])).toEqual([[600, 900, undefined]]);
    const failed = toldAt(600, 900, { error: { message: 'no answer' }, response_id: 'one' });
    expect(timesOf([stepAt(100), failedAt(890), failed])).toEqual([[600, 900, 'timeout']]);
  });
});

test('a call that succeeded does not end a failed step, even if it does not state its own start', () => {
  const events = [stepAt(100), failedAt(300), tokensAt(900)];
  expect(timesOf(events)).toEqual([
    [100, 300, 'timeout'],
    [900, 900, undefined],
  ]);
  for (const told of ordersOf(events)) {
    const times = timesOf(told);
    expect(times).toHaveLength(2);
    expect(times).toContainEqual([100, 300, 'timeout']);
  }
});

test('a call that failed ends the step whose failure was reported before it', () => {
  const failed = tokensAt(310, { error: { message: 'no answer' }, response_id: 'one' });
  expect(timesOf([stepAt(100), failedAt(300), failed])).toEqual([[100, 310, 'timeout']]);
});

test('a call that failed and has tokens, but no id, ends the step, and its tokens count', () => {
  const events = [stepAt(100), tokensAt(300, { error: { type: 'cut', message: 'cut off' } })];
  expect(timesOf(events)).toEqual([[100, 300, 'cut']]);
  expect(chatsOf(events)[0]?.attributes).toMatchObject({
    'gen_ai.usage.input_tokens': 1,
    'gen_ai.usage.output_tokens': 1,
  });
});

test('a call with a message of its own ends no step that is more than 50 ms older', () => {
  const message = toldAt(600, 900, { message_id: 'one' });
  expect(timesOf([stepAt(100), message]).map(([start_ms]) => start_ms)).toEqual([100, 600]);
  expect(timesOf([stepAt(560), message]).map(([start_ms]) => start_ms)).toEqual([600]);
});

describe('a step that no call has ended', () => {
  const failedAs = (ms: number, model: string): AgentEvent =>
    at(ms, 'llm.tokens', { ...tokensAt(0), ...failedAt(ms), ts: START_MS + ms, model });
  const namesOf = (events: AgentEvent[]) => chatsOf([started, ...events, finished]).map(({ name }) => name);
  const called = (ms: number, tool: string): AgentEvent => at(ms, 'tool.call', { call_id: `${ms}`, tool });

  test('ends with the first tool call after it', () => {
    expect(timesOf([stepAt(100), called(500, 'exec'), called(800, 'read')])).toEqual([[100, 500, undefined]]);
  });

  test('is dropped if it begins as its run yields', () => {
    expect(timesOf([called(500, 'sessions_yield'), stepAt(500)])).toEqual([]);
  });

  test('has the model name of its failure, whichever of the two comes first', () => {
    expect(namesOf([stepAt(100), failedAs(500, 'm1')])).toEqual(['chat m1']);
    expect(namesOf([failedAs(500, 'm1'), stepAt(100)])).toEqual(['chat m1']);
  });

  test('has the error of its run only if it is the last', () => {
    const failed = at(90_000, 'agent.finished', { status: 'error' });
    const chats = chatsOf([started, stepAt(100), stepAt(100), failed]);
    expect(chats.map(({ end_ms, error }) => [end_ms! - START_MS, error?.type])).toEqual([
      [100, undefined],
      [90_000, 'error'],
    ]);
  });

  test('has no error of its run if a tool call came after it, since the model had answered', () => {
    const failed = at(80_000, 'agent.finished', { status: 'error' });
    expect(timesOf([stepAt(100), called(500, 'exec'), failed])).toEqual([[100, 500, undefined]]);
    expect(timesOf([stepAt(500), called(100, 'exec'), failed])).toEqual([[500, 80_000, 'error']]);
  });

  test('ends at the start of the later step that turns out to have failed instead', () => {
    expect(timesOf([stepAt(100), failedAt(900), stepAt(500)])).toEqual([
      [100, 500, undefined],
      [500, 900, 'timeout'],
    ]);
  });

  test('stays if it failed after an unsettled end of its run', () => {
    const told = at(300, 'agent.finished', { status: 'cancelled', settled: false });
    expect(timesOf([told, failedAt(500)])).toHaveLength(1);
  });
});

describe('a call before which numbered events are missing', () => {
  const numbered = (seq: number, event: AgentEvent): AgentEvent => ({ ...event, seq });
  const opened = numbered(1, started);
  const stepped = numbered(2, stepAt(100));
  const answered = numbered(3, tokensAt(600, { response_id: 'one', reasoning_tokens: 7 }));

  /** Applies the events, 10 ms apart; the starts and the durations of the chats, by the event that gave them. */
  function told(events: AgentEvent[], correlator = createCorrelator()) {
    const emissions = events.map((event, at) => correlator.apply(event, START_MS + 1_000 + 10 * at));
    return { correlator, given: emissions.map(begunOf) };
  }

  const begunOf = ({ spans, measurements }: Emission) => [
    ...spans.filter(({ kind }) => kind === 'chat').map(({ start_ms }) => start_ms - START_MS),
    ...measurements.filter(({ instrument }) => instrument === DURATION).map(({ value }) => `${value} s`),
  ];

  test('begins with its step, which is awaited', () => {
    expect(told([opened, stepped, answered]).given).toEqual([[], [], [100, '0.5 s']]);
    expect(told([opened, answered, stepped]).given).toEqual([[], [], [100, '0.5 s']]);
  });

  test('begins with its own step, if that of an earlier call is awaited, too', () => {
    const again = numbered(5, tokensAt(900, { response_id: 'two', reasoning_tokens: 7 }));
    const { given } = told([opened, again, stepped, answered, numbered(4, stepAt(700))]);
    expect(given).toEqual([[], [], [], [100, '0.5 s'], [700, '0.2 s']]);
  });

  test('has all reasoning that is reported meanwhile, and its tokens once', () => {
    const reasoned = numbered(4, at(650, 'llm.reasoning', { response_id: 'one', reasoning_tokens: 7 }));
    const thought = { ...reasoned, duration_ms: 300 } as AgentEvent;
    for (const each of [answered, numbered(3, tokensAt(600, { response_id: 'one' }))]) {
      const { spans, measurements } = correlate([opened, each, thought, stepped, finished]);
      expect(spans.find(({ kind }) => kind === 'chat')).toMatchObject({
        start_ms: START_MS + 100,
        attributes: { 'gen_ai.usage.reasoning.output_tokens': 7, 'openclaw.reasoning.duration_ms': 300 },
      });
      expect(measurements.filter(({ instrument }) => instrument === REASONING)).toHaveLength(1);
    }
  });

  test('is emitted after 5 s if they never come; later ones of the run are emitted at once', () => {
    const { correlator } = told([opened, answered]);
    expect(begunOf(correlator.expire(START_MS + 6_000))).toEqual([]);
    const resumed = createCorrelator({}, savedIn(save(correlator)));
    expect(begunOf(resumed.expire(START_MS + 6_010))).toEqual([600, '0 s']);
    const again = numbered(5, tokensAt(900, { response_id: 'two', reasoning_tokens: 7 }));
    expect(told([again], resumed).given).toEqual([[900, '0 s']]);
  });

  test('is not held if it states its start', () => {
    const { given } = told([opened, { ...answered, started_at: START_MS + 200 } as AgentEvent]);
    expect(given).toEqual([[], [200, '0.4 s']]);
  });
});

test('a call is tagged late if its step began after the end of its run, with or without an end of its own', () => {
  const lateOf = (events: AgentEvent[]) =>
    chatsOf(events).map(({ attributes }) => attributes['openclaw.late']);
  const ended = at(200, 'agent.finished', { status: 'ok' });
  expect(lateOf([started, stepAt(100), ended, tokensAt(300)])).toEqual([undefined]);
  expect(lateOf([started, ended, stepAt(300), tokensAt(400), stepAt(500)])).toEqual([true, true]);
});

test('a failed call without output tokens is emitted at once, one with output tokens after waiting for its reasoning', () => {
  const correlator = createCorrelator();
  const failed = (response_id: string, output_tokens: number): AgentEvent =>
    tokensAt(200, { response_id, error: { message: 'no answer' }, input_tokens: 0, output_tokens });
  const told = [started, failed('one', 7), failed('two', 0)].map((each) => correlator.apply(each, each.ts));
  const spans = [...merge(told).spans, ...correlator.expire(START_MS + 5_200).spans];
  expect(merge(told).spans).toHaveLength(1);
  expect(
    spans.map(({ attributes }) => [
      attributes['gen_ai.response.id'],
      attributes['gen_ai.usage.output_tokens'],
    ]),
  ).toEqual([
    ['two', undefined],
    ['one', 7],
  ]);
});

describe('a call that is announced twice', () => {
  const step = (ms: number, fields = {}): AgentEvent =>
    at(ms, 'agent.step_started', { model: 'm', provider: 'p', ...fields });
  const outOfTime = at(9_000, 'agent.finished', { status: 'timeout', error: { message: 'too slow' } });
  const drawn = (events: AgentEvent[]) =>
    chatsOf([started, ...events]).map(({ start_ms, end_ms, error }) => [
      start_ms - START_MS,
      end_ms! - START_MS,
      error?.message,
    ]);
  const failure = at(8_100, 'llm.tokens', {
    ...{ model: 'm', provider: 'p', input_tokens: 0, output_tokens: 0 },
    error: { type: 'timeout', message: 'no answer' },
  });

  test.each<[string, AgentEvent[], unknown[]]>([
    ['the last call', [step(100), step(8_000), outOfTime], [[100, 8_000, 'too slow']]],
    [
      'the last call, of a run that is aborted',
      [step(100), step(8_000), at(8_050, 'agent.finished', { status: 'cancelled' })],
      [[100, 8_000, 'cancelled']],
    ],
    [
      'the last call, which failed',
      [step(100), step(8_000), failure, outOfTime],
      [[100, 8_000, 'no answer']],
    ],
    [
      'a call after others',
      [step(100), tokensAt(200), step(300), step(8_000), outOfTime],
      [
        [100, 200, undefined],
        [300, 8_000, 'too slow'],
      ],
    ],
  ])('as its run is cut off is one: %s', (_, events, chats) => {
    expect(drawn(events).sort()).toEqual(chats);
  });

  test.each<[string, AgentEvent[]]>([
    ['the run ended otherwise', [step(100), step(8_000), at(9_000, 'agent.finished', { status: 'error' })]],
    ['the run ended later', [step(100), step(7_999), outOfTime]],
    ['the model is another', [step(100), step(8_000, { model: 'n' }), outOfTime]],
    ['the provider is another', [step(100), step(8_000, { provider: 'q' }), outOfTime]],
    ['the first has ended', [step(100), tokensAt(200), step(8_000), outOfTime]],
    ['the first has failed', [step(100), { ...failure, ts: START_MS + 7_000 }, step(8_000), outOfTime]],
  ])('is two calls if %s', (_, events) => {
    expect(drawn(events)).toHaveLength(2);
  });
});

describe('a step that begins in the same millisecond in which a call ends', () => {
  const unnamed = { model: 'unknown', response_id: 'second' };
  const named = (ms: number, model: string): AgentEvent =>
    at(ms, 'agent.step_started', { model, provider: 'p' });
  const numbered = (events: AgentEvent[]) => events.map((event, index) => ({ ...event, seq: index + 1 }));
  const chatOf = (events: AgentEvent[], id: string) => {
    const chats = chatsOf([started, ...events, finished]);
    expect(chats).toHaveLength(2);
    const { name, start_ms, end_ms } = chats.find(
      ({ attributes }) => attributes['gen_ai.response.id'] === id,
    )!;
    return [name, start_ms - START_MS, end_ms! - START_MS];
  };

  const called = [named(100, 'm1'), tokensAt(200, { response_id: 'first' }), named(200, 'm2')];
  test.each([
    ['with sequence numbers', numbered([...called, tokensAt(350, unnamed)])],
    ['without sequence numbers', [...called, tokensAt(350, unnamed)]],
  ])('belongs to the next call if the one that ends had a step, %s', (_, events) => {
    const last = events.at(-1)!;
    for (const told of ordersOf(events.slice(0, -1)))
      expect(chatOf([...told, last], 'second')).toEqual(['chat m2', 200, 350]);
  });

  test('belongs to the call that comes after it by sequence number', () => {
    const [call, step, next] = numbered([
      tokensAt(200, { response_id: 'first' }),
      named(200, 'm2'),
      tokensAt(350, unnamed),
    ]) as [AgentEvent, AgentEvent, AgentEvent];
    for (const told of ordersOf([call, step]))
      expect(chatOf([...told, next], 'second')).toEqual(['chat m2', 200, 350]);
    const turned = numbered([named(100, 'm1'), named(200, 'm2'), tokensAt(200, unnamed)]);
    for (const told of ordersOf(turned.slice(0, -1)))
      expect(chatOf([...told, turned[2]!], 'second')).toEqual(['chat m2', 200, 200]);
  });
});

/** Steps and calls of one run, each with its own timestamp, in any order; the run's end comes anywhere among them. */
const mixed: fc.Arbitrary<AgentEvent[]> = fc
  .array(
    fc.constantFrom(stepAt, tokensAt, (ms: number) => tokensAt(ms, { reasoning_tokens: 1 })),
    {
      minLength: 1,
      maxLength: 12,
    },
  )
  .map((kinds) => [finished, ...kinds.map((tell, index) => tell(100 * (index + 1)))])
  .chain((events) => fc.shuffledSubarray(events, { minLength: events.length }));

/** The same with two events per timestamp, which their sequence numbers put in order. */
const paired: fc.Arbitrary<AgentEvent[]> = fc
  .array(fc.constantFrom(stepAt, tokensAt), { minLength: 1, maxLength: 12 })
  .map((kinds) => kinds.map((tell, index) => ({ ...tell(100 * (1 + (index >> 1))), seq: index + 1 })))
  .chain((events) => fc.shuffledSubarray(events, { minLength: events.length }));

/** Events of every kind, two per timestamp, some with sequence numbers, and calls that state their own start. */
const telling: fc.Arbitrary<AgentEvent[]> = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        stepAt,
        failedAt,
        tokensAt,
        (ms: number) => toldAt(ms - 150, ms),
        (ms: number) => toldAt(ms - 150, ms, { message_id: `${ms}` }),
      ),
      fc.boolean(),
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((kinds) =>
    kinds.map(([tell, has_number], index) => {
      const event = tell(100 * (2 + (index >> 1)));
      return has_number ? { ...event, seq: index + 1 } : event;
    }),
  )
  .chain((events) => fc.shuffledSubarray([finished, ...events], { minLength: events.length + 1 }));

test.prop([paired], { numRuns: 300 })(
  'events with equal timestamps are matched by their sequence numbers, and each is one span',
  (events) => {
    const inOrder = events.toSorted((a, b) => a.seq! - b.seq!);
    const chats = chatsOf([started, ...events, finished]);
    const calls = events.filter(({ type }) => type === 'llm.tokens').length;
    expect(chats).toHaveLength(calls + countLeftSteps(inOrder));
  },
);

test.prop([mixed], { numRuns: 300 })(
  'each call, and each step without one, is one span with its own id, in any order',
  (events) => {
    const chats = chatsOf([started, ...events]);
    const calls = events.filter(({ type }) => type === 'llm.tokens').length;
    expect(chats).toHaveLength(calls + countLeftSteps(events));
    expect(new Set(idsOf(chats)).size).toBe(chats.length);
  },
);

test.prop(
  [
    fc.oneof(
      mixed,
      telling,
      failing.map(([, other]) => other),
    ),
    fc.nat(12),
  ],
  { numRuns: 300 },
)('a restart between steps and calls changes none of their spans', (events, restart_after) => {
  const all = [started, ...events];
  const before = createCorrelator();
  const emissions = all.slice(0, restart_after).map((event) => before.apply(event, NOW_MS));
  const after = createCorrelator({}, savedIn(save(before)));
  emissions.push(...all.slice(restart_after).map((event) => after.apply(event, NOW_MS)));
  expect(merge([...emissions, after.close(NOW_MS)]).spans).toEqual(correlate(all).spans);
});

describe('the histogram of calls per run', () => {
  const recorded = (instrument: string, timed: [ms: number, event: AgentEvent][]): number[] => {
    const correlator = createCorrelator();
    const given = timed.map(([ms, event]) =>
      merge([correlator.expire(START_MS + ms), correlator.apply(event, START_MS + ms)]),
    );
    return merge([...given, correlator.close(NOW_MS)])
      .measurements.filter((measured) => measured.instrument === instrument)
      .map(({ value }) => value);
  };

  test.each([1_100, 60_000])('counts failed model calls, in a run that ends after %d ms', (end_ms) => {
    const failed = at(1_000, 'llm.tokens', {
      ...tokensAt(0),
      ts: START_MS + 1_000,
      error: { message: 'no' },
    });
    const events = [started, stepAt(500), failed, stepAt(1_050), tokensAt(1_080)];
    const end = at(end_ms, 'agent.finished', { status: 'ok' });
    const timed = [...events, end].map((event): [number, AgentEvent] => [event.ts - START_MS, event]);
    expect(recorded('gen_ai.invoke_agent.inference_calls', timed)).toEqual([2]);
  });

  test('counts tool calls whose start was not seen', () => {
    const output = at(1_000, 'tool.output', { call_id: 'c', tool: 't' });
    const end = at(2_000, 'agent.finished', { status: 'ok' });
    const timed: [number, AgentEvent][] = [
      [0, started],
      [1_000, output],
      [2_000, end],
    ];
    expect(recorded('gen_ai.invoke_agent.tool_calls', timed)).toEqual([1]);
    const late: [number, AgentEvent][] = [...timed.slice(0, 2), [60_000, { ...end, ts: START_MS + 60_000 }]];
    expect(recorded('gen_ai.invoke_agent.tool_calls', late)).toEqual([1]);
  });
});
