/**
 * Room on the disk, taken before it is needed: the file is made longer ahead of LMDB, so that a full disk is met here, as an
 * ordinary error with the system's reason, and never in the middle of a commit.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DATA_FILE } from './directory.js';

const STEP_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(STEP_BYTES);

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
          await file.appendFile(ZEROS);
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

const sizeOf = async (file: FileHandle): Promise<number> => (await file.stat()).size;
