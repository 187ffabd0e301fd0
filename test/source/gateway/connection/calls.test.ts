/** Calls to a gateway and its frames: what counts as an answer, for how long it is waited for, and what ends a run. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createCalls, isNoAnswer } from '../../../../src/source/gateway/connection/calls.js';
import { endsRun, readFrame } from '../../../../src/source/gateway/connection/frames.js';

describe('a call', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function start() {
    const sent: string[] = [];
    const calls = createCalls(
      (text) => void sent.push(text),
      (text) => text.replace('secret', '…'),
    );
    return { calls, sent };
  }

  const failed = (code: string, message: string) => ({ ok: false, error: { code, message, details: {} } });

  test('is answered by the response with its id', async () => {
    const { calls, sent } = start();
    const answers = [calls.call('a', { x: 1 }), calls.call('b', {})];
    expect(sent.map((text) => JSON.parse(text))).toEqual([
      { type: 'req', id: '1', method: 'a', params: { x: 1 } },
      { type: 'req', id: '2', method: 'b', params: {} },
    ]);
    calls.settle({ type: 'res', id: '2', ok: true, payload: 'no object' });
    calls.settle({ type: 'res', id: '1', ok: true, payload: { y: 2 } });
    calls.settle({ type: 'res', id: '1', ok: true, payload: { y: 3 } });
    calls.settle({ type: 'res', id: '9', ok: true, payload: {} });
    expect(await Promise.all(answers)).toEqual([
      { ok: true, payload: { y: 2 } },
      { ok: true, payload: {} },
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('may be refused, with a reason or without', async () => {
    const { calls } = start();
    const answers = [calls.call('a', {}), calls.call('b', {})];
    const error = { code: 'FORBIDDEN', message: 'not with secret', details: {} };
    calls.settle({ type: 'res', id: '1', ok: false, error });
    calls.settle({ type: 'res', id: '2', ok: false });
    expect(await Promise.all(answers)).toEqual([
      failed('FORBIDDEN', 'not with …'),
      failed('UNKNOWN', 'no reason given'),
    ]);
  });

  test('is waited for 15 s', async () => {
    const { calls } = start();
    const answered = vi.fn();
    void calls.call('a', {}).then(answered);
    await vi.advanceTimersByTimeAsync(14_999);
    expect(answered).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(answered).toHaveBeenCalledWith(failed('UNANSWERED', 'no answer to a within 15 s'));
  });

  test('ends with its connection, and none is sent after that', async () => {
    const { calls, sent } = start();
    const waiting = calls.call('a', {});
    calls.end();
    expect(await waiting).toEqual(failed('UNANSWERED', 'the connection was closed'));
    expect(await calls.call('b', {})).toEqual(failed('UNANSWERED', 'the connection is closed'));
    expect(sent).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ['UNAVAILABLE', true],
    ['UNANSWERED', true],
    ['FORBIDDEN', false],
  ])('that fails with %s may be answered later: %s', (code, expected) => {
    expect(isNoAnswer({ code, message: '', details: {} })).toBe(expected);
  });
});

test.each<[string, string, unknown]>([
  ['no JSON', '{', undefined],
  ['no object', '[]', undefined],
  ['null', 'null', undefined],
  ['a response without an id', '{"type":"res","ok":true}', undefined],
  ['an event without a name', '{"type":"event"}', undefined],
  ['another type', '{"type":"req","id":"1","event":"x"}', undefined],
  [
    'a response that does not say that it is ok',
    '{"type":"res","id":"1","ok":"yes"}',
    { type: 'res', id: '1', ok: false, payload: undefined },
  ],
  [
    'an error without its fields',
    '{"type":"res","id":"1","ok":false,"error":{"code":5,"details":"x"}}',
    {
      type: 'res',
      id: '1',
      ok: false,
      payload: undefined,
      error: { code: 'UNKNOWN', message: 'no reason given', details: {} },
    },
  ],
  [
    'an event without a number',
    '{"type":"event","event":"tick","payload":{},"seq":"1"}',
    { type: 'event', event: 'tick', payload: {} },
  ],
  [
    'an event with a number',
    '{"type":"event","event":"tick","payload":{},"seq":1}',
    { type: 'event', event: 'tick', payload: {}, seq: 1 },
  ],
])('a frame is read as far as it can be used: %s', (_, json, frame) => {
  expect(readFrame(json)).toStrictEqual(frame);
});

test.each([
  [{ stream: 'lifecycle', seq: 9, data: { phase: 'end', executionSettled: true } }, true],
  [{ stream: 'lifecycle', seq: 9, data: { phase: 'end' } }, false],
  [{ stream: 'lifecycle', seq: 9, data: { phase: 'end', executionSettled: 'no' } }, false],
  [{ stream: 'lifecycle', seq: 1, data: { phase: 'end' } }, true],
  [{ stream: 'lifecycle', seq: 1, data: { phase: 'start' } }, false],
  [{ stream: 'tool', seq: 1, data: { phase: 'end', executionSettled: true } }, false],
])('an event is the last one of its run: %o: %s', (payload, expected) => {
  expect(endsRun(payload)).toBe(expected);
});
