/**
 * The record format for answers of destinations between two checkpoints. The next process, which makes the same items from the
 * journal again, skips those that were answered instead of sending them twice.
 */
import type { Answers, Signal } from '../model/delivery.js';
import { joinRecord, splitRecord } from '../model/record.js';

export const ANSWERS_PREFIX = 'answers/';

interface SignalAnswers extends Answers {
  destination: string;
  signal: string;
}

export interface AnswerLog {
  /** When it was written, in epoch milliseconds. */
  at_ms: number;
  answers: SignalAnswers[];
}

/** The ids follow the header, one signal after the other. */
interface Header extends Pick<AnswerLog, 'at_ms'> {
  answers: (Omit<SignalAnswers, 'ids'> & { ids_bytes: number })[];
}

export function encodeAnswers({ at_ms, answers }: AnswerLog): Uint8Array {
  const header: Header = {
    at_ms,
    answers: answers.map(({ ids, ...rest }) => ({ ...rest, ids_bytes: ids.length })),
  };
  return joinRecord(
    header,
    answers.map(({ ids }) => ids),
  );
}

/** Throws if the value is not valid. */
export function decodeAnswers(value: Uint8Array): AnswerLog {
  const { header, body } = splitRecord(value);
  const { at_ms, answers } = header as Header;
  let from = 0;
  return {
    at_ms,
    answers: answers.map(({ ids_bytes, ...rest }) => {
      const ids = body.subarray(from, from + ids_bytes);
      from += ids_bytes;
      return { ...rest, ids };
    }),
  };
}

/** All answers of one signal of one destination. */
export function mergeAnswers(logs: readonly AnswerLog[]): (destination: string, signal: Signal) => Answers {
  return (destination, signal) => {
    const parts = logs
      .flatMap(({ answers }) => answers)
      .filter((each) => each.destination === destination && each.signal === signal);
    const places: Record<string, number[]> = {};
    for (const part of parts)
      for (const [key, answered] of Object.entries(part.places))
        places[key] = [...(places[key] ?? []), ...answered];
    return { ids: Buffer.concat(parts.map(({ ids }) => ids)), places };
  };
}
