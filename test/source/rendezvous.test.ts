import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRendezvous } from '../../src/source/rendezvous.js';

async function pullAll<T>(items: AsyncIterable<T>): Promise<T[]> {
  const pulled: T[] = [];
  for await (const item of items) pulled.push(item);
  return pulled;
}

describe('the rendezvous', () => {
  test('emits everything, the items of each reader in their order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 20 }), { maxLength: 6 }), async (counts) => {
        const rendezvous = createRendezvous<{ reader: number; item: number }>();
        const readers = counts.map(async (count, reader) => {
          for (let item = 0; item < count; item += 1) await rendezvous.push({ reader, item });
        });
        void rendezvous.endAfter(Promise.all(readers).then(() => undefined));
        const pulled = await pullAll(rendezvous.items);
        for (const [reader, count] of counts.entries()) {
          const own = pulled.filter((entry) => entry.reader === reader).map((entry) => entry.item);
          expect(own).toEqual(Array.from({ length: count }, (_, item) => item));
        }
      }),
    );
  });

  test('lets a reader continue only when its item is pulled', async () => {
    const rendezvous = createRendezvous<number>();
    let pushed = 0;
    async function read(): Promise<void> {
      for (const item of [1, 2, 3]) {
        await rendezvous.push(item);
        pushed += 1;
      }
    }
    const done = rendezvous.endAfter(read());
    const iterator = rendezvous.items[Symbol.asyncIterator]();
    await new Promise(setImmediate);
    expect(pushed).toBe(0);
    await iterator.next();
    await new Promise(setImmediate);
    expect(pushed).toBe(1);
    rendezvous.release();
    await done;
    expect(pushed).toBe(3);
    expect(await pullAll({ [Symbol.asyncIterator]: () => iterator })).toEqual([2, 3]);
  });

  test("throws a reader's failure after the items that it had pushed", async () => {
    const rendezvous = createRendezvous<string>();
    rendezvous.release();
    void rendezvous.endAfter(
      rendezvous.push('last').then(() => {
        throw new Error('broken');
      }),
    );
    const iterator = rendezvous.items[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ done: false, value: 'last' });
    await expect(iterator.next()).rejects.toThrow('broken');
  });
});
