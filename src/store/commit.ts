/**
 * Commits changes together, once the disk has room for them. What could make a commit fail is checked first, since LMDB may
 * take no more writes after a failed one.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { errorReason } from '../util/errors.js';
import { type Database, refusalOf, statisticsOf, usedPages } from './database.js';
import { DATA_FILE } from './directory.js';
import { MARGIN_BYTES, openRoom } from './room.js';
import type { Written } from './store.js';

const MANY_CHANGES = 1_000;

/** A record in LMDB's form; `framed` is undefined for a removal. */
export interface Change {
  key: Buffer;
  framed: Buffer | undefined;
}

export const bytesOf = (changes: readonly Change[]): number =>
  changes.reduce((sum, { framed }) => sum + (framed?.length ?? 0), 0);

/** Undefined if there is no such file. */
const inodeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino;

export interface Committer {
  commit(changes: readonly Change[]): Promise<Written>;
  close(): Promise<void>;
}

export function createCommitter(db: Database, directory: string): Committer {
  const room = openRoom(directory);
  const path = join(directory, DATA_FILE);
  const own_inode = inodeOf(path);
  /** The reason why LMDB takes no more writes until it is opened again. */
  let broken: string | undefined;

  /** Removals are tried even on a full disk: they free space. */
  async function reserve(put_bytes: number): Promise<void> {
    const found = statisticsOf(db);
    // A value may leave up to its own size unused on its last page.
    const need = 2 * put_bytes + MARGIN_BYTES;
    const length = (found.lastPageNumber + 1) * found.pageSize + need;
    try {
      await room.reserve(length);
    } catch (error) {
      const free_bytes = (found.lastPageNumber + 1 - usedPages(found)) * found.pageSize;
      if (put_bytes > 0 && free_bytes < need) throw error;
    }
  }

  async function commit(changes: readonly Change[]): Promise<Written> {
    if (broken !== undefined) return { ok: false, message: broken };
    // LMDB would keep writing to a file that no longer has a name.
    if (inodeOf(path) !== own_inode)
      return {
        ok: false,
        message: `${DATA_FILE} was removed or replaced while it was in use; restart the bridge`,
      };
    try {
      await reserve(bytesOf(changes));
    } catch (error) {
      return { ok: false, message: errorReason(error) };
    }
    // Passing many changes to LMDB takes some milliseconds.
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
      broken = refusalOf(db);
      return { ok: false, message: await commitReason(error) };
    }
  }

  return { commit, close: () => room.close() };
}

/** The library rejects with a general error; the system's reason is in a second promise on that error. */
async function commitReason(error: unknown): Promise<string> {
  const { commitError } = error as { commitError?: Promise<never> };
  if (commitError === undefined) return errorReason(error);
  return commitError.then(() => 'the commit failed', errorReason);
}
