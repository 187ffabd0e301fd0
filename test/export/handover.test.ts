/**
 * Handing records to processors: in order, never more between two flushes than they can hold, and with every record
 * counted.
 */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, vi } from 'vitest';
import { createHandover, MAX_UNFLUSHED } from '../../src/export/handover.js';
import type { LossEvent } from '../../src/export/ledger.js';
import { MEMORY_FULL, PROCESSOR_FAILED } from '../../src/export/reasons.js';
import { deferred } from './fakes.js';

const LIMIT_BYTES = 5_000;

/** A processor of numbers of one byte each. It throws for some and finishes a flush when the test allows it. */
function openProcessor(throwsAt: (record: number) => boolean = () => false) {
  const got: number[] = [];
  const flushes: (() => void)[] = [];
  const losses: LossEvent[] = [];
  let unflushed = 0;
  let most_unflushed = 0;
  const handover = createHandover<number>(
    {
      signal: 'traces',
      hand(record) {
        unflushed += 1;
        most_unflushed = Math.max(most_unflushed, unflushed);
        if (throwsAt(record)) throw new Error(`no ${record}`);
        got.push(record);
      },
      async flush() {
        const { promise, resolve } = deferred<void>();
        flushes.push(resolve);
        await promise;
        unflushed = 0;
      },
      bytesOf: () => 1,
    },
    { limit_bytes: LIMIT_BYTES, onLoss: (event) => losses.push(event) },
  );
  return { handover, got, flushes, losses, mostUnflushed: () => most_unflushed };
}

const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, at) => from + at);

describe('handing over', () => {
  test('is immediate and without a flush while the processor can hold the records', () => {
    const { handover, got, flushes } = openProcessor();
    handover.offer(numbers(0, 10));
    expect(got).toEqual(numbers(0, 10));
    expect(flushes).toEqual([]);
    expect(handover.counts()).toMatchObject({ produced: 10, delivered: 10, pending: 0 });
  });

  test('waits for a flush when the processor could be full', async () => {
    const { handover, got, flushes } = openProcessor();
    handover.offer(numbers(0, 1_500));
    expect(got).toHaveLength(MAX_UNFLUSHED);
    expect(handover.counts()).toMatchObject({ delivered: MAX_UNFLUSHED, pending: 1_500 - MAX_UNFLUSHED });
    flushes.shift()?.();
    await vi.waitUntil(() => got.length === 1_500, { timeout: 10_000 });
    expect(got).toEqual(numbers(0, 1_500));
  });

  test('continues after a record for which the processor throws, and counts it as rejected', () => {
    const { handover, got, losses } = openProcessor((record) => record === 1);
    handover.offer([0, 1, 2]);
    expect(got).toEqual([0, 2]);
    expect(handover.counts()).toMatchObject({ delivered: 2, rejected: { [PROCESSOR_FAILED]: 1 } });
    expect(losses).toEqual([
      {
        kind: 'lost',
        fate: 'rejected',
        reason: PROCESSOR_FAILED,
        count: 1,
        message: 'the processor threw: no 1',
      },
    ]);
  });

  test('drops the oldest waiting records over the memory limit', async () => {
    const { handover, got, flushes } = openProcessor();
    const all = MAX_UNFLUSHED + LIMIT_BYTES + 7;
    handover.offer(numbers(0, all));
    expect(handover.counts()).toMatchObject({ pending: LIMIT_BYTES, dropped: { [MEMORY_FULL]: 7 } });
    while (got.length < all - 7) {
      flushes.shift()?.();
      await new Promise(setImmediate);
    }
    expect(got).toEqual([...numbers(0, MAX_UNFLUSHED), ...numbers(MAX_UNFLUSHED + 7, all)]);
  });

  test('is idle when nothing waits and the processor has been flushed', async () => {
    const { handover, flushes } = openProcessor();
    handover.offer(numbers(0, 1_500));
    let is_idle = false;
    const idle = handover.idle().then(() => {
      is_idle = true;
    });
    flushes.shift()?.();
    await vi.waitUntil(() => flushes.length === 1, { timeout: 10_000 });
    expect(is_idle).toBe(false);
    flushes.shift()?.();
    await idle;
    expect(handover.counts()).toMatchObject({ delivered: 1_500, pending: 0 });
  });

  test('ends when closed, and leaves waiting records pending', async () => {
    const { handover, got, flushes } = openProcessor();
    handover.offer(numbers(0, 1_500));
    handover.close();
    flushes.shift()?.();
    await handover.idle();
    expect(got).toHaveLength(MAX_UNFLUSHED);
    expect(handover.counts()).toMatchObject({ pending: 1_500 - MAX_UNFLUSHED });
  });

  test.prop([
    fc.array(fc.oneof(fc.integer({ min: 1, max: 4_000 }), fc.constant('flush' as const)), { maxLength: 12 }),
    fc.integer({ min: 2, max: 50 }),
  ])('counts every record, keeps their order, and never overfills the processor', async (steps, bad) => {
    const processor = openProcessor((record) => record % bad === 0);
    const { handover, got, flushes } = processor;
    let offered = 0;
    for (const step of steps) {
      if (step === 'flush') flushes.shift()?.();
      else {
        handover.offer(numbers(offered, offered + step));
        offered += step;
      }
      await new Promise(setImmediate);
      const { produced, delivered, pending, rejected, dropped } = handover.counts();
      expect(produced).toBe(offered);
      expect(delivered).toBe(got.length);
      expect(delivered + pending + (rejected[PROCESSOR_FAILED] ?? 0) + (dropped[MEMORY_FULL] ?? 0)).toBe(
        produced,
      );
      expect(pending).toBeLessThanOrEqual(LIMIT_BYTES);
    }
    expect(got).toEqual(got.toSorted((a, b) => a - b));
    expect(processor.mostUnflushed()).toBeLessThanOrEqual(MAX_UNFLUSHED);
  });
});
