import { fc, test as property } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { isPoison, type Result, type Situation, simulate } from './simulation.js';

const PROMISED_MS = 30_000;

const refusal = fc.constantFrom(
  { status: 503, retry_after_ms: 1_000 },
  { status: 503, retry_after_ms: undefined },
  { status: 502, retry_after_ms: undefined },
  { status: 504, retry_after_ms: undefined },
  { status: 0, retry_after_ms: undefined },
);

const situation = (changes: { [K in keyof Situation]?: fc.Arbitrary<Situation[K]> }) =>
  fc
    .tuple(
      refusal,
      fc.record({
        seed: fc.nat(),
        poisons: fc.integer({ min: 1, max: 8 }),
        queued: fc.integer({ min: 512, max: 600 }),
        warm: fc.constant(true),
        trickle_ms: fc.constantFrom(20, 50, 100, 300),
        answer_ms: fc.constantFrom(1, 5, 20, 40),
        flaky: fc.constant(0),
        outage: fc.constant(undefined),
        ...changes,
      }),
    )
    .map(([refused, rest]): Situation => ({ ...refused, ...rest }))
    // With more poisons and slower responses, the waits and round trips alone would take 30 s.
    .filter(({ poisons, answer_ms }) => poisons <= 5 || answer_ms <= 20);

/** Expects that no poison was delivered, everything else at most once, and that nothing is pending. */
async function simulateChecked(situation: Situation): Promise<Result> {
  const result = await simulate(situation);
  const { delivered, pending } = result;
  expect(delivered.filter(isPoison)).toEqual([]);
  expect(new Set(delivered).size).toBe(delivered.length);
  expect(pending).toBe(0);
  return result;
}

/** Expects that exactly the poisons were rejected. */
async function simulateOnlyPoisonLost(situation: Situation): Promise<Result> {
  const result = await simulateChecked(situation);
  expect(result.rejected).toEqual({ poison: situation.poisons });
  return result;
}

describe('in simulated time', { timeout: 60_000 }, () => {
  property.prop([situation({})], { numRuns: 50 })(
    'every poison is rejected within 30 s, and nothing else',
    async (given) => {
      const result = await simulateOnlyPoisonLost(given);
      expect(result.found_ms).toBeLessThanOrEqual(PROMISED_MS);
    },
  );

  const few = { poisons: fc.integer({ min: 1, max: 5 }) };

  property.prop([situation({ ...few, warm: fc.constant(false) })], { numRuns: 50 })(
    'every poison is rejected within 30 s also on a lane that has sent nothing yet',
    async (given) => {
      const result = await simulateOnlyPoisonLost(given);
      expect(result.found_ms).toBeLessThanOrEqual(PROMISED_MS);
    },
  );

  const outage = fc.record({ after_ms: fc.nat(15_000), for_ms: fc.constant(60_000) });
  property.prop([situation({ outage })], { numRuns: 50 })(
    'in an outage nothing but the poison is rejected',
    async (given) => void (await simulateOnlyPoisonLost(given)),
  );

  // Chance can refuse an item as often as poison is refused. It is then rejected, as rarely as promised: here one in
  // 200,000.
  const flaky = situation({ flaky: fc.constant(0.3), poisons: fc.constant(0) });
  property.prop([fc.array(flaky, { minLength: 20, maxLength: 20 })], { numRuns: 1, endOnFailure: true })(
    'a backend that refuses 30 % of all requests has next to nothing rejected',
    async (situations) => {
      let given_up = 0;
      for (const given of situations) {
        const { poison = 0, ...others } = (await simulateChecked(given)).rejected;
        expect(others).toEqual({});
        given_up += poison;
      }
      expect(given_up).toBeLessThanOrEqual(1);
    },
  );
});
