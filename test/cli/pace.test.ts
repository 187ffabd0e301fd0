/**
 * The pacing of a replay, as far as it depends only on its clock.
 */
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createPace, type PaceOptions } from '../../src/commands/pace.js';
import { findShift, shiftToEnd } from '../../src/commands/rebase.js';
import type { AgentEvent } from '../../src/model/event.js';
import { resolveSettings } from '../../src/start/settings.js';
import { example } from '../helpers.js';

const at = (ts: number): AgentEvent => ({
  type: 'agent.started',
  ts,
  session_key: 'agent:main:x',
  run_id: 'r',
});

const pace = (options: Partial<PaceOptions>) =>
  createPace({
    speed: 10,
    by_ms: 0,
    now: Date.now,
    signal: new AbortController().signal,
    ...options,
  });

test('a resumed replay does not wait for what was played before', async () => {
  let now_ms = 1_000_000;
  const play = pace({ now: () => now_ms });
  expect(play(at(90_000))).toEqual(at(90_000));
  now_ms += 500;
  expect(play(at(95_000))).toEqual(at(95_000));
  const waited = play(at(95_100));
  expect(waited).toBeInstanceOf(Promise);
  expect(await waited).toEqual(at(95_100));
});

test('a wait beyond the maximum of a timer lasts until it is over or a signal comes', async () => {
  const interrupt = new AbortController();
  const play = pace({ speed: 1, now: () => 1_000_000, signal: interrupt.signal });
  expect(play(at(90_000))).toEqual(at(90_000));
  const waited = Promise.resolve(play(at(90_000 + 30 * 86_400_000)));
  expect(await Promise.race([waited, setTimeout(50, 'waits')])).toBe('waits');
  interrupt.abort();
  expect(await waited).toBeUndefined();
});

test('times are shifted so that the recording ends when the rest of it has been played', () => {
  const by_ms = shiftToEnd({ first_ms: 90_000, last_ms: 100_000 }, 10, 1_000_000);
  const play = pace({ by_ms, now: () => 1_000_000 });
  expect(play(at(90_000))).toEqual(at(991_000));
});

test('every time of an event is shifted, by whole milliseconds, and the event itself is not changed', () => {
  const of = { ts: 1_000, session_key: 'agent:main:x', run_id: 'r', model: 'm', provider: 'p' };
  const call = { ...of, type: 'llm.tokens' as const, input_tokens: 1, output_tokens: 1 };
  const times = { started_at: 900, ended_at: 990 };
  const by_ms = shiftToEnd({ first_ms: 0, last_ms: 1_000 }, 3, 5_000);
  expect(by_ms).toBe(4_333);
  const play = pace({ speed: undefined, by_ms });
  const given = { ...call, ...times };
  expect(play(given)).toEqual({ ...call, ts: 5_333, started_at: 5_233, ended_at: 5_323 });
  expect(given).toEqual({ ...call, ...times });
  expect(play(call)).toEqual({ ...call, ts: 5_333 });
});

test('a signal ends the search for the end of the recordings, whatever is left of them', async () => {
  const settings = resolveSettings({});
  if ('error' in settings) throw new Error(settings.error);
  const files = [example('catalog.ndjson'), '/nonexistent.ndjson'];
  expect(await findShift(files, settings, undefined, AbortSignal.abort())).toBe(0);
  const { signal } = new AbortController();
  await expect(findShift(files, settings, undefined, signal)).rejects.toThrow('/nonexistent.ndjson');
});
