/**
 * The source `transcripts:DIR`: follows every transcript of an OpenClaw that writes them as files, those that exist and those
 * that are added. One loop reads them in turn; notifications of the file system report changes, and regular checks find what
 * these miss. An idle file costs no open handle and no memory but its name and position.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Positions, type Source, SourceError } from '../../model/source.js';
import { errorReason } from '../../util/errors.js';
import { createNotifier } from '../notifier.js';
import { createReaderSource, lineBatch, type Push } from '../reader.js';
import { type ArchiveFinder, createArchiveFinder } from './archive-finder.js';
import { isArchive, type KnownArchives } from './archives.js';
import {
  checkRoot,
  createWatches,
  type Directory,
  findDirectories,
  isTranscript,
  namesIn,
  type Watches,
  WHAT_TO_GIVE,
} from './directories.js';
import { createAgain, type Followed, isLater } from './followed.js';
import { createOpenFiles } from './open-files.js';
import { createRetirement } from './retirement.js';
import {
  createTranscript,
  hasChanged,
  type ReadOptions,
  readMore,
  release,
  reportProblem,
  restoreTranscript,
  type Step,
  type Transcript,
  type TranscriptPosition,
} from './transcript-file.js';

/** All files are checked once in this many polls; in between only those just read, as long as the system reports changes. */
const POLLS_BETWEEN_SWEEPS = 10;
const JUST_READ_MS = 60_000;

export interface TranscriptsOptions {
  max_line_bytes: number;
  /** Whether what the files already hold is emitted as well. */
  from_start: boolean;
  /** Otherwise only what was written since then, epoch milliseconds; by default since opening. */
  since_ms?: number | undefined;
  poll_interval_ms: number;
  /** Positions of the streams of an earlier process. */
  resume: Positions;
}

/** The position of all files that have none of their own; its stream is the directory. */
interface DirectoryPosition {
  /**
   * The time, in epoch milliseconds, before which nothing written in them is emitted; 0: everything is. It is first the time of
   * the start, and moves forward when a file is retired (`retirement.ts`). By the file system's times, a file changed after it
   * grew while the bridge was not watching, and a file created after it is new and emitted whole.
   */
  since_ms: number;
  /**
   * The known archives: any other was archived while the bridge was not watching. Absent if an earlier version stored the
   * position.
   */
  archives?: KnownArchives;
}

interface Found {
  /** Whether there is a directory that may hold transcripts. */
  has_sessions: boolean;
  transcripts: string[];
  archives: string[];
  /** Why directories can't be read, by their paths. */
  unreadable: Map<string, string>;
}

/** Finds the files, once every directory that may hold some is watched, so that none is missed in between. */
async function findFiles(root: string, watches: Watches, stop: AbortSignal): Promise<Found> {
  const unreadable = new Map<string, string>();
  const onUnreadable = (path: string, error: unknown): void =>
    void unreadable.set(path, `can't read ${path}: ${errorReason(error)}`);
  let directories: Directory[];
  do directories = await findDirectories(root, onUnreadable);
  while (!stop.aborted && watches.keep(directories));
  const sessions = directories.filter(({ level }) => level === 'sessions');
  const found: Found = { has_sessions: sessions.length > 0, transcripts: [], archives: [], unreadable };
  for (const { path } of sessions) {
    for (const name of await namesIn(path, onUnreadable)) {
      if (isTranscript(name)) found.transcripts.push(join(path, name));
      else if (isArchive(name)) found.archives.push(join(path, name));
    }
  }
  return found;
}

/** Registers the existing files at a first start. */
async function registerFound(
  found: Found,
  { transcripts, pending, since_ms }: Followed,
  from_start: boolean,
): Promise<void> {
  for (const path of found.transcripts) {
    const transcript = createTranscript(path, from_start ? undefined : since_ms);
    transcripts.set(path, transcript);
    if (from_start) pending.add(path);
    else await hasChanged(transcript);
  }
}

