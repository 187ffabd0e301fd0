/** Which lines are held back, and how many. */
import { expect, test } from 'vitest';
import { createGate } from '../../../src/source/gateway/gate.js';

/** Two of these are more than is held back. */
const LONG = 'x'.repeat(20 * 2 ** 20);

function start() {
  const passed: string[] = [];
  /** The number of lines that had been passed on each time that none were held. */
  const through: number[] = [];
  const gate = createGate(
    (line) => void passed.push(line),
    () => void through.push(passed.length),
  );
  return { gate, passed, through };
}

test('lines are held back at first, while it is closed, and after it was cleared, which discards the held ones', () => {
  const { gate, passed, through } = start();
  gate.give('a');
  gate.close();
  gate.give('b');
  expect(passed).toEqual([]);
  gate.open();
  gate.give('c');
  expect(passed).toEqual(['a', 'b', 'c']);
  expect(through).toEqual([2, 3]);
  gate.close();
  gate.give('d');
  gate.clear();
  gate.give('e');
  gate.open();
  expect(passed).toEqual(['a', 'b', 'c', 'e']);
  expect(through).toEqual([2, 3, 4]);
});

test.each(['open', 'clear'] as const)(
  'the limit counts only what is held since it was opened or cleared: %s',
  (how) => {
    const { gate, passed, through } = start();
    gate.give(LONG);
    gate[how]();
    gate.close();
    passed.length = 0;
    through.length = 0;
    gate.give(LONG);
    expect(passed).toEqual([]);
    gate.give(LONG);
    expect(passed).toHaveLength(2);
    expect(through).toEqual([2]);
  },
);
