/**
 * Disk space, reserved before it is needed: the file is extended ahead of LMDB, so that a full disk shows here, as an ordinary
 * error with the system's reason, and never in the middle of a commit.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DATA_FILE } from './directory.js';

const STEP_BYTES = 1024 * 1024;
/**
 * The size of one write. Linux since 6.18 may store what one write appended as one piece, and map all of it when LMDB touches
 * any of its pages; older kernels map at least this much anyway.
 */
const PIECE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(PIECE_BYTES);

/** Room for what LMDB changes besides the values: tree pages and the list of free pages. */
export const MARGIN_BYTES = STEP_BYTES;

export interface Room {
  /** Makes the file at least this long. Throws the system's error if the disk has no room. */
  reserve(length: number): Promise<void>;
  close(): Promise<void>;
}

export function openRoom(directory: string): Room {
  let file: FileHandle | undefined;
  let length_now = 0;
  return {
    async reserve(length) {
      if (length <= length_now) return;
      // Opened for appending: it can't overwrite what another process has added to the file meanwhile.
      file ??= await open(join(directory, DATA_FILE), 'a');
      try {
        for (length_now = await sizeOf(file); length_now < length; length_now += STEP_BYTES) {
          await appendStep(file);
        }
      } catch (error) {
        // Perhaps only the part of a step beyond `length` did not fit.
        length_now = await sizeOf(file);
        if (length_now < length) throw error;
      }
    },
    close: async () => file?.close(),
  };
}

/** The pieces are identical, so their order does not matter. */
async function appendStep(file: FileHandle): Promise<void> {
  const appends = Array.from({ length: STEP_BYTES / PIECE_BYTES }, () => file.appendFile(ZEROS));
  const failed = (await Promise.allSettled(appends)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

const sizeOf = async (file: FileHandle): Promise<number> => (await file.stat()).size;