/** Registers a file that exists at a restart and was not followed, or one that may have been written since an earlier time. */
async function registerAgain(path: string, followed: Followed): Promise<void> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return;
  const transcript = createAgain(path, stats, followed);
  followed.transcripts.set(path, transcript);
  if (isLater(stats.ctimeMs, followed)) followed.pending.add(path);
  else await hasChanged(transcript);
}

/** Resumes where an earlier process stopped. */
async function resume(
  streams: Positions,
  found: Found,
  followed: Followed,
  archives: ArchiveFinder,
): Promise<void> {
  const { transcripts, pending } = followed;
  for (const [stream, position] of Object.entries(streams)) {
    const transcript = restoreTranscript(stream, position as TranscriptPosition);
    transcripts.set(transcript.path, transcript);
  }
  for (const path of transcripts.keys()) pending.add(path);
  await archives.enqueue(found.archives);
  archives.setListing(found.archives);
  for (const path of found.transcripts) if (!transcripts.has(path)) await registerAgain(path, followed);
}

async function tryReading(transcript: Transcript, options: ReadOptions): Promise<Step> {
  try {
    return await readMore(transcript, options);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    await release(transcript);
    await reportProblem(transcript, error.message, options.push);
    return 'idle';
  }
}

const hasProblem = ({ problem }: Transcript): boolean => problem !== undefined;

