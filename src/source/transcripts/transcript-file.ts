/**
 * Follows one transcript, a step at a time: reads what was appended, and reads a file that was replaced, truncated or rewritten
 * from its start again, as a new stream. OpenClaw does rewrite transcripts in place, for example to remove the last message;
 * the bytes before the position are compared, so that this is noticed even if the file has grown again since.
 *
 * A stream's position has everything that is needed to follow the file after a restart. An archived transcript is only read to
 * its end.
 */
import { type FileHandle, stat } from 'node:fs/promises';
import {
  type Cursor,
  createCursor,
  type FilePosition,
  identify,
  idOf,
  isSameFile,
  startOf,
} from '../file/cursor.js';
import { openFile } from '../file/file.js';
import { findFile, openAt } from '../file/rotation.js';
import type { Line } from '../lines.js';
import { lineBatch, type Push } from '../reader.js';
import { isArchive } from './archives.js';

/** A stream of the file: its lines from the start up to where it was read. */
interface Stream {
  name: string;
  /** Where to resume when it is opened. */
  position: FilePosition;
  read_at_ms: number;
  /** Whether the path no longer names its file. */
  is_gone: boolean;
}

/** An open file; the partial line at its end has been read too. */
interface OpenFile {
  handle: FileHandle;
  cursor: Cursor;
}

export interface Transcript {
  path: string;
  /** What was written before this, epoch milliseconds, only serves as context; undefined for a file that came later. */
  since_ms: number | undefined;
  /** Inode, size and change time when the file was last checked, undefined if it was missing; empty if it has to be checked again. */
  seen: string | undefined;
  streams: number;
  stream?: Stream;
  file?: OpenFile;
  /** Why it can't be read, if that has been reported. */
  problem?: string;
}

/** A stream's position. */
export interface TranscriptPosition extends FilePosition {
  read_at_ms: number;
  since_ms?: number;
}

export interface ReadOptions {
  max_line_bytes: number;
  push: Push;
  /**
   * Called before a stream ends whose file is an archive by now. Until the archive is known, the stream's position has to
   * remain.
   */
  onArchived(path: string): Promise<void>;
}

/** The result of a step: there may be more, there is nothing more for now, or the file is gone. */
export type Step = 'more' | 'idle' | 'gone';

export const createTranscript = (path: string, since_ms: number | undefined): Transcript => ({
  path,
  since_ms,
  seen: '',
  streams: 0,
});

