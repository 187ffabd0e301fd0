/**
 * What is followed below a directory of transcripts, and how a file without a stream is classified: its creation and change
 * times are compared with the time before which nothing of such files is emitted.
 */
import type { Stats } from 'node:fs';
import { createTranscript, type Transcript } from './transcript-file.js';

export interface Followed {
  /** By path. */
  transcripts: Map<string, Transcript>;
  /** Paths to be read, the longest waiting first. */
  pending: Set<string>;
  /**
   * What was written before this, epoch milliseconds, is not emitted for files without a position; 0: everything is. It moves
   * forward.
   */
  since_ms: number;
}

/** The system's times of files are as coarse as this on some file systems. */
const FILE_TIMES_ARE_COARSE_MS = 2_000;

/** Whether a time of a file may be after `since_ms`. */
export const isLater = (file_ms: number, { since_ms }: Followed): boolean =>
  file_ms > since_ms - FILE_TIMES_ARE_COARSE_MS;

/** Creates the transcript of a file without a stream; a new file is emitted whole. */
export function createAgain(path: string, { birthtimeMs }: Stats, { since_ms }: Followed): Transcript {
  const is_new = Math.floor(birthtimeMs) > since_ms;
  return createTranscript(path, is_new ? undefined : since_ms);
}
