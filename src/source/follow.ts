/**
 * The source `file:PATH` where the file is followed: what is there is read, then whatever is appended. It outlives
 * rotation, truncation and the file's absence; after each of the first two a new stream begins, `PATH#2` and so on,
 * since its lines are counted from 1 again.
 *
 * After a restart it goes on in the file that it was in, under whatever name that is now, or in its copy, and then in those
 * that had the path after it. A stream begins with a batch of its position alone, before the one that it follows on has ended: so there
 * is at any moment a place to go on from.
 */
import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Positions, type Source, SourceError } from '../model/source.js';
import {
  type Cursor,
  createCursor,
  type FileId,
  type FilePosition,
  idOf,
  isSameFile,
  startOf,
} from './cursor.js';
import { openFile, reading, type UnreadableFile } from './file.js';
import { createNotifier } from './notifier.js';
import { createReaderSource, lineBatch, type Push } from './reader.js';
import { findRotatedSince, findSuccessor, type OpenedPlace, openAt, openCopy } from './rotation.js';

export const DEFAULT_POLL_INTERVAL_MS = 1000;

export interface FollowOptions {
  max_line_bytes: number;
  /** How often the file is looked at where the system tells of no change. */
  poll_interval_ms: number;
  /** Where an earlier process stopped. */
  resume: Positions;
}

/** A stream's position. */
interface FollowPosition extends FilePosition {
  /** Absent where an earlier version left it. */
  read_at_ms?: number;
}

const positionNow = (position: FilePosition): FollowPosition => ({ ...position, read_at_ms: Date.now() });

/** What following one file needs to know. */
interface Follower extends Omit<FollowOptions, 'resume'> {
  path: string;
  /** What is left of the streams of an earlier process, in their order: one, but where it stopped between two. */
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
  return file;
}

/**
 * Whether another file has had the path by now, with something in it. While the only one is empty, the writer may not have
 * gone over to it yet and still append to the old one.
 */
async function isReplaced(path: string, file: FileId): Promise<boolean> {
  const named = await stat(path, { bigint: true }).catch(() => undefined);
  if (named !== undefined && isSameFile(idOf(named), file)) return false;
  if (named?.isFile() === true && named.size > 0n) return true;
  // The next one may have been rotated away, too, and nothing need ever come after it.
  return (await findSuccessor(path, file)) !== undefined;
}

/** Follows one stream to its end: the file was truncated or written anew, replaced by another one, or following was stopped. */
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
      // Having been replaced, the old file is looked at once more: its last lines may have come just before.
      replaced = await isReplaced(path, cursor.file);
      if (!replaced) await changed();
    } else if (found.length > 0) {
      await push({ ...lineBatch(name, found, false), position: positionNow(cursor.position()) });
    }
  }
  return 'stopped';
}

/** Opens the file that a position is in, or a copy of it, with the place there. */
async function openPlace(
  path: string,
  { read_at_ms, ...position }: FollowPosition,
): Promise<OpenedPlace | undefined> {
  const handle = await openAt(path, position);
  if (handle !== undefined) return { handle, place: position };
  return read_at_ms === undefined ? undefined : openCopy(path, position, read_at_ms);
}

/** Goes on with a stream of an earlier process; one whose file can't be found any more is ended. */
async function openLeft({ path, left, push, max_line_bytes }: Follower): Promise<Stream | undefined> {
  for (let next = left.shift(); next !== undefined; next = left.shift()) {
    const [name, position] = next;
    const opened = await openPlace(path, position);
    if (opened !== undefined) {
      await push({ kind: 'status', state: 'up', message: `reading ${path} from where it was left` });
      return { name, handle: opened.handle, cursor: createCursor(opened.place, max_line_bytes) };
    }
    const message = `can't read on in ${path} after line ${position.line - 1}: it was removed or written anew while nobody read it, and what was added meanwhile is lost`;
    await push({ kind: 'status', state: 'down', message });
    await push(lineBatch(name, [], true));
  }
  return undefined;
}

/** Begins a stream at the start of a file. */
async function begin(
  handle: FileHandle,
  { path, push, max_line_bytes, nextStream }: Follower,
): Promise<Stream> {
  const start = startOf(idOf(await reading(path, handle.stat({ bigint: true }))));
  const stream = { name: nextStream(), handle, cursor: createCursor(start, max_line_bytes) };
  await push({ ...lineBatch(stream.name, [], false), position: positionNow(start) });
  return stream;
}

/** Begins a stream with a file once it can be opened; undefined when it is stopped before that. */
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

/** Goes over to what had the path after a file. */
async function openNext(previous: FileId, follower: Follower): Promise<Stream | undefined> {
  const { path } = follower;
  const named = await openFile(path);
  // Looked for after that: whatever had lost the path before it was opened is found now.
  const rotated = await findSuccessor(path, previous);
  const handle = rotated && (await openAt(path, startOf(rotated)));
  if (handle === undefined) return openStream(named, follower);
  if (!('message' in named)) await named.close();
  return openStream(handle, follower);
}

/** Begins with the first file that had the path after the one that was left, which has gone. */
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
 * Follows a file until it is closed. A missing file is waited for; opening throws a `SourceError` where the path names
 * a directory or a file that this user can't read, and the iteration throws one where reading fails later.
 */
export function createFollowSource(
  name: string,
  path: string,
  { resume, ...options }: FollowOptions,
): Source {
  const source = createReaderSource(name, async (push, stop) => {
    const notifier = createNotifier();
    const watcher = watchPath(path, notifier.notify);
    // Watching begins before the first look, so that nothing between the two is missed.
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
