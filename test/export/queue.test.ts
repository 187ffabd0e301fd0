import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import type { LaneItem } from '../../src/export/item.js';
import { LaneQueue } from '../../src/export/queue.js';

const operation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ id: fc.nat(20), count: fc.nat(1), bytes: fc.integer({ min: 1, max: 50 }) }),
  },
  { weight: 1, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ newest: fc.integer({ min: 1, max: 8 }) }) },
);

property.prop([fc.array(operation, { maxLength: 3_000 })], { numRuns: 50 })(
  'size and bytes match the items that can still be taken, in the order of their arrival',
  (operations) => {
    const queue = new LaneQueue<number>();
    let model: LaneItem<number>[] = [];
    const ended = new Set<string>();
    for (const [payload, step] of operations.entries()) {
      if ('take' in step) {
        expect(queue.take(step.take, 1e9)).toEqual(model.splice(0, step.take));
      } else if ('newest' in step) {
        expect(queue.takeNewest(step.newest, 1e9)).toEqual(model.splice(-step.newest));
      } else {
        const id = `s${step.id}`;
        const item = { ...step, id, payload };
        queue.push(item);
        const queued = model.findIndex((other) => other.id === id && other.count === 0);
        if (step.count > 0) {
          model = model.filter((_, index) => index !== queued);
          model.push(item);
          ended.add(id);
        } else if (!ended.has(id)) {
          if (queued === -1) model.push(item);
          else model[queued] = item;
        }
      }
      expect(queue.size).toBe(model.length);
      expect(queue.bytes).toBe(model.reduce((bytes, item) => bytes + item.bytes, 0));
    }
  },
);

/** Pushes in a separate call, so that no reference stays on the stack. */
function pushPreview(queue: LaneQueue<object>, id: string): WeakRef<object> {
  const payload = { id };
  queue.push({ payload, bytes: 100, count: 0, id });
  return new WeakRef(payload);
}

test('a preview that was removed by the end of its span can be garbage-collected', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const queue = new LaneQueue<object>();
  queue.push({ payload: {}, bytes: 1, count: 1, id: 'older' });
  const preview = pushPreview(queue, 'span');
  queue.push({ payload: {}, bytes: 1, count: 1, id: 'span' });
  await nextTurn();
  collectGarbage();
  expect(preview.deref()).toBeUndefined();
  expect(queue.bytes).toBe(2);
});
