/**
 * Writes records of a checkpoint before the transaction that makes them valid, in portions that share commits with incoming
 * chunks. A single commit of all of them would block the chunks for as long as it takes.
 */
import type { RecordChange } from '../model/record.js';
import type { Written } from '../store/index.js';

export interface EarlyWriter {
  /** Resolves when more can be added; at most one portion is being written then. */
  add(changes: readonly RecordChange[]): Promise<void>;
  /** Resolves when everything is written, or can't be; false if a write failed. */
  written(): Promise<boolean>;
}

/** Small enough to make a commit hardly longer. */
const PORTION_BYTES = 128 * 1024;

/** Writes a portion while the next one is gathered. After a failed write nothing more is written. */
export function createEarlyWriter(write: (changes: RecordChange[]) => Promise<Written>): EarlyWriter {
  let gathered: RecordChange[] = [];
  let bytes = 0;
  let portion: Promise<Written> = Promise.resolve({ ok: true });

  async function next(): Promise<void> {
    const { ok } = await portion;
    if (ok && gathered.length > 0) portion = write(gathered);
    gathered = [];
    bytes = 0;
  }

  return {
    async add(changes) {
      for (const change of changes) {
        gathered.push(change);
        bytes += change.value?.length ?? 0;
      }
      if (bytes >= PORTION_BYTES) await next();
    },
    async written() {
      await next();
      return (await portion).ok;
    },
  };
}
