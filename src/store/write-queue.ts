/** Calls that wait to be written: those that come while a commit is on its way to the disk share the next one. */
import { bytesOf, type Change } from './commit.js';
import type { Lease } from './slabs.js';
import type { Written } from './store.js';

/** A commit that takes long holds up those who wait for the next one. */
const COMMIT_BYTES_MAX = 1024 * 1024;

interface Call {
  /** Each time the same, which are encoded when they are first asked for. */
  changes(): readonly Change[];
  /** The memory of what is framed, until LMDB has it. */
  lease: Lease;
  resolve(written: Written): void;
}

export interface WriteQueue {
  /** Writes them in their turn. Resolves when they are on the disk, or can't be. */
  add(changes: Call['changes'], lease: Lease): Promise<Written>;
  /** Present while anything is being written; resolves when all is. */
  writing(): Promise<void> | undefined;
}

export function createWriteQueue(commit: (changes: readonly Change[]) => Promise<Written>): WriteQueue {
  const waiting: Call[] = [];
  let writing: Promise<void> | undefined;

  function take(): Call[] {
    let bytes = 0;
    let count = 0;
    for (const call of waiting) {
      bytes += bytesOf(call.changes());
      if (count > 0 && bytes > COMMIT_BYTES_MAX) break;
      count += 1;
    }
    return waiting.splice(0, count);
  }

  async function writeWaiting(): Promise<void> {
    // What is written in the same turn goes together; and only what has begun can end.
    await undefined;
    while (waiting.length > 0) {
      const calls = take();
      const changes = calls.flatMap((call) => call.changes());
      const written: Written = changes.length === 0 ? { ok: true } : await commit(changes);
      // Whoever has called meanwhile does not know yet that what came before is missing.
      if (!written.ok) calls.push(...waiting.splice(0));
      for (const { lease, resolve } of calls) {
        lease.end();
        resolve(written);
      }
    }
    writing = undefined;
  }

  return {
    add: (changes, lease) =>
      new Promise((resolve) => {
        waiting.push({ changes, lease, resolve });
        writing ??= writeWaiting();
      }),
    writing: () => writing,
  };
}
