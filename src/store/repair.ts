/**
 * Repairs a damaged store: sound records are copied to a new file, which then replaces the old one atomically, so that a crash
 * leaves one or the other. The old files are set aside for inspection.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { openDatabase, transact } from './database.js';
import { DATA_FILE, LOCK_FILE, makeDataDirectory } from './directory.js';
import { readSound } from './inspect.js';
import { isOwnKey } from './keys.js';

const FRESH = 'repair';
const ASIDE = 'damaged-';
const ASIDE_MAX = 3;
const TRANSACTION_BYTES = 16 * 1024 * 1024;

const namesAside = (directory: string): string[] =>
  existsSync(directory) ? readdirSync(directory).filter((name) => name.startsWith(ASIDE)) : [];

export const hasBeenRepaired = (directory: string): boolean => namesAside(directory).length > 0;

/** Removes what a crash in the middle of a repair leaves behind. */
export const removeLeftovers = (directory: string): void =>
  rmSync(join(directory, FRESH), { recursive: true, force: true });

function copySound(from: string, to: string): void {
  const db = openDatabase(to);
  let waiting: [Buffer, Buffer][] = [];
  let bytes = 0;
  const put = (): void => {
    transact(db, () => {
      for (const [key, framed] of waiting) db.putSync(key, framed);
    });
    waiting = [];
    bytes = 0;
  };
  try {
    readSound(from, (key, framed) => {
      if (isOwnKey(key.toString('utf8'))) return;
      waiting.push([key, framed]);
      bytes += framed.length;
      if (bytes > TRANSACTION_BYTES) put();
    });
    put();
  } finally {
    void db.close();
  }
}

/** Hard-links the file; copies it if the file system has no hard links. */
function keep(path: string, aside: string): void {
  try {
    linkSync(path, aside);
  } catch {
    copyFileSync(path, aside);
  }
}

/** Makes renames in a directory survive a power failure. Not every system can open a directory. */
function syncDirectory(directory: string): void {
  if (process.platform === 'win32') return;
  const fd = openSync(directory, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

const stampOf = (now: Date): string => now.toISOString().replaceAll(':', '-').replace('.', '-');

/**
 * Returns the directory of the old files; undefined if the data file is no longer the damaged one (`inode`), and then nothing
 * is changed. Throws the system's error and leaves the damaged store as it was.
 */
export function repair(directory: string, inode: bigint): string | undefined {
  const data = join(directory, DATA_FILE);
  const fresh = join(directory, FRESH);
  removeLeftovers(directory);
  try {
    makeDataDirectory(fresh);
    copySound(data, fresh);
    const aside = join(directory, ASIDE + stampOf(new Date()));
    makeDataDirectory(aside);
    if (statSync(data, { bigint: true }).ino !== inode) return undefined;
    keep(data, join(aside, DATA_FILE));
    if (statSync(join(directory, LOCK_FILE), { throwIfNoEntry: false }) !== undefined) {
      renameSync(join(directory, LOCK_FILE), join(aside, LOCK_FILE));
    }
    renameSync(join(fresh, DATA_FILE), data);
    syncDirectory(directory);
    for (const name of namesAside(directory).sort().slice(0, -ASIDE_MAX)) {
      rmSync(join(directory, name), { recursive: true, force: true });
    }
    return aside;
  } finally {
    removeLeftovers(directory);
  }
}
