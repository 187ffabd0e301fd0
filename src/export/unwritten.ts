/**
 * What an outbox has yet to write: which items were answered, so that the next process does not send them again, dead letters,
 * and the removal of records that are no longer needed.
 */

import type { Answers } from '../model/delivery.js';
import type { RecordChange } from '../model/record.js';
import { createIdLog, type Id } from './id-log.js';

export interface Changes {
  answers: Answers;
  dead_letters: RecordChange[];
  /** Keys of records to be removed. */
  stale: string[];
}

export interface Unwritten {
  isEmpty(): boolean;
  /** An item in no record was answered. */
  addId(id: Id): void;
  /** An item in a record was answered. `place`: its index there. */
  addPlace(key: string, place: number): void;
  addDeadLetter(letter: RecordChange): void;
  /** A record is to be removed, so answers to its items need not be written. */
  remove(key: string): void;
  take(): Changes;
  /** Puts back what could not be written, before what came since. `gone`: keys of records that were never written either. */
  putBack(taken: Changes, gone: ReadonlySet<string>): void;
}

export function createUnwritten(): Unwritten {
  const ids = createIdLog();
  /** By the key of their record. */
  let places: Record<string, number[]> = {};
  let dead_letters: RecordChange[] = [];
  let stale: string[] = [];

  const havePlaces = (): boolean => {
    for (const _key in places) return true;
    return false;
  };

  return {
    isEmpty: () => ids.isEmpty() && !havePlaces() && dead_letters.length === 0 && stale.length === 0,
    addId: ids.add,
    addPlace(key, place) {
      const known = places[key];
      if (known === undefined) places[key] = [place];
      else known.push(place);
    },
    addDeadLetter(letter) {
      dead_letters.push(letter);
    },
    remove(key) {
      delete places[key];
      stale.push(key);
    },
    take() {
      const taken = { answers: { ids: ids.take(), places }, dead_letters, stale };
      places = {};
      dead_letters = [];
      stale = [];
      return taken;
    },
    putBack(taken, gone) {
      ids.putBack(taken.answers.ids);
      const since = Object.entries(places).filter(([key]) => !gone.has(key));
      places = { ...taken.answers.places, ...Object.fromEntries(since) };
      dead_letters = [...taken.dead_letters, ...dead_letters];
      stale = [...taken.stale, ...stale.filter((key) => !gone.has(key))];
    },
  };
}
