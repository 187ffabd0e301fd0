/**
 * The store on LMDB: one environment, one tree. Calls that come while a commit is on its way to the disk share the next one.
 *
 * A commit here is synchronous to LMDB, in its own thread, and on the disk when it is done; LMDB's overlapping of commits
 * and flushes gains nothing measurable for our records, and has a file format of its own.
 */
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RootDatabase } from 'lmdb';
import { errorReason } from '../errors.js';
import type { SavedRecord } from '../model/record.js';
import { DATA_FILE } from './directory.js';
import { frame, unframe } from './frame.js';
import { isOwnKey, keyBytes } from './keys.js';
import { MARGIN_BYTES, openRoom } from './room.js';
import { createSlabs, type Lease } from './slabs.js';
import { changesOf, type Store, type StoreChange, type Written } from './store.js';

export type Database = RootDatabase<Buffer, Buffer>;
type Lmdb = typeof import('lmdb');

const OWNER_ONLY_FILE = 0o600;
/** Of addresses, not of memory. LMDB would begin with little and map the file anew as it grows, and keep the maps before. */
const MAP_BYTES = 16 * 1024 ** 3;
/**
 * Of a store that is made now. The library keeps its list of free pages in records of a page each, and loses places in it where it
 * takes several of them (kriszyp/lmdb-js#321); with LMDB's usual 4 KiB a cut journal alone takes twenty. Larger pages also cost
 * a quarter less time a commit.
 */
const PAGE_BYTES = 16 * 1024;
/** A commit that takes long holds up those who wait for the next one. */
const COMMIT_BYTES_MAX = 1024 * 1024;
const MANY_CHANGES = 1_000;
/** Memory that is kept for what comes next: of calls that wait, and of a checkpoint. */
const CALL_SLABS = { slab_bytes: 1024 * 1024, max_free_bytes: 2 * 1024 * 1024 };
const GATHERED_SLABS = { slab_bytes: 256 * 1024, max_free_bytes: 8 * 1024 * 1024 };

const require = createRequire(import.meta.url);
/** Loaded when it is first wanted: it takes 40 ms, and not every platform has it. */
const lmdb = (): Lmdb => require('lmdb') as Lmdb;

const OPTIONS = {
  noSubdir: false,
  keyEncoding: 'binary',
  encoding: 'binary',
  overlappingSync: false,
  // Each batch has a promise then, and none is left that nobody looks at when a commit fails.
  eventTurnBatching: false,
  mapSize: MAP_BYTES,
  pageSize: PAGE_BYTES,
  permissionsMode: OWNER_ONLY_FILE,
} as const;

/** What can make this fail is looked at before: a failed opening leaves the library in a state to crash from. */
export const openDatabase = (directory: string): Database => lmdb().open<Buffer, Buffer>(directory, OPTIONS);

/** All of it or nothing, on the disk when it returns. Throws where the store can't be written. */
export function transact<T>(db: Database, action: () => T): T {
  return db.transactionSync(() => {
    // The library goes on without a transaction where none could be begun, and would crash at the first write.
    if (db.getWriteTxnId() === 0) throw new Error('the store takes no more writes before it is opened again');
    return action();
  });
}

interface Change {
  key: Buffer;
  framed: Buffer | undefined;
}

interface Call {
  /** Each time the same, which are encoded when they are first asked for. */
  changes(): readonly Change[];
  /** The memory of what is framed, until LMDB has it. */
  lease: Lease;
  resolve(written: Written): void;
}

function encode({ key: text, value }: StoreChange, lease: Lease): Change {
  const key = keyBytes(text);
  return { key, framed: value === undefined ? undefined : frame(key, value, lease.take) };
}

const bytesOf = (changes: readonly Change[]): number =>
  changes.reduce((sum, { framed }) => sum + (framed?.length ?? 0), 0);

interface PageStatistics {
  pageSize: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
  lastPageNumber: number;
}

const usedPages = ({ treeBranchPageCount, treeLeafPageCount, overflowPages }: PageStatistics): number =>
  treeBranchPageCount + treeLeafPageCount + overflowPages;