/** A file's second stream is named `PATH#2`, and so on. No transcript's path ends like that. */
const STREAM_NAME = /^(.+?)(?:#(\d+))?$/s;

/** Recreates a transcript that an earlier process followed. */
export function restoreTranscript(name: string, position: TranscriptPosition): Transcript {
  const [, path = name, number = '1'] = STREAM_NAME.exec(name) ?? [];
  const { read_at_ms, since_ms } = position;
  const stream = { name, position, read_at_ms, is_gone: false };
  return { ...createTranscript(path, since_ms), streams: Number(number), stream };
}

/** Checks, without opening the file, whether it has changed since it was last checked. */
export async function hasChanged(transcript: Transcript): Promise<boolean> {
  const stats = await stat(transcript.path).catch(() => undefined);
  const seen = stats && `${stats.ino} ${stats.size} ${stats.ctimeMs}`;
  if (seen === transcript.seen) return false;
  transcript.seen = seen;
  return true;
}

/** The transcript whose stream belongs to the file at a path, and reads it to its end, whatever its name. */
export async function findByFile(
  transcripts: Iterable<Transcript>,
  path: string,
): Promise<Transcript | undefined> {
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  if (stats === undefined) return undefined;
  const id = idOf(stats);
  for (const transcript of transcripts) {
    const { stream, file } = transcript;
    if (stream === undefined || !isSameFile(stream.position, id)) continue;
    // An open file is read to its end even if it was rewritten.
    if (file !== undefined) return transcript;
    // The inode may belong to another file by now.
    const handle = await openAt(path, stream.position).catch(() => undefined);
    await handle?.close();
    if (handle !== undefined) return transcript;
  }
  return undefined;
}

function openStream(transcript: Transcript, position: FilePosition): Stream {
  transcript.streams += 1;
  const { path, streams } = transcript;
  const name = streams === 1 ? path : `${path}#${streams}`;
  return { name, position, read_at_ms: Date.now(), is_gone: false };
}

async function pushLines(transcript: Transcript, lines: Line[], end: boolean, push: Push): Promise<void> {
  const { stream, since_ms } = transcript;
  if (stream === undefined) return;
  const since = since_ms === undefined ? {} : { since_ms };
  const position = { ...stream.position, read_at_ms: stream.read_at_ms, ...since };
  await push({ ...lineBatch(stream.name, lines, end), ...since, ...(end ? {} : { position }) });
}

/** Ends the stream. An unfinished line in it is gone with the file, or is read again. */
export async function endStream(transcript: Transcript, push: Push, lines: Line[] = []): Promise<void> {
  await pushLines(transcript, lines, true, push);
  delete transcript.stream;
}

/** Reports once why the file can't be read, and has it tried again when all files are checked. */
export async function reportProblem(transcript: Transcript, message: string, push: Push): Promise<void> {
  transcript.seen = '';
  if (transcript.problem === message) return;
  transcript.problem = message;
  await push({ kind: 'status', state: 'down', message: `${message}; retrying until it can be read` });
}

/** Closes the file; its stream resumes at the start of a line. */
export async function release(transcript: Transcript): Promise<void> {
  const { file } = transcript;
  delete transcript.file;
  await file?.handle.close();
}

/** Opens the file at the path, and gives it a stream. */
async function openNamed(transcript: Transcript, { max_line_bytes, push }: ReadOptions): Promise<Step> {
  const handle = await openFile(transcript.path);
  if ('message' in handle) {
    if (handle.missing) {
      await endStream(transcript, push);
      return 'gone';
    }
    await reportProblem(transcript, handle.message, push);
    return 'idle';
  }
  const id = await identify(handle, transcript.path);
  const { stream } = transcript;
  if (stream !== undefined && !isSameFile(stream.position, id)) await endStream(transcript, push);
  transcript.stream ??= openStream(transcript, startOf(id));
  transcript.file = { handle, cursor: createCursor(transcript.stream.position, max_line_bytes) };
  return 'more';
}

/** Opens the file of the stream, even if that was renamed, since it may hold more. */
async function open(transcript: Transcript, options: ReadOptions): Promise<Step> {
  const { path, stream } = transcript;
  if (stream === undefined) return openNamed(transcript, options);
  const handle = await openAt(path, stream.position);
  if (handle === undefined) return openNamed(transcript, options);
  transcript.file = { handle, cursor: createCursor(stream.position, options.max_line_bytes) };
  return 'more';
}

/** At the end of the file: checks whether the path still names it, so that more may be written to it. */
async function atEnd(
  transcript: Transcript,
  stream: Stream,
  cursor: Cursor,
  { push, onArchived }: ReadOptions,
): Promise<Step> {
  const { path } = transcript;
  const named = await stat(path, { bigint: true }).catch(() => undefined);
  // While a new file is empty, the writer may not have switched to it yet.
  const is_named = named !== undefined && (isSameFile(idOf(named), cursor.file) || named.size === 0n);
  if (is_named && !isArchive(path)) return 'idle';
  if (!stream.is_gone) {
    // It is read once more: its last lines may have come just before.
    stream.is_gone = true;
    return 'more';
  }
  const path_now = await findFile(path, cursor.file);
  if (path_now !== undefined && isArchive(path_now)) await onArchived(path_now);
  await endStream(transcript, push, cursor.end());
  await release(transcript);
  return named === undefined || isArchive(path) ? 'gone' : 'more';
}

/** Reads one more chunk. Rejects with a `SourceError` if the file can no longer be read. */
export async function readMore(transcript: Transcript, options: ReadOptions): Promise<Step> {
  const { file, stream } = transcript;
  if (file === undefined || stream === undefined) return open(transcript, options);
  const { handle, cursor } = file;
  const found = await cursor.read(handle, transcript.path);
  delete transcript.problem;
  if (found === 'at_end') return atEnd(transcript, stream, cursor, options);
  if (found === 'rewritten') {
    await endStream(transcript, options.push);
    transcript.stream = openStream(transcript, startOf(cursor.file));
    file.cursor = createCursor(transcript.stream.position, options.max_line_bytes);
    return 'more';
  }
  stream.position = cursor.position();
  stream.read_at_ms = Date.now();
  if (found.length > 0) await pushLines(transcript, found, false, options.push);
  return 'more';
}
