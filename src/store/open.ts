/**
 * Opens the store in a data directory: for the bridge, which owns it, or beside a running bridge. LMDB is given files only
 * after they were looked at, since it maps them into memory, and what is wrong with them would be the end of the process.
 */
import { accessSync, constants, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorReason } from '../errors.js';
import { DATA_FILE, LOCK_FILE, makeDataDirectory } from './directory.js';
import { FORMAT_KEY, keyBytes, OWNER_KEY } from './keys.js';
import { createLmdbStore, type Database, getRecord, openDatabase, putRecord, transact } from './lmdb.js';
import { decodeOwner, encodeOwner, isAlive, type Owner, thisProcess } from './owner.js';
import { MARGIN_BYTES } from './room.js';
import type { Store } from './store.js';

const FORMAT_VERSION = 1;

export interface OpenOptions {
  /** `own`: as the one bridge of the directory. `share`: beside it, for reads and small writes. */
  access: 'own' | 'share';
  /** With `share`, whether a store is made where there is none yet; `own` always makes one. */
  create?: boolean;
}

/** `findings`: what was wrong with the directory, and what was done about it, a line each. */
export type Opened = { store: Store; findings: string[] } | { problem: string };

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** Throws the system's error where the directory can't hold a store. */
function prepare(directory: string): void {
  makeDataDirectory(directory);
  accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  const missing = [DATA_FILE, LOCK_FILE].filter((name) => {
    const path = join(directory, name);
    if (!exists(path)) return true;
    if (!statSync(path).isFile()) throw new Error(`${name} is no file`);
    accessSync(path, constants.R_OK | constants.W_OK);
    return false;
  });
  if (missing.length > 0) checkRoom(directory);
}

function checkRoom(directory: string): void {
  const path = join(directory, 'room');
  try {
    writeFileSync(path, Buffer.alloc(MARGIN_BYTES));
  } finally {
    rmSync(path, { force: true });
  }
}

const formatProblem = (directory: string, version: string): string =>
  `${directory} holds a store of format ${version}, made by a newer version of this program, which reads up to format ${FORMAT_VERSION}; start the newer version, or give another directory with --data-dir`;

const ownedProblem = (directory: string, { pid }: Owner): string =>
  `${directory} is in use by process ${pid}; stop that one, or give another directory with --data-dir`;

/** In one transaction: of two that start at the same time, one wins. Returns why not. */
function claim(db: Database, directory: string, access: OpenOptions['access']): string | undefined {
  return transact(db, () => {
    const format = getRecord(db, FORMAT_KEY);
    const version = format === undefined ? undefined : Buffer.from(format).toString('utf8');
    if (version === undefined) putRecord(db, FORMAT_KEY, Buffer.from(String(FORMAT_VERSION)));
    else if (Number(version) > FORMAT_VERSION) return formatProblem(directory, version);
    if (access === 'share') return undefined;
    const owner = decodeOwner(getRecord(db, OWNER_KEY));
    if (owner !== undefined && isAlive(owner)) return ownedProblem(directory, owner);
    putRecord(db, OWNER_KEY, encodeOwner(thisProcess()));
    return undefined;
  });
}

async function disown(db: Database): Promise<void> {
  try {
    transact(db, () => db.removeSync(keyBytes(OWNER_KEY)));
  } catch {
    // The record names a process that will be gone.
  }
  await db.close();
}

/** Never throws; what it can't open it says why, and the caller may go on in memory. */
export function openStore(directory: string, { access, create = access === 'own' }: OpenOptions): Opened {
  try {
    if (!create && !exists(join(directory, DATA_FILE))) {
      return { problem: `there is no store in ${directory} yet; it is made by the first run` };
    }
    prepare(directory);
    const db = openDatabase(directory);
    const problem = claim(db, directory, access);
    if (problem !== undefined) {
      void db.close();
      return { problem };
    }
    const release = access === 'own' ? () => disown(db) : () => db.close();
    return { store: createLmdbStore(db, directory, release), findings: [] };
  } catch (error) {
    return { problem: `can't use the store in ${directory}: ${errorReason(error)}` };
  }
}
