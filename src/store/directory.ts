/**
 * The data directory: the one place where the bridge keeps things between two starts. Nobody but its owner can read it.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$XDG_STATE_HOME/openclaw-otel-bridge`, else `~/.local/state/openclaw-otel-bridge`. */
export const defaultDataDirectory = (env: Readonly<Record<string, string | undefined>>): string =>
  join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'openclaw-otel-bridge');

/** LMDB's names for them. */
export const DATA_FILE = 'data.mdb';
export const LOCK_FILE = 'lock.mdb';

const OWNER_ONLY_DIRECTORY = 0o700;
const OWNER_ONLY_FILE = 0o600;

/** Makes the directory where it is missing; throws the system's error where that is not possible. */
export const makeDataDirectory = (directory: string): void => {
  mkdirSync(directory, { recursive: true, mode: OWNER_ONLY_DIRECTORY });
};

/** Replaces a file as a whole: whoever reads it, at whatever time, finds the old content or the new. */
export function replaceFile(path: string, content: string | Uint8Array): void {
  const written = `${path}.new`;
  writeFileSync(written, content, { mode: OWNER_ONLY_FILE, flush: true });
  renameSync(written, path);
}
