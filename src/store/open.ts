/**
 * Opens the store in a data directory, either as the bridge that owns it or beside a running bridge. Files are checked before
 * LMDB gets them: it maps them into memory, and a fault in them would crash the process.
 */
import { accessSync, constants, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorReason } from '../util/errors.js';
import {
  checkStore,
  describeDamage,
  FORMAT_VERSION,
  isNewer,
  markClean,
  type State,
  unmarkClean,
} from './check.js';
import { type Database, getRecord, openDatabase, putRecord, transact } from './database.js';
import { DATA_FILE, LOCK_FILE, makeDataDirectory } from './directory.js';
import { FORMAT_KEY, keyBytes, OWNER_KEY } from './keys.js';
import { createLmdbStore } from './lmdb.js';
import { decodeOwner, encodeOwner, isAlive, type Owner, thisProcess } from './owner.js';
import { removeLeftovers, repair } from './repair.js';
import { MARGIN_BYTES } from './room.js';
import type { Store } from './store.js';

export interface OpenOptions {
  /** `own`: as the directory's only bridge. `share`: beside it, for reads and small writes of an existing store. */
  access: 'own' | 'share';
}

/** `findings`: what was wrong with the directory and what was done about it, one line each. */
export type Opened = { store: Store; findings: string[] } | Unopened;

export interface Unopened {
  problem: string;
  /** The directory belongs to another process or to a newer version; otherwise it is unusable. */
  is_taken: boolean;
}

const taken = (problem: string): Unopened => ({ problem, is_taken: true });
const unusable = (problem: string): Unopened => ({ problem, is_taken: false });

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** Checks that the disk has room: if LMDB finds out that it has not, it may crash later. Throws the system's error. */
function checkRoom(directory: string): void {
  const path = join(directory, 'room');
  try {
    writeFileSync(path, Buffer.alloc(MARGIN_BYTES));
  } finally {
    rmSync(path, { force: true });
  }
}

/** Prepares the directory. Throws the system's error if it can't hold a store. */
function prepare(directory: string): void {
  makeDataDirectory(directory);
  if (!statSync(directory).isDirectory()) throw new Error('it is not a directory');
  accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
  const paths = [DATA_FILE, LOCK_FILE].map((name) => join(directory, name));
  for (const path of paths.filter(exists)) {
    if (!statSync(path).isFile()) throw new Error(`${path} is not a regular file`);
    accessSync(path, constants.R_OK | constants.W_OK);
  }
  if (!paths.every(exists)) checkRoom(directory);
}

/** Ends the advice if the directory is another's. The caller knows which option names the directory. */
const OR_ELSE = 'or give another data directory';

const newerFormat = (directory: string, version: string): string =>
  `the store in ${directory} has format ${version}, but this version reads only up to format ${FORMAT_VERSION}; start the newer version that created it, ${OR_ELSE}`;

const inUse = (directory: string, { pid }: Owner): string =>
  `${directory} is in use by process ${pid}; stop that process, ${OR_ELSE}`;

/** Repairs what can be repaired. Returns what was done, or why the store can't be used. */
function mend(directory: string, state: State): { findings: string[] } | Unopened {
  switch (state.kind) {
    case 'sound':
      return { findings: [] };
    case 'none':
      return {
        findings: state.before
          ? [`${DATA_FILE} in ${directory} is missing or empty: starting with an empty store`]
          : [],
      };
    case 'owned':
      return taken(inUse(directory, state.owner));
    case 'newer':
      return taken(newerFormat(directory, state.version));
    case 'busy':
      return taken(`${directory} is being changed by another process; stop that process, ${OR_ELSE}`);
    case 'damaged': {
      const aside = repair(directory, state.inode);
      if (aside === undefined) return mend(directory, checkStore(directory));
      const damage = `${directory}: ${describeDamage(state.inspection)}`;
      return {
        findings: [`${damage}; continuing with the readable records; the damaged file is kept in ${aside}`],
      };
    }
  }
}

