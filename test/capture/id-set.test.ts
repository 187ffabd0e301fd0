/** A set of texts that stores only their hashes: it knows the texts that were added and no others, also after a restart. */
import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { addText, createIdSet, type IdSet } from '../../src/capture/id-set.js';
import { beginCapture, createTracker, restoreParts } from '../../src/capture/tracked.js';
import { trackIds } from '../../src/capture/tracked-ids.js';
import { type Records, savedIn, write } from '../captures.js';

const PREFIX = 'state/texts/';
const KIND = 1;

function open(records: Records): { set: IdSet; capture(): void } {
  const set = createIdSet(1_000);
  const tracker = createTracker('state/');
  const tracked = trackIds(set, PREFIX, tracker);
  restoreParts(tracker, () => tracked, savedIn(records));
  return {
    set,
    capture() {
      const running = beginCapture(tracker, [tracked]);
      running.advance(Infinity);
      write(records, running);
    },
  };
}

// Similar ids: counted up, padded, in hexadecimal, long with a difference in the middle, and almost all of one character.
const LIKENESSES: Record<string, (number: number) => string> = {
  counted: (number) => `${number}`,
  padded: (number) => `run:${String(number).padStart(9, '0')}:agent.started`,
  hexadecimal: (number) => `0000${number.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`,
  'in the middle of a long one': (number) => `${'session '.repeat(20)}${number}${' event'.repeat(20)}`,
  zeros: (number) => '\0'.repeat(number % 3_000) + Math.trunc(number / 3_000),
  'high bits alone': (number) =>
    [...number.toString(2).padStart(20, '0')].map((bit) => (bit === '1' ? '\u{8000}' : '\0')).join(''),
};

for (const [likeness, textOf] of Object.entries(LIKENESSES))
  test(`each of many similar texts is new once (${likeness})`, () => {
    const count = likeness === 'zeros' ? 6_000 : 200_000;
    const set = createIdSet(2 * count);
    for (let number = 0; number < count; number++)
      if (!addText(set, textOf(number), KIND)) expect.fail(`taken for another: ${number}`);
    for (let number = 0; number < count; number++)
      if (addText(set, textOf(number), KIND)) expect.fail(`new again: ${number}`);
    expect(addText(set, textOf(0), KIND + 1)).toBe(true);
  });

property.prop([fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.boolean()))])(
  'a text is new exactly once, also across restarts',
  (steps) => {
    const records: Records = new Map();
    const known = new Set<string>();
    let { set, capture } = open(records);
    for (const [text, isRestarted] of steps) {
      expect(addText(set, text, KIND)).toBe(!known.has(text));
      known.add(text);
      if (!isRestarted) continue;
      capture();
      ({ set, capture } = open(records));
    }
  },
);

test('the oldest texts are forgotten', () => {
  const set = createIdSet(100);
  const add = (number: number): boolean => addText(set, `${number}`, KIND);
  for (let number = 0; number < 1_000; number++) add(number);
  const remembered = Array.from({ length: 1_000 }, (_, number) => number).filter(
    (number) =>
      !addText(
        { ...set, max: Infinity, young: { ...set.young, table: set.young.table.slice() } },
        `${number}`,
        KIND,
      ),
  );
  expect(remembered.length).toBeLessThanOrEqual(100);
  expect(remembered.slice(-50)).toEqual(Array.from({ length: 50 }, (_, at) => 950 + at));
});
