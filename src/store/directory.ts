/**
 * The data directory: the only place where the bridge stores data between two starts. Only its owner can read it.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Variables } from '../util/variables.js';

/** `$XDG_STATE_HOME/openclaw-otel-bridge`, else `~/.local/state/openclaw-otel-bridge`. */
export const defaultDataDirectory = (env: Variables): string =>
  join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'openclaw-otel-bridge');

/** LMDB's file names. */
export const DATA_FILE = 'data.mdb';
export const LOCK_FILE = 'lock.mdb';

const OWNER_ONLY_DIRECTORY = 0o700;
const OWNER_ONLY_FILE = 0o600;

/**
 * Creates the directory if it is missing; throws the system's error if that fails. One level at a time: Node's recursive mkdir
 * never returns on a file system that creates nothing and reports a missing entry, such as `/proc`.
 */
export function makeDataDirectory(directory: string): void {
  const missing: string[] = [];
  for (let path = resolve(directory); !existsSync(path); path = dirname(path)) missing.unshift(path);
  for (const path of missing) makeLevel(path);
}

function makeLevel(path: string): void {
  try {
    mkdirSync(path, { mode: OWNER_ONLY_DIRECTORY });
  } catch (error) {
    // Another process may have created it first.
    if (!existsSync(path)) throw error;
  }
}

/** Replaces a file atomically: a reader finds the old content or the new, never a mix. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const written = `${path}.new`;
  writeFileSync(written, content, { mode: OWNER_ONLY_FILE, flush: true });
  renameSync(written, path);
}
