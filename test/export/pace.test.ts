import { expect, test } from 'vitest';
import { backoffMs, firstPace, MAX_BACKOFF_MS, nextPace } from '../../src/export/pace.js';

test('a longer round trip makes the batches small only for a while', () => {
  let pace = firstPace(512);
  const answer = (ms: number) => {
    pace = nextPace(pace, 512, pace.items, ms);
  };
  for (let count = 0; count < 50; count += 1) answer(5);
  expect(pace.items).toBe(512);
  for (let count = 0; count < 10; count += 1) answer(400);
  expect(pace.items).toBeLessThan(32);
  for (let count = 0; count < 100; count += 1) answer(400);
  expect(pace.items).toBe(512);
});

test('a batch that was not full does not change the batch size', () => {
  const pace = nextPace(firstPace(512), 512, 1, 5);
  expect(pace.items).toBe(firstPace(512).items);
});

test('the backoff doubles, with full jitter, up to its limit', () => {
  expect([1, 2, 3, 4].map((failures) => backoffMs(failures, () => 0.5))).toEqual([50, 100, 200, 400]);
  expect(backoffMs(1, () => 0)).toBe(0);
  expect(backoffMs(10_000, () => 0.999)).toBeLessThan(MAX_BACKOFF_MS);
});
