/**
 * Tracks a set of span ids (see `tracked.ts`): a record holds up to 512 ids of one generation as bytes.
 */
import { addHalves, beginIdGeneration, halvesOf, type IdGeneration, type IdSet } from './id-set.js';
import { isScattered } from './records.js';
import type { Tracked, Tracker } from './tracked.js';
import {
  beginGenerations,
  dropRecords,
  type Generations,
  generationNumber,
  reachGeneration,
} from './tracked-bounded.js';

/** Two halves per id. One record costs about as much as one of runs. */
const HALVES_OF_A_RECORD = 1_024;

const encodeHalves = (halves: readonly number[]): string =>
  Buffer.from(Int32Array.from(halves).buffer).toString('base64');

function decodeHalves(text: string): Int32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** Tracks a set of ids. */
export function trackIds(set: IdSet, prefix: string, tracker: Tracker): Tracked {
  set.tracker = tracker;

  function take(generation: IdGeneration, everything: boolean): number[] {
    const { added, records, size } = generation;
    generation.added = [];
    if (!everything && !isScattered(records, size, HALVES_OF_A_RECORD / 2)) return added;
    dropRecords(tracker, generation);
    return halvesOf(generation);
  }

  const generations: Generations<IdGeneration, number> = {
    of: set,
    prefix,
    tracker,
    part_length: HALVES_OF_A_RECORD,
    isEmpty: ({ size }) => size === 0,
    take,
    save: encodeHalves,
  };

  return {
    begin: (changes, everything) => beginGenerations(generations, changes, everything),
    restore(key, content) {
      const number = generationNumber(key, prefix);
      if (typeof content !== 'string' || number === 0) return false;
      reachGeneration(set, number, (next) => beginIdGeneration(set, next));
      const halves = decodeHalves(content);
      for (let at = 0; at < halves.length; at += 2)
        addHalves(set.young, halves[at] ?? 0, halves[at + 1] ?? 0);
      set.young.records.push(key);
      return true;
    },
  };
}