/** Follows all transcripts below a directory. */
function createFollower(root: string, options: TranscriptsOptions, push: Push, stop: AbortSignal) {
  const { from_start, max_line_bytes, poll_interval_ms } = options;
  const { [root]: directory, ...streams } = options.resume;
  const left = directory as DirectoryPosition | undefined;
  const followed: Followed = {
    transcripts: new Map(),
    pending: new Set(),
    since_ms: left?.since_ms ?? (from_start ? 0 : (options.since_ms ?? Date.now())),
  };
  const { transcripts, pending } = followed;
  const archives = createArchiveFinder(followed, left?.archives ?? []);
  const files = createOpenFiles();
  const notifier = createNotifier();
  const watches = createWatches(onChange);
  stop.addEventListener('abort', notifier.notify);
  let sweep_wanted = false;
  let has_sessions = false;
  let unreadable: ReadonlyMap<string, string> = new Map();
  let reported: ReadonlyMap<string, string> = new Map();

  function onChange({ path, level }: Directory, name: string | null): void {
    if (level === 'sessions' && name !== null) {
      if (isTranscript(name)) pending.add(join(path, name));
      else if (isArchive(name)) archives.report(join(path, name));
      else return;
    } else if (level === 'agents' || name === null || name === 'agents' || name === 'sessions') {
      sweep_wanted = true;
    }
    notifier.notify();
  }

  async function findAll(): Promise<Found> {
    const found = await findFiles(root, watches, stop);
    has_sessions ||= found.has_sessions;
    unreadable = found.unreadable;
    return found;
  }

  async function start(): Promise<void> {
    const found = await findAll();
    if (left?.archives === undefined) archives.markKnown(found.archives);
    if (left !== undefined) return resume(streams, found, followed, archives);
    archives.setListing(found.archives);
    if (from_start || options.since_ms === undefined) return registerFound(found, followed, from_start);
    for (const path of found.transcripts) await registerAgain(path, followed);
  }

  const emitDirectory = (): Promise<void> => {
    const position: DirectoryPosition = { since_ms: followed.since_ms, archives: archives.snapshot() };
    return push({ ...lineBatch(root, [], false), position });
  };

  const retirement = createRetirement({ followed, files, push, emitDirectory });

  /** Called before the stream of an archive ends: after that, nothing else shows that it was read. */
  async function onArchived(path: string): Promise<void> {
    if (archives.markRead(path)) await emitDirectory();
  }

  async function look(transcript: Transcript): Promise<void> {
    if (await hasChanged(transcript)) pending.add(transcript.path);
    else retirement.consider(transcript);
  }

  /** Checks everything, including files that are no longer listed, whose streams have to end. */
  async function sweep(): Promise<void> {
    const had_sessions = has_sessions;
    const found = await findAll();
    for (const path of found.transcripts) if (!transcripts.has(path)) pending.add(path);
    await archives.enqueue(found.archives);
    archives.setListing(found.archives);
    if (!had_sessions && has_sessions) await reportState();
    await reportUnreadable();
    for (const transcript of transcripts.values()) {
      if (stop.aborted) return;
      await look(transcript);
    }
  }

  async function reportState(): Promise<void> {
    const message = has_sessions
      ? `following the transcripts below ${root}`
      : `no transcripts below ${root} yet; waiting for the first one; if this is the wrong directory, ${WHAT_TO_GIVE}`;
    await push({ kind: 'status', state: has_sessions ? 'up' : 'down', message });
  }

  /** Reports each directory that can't be read once. */
  async function reportUnreadable(): Promise<void> {
    const earlier = reported;
    reported = unreadable;
    for (const [path, message] of reported) {
      if (earlier.get(path) === message) continue;
      await push({ kind: 'status', state: 'down', message: `${message}; retrying until it can be read` });
    }
    if (earlier.size > 0 && reported.size === 0) await reportState();
  }

  /**
   * Reads one file to its end before the next, so that a file is not closed with a partly read line, which would have to be
   * read again.
   */
  async function readNext(path: string): Promise<void> {
    pending.delete(path);
    const transcript = transcripts.get(path) ?? createTranscript(path, undefined);
    transcripts.set(path, transcript);
    const had_problem = hasProblem(transcript);
    let step: Step = 'more';
    while (step === 'more' && !stop.aborted)
      step = await tryReading(transcript, { max_line_bytes, push, onArchived });
    await files.keep(transcript);
    if (step === 'gone') transcripts.delete(path);
    if (had_problem && ![...transcripts.values()].some(hasProblem)) await reportState();
  }

  async function poll(polls: number): Promise<void> {
    const everything =
      sweep_wanted || polls % POLLS_BETWEEN_SWEEPS === 0 || !watches.complete() || !has_sessions;
    sweep_wanted = false;
    if (everything) return sweep();
    const just_read_ms = Date.now() - JUST_READ_MS;
    for (const transcript of [...files.open]) {
      if ((transcript.stream?.read_at_ms ?? 0) > just_read_ms) await look(transcript);
    }
  }

  async function follow(): Promise<void> {
    await emitDirectory();
    await reportState();
    await reportUnreadable();
    let polls = 0;
    let next_poll_ms = performance.now() + poll_interval_ms;
    while (!stop.aborted) {
      const [path] = pending;
      const wait_ms = next_poll_ms - performance.now();
      if (sweep_wanted || wait_ms <= 0) {
        if (wait_ms <= 0) polls += 1;
        await poll(polls);
        next_poll_ms = performance.now() + poll_interval_ms;
      } else if (archives.hasReported()) await archives.enqueueReported();
      else if (path !== undefined) await readNext(path);
      else {
        await retirement.retireIdle();
        await notifier.wait(wait_ms);
      }
    }
  }

  async function close(): Promise<void> {
    watches.close();
    for (const transcript of transcripts.values()) await release(transcript);
  }

  return { start, follow, close };
}

/**
 * Follows until it is closed. Missing directories are waited for; opening throws a `SourceError` if the path is not a
 * directory, or this user can't read it.
 */
export function createTranscriptsSource(name: string, root: string, options: TranscriptsOptions): Source {
  const source = createReaderSource(name, async (push, stop) => {
    await checkRoot(root);
    const follower = createFollower(root, options, push, stop);
    await follower.start();
    return () => follower.follow().finally(follower.close);
  });
  return { ...source, is_rereadable: true };
}
