import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { ArrivalList } from '../../src/export/arrival-list.js';
import { createItem, type LaneItem } from '../../src/export/item.js';

const item = (number: number): LaneItem<number> => createItem(number, 1 + (number % 7), 1);

const bytesOf = (items: Iterable<LaneItem<number>>): number =>
  [...items].reduce((total, { bytes }) => total + bytes, 0);

/** Adds `count` items, or removes up to that many from position `at` on. */
const step = fc.record({
  adds: fc.boolean(),
  count: fc.nat(1_500),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
});

property.prop([fc.array(step, { maxLength: 12 })])('behaves like a set in insertion order', (steps) => {
  const line = new ArrivalList<number>();
  const model = new Set<LaneItem<number>>();
  let number = 0;
  for (const { adds, count, at } of steps) {
    const members = [...model];
    const begin = Math.floor(at * members.length);
    if (!adds) {
      for (const member of members.slice(begin, begin + count))
        expect(line.delete(member)).toBe(model.delete(member));
    } else {
      for (let added = 0; added < count; added++) {
        const fresh = item(number++);
        line.add(fresh);
        model.add(fresh);
      }
    }
    expect(line.size).toBe(model.size);
    expect(line.bytes).toBe(bytesOf(model));
    expect(line.first).toBe([...model][0]);
    expect([...line]).toEqual([...model]);
  }
});

test('delete ignores an item of another line or of none', () => {
  const line = new ArrivalList<number>();
  const other = new ArrivalList<number>();
  const mine = item(1);
  line.add(mine);
  expect(other.delete(mine)).toBe(false);
  expect(line.delete(item(1))).toBe(false);
  expect(line.delete(mine)).toBe(true);
  expect(line.delete(mine)).toBe(false);
  expect(line.first).toBeUndefined();
});

test('deleted items are not referenced any more', () => {
  const line = new ArrivalList<number>();
  const items = Array.from({ length: 5_000 }, (_, number) => item(number));
  for (const each of items) line.add(each);
  for (const each of items) line.delete(each);
  expect(items.every((each) => each.list === undefined)).toBe(true);
  expect([...line]).toEqual([]);
});

test('replacing an item puts its parts in its place', () => {
  const line = new ArrivalList<number>();
  const [first, second, third, fourth, fifth] = [1, 2, 3, 4, 5].map(item) as [
    LaneItem<number>,
    LaneItem<number>,
    LaneItem<number>,
    LaneItem<number>,
    LaneItem<number>,
  ];
  for (const each of [first, second, third]) line.add(each);
  line.delete(first);
  line.replace(second, [fourth, fifth]);
  expect([...line]).toEqual([fourth, fifth, third]);
  expect(line.size).toBe(3);
  expect(line.bytes).toBe(bytesOf([fourth, fifth, third]));
  expect(line.delete(second)).toBe(false);
  for (const each of [fourth, third, fifth]) expect(line.delete(each)).toBe(true);
  expect(line.first).toBeUndefined();
});
