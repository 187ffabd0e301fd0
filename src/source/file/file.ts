/**
 * The source `file:PATH` when the file is read to its end, and what reading a file in any mode needs: opening it with a helpful
 * error, and reading a chunk at a position.
 */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { type Source, SourceError } from '../../model/source.js';
import { errorCode, errorReason } from '../../util/errors.js';
import { createLineSplitter, type Line } from '../lines.js';
import { createReaderSource, lineBatch, type Push } from '../reader.js';

const CHUNK_BYTES = 64 * 1024;

const ADVICE: Record<string, string> = {
  EACCES: 'check that this user can read it',
  EPERM: 'check that this user can read it',
};

/** A file that can't be opened, and the message that says why. */
export interface UnreadableFile {
  missing: boolean;
  message: string;
}

/** Opens a regular file for reading. */
export async function openFile(path: string): Promise<FileHandle | UnreadableFile> {
  try {
    // Checked before opening: opening a named pipe would block until somebody writes to it.
    const stats = await stat(path);
    if (stats.isFile()) return await open(path, 'r');
    const reason = stats.isDirectory() ? 'it is a directory' : 'it is not a regular file';
    return { missing: false, message: `can't read ${path}: ${reason}; give the path of an NDJSON file` };
  } catch (error) {
    const code = errorCode(error) ?? '';
    const advice = ADVICE[code] ?? 'check the path';
    return { missing: code === 'ENOENT', message: `can't read ${path}: ${errorReason(error)}; ${advice}` };
  }
}

/** Turns the failure of an operation on an open file into a `SourceError`. */
export async function reading<T>(path: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    const advice = 'check the disk or network mount that it is on';
    throw new SourceError(`can't continue reading ${path}: ${errorReason(error)}; ${advice}`);
  }
}

/** Resolves as an operation on a file that was just opened; closes the file if that fails. */
export async function orClose<T>(handle: FileHandle, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Reads up to 64 KiB at a position; an empty buffer at the end of the file. The caller owns the buffer. Rejects with a
 * `SourceError` if the file can no longer be read.
 */
export async function readChunk(handle: FileHandle, path: string, position: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  const { bytesRead } = await reading(path, handle.read(buffer, 0, CHUNK_BYTES, position));
  return buffer.subarray(0, bytesRead);
}

export interface FileOptions {
  max_line_bytes: number;
  /** The last line that was emitted before; 0: none. */
  after_line?: number;
  /** Whether each line is a batch of its own, for a consumer that takes time over each. */
  one_by_one?: boolean;
}

async function readToEnd(
  handle: FileHandle,
  path: string,
  { max_line_bytes, after_line = 0, one_by_one = false }: FileOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  const splitter = createLineSplitter({ max_line_bytes });

  async function pushLines(lines: Line[]): Promise<void> {
    const wanted = lines.filter(({ number }) => number > after_line);
    const batches = one_by_one ? wanted.map((line) => [line]) : [wanted];
    for (const batch of batches) {
      if (stop.aborted) return;
      if (batch.length > 0) await push(lineBatch(path, batch, false));
    }
  }

  let position = 0;
  while (!stop.aborted) {
    const chunk = await readChunk(handle, path, position);
    position += chunk.length;
    if (chunk.length > 0) await pushLines(splitter.push(chunk));
    else
      return push(
        lineBatch(
          path,
          splitter.end().filter(({ number }) => number > after_line),
          true,
        ),
      );
  }
}

/**
 * Reads a file from start to end. Opening throws a `SourceError` if the file is missing, a directory or not readable; the
 * iteration throws one if reading fails later.
 */
export function createFileSource(name: string, path: string, options: FileOptions): Source {
  return createReaderSource(name, async (push, stop) => {
    const file = await openFile(path);
    if ('message' in file) throw new SourceError(file.message);
    return () => readToEnd(file, path, options, push, stop).finally(() => file.close());
  });
}
