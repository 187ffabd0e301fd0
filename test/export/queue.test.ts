import { fc, test as property } from '@fast-check/vitest';
import { expect } from 'vitest';
import { type LaneItem, LaneQueue } from '../../src/export/queue.js';

const operation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ id: fc.nat(20), count: fc.nat(1), bytes: fc.integer({ min: 1, max: 50 }) }),
  },
  { weight: 1, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 8 }) }) },
);

property.prop([fc.array(operation, { maxLength: 3_000 })], { numRuns: 50 })(
  'size and bytes are those of what can still be taken, in the order in which it came',
  (operations) => {
    const queue = new LaneQueue<number>();
    let model: LaneItem<number>[] = [];
    const ended = new Set<string>();
    for (const [payload, step] of operations.entries()) {
      if ('take' in step) {
        expect(queue.take(step.take, 1e9)).toEqual(model.splice(0, step.take));
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
