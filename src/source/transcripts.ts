/**
 * The source `transcripts:DIR`: follows every transcript of an OpenClaw that writes them as files, those that are there and
 * those that come. One loop reads them all in turn; the system tells what changed, and looking from time to time finds
 * what it does not tell. An idle file costs no open handle and no memory but its name and position.
 */
import { join } from 'node:path';
import { type Source, SourceError } from '../model/source.js';
import { createNotifier } from './notifier.js';
import { createReaderSource, type Push } from './reader.js';
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
  hasChanged,
  readOn,
  release,
  type Step,
  type Transcript,
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
}

/** Follows all transcripts below a directory. */
function createFollower(root: string, options: TranscriptsOptions, push: Push, stop: AbortSignal) {
  const transcripts = new Map<string, Transcript>();
  /** Paths to be read, the longest waiting first. */
  const pending = new Set<string>();
  const open = new Set<Transcript>();
  const notifier = createNotifier();
  const watches = createWatches(onChange);
  stop.addEventListener('abort', notifier.notify);
  let sweep_wanted = false;
  let found_sessions = false;

  function onChange({ path, level }: Directory, name: string | null): void {
    if (level === 'sessions' && name !== null) {
      if (!isTranscript(name)) return;
      pending.add(join(path, name));
    } else if (level === 'agents' || name === null || name === 'agents' || name === 'sessions') {
      sweep_wanted = true;
    }
    notifier.notify();
  }

  /** Finds the transcripts, once every directory that holds some is watched, so that none is missed in between. */
  async function findTranscripts(): Promise<string[]> {
    let directories: Directory[];
    do directories = await findDirectories(root);
    while (!stop.aborted && watches.keep(directories));
    const sessions = directories.filter(({ level }) => level === 'sessions');
    found_sessions ||= sessions.length > 0;
    const paths: string[] = [];
    for (const { path } of sessions) {
      for (const name of await namesIn(path)) if (isTranscript(name)) paths.push(join(path, name));
    }
    return paths;
  }

  /** Takes note of what is there at the start. */
  async function start(): Promise<void> {
    const since_ms = options.from_start ? undefined : Date.now();
    for (const path of await findTranscripts()) {
      const transcript = createTranscript(path, since_ms);
      transcripts.set(path, transcript);
      if (options.from_start) pending.add(path);
      else await hasChanged(transcript);
    }
  }

  async function putAside(transcript: Transcript): Promise<void> {
    await endStream(transcript, push);
    await release(transcript);
    open.delete(transcript);
    transcript.since_ms = Date.now();
  }

  async function look(transcript: Transcript): Promise<void> {
    const { path, stream } = transcript;
    if (await hasChanged(transcript)) pending.add(path);
    else if (stream !== undefined && Date.now() - stream.read_at_ms > PUT_ASIDE_AFTER_MS)
      await putAside(transcript);
  }

  /** Looks at everything. What is not listed any more is looked at too: its stream has to end. */
  async function sweep(): Promise<void> {
    const was_found = found_sessions;
    for (const path of await findTranscripts()) if (!transcripts.has(path)) pending.add(path);
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
    if (transcript.handle === undefined) return;
    open.add(transcript);
    const [oldest] = open;
    if (oldest === undefined || open.size <= MAX_OPEN_FILES) return;
    open.delete(oldest);
    await release(oldest);
  }

  async function tryReading(transcript: Transcript): Promise<Step> {
    try {
      return await readOn(transcript, { max_line_bytes: options.max_line_bytes, push });
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
      } else if (path === undefined) await notifier.wait(wait_ms);
      else await readNext(path);
    }
  }

  async function close(): Promise<void> {
    watches.close();
    for (const transcript of transcripts.values()) {
      await release(transcript);
      await endStream(transcript, push);
    }
  }

  return { start, follow, close };
}

/**
 * Follows until it is closed. Directories that are missing are waited for; opening throws a `SourceError` where the path
 * is none, or this user can't read it.
 */
export function createTranscriptsSource(name: string, root: string, options: TranscriptsOptions): Source {
  return createReaderSource(name, async (push, stop) => {
    await checkRoot(root);
    const follower = createFollower(root, options, push, stop);
    await follower.start();
    return () => follower.follow().finally(follower.close);
  });
}
