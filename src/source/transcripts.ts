/**
 * The source `transcripts:DIR`: follows every transcript of an OpenClaw that writes them as files, those that are there and
 * those that come. One loop reads them all in turn; the system tells what changed, and looking from time to time finds
 * what it does not tell. An idle file costs no open handle and no memory but its name and position.
 *
 * After a restart, a file goes on at the position of its stream. Files that have none are most of them, and one position
 * stands for all of these: under the directory as its stream, it keeps the instant before which nothing is to be told of
 * them. At first that is the start; it moves on when a file is put aside, as far as that file had not been written since.
 * A file without a position that was changed after that instant, which the system's times tell, has grown while nobody
 * looked; one that was made after it is a new one, and all of it is told. With the instant it keeps which archived
 * transcripts are known: any other came while nobody looked, and goes by the same rule. So does one that
 * comes while this process follows, where its file was not read under the name that it had before.
 */
import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Positions, type Source, SourceError } from '../model/source.js';
import { inOrder, isArchive, isKnown, type KnownArchives, withKnown } from './archives.js';
import { createNotifier } from './notifier.js';
import { createReaderSource, lineBatch, type Push } from './reader.js';
import {
  checkRoot,
  createWatches,
  type Directory,
  findDirectories,
  isTranscript,
  namesIn,
  WHAT_TO_GIVE,
} from './transcript-directories.js';
import {
  createTranscript,
  endStream,
  findByFile,
  hasChanged,
  readOn,
  release,
  restoreTranscript,
  type Step,
  type Transcript,
  type TranscriptPosition,
  tellProblem,
} from './transcript-file.js';

/** Files held open: those read last. A file that is closed is opened again when it grows. */
const MAX_OPEN_FILES = 64;

/** Every so many polls all files are looked at; in between only those just read, as long as the system tells of changes. */
const POLLS_BETWEEN_SWEEPS = 10;
const JUST_READ_MS = 60_000;

/** A file that has not grown for so long is put aside, as one which was there at the start. */
const PUT_ASIDE_AFTER_MS = 24 * 60 * 60 * 1000;

export interface TranscriptsOptions {
  max_line_bytes: number;
  /** Whether what the files hold already is told as well. */
  from_start: boolean;
  poll_interval_ms: number;
  /** Where an earlier process stopped. */
  resume: Positions;
}

/** The position of all files that have none of their own. */
interface DirectoryPosition {
  /** What was written in them before is not to be told; 0: all is told. */
  since_ms: number;
  /** Absent where an earlier version left it. */
  archives?: KnownArchives;
}

interface Found {
  transcripts: string[];
  archives: string[];
}

/** The system's times of files are as coarse as this on some file systems. */
const FILE_TIMES_ARE_COARSE_MS = 2_000;

