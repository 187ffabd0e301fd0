/** The log of answers, encoded and decoded again. */
import { fc, test } from '@fast-check/vitest';
import { expect, test as single } from 'vitest';
import { SIGNALS } from '../../src/model/delivery.js';
import { decodeAnswers, encodeAnswers, mergeAnswers } from '../../src/persistence/answer-log.js';

const DESTINATIONS = ['one', 'other'];

const answers = fc.record({
  destination: fc.constantFrom(...DESTINATIONS),
  signal: fc.constantFrom(...SIGNALS),
  ids: fc.uint8Array({ maxLength: 9 }),
  places: fc.dictionary(fc.constantFrom('outbox/1', 'outbox/2'), fc.array(fc.nat(9), { maxLength: 3 })),
});
const logs = fc.array(fc.record({ at_ms: fc.nat(), answers: fc.array(answers, { maxLength: 5 }) }), {
  maxLength: 4,
});

test.prop([logs])('each signal of each destination gets its own answers back, in order', (logs) => {
  const read = logs.map((log) => decodeAnswers(encodeAnswers(log)));
  expect(read.map(({ at_ms }) => at_ms)).toEqual(logs.map(({ at_ms }) => at_ms));
  const answersOf = mergeAnswers(read);
  for (const destination of DESTINATIONS)
    for (const signal of SIGNALS) {
      const own = logs
        .flatMap((log) => log.answers)
        .filter((each) => each.destination === destination && each.signal === signal);
      const { ids, places } = answersOf(destination, signal);
      expect([...ids]).toEqual(own.flatMap((each) => [...each.ids]));
      for (const key of ['outbox/1', 'outbox/2'])
        expect(places[key] ?? []).toEqual(own.flatMap((each) => each.places[key] ?? []));
    }
});

single('a log of another version is not decoded', () => {
  expect(() => decodeAnswers(Buffer.from('{"version": 7}\n'))).toThrow();
});
