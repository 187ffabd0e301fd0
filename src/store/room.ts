/**
 * Room on the disk, taken before it is needed: the file is made longer ahead of LMDB, so that a full disk is met here, as an
 * ordinary error with the system's reason, and never in the middle of a commit.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DATA_FILE } from './directory.js';

const STEP_BYTES = 1024 * 1024;
/**
 * What one write has added the system may keep as one piece, and map as one where LMDB looks at any page of it: Linux since 6.18
 * does, and maps no less than this before that.
 */
const PIECE_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(PIECE_BYTES);

/** What LMDB changes besides the values: pages of the tree, and the list of free pages. */
export const MARGIN_BYTES = STEP_BYTES;

export interface Room {
  /** Makes the file at least so long. Throws the system's error where the disk has no room. */
  reserve(length: number): Promise<void>;
  close(): Promise<void>;
}

export function openRoom(directory: string): Room {
  let file: FileHandle | undefined;
  let length_now = 0;
  return {
    async reserve(length) {
      if (length <= length_now) return;
      // Appended only: it can't write over what another process has added to the file meanwhile.
      file ??= await open(join(directory, DATA_FILE), 'a');
      try {
        for (length_now = await sizeOf(file); length_now < length; length_now += STEP_BYTES) {
          await appendStep(file);
        }
      } catch (error) {
        // The last part of a step may be what had no room.
        length_now = await sizeOf(file);
        if (length_now < length) throw error;
      }
    },
    close: async () => file?.close(),
  };
}

/** All pieces are alike, so that they may come in any order. */
async function appendStep(file: FileHandle): Promise<void> {
  const appends = Array.from({ length: STEP_BYTES / PIECE_BYTES }, () => file.appendFile(ZEROS));
  const failed = (await Promise.allSettled(appends)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
}

const sizeOf = async (file: FileHandle): Promise<number> => (await file.stat()).size;
