/**
 * The data directory: the one place where the bridge keeps things between two starts. Nobody but its owner can read it.
 */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** `$XDG_STATE_HOME/openclaw-otel-bridge`, else `~/.local/state/openclaw-otel-bridge`. */
export const defaultDataDirectory = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'openclaw-otel-bridge');

/** LMDB's names for them. */
export const DATA_FILE = 'data.mdb';
export const LOCK_FILE = 'lock.mdb';

const OWNER_ONLY_DIRECTORY = 0o700;
const OWNER_ONLY_FILE = 0o600;

/**
 * Makes the directory where it is missing; throws the system's error where that is not possible. Level by level: Node's own way to
 * make several never comes back where a file system makes none and says that something is missing, as `/proc` does.
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
    // Another process may have been faster.
    if (!existsSync(path)) throw error;
  }
}

/** Replaces a file as a whole: whoever reads it, at whatever time, finds the old content or the new. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const written = `${path}.new`;
  writeFileSync(written, content, { mode: OWNER_ONLY_FILE, flush: true });
  renameSync(written, path);
}
