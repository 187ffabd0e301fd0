/**
 * Dead letters: records of items that the backend will never accept, with its reason, so that they can be sent again once the
 * cause is fixed.
 */
import { randomBytes } from 'node:crypto';
import { DEAD_LETTERS_PREFIX } from '../model/delivery.js';
import { joinRecord, keyNumber, type RecordChange } from '../model/record.js';
import type { LaneItem } from './item.js';

export interface DeadLetterOptions<T> {
  destination: string;
  signal: string;
  pack(payloads: T[]): Uint8Array;
  /** Removes secrets from a backend's message. */
  redact(message: string): string;
  /** Epoch milliseconds. */
  now(): number;
}

/** Makes a dead letter. `rejected`: how many of the items the backend rejected. */
export type WriteDeadLetter<T> = (
  items: readonly LaneItem<T>[],
  reason: string,
  message: string,
  rejected: number,
) => RecordChange;

export function createDeadLetters<T>(options: DeadLetterOptions<T>): WriteDeadLetter<T> {
  const { destination, signal, pack, redact, now } = options;
  /** Distinguishes these dead letters from those of any other outbox, in any process. */
  const id = randomBytes(4).toString('hex');
  let next = 1;
  return (items, reason, message, rejected) => {
    const at_ms = now();
    const key = `${DEAD_LETTERS_PREFIX}${keyNumber(at_ms)}-${id}-${next++}`;
    const counts = items.map((item) => item.count);
    const header = { at_ms, destination, signal, reason, message: redact(message), rejected, counts };
    return { key, value: joinRecord(header, [pack(items.map((item) => item.payload))]) };
  };
}
