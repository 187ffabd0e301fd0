/**
 * Checks a data directory before LMDB opens it: its owner, its format version, and whether its file is sound. A file that was
 * closed cleanly and has not been touched since is not read again.
 */
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { counted } from '../util/counted.js';
import { errorCode } from '../util/errors.js';
import { DATA_FILE, LOCK_FILE, replaceFile } from './directory.js';
import { type Inspection, inspect, lookUp } from './inspect.js';
import { FORMAT_KEY, keyBytes, OWNER_KEY } from './keys.js';
import { decodeOwner, isAlive, type Owner } from './owner.js';
import { hasBeenRepaired } from './repair.js';

export const FORMAT_VERSION = 1;

/** Marks the data file as cleanly closed; holds the file's signature at that time. */
const CLEAN_FILE = 'clean';
const ATTEMPTS = 5;

export type State =
  /** No records, and no file for them. `before`: whether there are traces of an earlier store. */
  | { kind: 'none'; before: boolean }
  | { kind: 'sound' }
  | { kind: 'owned'; owner: Owner }
  | { kind: 'newer'; version: string }
  | { kind: 'damaged'; inspection: Inspection; inode: bigint }
  /** The file was changed during each attempt to check it. */
  | { kind: 'busy' };

/** Differs after any change of the file. */
function signature(directory: string): string {
  const { size, ino, ctimeNs } = statSync(join(directory, DATA_FILE), { bigint: true });
  return [size, ino, ctimeNs].join(' ');
}

/** Call this when no process has the store open. */
export const markClean = (directory: string): void =>
  replaceFile(join(directory, CLEAN_FILE), signature(directory));

/** Call this before anything is written. */
export const unmarkClean = (directory: string): void => rmSync(join(directory, CLEAN_FILE), { force: true });

function isClean(directory: string): boolean {
  try {
    return readFileSync(join(directory, CLEAN_FILE), 'utf8') === signature(directory);
  } catch {
    return false;
  }
}

export const isNewer = (version: string): boolean => !(Number(version) <= FORMAT_VERSION);

function examine(directory: string): State {
  const path = join(directory, DATA_FILE);
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stats === undefined || stats.size === 0n) {
    const others = [stats, statSync(join(directory, LOCK_FILE), { throwIfNoEntry: false })];
    return { kind: 'none', before: others.some(Boolean) || hasBeenRepaired(directory) };
  }
  const format = lookUp(path, keyBytes(FORMAT_KEY));
  const version = format.value === undefined ? undefined : Buffer.from(format.value).toString('utf8');
  if (version !== undefined && isNewer(version)) return { kind: 'newer', version };
  const owner = decodeOwner(lookUp(path, keyBytes(OWNER_KEY)).value);
  if (owner !== undefined && isAlive(owner)) return { kind: 'owned', owner };
  if (isClean(directory)) return { kind: 'sound' };
  const inspection = inspect(path);
  if (inspection.fault === undefined) return { kind: 'sound' };
  const is_as_it_was =
    lookUp(path, keyBytes(FORMAT_KEY)).metas === format.metas && inspection.metas === format.metas;
  return is_as_it_was ? { kind: 'damaged', inspection, inode: stats.ino } : { kind: 'busy' };
}

/** Checks without changing anything. Throws the system's error if the directory can't be read. */
export function checkStore(directory: string): State {
  for (let attempt = 1; attempt < ATTEMPTS; attempt += 1) {
    const state = examine(directory);
    if (state.kind !== 'busy') return state;
  }
  return examine(directory);
}

/**
 * Reads a record without opening the store; undefined if there is no file yet. Throws the system's error if it can't be read.
 */
export function readRecord(directory: string, key: string): Uint8Array | undefined {
  const path = join(directory, DATA_FILE);
  try {
    statSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const look = () => lookUp(path, keyBytes(key));
  let found = look();
  for (let attempt = 1; attempt < ATTEMPTS; attempt += 1) {
    const again = look();
    if (again.metas === found.metas) break;
    found = again;
  }
  return found.value;
}

/** The damage in words, to follow the directory's name in a message. */
export function describeDamage({ fault, faults, sound, lost, lost_kinds }: Inspection): string {
  const more = faults > 1 ? ` (and ${counted(faults - 1, 'more fault')})` : '';
  const kinds = lost > 0 && lost_kinds.length > 0 ? ` (${lost_kinds.join(', ')})` : '';
  return `${DATA_FILE} is damaged: ${fault}${more}; ${counted(sound, 'record')} readable, ${lost} unreadable${kinds}`;
}
