/**
 * Follows one transcript, a step at a time: what was appended is read, and a file that was replaced, shortened or written
 * anew is read from its start again, as a new stream. OpenClaw does write transcripts anew in place, to take out the last
 * message for one; so that also a file which has grown again since is noticed, what stands before the position is compared.
 */
import { type FileHandle, stat } from 'node:fs/promises';
import { openFile, readChunk } from './file.js';
import { createLineSplitter, type Line, type LineSplitter } from './lines.js';
import { lineBatch, type Push } from './reader.js';

/** Enough to tell two texts apart: an entry ends with its time. */
const TAIL_BYTES = 64;

/** A stream of the file: its lines from the start on, up to where it was read. */
interface Stream {
  name: string;
  splitter: LineSplitter;
  position: number;
  /** The bytes before the position. */
  tail: Buffer;
  inode: number;
  read_at_ms: number;
  /** Whether the path names it no more. */
  is_gone: boolean;
}

export interface Transcript {
  path: string;
  /** What was written before this is only to be understood; undefined for a file that came later. */
  since_ms: number | undefined;
  /** What it was when it was last looked at from outside. */
  seen: string | undefined;
  streams: number;
  stream?: Stream;
  handle?: FileHandle;
  /** Why it can't be read, where that has been told. */
  problem?: string;
}

export interface ReadOptions {
  max_line_bytes: number;
  push: Push;
}

/** What a step found: there may be more, there is nothing more for now, or the file has gone. */
export type Step = 'more' | 'idle' | 'gone';

export const createTranscript = (path: string, since_ms: number | undefined): Transcript => ({
  path,
  since_ms,
  seen: undefined,
  streams: 0,
});

/** Looks at the file without opening it: whether anything has been done to it since it was last looked at. */
export async function hasChanged(transcript: Transcript): Promise<boolean> {
  const stats = await stat(transcript.path).catch(() => undefined);
  const seen = stats && `${stats.ino} ${stats.size} ${stats.ctimeMs}`;
  if (seen === transcript.seen) return false;
  transcript.seen = seen;
  return true;
}

function openStream(transcript: Transcript, inode: number, max_line_bytes: number): Stream {
  transcript.streams += 1;
  const { path, streams } = transcript;
  return {
    name: streams === 1 ? path : `${path}#${streams}`,
    splitter: createLineSplitter({ max_line_bytes }),
    position: 0,
    tail: Buffer.alloc(0),
    inode,
    read_at_ms: Date.now(),
    is_gone: false,
  };
}

async function pushLines(transcript: Transcript, lines: Line[], end: boolean, push: Push): Promise<void> {
  const { stream, since_ms } = transcript;
  if (stream === undefined) return;
  await push({ ...lineBatch(stream.name, lines, end), ...(since_ms === undefined ? {} : { since_ms }) });
}

/** Ends the stream. An unfinished line in it either has gone with the file or is read again. */
export async function endStream(transcript: Transcript, push: Push, lines: Line[] = []): Promise<void> {
  await pushLines(transcript, lines, true, push);
  delete transcript.stream;
}

/** Tells once why the file can't be read. */
export async function tellProblem(transcript: Transcript, message: string, push: Push): Promise<void> {
  if (transcript.problem === message) return;
  transcript.problem = message;
  await push({ kind: 'status', state: 'down', message: `${message}; it is tried again when it changes` });
}

/** Holds the file open no longer; its stream goes on where it was, at a line's start. */
export async function release(transcript: Transcript): Promise<void> {
  const { handle, stream } = transcript;
  delete transcript.handle;
  await handle?.close();
  if (stream === undefined) return;
  const rewound_bytes = stream.splitter.rewind();
  stream.position -= rewound_bytes;
  stream.tail = stream.tail.subarray(0, Math.max(0, stream.tail.length - rewound_bytes));
}

async function open(transcript: Transcript, { max_line_bytes, push }: ReadOptions): Promise<Step> {
  const file = await openFile(transcript.path);
  if ('message' in file) {
    if (file.missing) {
      await endStream(transcript, push);
      return 'gone';
    }
    await tellProblem(transcript, file.message, push);
    return 'idle';
  }
  delete transcript.problem;
  transcript.handle = file;
  const { ino } = await file.stat();
  if (transcript.stream !== undefined && transcript.stream.inode !== ino) await endStream(transcript, push);
  transcript.stream ??= openStream(transcript, ino, max_line_bytes);
  return 'more';
}

/** At the end of what can be read: whether the path still names this file. */
async function atEnd(transcript: Transcript, stream: Stream, push: Push): Promise<Step> {
  const named = await stat(transcript.path).catch(() => undefined);
  // While a new file is empty, the writer may not have gone over to it yet.
  if (named !== undefined && (named.ino === stream.inode || named.size === 0)) return 'idle';
  if (!stream.is_gone) {
    // It is looked at once more: its last lines may have come just before.
    stream.is_gone = true;
    return 'more';
  }
  await endStream(transcript, push, stream.splitter.end());
  await release(transcript);
  return named === undefined ? 'gone' : 'more';
}

/** Reads on by one chunk. Rejects with a `SourceError` where the file can no longer be read. */
export async function readOn(transcript: Transcript, options: ReadOptions): Promise<Step> {
  const { handle, stream } = transcript;
  if (handle === undefined || stream === undefined) return open(transcript, options);
  const { tail, splitter } = stream;
  const chunk = await readChunk(handle, transcript.path, stream.position - tail.length);
  if (!chunk.subarray(0, tail.length).equals(tail)) {
    await endStream(transcript, options.push);
    transcript.stream = openStream(transcript, stream.inode, options.max_line_bytes);
    return 'more';
  }
  const fresh = chunk.subarray(tail.length);
  if (fresh.length === 0) return atEnd(transcript, stream, options.push);
  stream.position += fresh.length;
  stream.read_at_ms = Date.now();
  // A copy, so that these few bytes do not keep the whole chunk in memory.
  stream.tail = Buffer.from(chunk.subarray(-TAIL_BYTES));
  const lines = splitter.push(fresh);
  if (lines.length > 0) await pushLines(transcript, lines, false, options.push);
  return 'more';
}
