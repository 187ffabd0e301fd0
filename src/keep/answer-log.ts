/**
 * What destinations have answered between two checkpoints, as a record: so that the next process, which makes the same of the
 * journal again, sends none of it a second time.
 */
import type { Answers, Signal } from '../model/delivery.js';
import { joinRecord, splitRecord } from '../model/record.js';

export const ANSWERS_PREFIX = 'answers/';

interface SignalAnswers extends Answers {
  destination: string;
  signal: string;
}

export interface AnswerLog {
  /** When it was written down, epoch milliseconds. */
  at_ms: number;
  answers: SignalAnswers[];
}

/** The ids stand behind the header, one signal's after the other. */
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

/** Undefined where it is no such record: the store gives out none that was damaged, so that it is of another version. */
export function decodeAnswers(value: Uint8Array): AnswerLog | undefined {
  try {
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
  } catch {
    return undefined;
  }
}

/** All that was answered of one signal of one destination. */
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
