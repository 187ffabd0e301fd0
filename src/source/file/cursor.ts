/**
 * How far one file has been read: its lines so far, and the bytes just before the position, by which a truncated or rewritten
 * file is noticed before reading on. A cursor can be recreated from its position, in another process too.
 */
import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { createLineSplitter, type Line } from '../lines.js';
import { orClose, readChunk, reading } from './file.js';

/** Enough to distinguish two texts: an event ends with its own ids or its time. */
const FINGERPRINT_BYTES = 64;

/** Identifies a file under whatever name. Strings, since the numbers may be too large for JSON. */
export interface FileId {
  device: string;
  inode: string;
}

/** A place in a file, up to which its lines have been emitted. */
export interface FilePosition extends FileId {
  /** The offset of the first byte that was not emitted. */
  offset: number;
  /** The number of the line there. */
  line: number;
  /** The line has been emitted as too long: the rest of it is skipped. */
  is_too_long?: true;
  /** The last bytes before the offset, at most 64, in base64. */
  before: string;
}

export interface Cursor {
  file: FileId;
  /**
   * Reads a chunk and returns the lines that it completes; `at_end` if nothing has been appended, `rewritten` if what was read
   * before is gone.
   */
  read(handle: FileHandle, path: string): Promise<Line[] | 'at_end' | 'rewritten'>;
  /** The file has ended: its last line counts even without a line end. */
  end(): Line[];
  /** The file broke off: a line without a line end is reported as incomplete. */
  abort(): Line[];
  position(): FilePosition;
}

export const idOf = ({ dev, ino }: BigIntStats): FileId => ({ device: `${dev}`, inode: `${ino}` });

/** The identity of a file that was just opened; the file is closed if that can't be read. */
export const identify = async (handle: FileHandle, path: string): Promise<FileId> =>
  idOf(await orClose(handle, reading(path, handle.stat({ bigint: true }))));

export const isSameFile = (a: FileId, b: FileId): boolean => a.device === b.device && a.inode === b.inode;

export const startOf = (file: FileId): FilePosition => ({ ...file, offset: 0, line: 1, before: '' });

/** Whether the bytes before a position are unchanged. */
export async function isUnchanged(
  handle: FileHandle,
  path: string,
  position: FilePosition,
): Promise<boolean> {
  const before = Buffer.from(position.before, 'base64');
  const chunk = await readChunk(handle, path, position.offset - before.length);
  return chunk.subarray(0, before.length).equals(before);
}

/** An offset, and the bytes before it. */
interface Place {
  offset: number;
  before: Buffer;
}

/** A place in a chunk that was read from `chunk_offset` on. Its bytes are copied, so that they do not keep the chunk in memory. */
const placeIn = (chunk: Buffer, chunk_offset: number, at: number): Place => ({
  offset: chunk_offset + at,
  before: Buffer.from(chunk.subarray(Math.max(0, at - FINGERPRINT_BYTES), at)),
});

export function createCursor(from: FilePosition, max_line_bytes: number): Cursor {
  const { device, inode } = from;
  const first = { number: from.line, is_too_long: from.is_too_long ?? false };
  const splitter = createLineSplitter({ max_line_bytes, from: first });
  /** `read`: up to where the file was read; `given`: up to where lines were emitted. */
  let read: Place = { offset: from.offset, before: Buffer.from(from.before, 'base64') };
  let given = read;

  return {
    file: { device, inode },
    async read(handle, path) {
      const { offset, before } = read;
      const chunk_offset = offset - before.length;
      const chunk = await readChunk(handle, path, chunk_offset);
      if (!chunk.subarray(0, before.length).equals(before)) return 'rewritten';
      const fresh = chunk.subarray(before.length);
      if (fresh.length === 0) return 'at_end';
      const lines = splitter.push(fresh);
      const { unended_bytes } = splitter.place();
      read = placeIn(chunk, chunk_offset, chunk.length);
      if (unended_bytes <= fresh.length) given = placeIn(chunk, chunk_offset, chunk.length - unended_bytes);
      return lines;
    },
    end: splitter.end,
    abort: splitter.abort,
    position() {
      const { number, is_too_long } = splitter.place();
      return {
        device,
        inode,
        offset: given.offset,
        line: number,
        ...(is_too_long ? { is_too_long } : {}),
        before: given.before.toString('base64'),
      };
    },
  };
}
