/**
 * Checks the data directory: whether the bridge can store data there, and whether nobody else can read it. The check changes
 * nothing.
 */
import { accessSync, constants, type Stats, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { checkStore, describeDamage, FORMAT_VERSION } from '../../store/index.js';
import { errorReason } from '../../util/errors.js';
import { shellWord } from '../../util/shell.js';
import { BYTES_PER_MB } from '../../util/units.js';
import { type Check, ok, problem, warning } from './check.js';

const NAME = 'data directory';
const ADVICE = 'pass --data-dir with a directory that this user can write';
const NEWER_ADVICE = 'use the newer version that created it, or pass another --data-dir';

const FREE_MIN_MB = 256;
const OTHERS = 0o077;

const find = (path: string): Stats | undefined => statSync(path, { throwIfNoEntry: false });

/** The nearest existing ancestor of a directory that is yet to be created. */
function nearestExisting(path: string): string {
  const parent = dirname(path);
  return parent === path || find(parent) !== undefined ? parent : nearestExisting(parent);
}

function checkFreeSpace(path: string): Check[] {
  const { bavail, bsize } = statfsSync(path);
  const free_mb = Math.floor((bavail * bsize) / BYTES_PER_MB);
  if (free_mb >= FREE_MIN_MB) return [];
  return [warning(NAME, `only ${free_mb} MB free in ${path}`, 'free some space, or pass another --data-dir')];
}

function checkPermissions(path: string, stats: Stats | undefined): Check {
  if (stats === undefined) return ok(NAME, `${path} will be created at the first start`);
  const mode = stats.mode & 0o777;
  if (process.platform === 'win32' || (mode & OTHERS) === 0) return ok(NAME, `${path} is writable`);
  const found = `${path} can be read or changed by other users (mode ${mode.toString(8)})`;
  return warning(NAME, found, `run: chmod 700 ${shellWord(path)}`);
}

/** Checks the store in it; no result if there is nothing to report. */
function checkStoreIn(path: string): Check[] {
  const state = checkStore(path);
  if (state.kind === 'owned') {
    return [ok(NAME, `${path} is in use by a running bridge (process ${state.owner.pid})`)];
  }
  if (state.kind === 'newer') {
    const found = `the store in ${path} has format ${state.version}, but this version reads only up to format ${FORMAT_VERSION}`;
    return [problem(NAME, found, NEWER_ADVICE)];
  }
  if (state.kind === 'damaged') {
    const found = `${path}: ${describeDamage(state.inspection)}`;
    return [
      warning(
        NAME,
        found,
        'no action needed: the next run sets the damaged file aside and continues with the rest',
      ),
    ];
  }
  return [];
}

/** `path` is undefined if nothing is to be stored. */
export function checkDataDirectory(path: string | undefined): Check[] {
  if (path === undefined) return [ok(NAME, 'not used: no_store is set, so nothing is kept between starts')];
  try {
    const stats = find(path);
    if (stats?.isDirectory() === false) return [problem(NAME, `${path} is not a directory`, ADVICE)];
    const base = stats === undefined ? nearestExisting(path) : path;
    accessSync(base, constants.W_OK | constants.X_OK);
    const store = stats === undefined ? [] : checkStoreIn(path);
    return [checkPermissions(path, stats), ...store, ...checkFreeSpace(base)];
  } catch (error) {
    return [problem(NAME, `${path} can't be used: ${errorReason(error)}`, ADVICE)];
  }
}