/** Checks without repairing: a running bridge has checked its files itself. Returns why the store can't be shared. */
function checkShared(directory: string, create: boolean): string | undefined {
  const state = checkStore(directory);
  if (state.kind === 'newer') return newerFormat(directory, state.version);
  if (state.kind === 'damaged') {
    return `${directory}: ${describeDamage(state.inspection)}; the next run sets it aside and continues with the readable records`;
  }
  if (state.kind === 'none' && !create)
    return `there is no store in ${directory} yet; the first run creates it`;
  return undefined;
}

/** Claims the store in one transaction, so that of two processes only one succeeds. Returns why this one failed. */
function claim(db: Database, directory: string, access: OpenOptions['access']): string | undefined {
  return transact(db, () => {
    const format = getRecord(db, FORMAT_KEY);
    const version = format === undefined ? undefined : Buffer.from(format).toString('utf8');
    if (version !== undefined && isNewer(version)) return newerFormat(directory, version);
    if (version === undefined) putRecord(db, FORMAT_KEY, Buffer.from(String(FORMAT_VERSION)));
    if (access === 'share') return undefined;
    const owner = decodeOwner(getRecord(db, OWNER_KEY));
    if (owner !== undefined && isAlive(owner)) return inUse(directory, owner);
    putRecord(db, OWNER_KEY, encodeOwner(thisProcess()));
    return undefined;
  });
}

async function disown(db: Database, directory: string): Promise<void> {
  try {
    transact(db, () => db.removeSync(keyBytes(OWNER_KEY)));
  } catch {
    // The record stays, but names a process that will be gone.
  }
  await db.close();
  try {
    markClean(directory);
  } catch {
    // Without the mark the next start checks the file, nothing more.
  }
}

/** Opens and claims the store. Returns the reason if the directory is another's. */
function openClaimed(directory: string, access: OpenOptions['access']): Database | Unopened {
  const db = openDatabase(directory);
  try {
    const problem = claim(db, directory, access);
    if (problem === undefined) return db;
    void db.close();
    return taken(problem);
  } catch (error) {
    void db.close();
    throw error;
  }
}

function openOwn(directory: string): Opened {
  prepare(directory);
  const mended = mend(directory, checkStore(directory));
  if ('problem' in mended) return mended;
  removeLeftovers(directory);
  unmarkClean(directory);
  const db = openClaimed(directory, 'own');
  if ('problem' in db) return db;
  return { store: createLmdbStore(db, directory, () => disown(db, directory)), findings: mended.findings };
}

function openShared(directory: string, create: boolean): Database | Unopened {
  const problem = checkShared(directory, create);
  if (problem !== undefined) return unusable(problem);
  prepare(directory);
  return openClaimed(directory, 'share');
}

/** Reads and writes a few records beside the store's owner, in one transaction, on the disk when it returns. */
export function updateShared<T>(directory: string, update: (db: Database) => T): { value: T } | Unopened {
  try {
    const db = openShared(directory, true);
    if ('problem' in db) return db;
    try {
      return { value: transact(db, () => update(db)) };
    } finally {
      void db.close();
    }
  } catch (error) {
    return unusable(`can't write to the store in ${directory}: ${errorReason(error)}`);
  }
}

/** Whether the store belongs to a live process. */
export function hasLiveOwner(store: Store): boolean {
  const owner = decodeOwner(store.get(OWNER_KEY));
  return owner !== undefined && isAlive(owner);
}

/** Opens a store. Never throws: failures are returned, and the caller may continue in memory. */
export function openStore(directory: string, { access }: OpenOptions): Opened {
  try {
    if (access === 'own') return openOwn(directory);
    const db = openShared(directory, false);
    if ('problem' in db) return db;
    return { store: createLmdbStore(db, directory, () => db.close()), findings: [] };
  } catch (error) {
    return unusable(`can't use the store in ${directory}: ${errorReason(error)}`);
  }
}
