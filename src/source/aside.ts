/**
 * Transcripts that have not grown for a day are put aside, as files that were there at the start: their streams end, and the
 * instant before which nothing is to be told of such files moves on.
 */
import type { Followed } from './followed.js';
import type { OpenFiles } from './open-files.js';
import type { Push } from './reader.js';
import { endStream, type Transcript } from './transcript-file.js';

const PUT_ASIDE_AFTER_MS = 24 * 60 * 60 * 1000;

/** By the wall clock: another process may have read it last. */
const isIdle = ({ stream }: Transcript): boolean =>
  stream !== undefined && Date.now() - stream.read_at_ms > PUT_ASIDE_AFTER_MS;

export interface Aside {
  /** Looks whether a transcript is to be put aside. */
  consider(transcript: Transcript): void;
  /** Only when nothing is left to be read: what has not been told yet would lie before the instant that moves on. */
  putIdle(): Promise<void>;
}

export interface AsideOptions {
  followed: Followed;
  files: OpenFiles;
  push: Push;
  /** Tells the instant. */
  tellDirectory(): Promise<void>;
}

export function createAside({ followed, files, push, tellDirectory }: AsideOptions): Aside {
  const idle = new Set<Transcript>();

  async function put(transcript: Transcript): Promise<void> {
    followed.since_ms = Math.max(followed.since_ms, Date.now() - PUT_ASIDE_AFTER_MS);
    await tellDirectory();
    await endStream(transcript, push);
    await files.release(transcript);
    // Not this instant: it may have grown since it was looked at. All that was read of it is older than that.
    transcript.since_ms = followed.since_ms;
  }

  return {
    consider(transcript) {
      if (isIdle(transcript)) idle.add(transcript);
    },
    async putIdle() {
      for (const transcript of idle) {
        idle.delete(transcript);
        if (isIdle(transcript)) await put(transcript);
      }
    },
  };
}
