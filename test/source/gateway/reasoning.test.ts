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

/** The same, with requests that wait: `answer` answers the latest one. */
function startUnanswered() {
  let resolveLatest = (_: Answer): void => undefined;
  const started = start(
    () =>
      new Promise((resolve) => {
        resolveLatest = resolve;
      }),
  );
  return { ...started, answer: (answer: Answer): void => resolveLatest(answer) };
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

test.each([
  ['was pushed', [modelCall('1')], 0],
  ['was not pushed', [], 1],
])(
  'a message that the session says is stored is asked for unless it was pushed: it %s',
  async (_, before, times) => {
    const { reasoning, unpushed } = start(async () => ({
      ok: true,
      payload: { messages: [{ role: 'assistant', __openclaw: { id: '1' } }] },
    }));
    const payload = { sessionKey: 'agent:main:s', phase: 'message', messageId: '1', ts: 1_100 };
    reasoning.see(lifecycle(1_000, { phase: 'start' }));
    for (const event of [...before, { type: 'event' as const, event: 'sessions.changed', payload }])
      reasoning.see(event);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(unpushed).toHaveLength(times);
  },
);

test('nothing more is requested if the connection ends during a request', async () => {
  const { reasoning, asked, answer } = startUnanswered();
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

/** A message of the session `agent:main:s`. */
const messageOf = (fields: Json, message: Json) => ({
  type: 'event' as const,
  event: 'session.message',
  payload: {
    sessionKey: 'agent:main:s',
    messageId: '1',
    message: { role: 'assistant', usage: { output: 9 }, ...message },
    ...fields,
  },
});

test.each([
  ['that spent tokens', messageOf({}, {}), 1],
  ['whose id is in the message', messageOf({ messageId: undefined }, { __openclaw: { id: '1' } }), 1],
  ['whose id is both in the event and in the message', messageOf({}, { __openclaw: { id: '2' } }), 1],
  ['that has no id', messageOf({ messageId: undefined }, {}), 0],
  ['of no session', messageOf({ sessionKey: undefined }, {}), 0],
  ['of another role', messageOf({}, { role: 'user' }), 0],
  ['that spent no tokens', messageOf({}, { usage: { output: 0 } }), 0],
  ['without usage', messageOf({}, { usage: undefined }), 0],
  ['that names its reasoning tokens', messageOf({}, { usage: { output: 9, reasoningTokens: 0 } }), 0],
  ['in another event', { ...messageOf({}, {}), event: 'agent' }, 0],
])('reasoning tokens are requested only of a model call: a message %s', async (_, frame, requests) => {
  const { reasoning, asked, told } = start(async () => rowsOf('1'));
  reasoning.see(frame);
  await vi.advanceTimersByTimeAsync(400);
  expect(asked).toHaveLength(requests);
  expect(told).toHaveLength(requests);
  expect(vi.getTimerCount()).toBe(0);
});

test('a row is told without the content of its message', async () => {
  const rows: Json[] = [];
  const nothing = (): void => undefined;
  const reasoning = createReasoning({
    onRows: (found) => void rows.push(...found),
    onMessage: nothing,
    onRefused: nothing,
    onAnswered: nothing,
    onLeftOut: nothing,
  });
  const stored = (id: string): Json => ({
    role: 'assistant',
    responseId: 'response',
    content: 'not needed',
    usage: { output: 9, reasoningTokens: 3 },
    __openclaw: { id, runId: 'r', recordTimestampMs: 5, more: true },
  });
  reasoning.begin(async () => ({ ok: true, payload: { messages: [stored('other'), stored('1')] } }));
  reasoning.see(modelCall('1'));
  await vi.advanceTimersByTimeAsync(400);
  expect(rows).toEqual([
    {
      role: 'assistant',
      responseId: 'response',
      usage: { reasoningTokens: 3 },
      __openclaw: { id: '1', runId: 'r', recordTimestampMs: 5 },
    },
  ]);
});

describe('requests for one session', () => {
  /** The end of a run, or another of its events. */
  const agent = (executionSettled: boolean) => ({
    type: 'event' as const,
    event: 'agent',
    payload: { sessionKey: 'agent:main:s', stream: 'lifecycle', data: { executionSettled } },
  });

  test('are made 0.4 s after the first model call, for all that came by then', async () => {
    const { reasoning, asked, told } = start(async () => rowsOf('1', '2'));
    reasoning.see(modelCall('1'));
    await vi.advanceTimersByTimeAsync(300);
    reasoning.see(modelCall('2'));
    await vi.advanceTimersByTimeAsync(99);
    expect(asked).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toEqual([{ key: 'agent:main:s', limit: 26 }]);
    expect(told).toEqual(['1', '2']);
  });

  test('are made at once when the run ends', async () => {
    const { reasoning, asked, told } = start(async () => rowsOf('1'));
    reasoning.see(agent(true));
    reasoning.see(modelCall('1'));
    reasoning.see(agent(false));
    expect(asked).toEqual([]);
    reasoning.see(agent(true));
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(1);
    expect(told).toEqual(['1']);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('are not made at the end of a run while the gateway gives no answers', async () => {
    const { reasoning, asked } = start(async () => refused);
    reasoning.see(modelCall('1'));
    await vi.advanceTimersByTimeAsync(400);
    reasoning.see(agent(true));
    await reasoning.finish();
    expect(asked).toHaveLength(1);
    reasoning.end();
  });

  test('follow each other, the later ones for more rows', async () => {
    const { reasoning, asked, answer } = startUnanswered();
    for (let id = 0; id < 80; id++) reasoning.see(modelCall(String(id)));
    await vi.advanceTimersByTimeAsync(400);
    reasoning.see(modelCall('late'));
    reasoning.see(agent(true));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(asked.map(({ limit }) => limit)).toEqual([260]);
    answer(NOT_YET);
    await vi.advanceTimersByTimeAsync(400);
    expect(asked.map(({ limit }) => limit)).toEqual([260, 263]);
    reasoning.end();
  });

  test('ask for at least 200 rows if the first one did not have everything', async () => {
    const { reasoning, asked } = start(async () => (asked.length < 2 ? NOT_YET : rowsOf('1')));
    reasoning.see(modelCall('1'));
    await vi.advanceTimersByTimeAsync(800);
    expect(asked.map(({ limit }) => limit)).toEqual([23, 200]);
    // Once all has been found, they begin anew.
    reasoning.see(modelCall('1'));
    await vi.advanceTimersByTimeAsync(400);
    expect(asked.map(({ limit }) => limit)).toEqual([23, 200, 23]);
  });

  test('are made at once for everything that is still wanted at the end', async () => {
    const { reasoning, told } = start(async () => rowsOf('1', '2'));
    reasoning.see(modelCall('1'));
    reasoning.see(modelCall('2', 'agent:main:other'));
    await reasoning.finish();
    expect(told).toEqual(['1', '2']);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('what a new connection is asked for is not affected by a late answer on the one before', async () => {
  const { reasoning, told, statuses, answer } = startUnanswered();
  reasoning.see(modelCall('1'));
  await vi.advanceTimersByTimeAsync(400);
  reasoning.end();
  reasoning.begin(async () => rowsOf('1'));
  answer(unanswered);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(told).toEqual(['1']);
  expect(statuses).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test('a model call is wanted for 4.5 s from when it came, however long the bridge has run', async () => {
  await vi.advanceTimersByTimeAsync(3_600_000);
  const onRows = vi.fn();
  const nothing = (): void => undefined;
  const call = vi.fn(async () => NOT_YET);
  const reasoning = createReasoning({
    onRows,
    onMessage: nothing,
    onRefused: nothing,
    onAnswered: nothing,
    onLeftOut: nothing,
  });
  reasoning.begin(call);
  reasoning.see(modelCall('1'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(call).toHaveBeenCalledTimes(12);
  expect(onRows).not.toHaveBeenCalled();
});

describe('with several sessions', () => {
  const SESSIONS = ['agent:main:1', 'agent:main:2', 'agent:main:3'];

  test.each<[string, Answer, number]>([
    ['one session after the other is asked about', NOT_YET, 2],
    ['no other one is asked about if the gateway gives no answer', refused, 1],
  ])('on a new connection %s', async (_, first, requests) => {
    const { reasoning, asked, call, answer } = startUnanswered();
    reasoning.end();
    for (const [id, key] of SESSIONS.entries()) reasoning.see(modelCall(String(id), key));
    reasoning.begin(call);
    await vi.advanceTimersByTimeAsync(100);
    expect(asked.map(({ key }) => key)).toEqual(SESSIONS.slice(0, 1));
    answer(first);
    await vi.advanceTimersByTimeAsync(100);
    expect(asked.map(({ key }) => key)).toEqual(SESSIONS.slice(0, requests));
    reasoning.end();
  });

  test('a gateway that gives no answer is not asked about the others meanwhile', async () => {
    const { reasoning, asked } = start(async () => refused);
    reasoning.see(modelCall('1', 'agent:main:1'));
    await vi.advanceTimersByTimeAsync(200);
    reasoning.see(modelCall('2', 'agent:main:2'));
    await vi.advanceTimersByTimeAsync(699);
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveLength(2);
    reasoning.end();
  });
});

test('what was wanted before a connection was lost is wanted anew on the next one', async () => {
  const { reasoning, asked, call } = start(async () => NOT_YET);
  reasoning.see(modelCall('1'));
  reasoning.end();
  await vi.advanceTimersByTimeAsync(3_600_000);
  reasoning.begin(call);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(asked).toHaveLength(13);
});
