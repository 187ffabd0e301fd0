/**
 * Retires transcripts that have not grown for a day: their streams end, they count as files that were there at the start,
 * and the time before which nothing of such files is emitted moves forward.
 */

import type { Push } from '../reader.js';
import type { Followed } from './followed.js';
import type { OpenFiles } from './open-files.js';
import { endStream, type Transcript } from './transcript-file.js';

const RETIRE_AFTER_MS = 24 * 60 * 60 * 1000;

/** By the wall clock, since another process may have read it last. */
const isIdle = ({ stream }: Transcript): boolean =>
  stream !== undefined && Date.now() - stream.read_at_ms > RETIRE_AFTER_MS;

export interface Retirement {
  /** Marks a transcript to be retired if it is idle. */
  consider(transcript: Transcript): void;
  /**
   * Retires the marked transcripts. Call it only when nothing is pending: what is not emitted yet would fall before the time
   * that moves forward.
   */
  retireIdle(): Promise<void>;
}

export interface RetirementOptions {
  followed: Followed;
  files: OpenFiles;
  push: Push;
  /** Emits the position with that time. */
  emitDirectory(): Promise<void>;
}

export function createRetirement({ followed, files, push, emitDirectory }: RetirementOptions): Retirement {
  const idle = new Set<Transcript>();

  async function retire(transcript: Transcript): Promise<void> {
    followed.since_ms = Math.max(followed.since_ms, Date.now() - RETIRE_AFTER_MS);
    await emitDirectory();
    await endStream(transcript, push);
    await files.release(transcript);
    // Not the current time, since the file may have grown after it was checked. All that was read of it is older than
    // `since_ms`.
    transcript.since_ms = followed.since_ms;
  }

  return {
    consider(transcript) {
      if (isIdle(transcript)) idle.add(transcript);
    },
    async retireIdle() {
      for (const transcript of idle) {
        idle.delete(transcript);
        if (isIdle(transcript)) await retire(transcript);
      }
    },
  };
}
