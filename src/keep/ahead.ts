/**
 * Records of a checkpoint that are written before the transaction that makes them count, in portions that share commits with
 * the chunks that come meanwhile: a commit of all of them would hold up what comes for as long as it takes.
 */
import type { RecordChange } from '../model/record.js';
import type { Written } from '../store/index.js';

export interface Ahead {
  /** Resolves when there may be more: at most a portion is on its way to the disk then. */
  add(changes: readonly RecordChange[]): Promise<void>;
  /** Resolves when all is written, or can't be: whether it is. */
  written(): Promise<boolean>;
}

/** A commit takes hardly longer for so much. */
const PORTION_BYTES = 128 * 1024;

/** Writes a portion while the next one is gathered; when one can't be written, none after it is. */
export function createAhead(write: (changes: RecordChange[]) => Promise<Written>): Ahead {
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
