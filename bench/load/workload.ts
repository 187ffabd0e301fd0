/**
 * Many requests whose events are interleaved, so that thousands of runs are open at a time. The same seed gives the same
 * events, so that the expected result can be generated separately.
 */
import { createRandom } from '../../test/crash/random.js';
import { type Told, tellRequest } from './story.js';

export interface Workload {
  seed: number;
  /** The approximate number of events; every request is completed. */
  events: number;
  /** The number of requests that are interleaved. */
  open: number;
}

/** The default workload of the benchmarks. */
export const STANDARD: Workload = { seed: 1, events: 200_000, open: 5_000 };

/** The approximate number of events that are left in an open request when no new one is begun. */
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

/** A clock for workloads that are generated before they are sent. */
export function storyClock(): () => number {
  let now_ms = Date.UTC(2026, 0, 1);
  return () => ++now_ms;
}
