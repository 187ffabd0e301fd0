/**
 * Limits how many transcripts hold their files open, to those read last. A closed file is opened again when it grows.
 */
import { release, type Transcript } from './transcript-file.js';

const MAX_OPEN_FILES = 64;

export interface OpenFiles {
  /** The one read longest ago first. */
  readonly open: ReadonlySet<Transcript>;
  /** Marks a file as the one read last, and closes the one read longest ago if there are too many. */
  keep(transcript: Transcript): Promise<void>;
  /** Closes the file of a transcript. */
  release(transcript: Transcript): Promise<void>;
}

export function createOpenFiles(): OpenFiles {
  const open = new Set<Transcript>();

  async function close(transcript: Transcript): Promise<void> {
    open.delete(transcript);
    await release(transcript);
  }

  return {
    open,
    async keep(transcript) {
      open.delete(transcript);
      if (transcript.file === undefined) return;
      open.add(transcript);
      const [oldest] = open;
      if (oldest !== undefined && open.size > MAX_OPEN_FILES) await close(oldest);
    },
    release: close,
  };
}
