/**
 * The plans of the crash test: the requested number of kills, and the same plan for the same seed.
 */
import { expect, test } from 'vitest';
import { planLives } from './plan.js';
import { createRandom } from './random.js';

const plan = (seed: number, kills: number) => planLives(createRandom(seed), '503', kills);
const seeds = Array.from({ length: 40 }, (_, seed) => seed);

test('each round has its number of kills, about a quarter of them in a quiet moment', () => {
  const endings = seeds.flatMap((seed) => plan(seed, 5)).map(({ ending }) => ending.how);
  const killed = endings.filter((how) => how !== 'stopped');
  const quiet = endings.filter((how) => how === 'quiet');
  expect(killed).toHaveLength(200);
  expect(quiet.length).toBeGreaterThan(40);
  expect(quiet.length).toBeLessThan(60);
  expect(new Set(endings)).toEqual(new Set(['quiet', 'lines', 'time', 'requests', 'stopping', 'stopped']));
});

test('the same seed gives the same plan, and another seed a different one', () => {
  expect(plan(7, 5)).toEqual(plan(7, 5));
  expect(new Set(seeds.map((seed) => JSON.stringify(plan(seed, 5)))).size).toBe(seeds.length);
});
