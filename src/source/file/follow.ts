/**
 * The source `file:PATH` in follow mode: reads what is there, then whatever is appended. It survives rotation, truncation and
 * the file's absence; after each of the first two a new stream begins, `PATH#2` and so on, since its lines are counted from 1
 * again. After a restart it resumes in the same file, under whatever name that has now, or in its copy, and then in the files
 * that had the path after it.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Positions, type Source, SourceError } from '../../model/source.js';
import { createNotifier } from '../notifier.js';
import { createReaderSource, lineBatch, type Push } from '../reader.js';
import {
  type Cursor,
  createCursor,
  type FileId,
  type FilePosition,
  identify,
  idOf,
  isSameFile,
  startOf,
} from './cursor.js';
import { openFile, type UnreadableFile } from './file.js';
import { findRotatedSince, findSuccessor, type OpenedPlace, openAt, openCopy } from './rotation.js';

export const DEFAULT_POLL_INTERVAL_MS = 1000;

export interface FollowOptions {
  max_line_bytes: number;
  /** How often the file is checked when the system reports no change. */
  poll_interval_ms: number;
  /** Positions of the streams of an earlier process. */
  resume: Positions;
}

/** A stream's position. */
interface FollowPosition extends FilePosition {
  /** Absent if an earlier version stored the position. */
  read_at_ms?: number;
}

const positionNow = (position: FilePosition): FollowPosition => ({ ...position, read_at_ms: Date.now() });

/** The state and options of following one file. */
interface Follower extends Omit<FollowOptions, 'resume'> {
  path: string;
  /** Streams of an earlier process that are still to be resumed, in order: one, or two if it stopped between two streams. */
  left: [stream: string, FollowPosition][];
  push: Push;
  stop: AbortSignal;
  /** Resolves when the file may have changed, at the latest after the poll interval. */
  changed(): Promise<void>;
  nextStream(): string;
}

/** A file that is being read. */
interface Stream {
  name: string;
  handle: FileHandle;
  cursor: Cursor;
}

/**
 * Reports changes to a path by watching its directory, since the path itself may name nothing, or another file from one moment
 * to the next. Watching is tried again before each wait, as the directory may be missing as well.
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
        // No such directory, or no watches left: then polling alone finds the changes.
      }
    },
    close: stopWatching,
  };
}

/** Waits until the file can be opened; undefined if following is stopped before that. */
async function waitForFile(
  first: FileHandle | UnreadableFile,
  { path, push, stop, changed }: Follower,
): Promise<FileHandle | undefined> {
  let file = first;
  if ('message' in file) {
    const message = file.missing ? `can't read ${path}: it does not exist yet` : file.message;
    await push({ kind: 'status', state: 'down', message: `${message}; waiting until it can be read` });
  }
  while ('message' in file) {
    if (stop.aborted) return undefined;
    await changed();
    file = await openFile(path);
  }
  return file;
}

/**
 * Whether a newer file that is not empty has taken the path. While the only newer file is empty, the writer may not have
 * switched to it yet, and may still append to the old one.
 */
async function isReplaced(path: string, file: FileId): Promise<boolean> {
  const named = await stat(path, { bigint: true }).catch(() => undefined);
  if (named !== undefined && isSameFile(idOf(named), file)) return false;
  if (named?.isFile() === true && named.size > 0n) return true;
  // The newer file may have been rotated away, too, with nothing at the path after it.
  return (await findSuccessor(path, file)) !== undefined;
}

/** Follows one stream to its end: the file was truncated or rewritten, or replaced by another one, or following was stopped. */
async function followStream(
  { name, handle, cursor }: Stream,
  { path, push, stop, changed }: Follower,
): Promise<'rewritten' | 'replaced' | 'stopped'> {
  let replaced = false;
  while (!stop.aborted) {
    const found = await cursor.read(handle, path);
    if (found === 'rewritten') return 'rewritten';
    if (found === 'at_end') {
      if (replaced) return 'replaced';
      // After it was replaced, the old file is read once more: its last lines may have come just before.
      replaced = await isReplaced(path, cursor.file);
      if (!replaced) await changed();
    } else if (found.length > 0) {
      await push({ ...lineBatch(name, found, false), position: positionNow(cursor.position()) });
    }
  }
  return 'stopped';
}

/** Opens the file that a position is in, or a copy of it, and returns the position there. */
async function openPlace(
  path: string,
  { read_at_ms, ...position }: FollowPosition,
): Promise<OpenedPlace | undefined> {
  const handle = await openAt(path, position);
  if (handle !== undefined) return { handle, place: position };
  return read_at_ms === undefined ? undefined : openCopy(path, position, read_at_ms);
}

