/**
 * Many requests told at the same time, an event here and an event there, so that thousands of runs are open. The same seed
 * gives the same events, so that whoever has to know what must arrive tells them to itself once more.
 */
import { createRandom } from '../../test/crash/random.js';
import { type Told, tellRequest } from './story.js';

export interface Workload {
  seed: number;
  /** About so many; every request is told to its end. */
  events: number;
  /** Requests that are told at the same time. */
  open: number;
}

/** What the benchmarks are run with, unless they say otherwise. */
export const STANDARD: Workload = { seed: 1, events: 200_000, open: 5_000 };

/** About how many events a request still has when it is stopped to begin new ones. */
const EVENTS_LEFT = 10;

export function* tellAll({ seed, events, open }: Workload, clock: () => number): Generator<Told> {
  const random = createRandom(seed);
  let begun = 0;
  const begin = () =>
    tellRequest({ random, clock, prefix: `${seed.toString(36)}-${(++begun).toString(36)}`, names: 0 });
  const stories = Array.from({ length: open }, begin);
  for (let told = 0; stories.length > 0; ) {
    const at = random.int(0, stories.length - 1);
    const { done, value } = stories[at]?.next() ?? { done: true, value: undefined };
    if (!done) {
      told++;
      yield value;
    } else if (told + stories.length * EVENTS_LEFT < events) stories[at] = begin();
    else stories.splice(at, 1);
  }
}

/** A clock for workloads that are told before they are sent. */
export function storyClock(): () => number {
  let now_ms = Date.UTC(2026, 0, 1);
  return () => ++now_ms;
}
