/**
 * The source `file:PATH` where the file is followed: what is there is read, then whatever is appended. It outlives
 * rotation, truncation and the file's absence; after each of the first two a new stream begins, `PATH#2` and so on,
 * since its lines are counted from 1 again.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Source, SourceError } from '../model/source.js';
import { openFile, readChunk, reading, type UnreadableFile } from './file.js';
import { createLineSplitter } from './lines.js';
import { createNotifier } from './notifier.js';
import { createReaderSource, lineBatch, type Push } from './reader.js';

export const DEFAULT_POLL_INTERVAL_MS = 1000;

export interface FollowOptions {
  max_line_bytes: number;
  /** How often the file is looked at where the system tells of no change. */
  poll_interval_ms: number;
}

/** What following one file needs to know. */
interface Follower extends FollowOptions {
  path: string;
  push: Push;
  stop: AbortSignal;
  /** Resolves when the file may have changed, at the latest after the poll interval. */
  changed(): Promise<void>;
  nextStream(): string;
}

/**
 * Tells of changes to a path by watching its directory, since the path itself may name nothing, or another file from
 * one moment to the next. Watching is tried again before each wait, as the directory may be missing as well.
 */
function watchPath(path: string, onChange: () => void): { keepWatching(): void; close(): void } {
  let watcher: FSWatcher | undefined;

  function stopWatching(): void {
    watcher?.close();
    watcher = undefined;
  }

  return {
    keepWatching() {
      if (watcher !== undefined) return;
      try {
        watcher = watch(dirname(path), (_event, filename) => {
          if (filename === null || filename === basename(path)) onChange();
        });
        watcher.on('error', stopWatching);
      } catch {
        // No such directory, or no watches left: then the poll alone finds the changes.
      }
    },
    close: stopWatching,
  };
}

/** Waits until the file can be opened; undefined when it is stopped before that. */
async function waitForFile(
  first: FileHandle | UnreadableFile,
  { path, push, stop, changed }: Follower,
): Promise<FileHandle | undefined> {
  let file = first;
  if ('message' in file) {
    const message = file.missing ? `can't read ${path}: it does not exist yet` : file.message;
    await push({ kind: 'status', state: 'down', message: `${message}; it is read as soon as it can be` });
  }
  while ('message' in file) {
    if (stop.aborted) return undefined;
    await changed();
    file = await openFile(path);
  }
  await push({ kind: 'status', state: 'up', message: `reading ${path}` });
  return file;
}

/**
 * Whether the path names another file by now, with something in it. While that one is empty, the writer may not have
 * gone over to it yet and still append to the old one.
 */
async function isReplaced(path: string, handle: FileHandle): Promise<boolean> {
  const opened = await reading(path, handle.stat({ bigint: true }));
  const named = await stat(path, { bigint: true }).catch(() => undefined);
  if (named === undefined || !named.isFile() || named.size === 0n) return false;
  return named.ino !== opened.ino || named.dev !== opened.dev;
}

/** Follows one stream to its end: the file was truncated, replaced by another one, or following was stopped. */
async function followStream(
  handle: FileHandle,
  { path, max_line_bytes, push, stop, changed, nextStream }: Follower,
): Promise<'truncated' | 'replaced' | 'stopped'> {
  const stream = nextStream();
  const splitter = createLineSplitter({ max_line_bytes });
  let position = 0;
  let replaced = false;
  while (!stop.aborted) {
    const { size } = await reading(path, handle.stat());
    if (size < position) {
      await push(lineBatch(stream, splitter.abort(), true));
      return 'truncated';
    }
    if (size > position) {
      const chunk = await readChunk(handle, path, position);
      position += chunk.length;
      const lines = splitter.push(chunk);
      if (lines.length > 0) await push(lineBatch(stream, lines, false));
    } else if (replaced) {
      await push(lineBatch(stream, splitter.end(), true));
      return 'replaced';
    } else {
      // Having been replaced, the old file is looked at once more: its last lines may have come just before.
      replaced = await isReplaced(path, handle);
      if (!replaced) await changed();
    }
  }
  // Stopped: an incomplete line has not been lost, it is in the file.
  await push(lineBatch(stream, [], true));
  return 'stopped';
}

async function follow(first: FileHandle | UnreadableFile, follower: Follower): Promise<void> {
  let file = await waitForFile(first, follower);
  while (file !== undefined) {
    const handle = file;
    try {
      while ((await followStream(handle, follower)) === 'truncated');
    } finally {
      await handle.close();
    }
    file = follower.stop.aborted ? undefined : await waitForFile(await openFile(follower.path), follower);
  }
}

/**
 * Follows a file until it is closed. A missing file is waited for; opening throws a `SourceError` where the path names
 * a directory or a file that this user can't read, and the iteration throws one where reading fails later.
 */
export function createFollowSource(name: string, path: string, options: FollowOptions): Source {
  return createReaderSource(name, async (push, stop) => {
    const notifier = createNotifier();
    const watcher = watchPath(path, notifier.notify);
    // Watching begins before the first look, so that nothing between the two is missed.
    watcher.keepWatching();
    const first = await openFile(path);
    if ('message' in first && !first.missing) {
      watcher.close();
      throw new SourceError(first.message);
    }
    stop.addEventListener('abort', notifier.notify);
    let streams = 0;
    const follower: Follower = {
      ...options,
      path,
      push,
      stop,
      async changed() {
        watcher.keepWatching();
        if (!stop.aborted) await notifier.wait(options.poll_interval_ms);
      },
      nextStream() {
        streams += 1;
        return streams === 1 ? path : `${path}#${streams}`;
      },
    };
    return () => follow(first, follower).finally(watcher.close);
  });
}
