/** In which batches lines go to the consumer, and with which of them a position. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LineBatch } from '../../../src/model/source.js';
import { createOutlet } from '../../../src/source/gateway/outlet.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** An outlet whose position counts up, and whose consumer takes each batch when `pull` is called. */
function start(position: () => unknown) {
  const batches: [string[], unknown][] = [];
  let pull = (): void => undefined;
  const outlet = createOutlet({
    stream: 'ws://test',
    push: (item) => {
      const { lines, position: at } = item as LineBatch;
      batches.push([lines.map((line) => ('bytes' in line ? `${line.number} ${line.bytes}` : '')), at]);
      return new Promise((resolve) => {
        pull = resolve;
      });
    },
    onFull: () => undefined,
    position,
  });
  const pulled = async (): Promise<void> => {
    pull();
    await vi.advanceTimersByTimeAsync(0);
  };
  return { outlet, batches, pulled };
}

test('lines that come in one turn, or while a batch waits for the consumer, are one batch', async () => {
  const { outlet, batches, pulled } = start(() => undefined);
  outlet.add('a');
  outlet.add('b');
  await vi.advanceTimersByTimeAsync(0);
  outlet.add('c');
  await vi.advanceTimersByTimeAsync(0);
  outlet.add('€');
  await pulled();
  await pulled();
  expect(batches).toEqual([
    [['1 a', '2 b'], undefined],
    [['3 c', '4 €'], undefined],
  ]);
});

test('the position follows a batch without one, even if the consumer takes longer than a second over it', async () => {
  let at = 0;
  const { outlet, batches, pulled } = start(() => ++at);
  outlet.add('a');
  await vi.advanceTimersByTimeAsync(0);
  outlet.add('b');
  await pulled();
  await vi.advanceTimersByTimeAsync(5_000);
  await pulled();
  await pulled();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(batches).toEqual([
    [['1 a'], 1],
    [['2 b'], undefined],
    [[], 2],
  ]);
});

test('a position is emitted with the first batch for which there is one', async () => {
  let at: number | undefined;
  const { outlet, batches, pulled } = start(() => at);
  outlet.add('a');
  await vi.advanceTimersByTimeAsync(0);
  await pulled();
  at = 7;
  outlet.add('b');
  await vi.advanceTimersByTimeAsync(0);
  await pulled();
  expect(batches).toEqual([
    [['1 a'], undefined],
    [['2 b'], 7],
  ]);
});

test('flushing waits for the consumer, and emits the position', async () => {
  const { outlet, batches, pulled } = start(() => 7);
  outlet.add('a');
  const flushed = vi.fn();
  void outlet.flush().then(flushed);
  await vi.advanceTimersByTimeAsync(0);
  expect(batches).toHaveLength(1);
  await pulled();
  expect(batches).toEqual([
    [['1 a'], 7],
    [[], 7],
  ]);
  expect(flushed).not.toHaveBeenCalled();
  await pulled();
  expect(flushed).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
});
