/** The store on LMDB: encodes changes immediately, so that callers need not retain the values, and queues them for a commit. */
import { type Change, createCommitter } from './commit.js';
import { type Database, entriesIn, getRecord, keysIn, statisticsOf, usedPages } from './database.js';
import { frame } from './frame.js';
import { keyBytes } from './keys.js';
import { createSlabs, type Lease } from './slabs.js';
import { changesOf, type Store, type StoreChange } from './store.js';
import { createWriteQueue } from './write-queue.js';

/** Free memory retained for reuse: for waiting calls, and for a checkpoint. */
const CALL_SLABS = { slab_bytes: 1024 * 1024, max_free_bytes: 2 * 1024 * 1024 };
const GATHERED_SLABS = { slab_bytes: 256 * 1024, max_free_bytes: 8 * 1024 * 1024 };

function encode({ key: text, value }: StoreChange, lease: Lease): Change {
  const key = keyBytes(text);
  return { key, framed: value === undefined ? undefined : frame(key, value, lease.take) };
}

/** `release` lets another process use the directory; it is called when everything is written. */
export function createLmdbStore(db: Database, directory: string, release: () => Promise<void>): Store {
  // Separate slabs, since a gathered checkpoint holds its memory for long, and would keep that of chunks from being reused.
  const call_slabs = createSlabs(CALL_SLABS);
  const gathered_slabs = createSlabs(GATHERED_SLABS);
  const committer = createCommitter(db, directory);
  const queue = createWriteQueue(committer.commit);

  return {
    get: (key) => getRecord(db, key),
    keys: (prefix) => keysIn(db, prefix, db.useReadTransaction()),
    entries: (prefix) => entriesIn(db, prefix, db.useReadTransaction()),
    write(wanted) {
      const lease = call_slabs.lease();
      let encoded: readonly Change[] | undefined;
      const changes = (): readonly Change[] => {
        encoded ??= changesOf(wanted).map((change) => encode(change, lease));
        return encoded;
      };
      if (typeof wanted !== 'function') changes();
      return queue.add(changes, lease);
    },
    gather() {
      const lease = gathered_slabs.lease();
      const changes: Change[] = [];
      return {
        add(more) {
          for (const change of more) changes.push(encode(change, lease));
        },
        write: () => queue.add(() => changes, lease),
      };
    },
    usedBytes() {
      const found = statisticsOf(db);
      return usedPages(found) * found.pageSize;
    },
    async close() {
      await queue.writing();
      await committer.close();
      await release();
    },
  };
}