/** The first key behind all that begin so; no UTF-8 text has a byte 0xff. */
function behind(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** What begins with a prefix, as LMDB is asked for it. */
function rangeOf(prefix: string): { start?: Buffer; end?: Buffer } {
  const start = Buffer.from(prefix, 'utf8');
  return start.length === 0 ? {} : { start, end: behind(start) };
}

type Transaction = ReturnType<Database['useReadTransaction']>;

function* keysIn(db: Database, prefix: string, transaction: Transaction): Generator<string> {
  try {
    for (const key of db.getKeys({ ...rangeOf(prefix), transaction })) {
      const text = Buffer.from(key).toString('utf8');
      if (!isOwnKey(text)) yield text;
    }
  } finally {
    transaction.done();
  }
}

function* entriesIn(db: Database, prefix: string, transaction: Transaction): Generator<SavedRecord> {
  try {
    for (const { key, value: framed } of db.getRange({ ...rangeOf(prefix), transaction })) {
      const value = unframe(key, framed);
      const text = Buffer.from(key).toString('utf8');
      if (value !== undefined && !isOwnKey(text)) yield { key: text, value };
    }
  } finally {
    transaction.done();
  }
}

/** Undefined where there is no such file. */
const inodeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino;

export function getRecord(db: Database, key: string): Uint8Array | undefined {
  const bytes = keyBytes(key);
  const framed = db.getBinary(bytes);
  return framed === undefined ? undefined : unframe(bytes, framed);
}

export function putRecord(db: Database, key: string, value: Uint8Array): void {
  const bytes = keyBytes(key);
  db.putSync(bytes, frame(bytes, value));
}

/** `release` gives the directory free for another process; it is called when all is written. */
export function createLmdbStore(db: Database, directory: string, release: () => Promise<void>): Store {
  const room = openRoom(directory);
  const path = join(directory, DATA_FILE);
  const own_inode = inodeOf(path);
  // A checkpoint that is gathered holds its memory for long, and none of it is a chunk's.
  const call_slabs = createSlabs(CALL_SLABS);
  const gathered_slabs = createSlabs(GATHERED_SLABS);
  const waiting: Call[] = [];
  let writing: Promise<void> | undefined;
  /** Why LMDB takes no more writes before it is opened again. */
  let broken: string | undefined;

  const statistics = (): PageStatistics => db.getStats() as PageStatistics;

  /** Removals are tried even on a full disk: they are what makes room. */
  async function reserve(put_bytes: number): Promise<void> {
    const found = statistics();
    // A value may leave as much of its last page unused as it fills.
    const need = 2 * put_bytes + MARGIN_BYTES;
    const length = (found.lastPageNumber + 1) * found.pageSize + need;
    try {
      await room.reserve(length);
    } catch (error) {
      const free_bytes = (found.lastPageNumber + 1 - usedPages(found)) * found.pageSize;
      if (put_bytes > 0 && free_bytes < need) throw error;
    }
  }

  /** After a failed commit, whether LMDB can begin another one: a write would never come back where it can't. */
  function refusal(): string | undefined {
    try {
      transact(db, () => lmdb().ABORT);
      return undefined;
    } catch (error) {
      return errorReason(error);
    }
  }

  async function commit(changes: readonly Change[]): Promise<Written> {
    if (broken !== undefined) return { ok: false, message: broken };
    // What LMDB would go on writing into nobody could find again.
    if (inodeOf(path) !== own_inode)
      return { ok: false, message: `${DATA_FILE} was removed or replaced while it was in use; start again` };
    try {
      await reserve(bytesOf(changes));
    } catch (error) {
      return { ok: false, message: errorReason(error) };
    }
    // Giving LMDB many changes takes some milliseconds.
    if (changes.length > MANY_CHANGES) await nextTurn();
    try {
      await db.batch(() => {
        for (const { key, framed } of changes) {
          if (framed === undefined) void db.remove(key);
          else void db.put(key, framed);
        }
      });
      return { ok: true };
    } catch (error) {
      broken = refusal();
      return { ok: false, message: await commitReason(error) };
    }
  }

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

  function enqueue(changes: Call['changes'], lease: Lease): Promise<Written> {
    return new Promise((resolve) => {
      waiting.push({ changes, lease, resolve });
      writing ??= writeWaiting();
    });
  }

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
      return enqueue(changes, lease);
    },
    gather() {
      const lease = gathered_slabs.lease();
      const changes: Change[] = [];
      return {
        add(more) {
          for (const change of more) changes.push(encode(change, lease));
        },
        write: () => enqueue(() => changes, lease),
      };
    },
    usedBytes() {
      const found = statistics();
      return usedPages(found) * found.pageSize;
    },
    async close() {
      await writing;
      await room.close();
      await release();
    },
  };
}

/** The library rejects a failed commit with a general error; the system's reason is in another promise on it. */
async function commitReason(error: unknown): Promise<string> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (commitError === undefined) return errorReason(error);
  return commitError.then(() => 'the commit failed', errorReason);
}
