/**
 * A lane and its backend in simulated time: a queue that contains poison, a trickle of new items, and a backend that
 * refuses any request with poison, some requests at random, or everything for a while.
 */

import type { LaneItem } from '../../src/export/item.js';
import { Lane } from '../../src/export/lane.js';
import type { Outcome } from '../../src/export/verdict.js';
import { answered, BROKEN_OFF, fakeClock, OK, seededRandom } from './fakes.js';

export interface Situation {
  seed: number;
  poisons: number;
  /** The number of items queued at the start, poisons included. */
  queued: number;
  /** Whether the lane has already grown its batches to 512 items. */
  warm: boolean;
  /** The time between two new items, until every poison is found. */
  trickle_ms: number;
  /** The time until a response. */
  answer_ms: number;
  /** The status of a refusal; 0: the connection breaks. */
  status: number;
  retry_after_ms: number | undefined;
  /** The fraction of all requests that is refused regardless of their content. */
  flaky: number;
  /** An outage, in which everything is refused: when it begins after the first refusal, and how long it lasts. */
  outage: { after_ms: number; for_ms: number } | undefined;
}

export interface Result {
  delivered: string[];
  rejected: Record<string, number>;
  pending: number;
  /** From the first refusal, or from the end of the outage, until the last poison is rejected. */
  found_ms: number;
}

/** The number of items that a warm lane has sent before. */
const WARM_UP_ITEMS = 10_000;
/** How long new items come if there is no poison to be found. */
const TRICKLE_FOR_MS = 30_000;
/** A longer simulation is cut off, with whatever is pending. */
const LONGEST_MS = 3_600_000;

/** Poison is recognised by its name. */
export const isPoison = (name: string): boolean => name.startsWith('poison');

const item = (payload: string): LaneItem<string> => ({ payload, bytes: 100, count: 1 });

function mixed({ seed, queued, poisons }: Situation): LaneItem<string>[] {
  const random = seededRandom(seed);
  const places = new Set<number>();
  while (places.size < poisons) places.add(Math.floor(random() * queued));
  return Array.from({ length: queued }, (_, place) =>
    item(`${places.has(place) ? 'poison' : 'good'}${place}`),
  );
}

/** Refuses requests as the situation says, and records the time from which the search counts. */
function openBackend(
  { seed, answer_ms, status, retry_after_ms, flaky, outage }: Situation,
  now: () => number,
) {
  const random = seededRandom(seed + 1);
  const delivered: string[] = [];
  let begin_ms: number | undefined;
  const isDown = (at_ms: number): boolean => {
    if (outage === undefined || begin_ms === undefined) return false;
    const since_ms = at_ms - begin_ms - outage.after_ms;
    return since_ms >= 0 && since_ms < outage.for_ms;
  };
  let counts_from_ms = 0;
  let flaky_now = 0;
  return {
    delivered,
    /** Starts the random refusals. */
    turnFlaky() {
      flaky_now = flaky;
    },
    countsFrom: () => counts_from_ms,
    /** The response to a request that arrives now. */
    answer(names: string[]): Outcome {
      const down = isDown(now());
      if (down || names.some(isPoison) || random() < flaky_now) {
        begin_ms ??= now() + answer_ms;
        if (down || counts_from_ms === 0) counts_from_ms = now() + answer_ms;
        return status === 0 ? BROKEN_OFF : answered(status, '', retry_after_ms);
      }
      delivered.push(...names);
      return OK;
    },
  };
}

export async function simulate(situation: Situation): Promise<Result> {
  const { seed, poisons, trickle_ms, answer_ms } = situation;
  const clock = fakeClock();
  const backend = openBackend(situation, clock.now);
  let found = 0;
  let found_at_ms = 0;
  let next_ms = Number.POSITIVE_INFINITY;
  let trickle_until_ms = Number.POSITIVE_INFINITY;

  const pass = (ms: number) => {
    clock.advance(ms);
    for (; next_ms <= Math.min(clock.now(), trickle_until_ms); next_ms += trickle_ms)
      lane.offer([item(`new${next_ms}`)]);
    if (clock.now() > LONGEST_MS) void lane.close();
  };
  const lane: Lane<string> = new Lane<string>({
    signal: 'traces',
    encode: (names) => Buffer.from(names.join()),
    async post(body) {
      const outcome = backend.answer(Buffer.from(body).toString().split(','));
      pass(answer_ms);
      return outcome;
    },
    max_items: 512,
    limit_bytes: 1e9,
    now: clock.now,
    random: seededRandom(seed + 2),
    sleep: async (ms) => pass(ms),
    report(event) {
      if (event.kind !== 'lost') return;
      found += event.count;
      found_at_ms = clock.now();
      if (found >= poisons) trickle_until_ms = clock.now();
    },
  });

  if (situation.warm) lane.offer(Array.from({ length: WARM_UP_ITEMS }, (_, index) => item(`before${index}`)));
  await lane.idle();
  backend.turnFlaky();
  next_ms = clock.now() + trickle_ms;
  if (poisons === 0) trickle_until_ms = clock.now() + TRICKLE_FOR_MS;
  lane.offer(mixed(situation));
  await lane.idle();
  const { rejected, pending } = lane.counts();
  return { delivered: backend.delivered, rejected, pending, found_ms: found_at_ms - backend.countsFrom() };
}
