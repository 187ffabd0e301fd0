/**
 * LMDB, as it is opened and read here: one environment, one tree, one record per key; also single records that are written
 * immediately, in a transaction of their own.
 *
 * To LMDB each commit is synchronous, in its own thread, and on the disk when it is done. LMDB's overlapping of commits and
 * flushes gains nothing measurable for our records, and has a file format of its own.
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
/** Address space, not memory. With a small map LMDB would remap the file as it grows, and keep the old maps. */
const MAP_BYTES = 16 * 1024 ** 3;
/**
 * The page size of a new store. The library stores its list of free pages in records of one page each, and loses entries if the
 * list takes several of them (kriszyp/lmdb-js#321); with LMDB's usual 4 KiB a cut of the journal alone takes twenty. Larger
 * pages also make a commit a quarter faster.
 */
const PAGE_BYTES = 16 * 1024;

const require = createRequire(import.meta.url);
/** Loaded on first use: it takes 40 ms, and not every platform has it. */
const lmdb = (): Lmdb => require('lmdb') as Lmdb;

const OPTIONS = {
  noSubdir: false,
  keyEncoding: 'binary',
  encoding: 'binary',
  overlappingSync: false,
  // This way each batch has one promise, and no unobserved promise rejects when a commit fails.
  eventTurnBatching: false,
  mapSize: MAP_BYTES,
  pageSize: PAGE_BYTES,
  permissionsMode: OWNER_ONLY_FILE,
} as const;

/** Check what could make this fail before calling: after a failed opening the library may crash. */
export const openDatabase = (directory: string): Database => lmdb().open<Buffer, Buffer>(directory, OPTIONS);

/** Runs `action` in a transaction, all or nothing, on the disk when it returns. Throws if the store can't be written. */
export function transact<T>(db: Database, action: () => T): T {
  return db.transactionSync(() => {
    // If no transaction could be begun, the library runs `action` without one, and would crash at the first write.
    if (db.getWriteTxnId() === 0)
      throw new Error('the store accepts no more writes until it is opened again; restart the bridge');
    return action();
  });
}

/** After a failed commit: why LMDB can't begin another one (a write would then never complete), or undefined if it can. */
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

/** The first key after all keys with the prefix; no UTF-8 text contains a byte 0xff. */
function behind(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** The keys with a prefix, as a range for LMDB. */
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
