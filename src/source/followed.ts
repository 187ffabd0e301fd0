/**
 * What is followed below a directory of transcripts, and by what a file of which nothing is known is judged: when it was made
 * and last changed, as the system tells, against the instant before which nothing is to be told of such files.
 */
import type { Stats } from 'node:fs';
import { createTranscript, type Transcript } from './transcript-file.js';

export interface Followed {
  /** By path. */
  transcripts: Map<string, Transcript>;
  /** Paths to be read, the longest waiting first. */
  pending: Set<string>;
  /** What was written before is not to be told of files that have no position; 0: all is told. It moves on. */
  since_ms: number;
}

/** The system's times of files are as coarse as this on some file systems. */
const FILE_TIMES_ARE_COARSE_MS = 2_000;

/** Whether a time of a file may lie after the instant. */
export const isLater = (file_ms: number, { since_ms }: Followed): boolean =>
  file_ms > since_ms - FILE_TIMES_ARE_COARSE_MS;

/** A transcript of a file that nothing is known of: new ones are told whole. */
export function createAgain(path: string, { birthtimeMs }: Stats, { since_ms }: Followed): Transcript {
  const is_new = Math.floor(birthtimeMs) > since_ms;
  return createTranscript(path, is_new ? undefined : since_ms);
}
