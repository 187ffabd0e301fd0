/**
 * Which transcripts hold their files open: those read last. One that is let go of is opened again when it grows.
 */
import { release, type Transcript } from './transcript-file.js';

const MAX_OPEN_FILES = 64;

export interface OpenFiles {
  /** The one read longest ago first. */
  readonly open: ReadonlySet<Transcript>;
  /** Counts a file as the one read last, and lets go of the one read longest ago where that is one too many. */
  keep(transcript: Transcript): Promise<void>;
  /** Lets go of one. */
  release(transcript: Transcript): Promise<void>;
}

export function createOpenFiles(): OpenFiles {
  const open = new Set<Transcript>();

  async function letGo(transcript: Transcript): Promise<void> {
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
      if (oldest !== undefined && open.size > MAX_OPEN_FILES) await letGo(oldest);
    },
    release: letGo,
  };
}
