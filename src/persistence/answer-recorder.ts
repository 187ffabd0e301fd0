/**
 * Collects the answers of destinations as records to be written between two checkpoints. Each checkpoint removes these records,
 * since it contains their effects.
 */
import { randomBytes } from 'node:crypto';
import type { Destination } from '../model/delivery.js';
import { keyNumber, type RecordChange } from '../model/record.js';
import { ANSWERS_PREFIX, type AnswerLog, encodeAnswers } from './answer-log.js';
import { type SavedState, scoped } from './saved-state.js';

export interface AnswerRecorder {
  /** The answers since the last call, as changes to write. */
  take(): RecordChange[];
  /** The changes that remove the records made so far; keys without the scope. */
  cut(): RecordChange[];
}

interface AnswerRecorderOptions {
  destinations: Destination[];
  /** Epoch milliseconds. */
  now(): number;
  /** Called with the answers of a signal: `changes` are those of its outbox. */
  onAnswers(signal: string, changes: RecordChange[]): void;
}

export function createAnswerRecorder(
  saved: SavedState,
  { destinations, now, onAnswers }: AnswerRecorderOptions,
): AnswerRecorder {
  /** Keeps the keys of different processes apart. */
  const process_id = randomBytes(4).toString('hex');
  let next_number = 0;
  let keys = saved.answers.keys;

  function recordOf(log: AnswerLog): RecordChange {
    const key = `${ANSWERS_PREFIX}${process_id}-${keyNumber(next_number++)}`;
    keys.push(key);
    return { key, value: encodeAnswers(log) };
  }

  return {
    take() {
      const changes: RecordChange[] = [];
      const log: AnswerLog = { at_ms: now(), answers: [] };
      for (const { name: destination, outbox } of destinations) {
        for (const [signal, outgoing] of Object.entries(outbox?.takeAnswers() ?? {})) {
          onAnswers(signal, outgoing.changes);
          changes.push(...outgoing.changes);
          const { ids, places } = outgoing.answers;
          if (ids.length > 0 || Object.keys(places).length > 0)
            log.answers.push({ destination, signal, ids, places });
        }
      }
      if (log.answers.length > 0) changes.push(...scoped(saved.scope, [recordOf(log)]));
      return changes;
    },
    cut() {
      const removed = keys.map((key) => ({ key }));
      keys = [];
      return removed;
    },
  };
}
