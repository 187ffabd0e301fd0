/** A queue of calls to be written: those that arrive during a commit share the next one. */
import { bytesOf, type Change } from './commit.js';
import type { Lease } from './slabs.js';
import type { Written } from './store.js';

/** A long commit would delay the calls that wait for the next one. */
const COMMIT_BYTES_MAX = 1024 * 1024;

interface Call {
  /** Returns the same changes each time; they are encoded on the first call. */
  changes(): readonly Change[];
  /** The memory of the encoded changes, held until LMDB has them. */
  lease: Lease;
  resolve(written: Written): void;
}

export interface WriteQueue {
  /** Queues changes. Resolves when they are on the disk, or can't be. */
  add(changes: Call['changes'], lease: Lease): Promise<Written>;
  /** Present while anything is being written; resolves when everything is. */
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
    // Calls of the same turn share a commit; also `writing` must be set before this function can clear it.
    await undefined;
    while (waiting.length > 0) {
      const calls = take();
      const changes = calls.flatMap((call) => call.changes());
      const written: Written = changes.length === 0 ? { ok: true } : await commit(changes);
      // Calls that waited were made without knowing that earlier changes are missing, so they fail too.
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