/** Follows all transcripts below a directory. */
function createFollower(root: string, options: TranscriptsOptions, push: Push, stop: AbortSignal) {
  const transcripts = new Map<string, Transcript>();
  /** Paths to be read, the longest waiting first. */
  const pending = new Set<string>();
  const open = new Set<Transcript>();
  const to_put_aside = new Set<Transcript>();
  const { [root]: directory, ...streams } = options.resume;
  const left = directory as DirectoryPosition | undefined;
  let archives: KnownArchives = left?.archives ?? [];
  /** Those that were known at the last look at everything: what is archived after it is later than these. */
  let archives_before = archives;
  /** Archives that need not be looked at again: all that there were at the last look, and what came since. */
  let seen_archives = new Set<string>();
  /** Archives that the system told of. */
  const told_archives = new Set<string>();
  let since_ms = left?.since_ms ?? (options.from_start ? 0 : Date.now());
  const notifier = createNotifier();
  const watches = createWatches(onChange);
  stop.addEventListener('abort', notifier.notify);
  let sweep_wanted = false;
  let found_sessions = false;

  function onChange({ path, level }: Directory, name: string | null): void {
    if (level === 'sessions' && name !== null) {
      if (isTranscript(name)) pending.add(join(path, name));
      else if (isArchive(name)) told_archives.add(join(path, name));
      else return;
    } else if (level === 'agents' || name === null || name === 'agents' || name === 'sessions') {
      sweep_wanted = true;
    }
    notifier.notify();
  }

  /** Finds the files, once every directory that holds some is watched, so that none is missed in between. */
  async function findFiles(): Promise<Found> {
    let directories: Directory[];
    do directories = await findDirectories(root);
    while (!stop.aborted && watches.keep(directories));
    const sessions = directories.filter(({ level }) => level === 'sessions');
    found_sessions ||= sessions.length > 0;
    const found: Found = { transcripts: [], archives: [] };
    for (const { path } of sessions) {
      for (const name of await namesIn(path)) {
        if (isTranscript(name)) found.transcripts.push(join(path, name));
        else if (isArchive(name)) found.archives.push(join(path, name));
      }
    }
    return found;
  }

  /** A first start. Takes note of what is there. */
  async function start(): Promise<void> {
    const found = await findFiles();
    archives = withKnown(archives, found.archives);
    seeArchives(found.archives);
    for (const path of found.transcripts) {
      const transcript = createTranscript(path, options.from_start ? undefined : since_ms);
      transcripts.set(path, transcript);
      if (options.from_start) pending.add(path);
      else await hasChanged(transcript);
    }
  }

  /** Goes on where an earlier process stopped. */
  async function restart(): Promise<void> {
    for (const [stream, position] of Object.entries(streams)) {
      const transcript = restoreTranscript(stream, position as TranscriptPosition);
      transcripts.set(transcript.path, transcript);
    }
    const found = await findFiles();
    if (left?.archives === undefined) archives = withKnown(archives, found.archives);
    archives_before = archives;
    for (const path of transcripts.keys()) pending.add(path);
    await findArchives(found.archives);
    seeArchives(found.archives);
    for (const path of found.transcripts) if (!transcripts.has(path)) await findAgain(path);
  }

  /** A transcript of a file that nothing is known of: new ones are told whole. */
  function createAgain(path: string, { birthtimeMs }: Stats): Transcript {
    const is_new = Math.floor(birthtimeMs) > since_ms;
    return createTranscript(path, is_new ? undefined : since_ms);
  }

  /** Takes note of all archives that there are. */
  function seeArchives(paths: readonly string[]): void {
    seen_archives = new Set(paths);
    archives_before = archives;
  }

  const isFresh = (path: string): boolean =>
    !seen_archives.has(path) && !isKnown(archives_before, path) && !transcripts.has(path);

  /**
   * Finds those that are to be read. They come first, in their order, and before any stream ends: none is to be passed by later
   * ones while it waits for its turn.
   */
  async function findArchives(paths: Iterable<string>): Promise<void> {
    const found: string[] = [];
    for (const path of [...paths].filter(isFresh)) {
      seen_archives.add(path);
      if (await findArchive(path)) found.push(path);
    }
    if (found.length === 0) return;
    const waiting = [...pending];
    pending.clear();
    for (const path of inOrder([...waiting.filter(isArchive), ...found])) pending.add(path);
    for (const path of waiting) pending.add(path);
  }

  /** Whether an archive came while nobody looked, and holds what may be told. The file of a stream is read to its end by that. */
  async function findArchive(path: string): Promise<boolean> {
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined) return false;
    const transcript = createAgain(path, stats);
    // It was changed by its renaming, but not written.
    const was_written = stats.mtimeMs > since_ms - FILE_TIMES_ARE_COARSE_MS;
    if (transcript.since_ms !== undefined && !was_written) return false;
    const followed = await findByFile(transcripts.values(), path);
    if (followed === undefined) transcripts.set(path, transcript);
    else pending.add(followed.path);
    return followed === undefined;
  }

  async function findToldArchives(): Promise<void> {
    const told = [...told_archives];
    told_archives.clear();
    await findArchives(told);
  }

  async function findAgain(path: string): Promise<void> {
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined) return;
    const transcript = createAgain(path, stats);
    transcripts.set(path, transcript);
    if (stats.ctimeMs > since_ms - FILE_TIMES_ARE_COARSE_MS) pending.add(path);
    else await hasChanged(transcript);
  }

  const tellDirectory = (): Promise<void> => {
    const position: DirectoryPosition = { since_ms, archives };
    return push({ ...lineBatch(root, [], false), position });
  };

  /** Before the stream of an archive ends: once it has, nothing else tells that it was read. */
  async function onArchived(path: string): Promise<void> {
    seen_archives.add(path);
    if (isKnown(archives, path)) return;
    archives = withKnown(archives, [path]);
    await tellDirectory();
  }

  async function putAside(transcript: Transcript): Promise<void> {
    since_ms = Math.max(since_ms, Date.now() - PUT_ASIDE_AFTER_MS);
    await tellDirectory();
    await endStream(transcript, push);
    await release(transcript);
    open.delete(transcript);
    // Not this instant: it may have grown since it was looked at. All that was read of it is older than that.
    transcript.since_ms = since_ms;
  }

  const isIdle = ({ stream }: Transcript): boolean =>
    stream !== undefined && Date.now() - stream.read_at_ms > PUT_ASIDE_AFTER_MS;

  /** Only when nothing is left to be read: what has not been told yet would lie before the instant that moves on. */
  async function putIdleAside(): Promise<void> {
    for (const transcript of to_put_aside) {
      to_put_aside.delete(transcript);
      if (isIdle(transcript)) await putAside(transcript);
    }
  }

  async function look(transcript: Transcript): Promise<void> {
    if (await hasChanged(transcript)) pending.add(transcript.path);
    else if (isIdle(transcript)) to_put_aside.add(transcript);
  }

  /** Looks at everything. What is not listed any more is looked at too: its stream has to end. */
  async function sweep(): Promise<void> {
    const was_found = found_sessions;
    const found = await findFiles();
    for (const path of found.transcripts) if (!transcripts.has(path)) pending.add(path);
    await findArchives(found.archives);
    seeArchives(found.archives);
    if (!was_found && found_sessions) await tellState();
    for (const transcript of transcripts.values()) {
      if (stop.aborted) return;
      await look(transcript);
    }
  }

  async function tellState(): Promise<void> {
    const message = found_sessions
      ? `following the transcripts below ${root}`
      : `no transcripts below ${root} yet; they are followed as soon as they are there. If none are to come there, ${WHAT_TO_GIVE}`;
    await push({ kind: 'status', state: found_sessions ? 'up' : 'down', message });
  }

  /** Counts a file as the one read last, and lets go of the one read longest ago where that is one too many. */
  async function keepOpen(transcript: Transcript): Promise<void> {
    open.delete(transcript);
    if (transcript.file === undefined) return;
    open.add(transcript);
    const [oldest] = open;
    if (oldest === undefined || open.size <= MAX_OPEN_FILES) return;
    open.delete(oldest);
    await release(oldest);
  }

  async function tryReading(transcript: Transcript): Promise<Step> {
    try {
      return await readOn(transcript, { max_line_bytes: options.max_line_bytes, push, onArchived });
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      await release(transcript);
      await tellProblem(transcript, error.message, push);
      return 'idle';
    }
  }

  /** Reads one file to its end before the next, so that one which is let go of has no half line that is read in vain. */
  async function readNext(path: string): Promise<void> {
    pending.delete(path);
    const transcript = transcripts.get(path) ?? createTranscript(path, undefined);
    transcripts.set(path, transcript);
    let step: Step = 'more';
    while (step === 'more' && !stop.aborted) step = await tryReading(transcript);
    await keepOpen(transcript);
    if (step === 'gone') transcripts.delete(path);
  }

  async function poll(polls: number): Promise<void> {
    const everything =
      sweep_wanted || polls % POLLS_BETWEEN_SWEEPS === 0 || !watches.complete() || !found_sessions;
    sweep_wanted = false;
    if (everything) return sweep();
    const just_read_ms = Date.now() - JUST_READ_MS;
    for (const transcript of [...open]) {
      if ((transcript.stream?.read_at_ms ?? 0) > just_read_ms) await look(transcript);
    }
  }

  async function follow(): Promise<void> {
    await tellDirectory();
    await tellState();
    let polls = 0;
    let next_poll_ms = performance.now() + options.poll_interval_ms;
    while (!stop.aborted) {
      const [path] = pending;
      const wait_ms = next_poll_ms - performance.now();
      if (sweep_wanted || wait_ms <= 0) {
        if (wait_ms <= 0) polls += 1;
        await poll(polls);
        next_poll_ms = performance.now() + options.poll_interval_ms;
      } else if (told_archives.size > 0) await findToldArchives();
      else if (path !== undefined) await readNext(path);
      else {
        await putIdleAside();
        await notifier.wait(wait_ms);
      }
    }
  }

  async function close(): Promise<void> {
    watches.close();
    for (const transcript of transcripts.values()) await release(transcript);
  }

  return { start: left === undefined ? start : restart, follow, close };
}

/**
 * Follows until it is closed. Directories that are missing are waited for; opening throws a `SourceError` where the path
 * is none, or this user can't read it.
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
