/**
 * The outcome of one request, gathered from the receipts of its batches, for the answer to its sender.
 */
import type { Receipt } from '../../model/source.js';
import type { Taken } from './answers.js';
import { describePlace, type SentRecord } from './record.js';

/** Maximum number of rejected records that are described one by one. */
const MAX_MESSAGES = 5;

export interface Outcome {
  /** Creates the receipt of a batch; `record_of` has the record that each of its lines belongs to. */
  receipt(record_of: ReadonlyMap<number, SentRecord>): Receipt;
  /** Resolves when all batches are settled; undefined if not all of them are persisted. */
  settled(): Promise<Taken | undefined>;
}

export function createOutcome(): Outcome {
  const stored: Promise<boolean>[] = [];
  const rejected = new Set<SentRecord>();
  const messages: string[] = [];

  const message = (): string => {
    const more = rejected.size - messages.length;
    return [...messages, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
  };

  return {
    receipt(record_of) {
      let settle: (is_recoverable: boolean) => void = () => undefined;
      stored.push(
        new Promise((resolve) => {
          settle = resolve;
        }),
      );
      return {
        settle,
        reject({ line, path, message: what }) {
          const record = record_of.get(line);
          // Of a record with several bad lines only the first one is reported.
          if (record === undefined || rejected.has(record)) return;
          rejected.add(record);
          if (messages.length < MAX_MESSAGES)
            messages.push(`${describePlace(record.place)}: ${path || '$'}: ${what}`);
        },
      };
    },
    async settled() {
      const all = await Promise.all(stored);
      return all.every(Boolean) ? { rejected: rejected.size, message: message() } : undefined;
    },
  };
}
