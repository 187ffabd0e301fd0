/**
 * Finds the directories of transcripts below OpenClaw's state directory: `agents/<agent>/sessions/*.jsonl`. Every directory on
 * the way is watched, since agents and their sessions may be added later; which directories there are is found by listing.
 */
import { type FSWatcher, watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { SourceError } from '../../model/source.js';
import { errorCode, errorReason } from '../../util/errors.js';

type Level = 'state' | 'agents' | 'agent' | 'sessions';

export interface Directory {
  path: string;
  level: Level;
  /** Distinguishes it from another directory that is created in its place, which may get the same inode. */
  identity: string;
}

/** Files beside transcripts: other records of a session, and copies of a transcript from before a compaction. */
const NO_TRANSCRIPT = /\.(?:trajectory|acp-stream|checkpoint\.[^.]+)\.jsonl$/;

/** Archived transcripts have other names (`archives.ts`), and those being written begin with a dot. */
export const isTranscript = (name: string): boolean =>
  /^[^.].*\.jsonl$/s.test(name) && !NO_TRANSCRIPT.test(name);

/** A state directory has any name; `agents` and `sessions` below it, which may be given instead, are recognised by theirs. */
function levelOf(path: string): Level {
  const name = basename(resolve(path));
  return name === 'agents' || name === 'sessions' ? name : 'state';
}

/** Called with a directory that can't be read, and the reason. That it is not there is none. */
export type OnUnreadable = (path: string, error: unknown) => void;

const reporting =
  (path: string, onUnreadable: OnUnreadable | undefined) =>
  (error: unknown): undefined => {
    const code = errorCode(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') onUnreadable?.(path, error);
  };

async function below({ path, level }: Directory, onUnreadable?: OnUnreadable): Promise<Directory[]> {
  if (level === 'state') return directoriesAt(join(path, 'agents'), 'agents', onUnreadable);
  if (level === 'agent') return directoriesAt(join(path, 'sessions'), 'sessions', onUnreadable);
  if (level === 'sessions') return [];
  const found: Directory[] = [];
  for (const name of await namesIn(path, onUnreadable))
    found.push(...(await directoriesAt(join(path, name), 'agent', onUnreadable)));
  return found;
}

/** The directory at a path and those below it; none if there is no directory. */
async function directoriesAt(
  path: string,
  level: Level,
  onUnreadable: OnUnreadable | undefined,
): Promise<Directory[]> {
  const stats = await stat(path).catch(reporting(path, onUnreadable));
  if (stats === undefined || !stats.isDirectory()) return [];
  const directory = { path, level, identity: `${stats.ino} ${stats.birthtimeMs}` };
  return [directory, ...(await below(directory, onUnreadable))];
}

export const findDirectories = (root: string, onUnreadable?: OnUnreadable): Promise<Directory[]> =>
  directoriesAt(root, levelOf(root), onUnreadable);

/** The names in a directory; none if it is gone. */
export const namesIn = async (path: string, onUnreadable?: OnUnreadable): Promise<string[]> =>
  (await readdir(path).catch(reporting(path, onUnreadable))) ?? [];

/** Whether there is a transcript below a directory. */
export async function holdsTranscripts(root: string): Promise<boolean> {
  for (const { path, level } of await findDirectories(root)) {
    if (level === 'sessions' && (await namesIn(path)).some(isTranscript)) return true;
  }
  return false;
}

/** Throws a `SourceError` if the path can never hold transcripts; a directory that does not exist yet may. */
export async function checkRoot(root: string): Promise<void> {
  try {
    await readdir(root);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    const reason = errorCode(error) === 'ENOTDIR' ? 'it is not a directory' : errorReason(error);
    throw new SourceError(`can't follow transcripts in ${root}: ${reason}; ${WHAT_TO_GIVE}`);
  }
}

export const WHAT_TO_GIVE =
  "use OpenClaw's state directory, such as ~/.openclaw, which contains agents/<agent>/sessions";

export interface Watches {
  /** Watches exactly these directories. Returns true if one was added: what is in it may have come before the watch. */
  keep(directories: Directory[]): boolean;
  /** Whether all of them are watched. */
  complete(): boolean;
  close(): void;
}

/** Reports changes in directories; the name is null if the system does not report it. */
export function createWatches(onChange: (directory: Directory, name: string | null) => void): Watches {
  const watched = new Map<string, { identity: string; watcher: FSWatcher }>();
  let wanted = 0;

  function stop(path: string): void {
    watched.get(path)?.watcher.close();
    watched.delete(path);
  }

  function start(directory: Directory): boolean {
    try {
      const watcher = watch(directory.path, (_event, name) => onChange(directory, name));
      watcher.on('error', () => stop(directory.path));
      watched.set(directory.path, { identity: directory.identity, watcher });
      return true;
    } catch {
      // It is gone, or no watches are left: then only regular checks find the changes.
      return false;
    }
  }

  return {
    keep(directories) {
      const identities = new Map(directories.map(({ path, identity }) => [path, identity]));
      // A watch stays with a directory that was removed, even if another one is created in its place.
      for (const [path, { identity }] of watched) if (identities.get(path) !== identity) stop(path);
      wanted = directories.length;
      return directories.filter(({ path }) => !watched.has(path)).filter(start).length > 0;
    },
    complete: () => watched.size >= wanted,
    close() {
      for (const path of [...watched.keys()]) stop(path);
    },
  };
}
