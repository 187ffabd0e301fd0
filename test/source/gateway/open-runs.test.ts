/** Which runs are known to be open, and at most how many. */
import { expect, test } from 'vitest';
import { createOpenRuns } from '../../../src/source/gateway/open-runs.js';

const event = (session: number, run_id: string, phase: string, more: object = {}) => ({
  sessionKey: `agent:main:${session}`,
  runId: run_id,
  agentId: 'main',
  stream: 'lifecycle',
  ts: 1_000,
  data: { phase, ...more },
});

test('a run is open from its start, or from the saved state of an earlier process, until its last event', () => {
  const runs = createOpenRuns({ 'agent:main:1': { run_id: 'left', last_ms: 500 } });
  expect(runs.isSeen('left')).toBe(true);
  runs.see(event(2, 'begun', 'start'));
  runs.see({ ...event(2, 'begun', 'start'), stream: 'tool', ts: 2_000 });
  expect(runs.open).toEqual({
    'agent:main:1': { run_id: 'left', last_ms: 500 },
    'agent:main:2': { run_id: 'begun', last_ms: 2_000 },
  });
  // Neither the end of another run nor a tool event of a run whose start was not seen changes the open runs.
  runs.see(event(1, 'other', 'end', { executionSettled: true }));
  runs.see({ ...event(3, 'piece', 'start'), stream: 'tool' });
  expect(Object.keys(runs.open)).toEqual(['agent:main:1', 'agent:main:2']);
  runs.see(event(1, 'left', 'end', { executionSettled: true }));
  runs.see(event(2, 'begun', 'end', { executionSettled: true }));
  expect(runs.open).toEqual({});
  expect(runs.isSeen('piece')).toBe(true);
});

test('the calls of an open run are known until they end, the latest 32 of them', () => {
  const runs = createOpenRuns();
  runs.see(event(1, 'r', 'start'));
  const callsAfter = (call_id: string, phase: string) => {
    runs.seeCall({ ...event(1, 'r', phase, { toolCallId: call_id }), stream: 'tool' });
    return runs.open['agent:main:1']?.calls;
  };
  expect(callsAfter('a', 'start')).toEqual(['a']);
  expect(callsAfter('b', 'start')).toEqual(['a', 'b']);
  expect([callsAfter('a', 'update'), callsAfter('a', 'result')]).toEqual([['a', 'b'], ['b']]);
  expect(callsAfter('b', 'result')).toBeUndefined();
  for (let nth = 0; nth < 40; nth++) callsAfter(`call-${nth}`, 'start');
  expect(runs.open['agent:main:1']?.calls).toHaveLength(32);
  expect(callsAfter('call-40', 'start')).toContain('call-40');
  runs.see({ ...event(1, 'r', 'model'), ts: 1_500 });
  expect(runs.open['agent:main:1']).toMatchObject({ last_ms: 1_500, calls: { length: 32 } });
  // A call of a run of which nothing was seen does not make it known: the gateway is to be asked about it.
  runs.seeCall({ ...event(2, 'unseen', 'start', { toolCallId: 'c' }), stream: 'tool' });
  expect([runs.open['agent:main:2'], runs.isSeen('unseen')]).toEqual([undefined, false]);
  runs.see(event(1, 'next', 'start'));
  expect(runs.open['agent:main:1']).toEqual({ run_id: 'next', last_ms: 1_000 });
});

test('a run that is aborted before it begins has one event, its end, and is not open afterwards', () => {
  const runs = createOpenRuns();
  runs.see({ ...event(1, 'never', 'end', { status: 'cancelled', aborted: true }), seq: 1 });
  expect(runs.open).toEqual({});
});

test('before OpenClaw 2026.9, which marks no event as the last, a run is open until an end that announces no abort', () => {
  const runs = createOpenRuns();
  const openAfter = (phase: string, aborted?: boolean) => {
    runs.see(event(1, 'r', phase, { aborted }));
    return runs.open['agent:main:1'] !== undefined;
  };
  expect([openAfter('start'), openAfter('finishing', false), openAfter('end', true)]).toEqual([
    true,
    true,
    true,
  ]);
  expect(openAfter('end', false)).toBe(false);
  expect([openAfter('start'), openAfter('end', true), openAfter('error', true)]).toEqual([true, true, false]);
});

test('in protocol 3, where no event is marked as the last, a run is open until an attempt has ended, and again in the next', () => {
  const runs = createOpenRuns();
  const old = (phase: string, stream = 'lifecycle') => {
    runs.see({ ...event(1, 'r', phase), agentId: undefined, stream });
    return runs.open['agent:main:1'];
  };
  const open = { run_id: 'r', last_ms: 1_000, protocol: 3 };
  expect([old('start'), old('end', 'tool'), old('error'), old('start')]).toEqual([
    open,
    open,
    undefined,
    open,
  ]);
  // What follows the end, such as a report on fallbacks, does not open the run again.
  expect([old('end'), old('fallback')]).toEqual([undefined, undefined]);
});

test('in protocol 3 a run of a channel, which has no agent events, is open until its session reports its end', () => {
  const runs = createOpenRuns();
  const report = (phase: string, agentId?: string) => {
    runs.seeChange({ sessionKey: 'agent:main:1', runId: 'r', agentId, phase, ts: 1_000 });
    return runs.open['agent:main:1'];
  };
  expect(report('start')).toEqual({ run_id: 'r', last_ms: 1_000, protocol: 3 });
  expect(report('end')).toBeUndefined();
  // Protocol 4 has agent events of all runs but those that are asked about because none was seen.
  expect(report('start', 'main')).toBeUndefined();
});

test('a run of which nothing has been seen is reported once, but not by its first events', () => {
  const runs = createOpenRuns();
  expect(runs.unseen(event(1, 'begins', 'start'))).toBeUndefined();
  expect(runs.unseen({ ...event(1, 'ready', ''), stream: 'run_status' })).toBeUndefined();
  expect(runs.unseen({ ...event(1, 'never', 'end'), seq: 1 })).toBeUndefined();
  expect(runs.unseen(event(1, 'missed', 'fallback'))).toBe('agent:main:1');
  expect(runs.unseen(event(1, 'missed', 'fallback'))).toBeUndefined();
});

test('no more than 10,000 open runs are known: the oldest is forgotten, unless another one has ended', () => {
  const runs = createOpenRuns();
  for (let session = 0; session <= 10_000; session++) runs.see(event(session, `r${session}`, 'start'));
  const keys = Object.keys(runs.open);
  expect([keys.length, keys[0]]).toEqual([10_000, 'agent:main:1']);
  runs.see(event(10_000, 'r10000', 'end', { executionSettled: true }));
  runs.see(event(10_001, 'r10001', 'start'));
  expect(Object.keys(runs.open)).toHaveLength(10_000);
  expect(runs.open).toHaveProperty(['agent:main:1']);
});