/** Resumes a stream of an earlier process; a stream whose file can't be found any more is ended. */
async function openLeft({ path, left, push, max_line_bytes }: Follower): Promise<Stream | undefined> {
  for (let next = left.shift(); next !== undefined; next = left.shift()) {
    const [name, position] = next;
    const opened = await openPlace(path, position);
    if (opened !== undefined) {
      await push({ kind: 'status', state: 'up', message: `reading ${path} from the saved position` });
      return { name, handle: opened.handle, cursor: createCursor(opened.place, max_line_bytes) };
    }
    const message = `can't resume ${path} after line ${position.line - 1}: it was removed or rewritten while the bridge was not running; any later lines of the old file are lost`;
    await push({ kind: 'status', state: 'down', message });
    await push(lineBatch(name, [], true));
  }
  return undefined;
}

/**
 * Begins a stream at the start of a file, with a batch of its position alone. The stream that it follows ends only after that,
 * so there is a position to resume from at any moment.
 */
async function begin(
  handle: FileHandle,
  { path, push, max_line_bytes, nextStream }: Follower,
): Promise<Stream> {
  const start = startOf(await identify(handle, path));
  const stream = { name: nextStream(), handle, cursor: createCursor(start, max_line_bytes) };
  await push({ ...lineBatch(stream.name, [], false), position: positionNow(start) });
  return stream;
}

/** Begins a stream with a file once it can be opened; undefined if following is stopped before that. */
async function openStream(
  found: FileHandle | UnreadableFile,
  follower: Follower,
): Promise<Stream | undefined> {
  const { path, push } = follower;
  const handle = await waitForFile(found, follower);
  if (handle === undefined) return undefined;
  await push({ kind: 'status', state: 'up', message: `reading ${path}` });
  return begin(handle, follower);
}

/** Switches to the file that had the path next. */
async function openNext(previous: FileId, follower: Follower): Promise<Stream | undefined> {
  const { path } = follower;
  const named = await openFile(path);
  // Searched after opening: whatever had lost the path before that is found now.
  const rotated = await findSuccessor(path, previous);
  const handle = rotated && (await openAt(path, startOf(rotated)));
  if (handle === undefined) return openStream(named, follower);
  if (!('message' in named)) await named.close();
  return openStream(handle, follower);
}

/** If the file of an earlier process has gone, begins with the first file that had the path after it. */
async function openSince(left: FollowPosition | undefined, follower: Follower): Promise<Stream | undefined> {
  if (left?.read_at_ms === undefined) return undefined;
  const { path } = follower;
  const rotated = await findRotatedSince(path, left.read_at_ms);
  const handle = rotated && (await openAt(path, startOf(rotated)));
  return handle && begin(handle, follower);
}

async function openFirst(
  found: FileHandle | UnreadableFile,
  follower: Follower,
): Promise<Stream | undefined> {
  const last = follower.left.at(-1)?.[1];
  const stream = (await openLeft(follower)) ?? (await openSince(last, follower));
  if (stream === undefined) return openStream(found, follower);
  if (!('message' in found)) await found.close();
  return stream;
}

async function follow(found: FileHandle | UnreadableFile, follower: Follower): Promise<void> {
  let stream = await openFirst(found, follower);
  while (stream !== undefined) {
    const { name, handle, cursor } = stream;
    let next: Stream | undefined;
    try {
      const outcome = await followStream(stream, follower);
      if (outcome === 'stopped') return;
      next = await openLeft(follower);
      next ??= await (outcome === 'rewritten' ? begin(handle, follower) : openNext(cursor.file, follower));
      if (next === undefined) return;
      await follower.push(lineBatch(name, outcome === 'rewritten' ? cursor.abort() : cursor.end(), true));
    } finally {
      if (next?.handle !== handle) await handle.close();
    }
    stream = next;
  }
}

const streamNumber = (path: string, name: string): number =>
  name === path ? 1 : Number(name.slice(path.length + 1));

/**
 * Follows a file until it is closed. A missing file is waited for; opening throws a `SourceError` if the path names a directory
 * or a file that this user can't read, and the iteration throws one if reading fails later.
 */
export function createFollowSource(
  name: string,
  path: string,
  { resume, ...options }: FollowOptions,
): Source {
  const source = createReaderSource(name, async (push, stop) => {
    const notifier = createNotifier();
    const watcher = watchPath(path, notifier.notify);
    // Watching begins before the first check, so that no change in between is missed.
    watcher.keepWatching();
    const found = await openFile(path);
    if ('message' in found && !found.missing) {
      watcher.close();
      throw new SourceError(found.message);
    }
    stop.addEventListener('abort', notifier.notify);
    const numberOf = ([stream]: [string, unknown]): number => streamNumber(path, stream);
    const left = (Object.entries(resume) as Follower['left']).sort((a, b) => numberOf(a) - numberOf(b));
    let streams = Math.max(0, ...left.map(numberOf));
    const follower: Follower = {
      ...options,
      path,
      left,
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
    return () => follow(found, follower).finally(watcher.close);
  });
  return { ...source, is_rereadable: true };
}
