/**
 * LMDB, as it is opened and read here: one environment, one tree, a record under each key. Beside that, single records that are
 * written at once, in a transaction of their own.
 *
 * A commit here is synchronous to LMDB, in its own thread, and on the disk when it is done; LMDB's overlapping of commits
 * and flushes gains nothing measurable for our records, and has a file format of its own.
 */
import { createRequire } from 'node:module';
import type { RootDatabase } from 'lmdb';
import type { SavedRecord } from '../model/record.js';
import { errorReason } from '../util/errors.js';
import { frame, unframe } from './frame.js';
import { isOwnKey, keyBytes } from './keys.js';

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

/** After a failed commit, why LMDB can't begin another one, in which case a write would never come back; undefined where it can. */
export function refusalOf(db: Database): string | undefined {
  try {
    transact(db, () => lmdb().ABORT);
    return undefined;
  } catch (error) {
    return errorReason(error);
  }
}

export interface PageStatistics {
  pageSize: number;
  treeBranchPageCount: number;
  treeLeafPageCount: number;
  overflowPages: number;
  lastPageNumber: number;
}

export const statisticsOf = (db: Database): PageStatistics => db.getStats() as PageStatistics;

export const usedPages = ({
  treeBranchPageCount,
  treeLeafPageCount,
  overflowPages,
}: PageStatistics): number => treeBranchPageCount + treeLeafPageCount + overflowPages;

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

export function* keysIn(db: Database, prefix: string, transaction: Transaction): Generator<string> {
  try {
    for (const key of db.getKeys({ ...rangeOf(prefix), transaction })) {
      const text = Buffer.from(key).toString('utf8');
      if (!isOwnKey(text)) yield text;
    }
  } finally {
    transaction.done();
  }
}

export function* entriesIn(db: Database, prefix: string, transaction: Transaction): Generator<SavedRecord> {
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

export function getRecord(db: Database, key: string): Uint8Array | undefined {
  const bytes = keyBytes(key);
  const framed = db.getBinary(bytes);
  return framed === undefined ? undefined : unframe(bytes, framed);
}

export function putRecord(db: Database, key: string, value: Uint8Array): void {
  const bytes = keyBytes(key);
  db.putSync(bytes, frame(bytes, value));
}
