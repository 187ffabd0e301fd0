/**
 * A set of span ids that is written down while it goes on changing (see `tracked.ts`): a record has some thousand ids of one
 * generation as bytes.
 */
import { addHalves, beginIdGeneration, halvesOf, type IdGeneration, type IdSet } from './id-set.js';
import type { RecordChange } from './model/record.js';
import {
  changeOf,
  generationNumber,
  isScattered,
  numberText,
  oneAfterAnother,
  reachGeneration,
  type Tracked,
  type Tracker,
} from './tracked.js';

/** Two halves each. One record costs about as much as that of a run. */
const HALVES_OF_A_RECORD = 1_024;

const encodeHalves = (halves: readonly number[]): string =>
  Buffer.from(Int32Array.from(halves).buffer).toString('base64');

function decodeHalves(text: string): Int32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Int32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

/** Tracks a set. */
export function trackIds(set: IdSet, prefix: string, tracker: Tracker): Tracked {
  set.tracker = tracker;

  function take(generation: IdGeneration, everything: boolean) {
    const { added, records } = generation;
    generation.added = [];
    if (!everything && !isScattered(records, generation.size, HALVES_OF_A_RECORD / 2))
      return { generation, halves: added };
    tracker.obsolete.push(records);
    generation.records = [];
    return { generation, halves: halvesOf(generation) };
  }

  function* write({ generation, halves }: ReturnType<typeof take>, changes: RecordChange[]): Generator<void> {
    const { number, records } = generation;
    for (let at = 0; at < halves.length || records.length === 0; at += HALVES_OF_A_RECORD) {
      const key = `${prefix}${numberText(number)}/${numberText(tracker.next_number++)}`;
      records.push(key);
      changes.push(changeOf(key, encodeHalves(halves.slice(at, at + HALVES_OF_A_RECORD))));
      yield;
    }
  }

  return {
    begin(changes, everything) {
      const taken = [set.old, set.young].map((generation) => take(generation, everything));
      // A young generation that has nothing in it needs a record all the same, to tell that the old one is old.
      const isUntold = set.young.records.length === 0 && set.old.size > 0;
      const wanted = taken.filter(
        ({ generation, halves }) => halves.length > 0 || (isUntold && generation === set.young),
      );
      return oneAfterAnother(wanted.map((each) => write(each, changes)));
    },
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
