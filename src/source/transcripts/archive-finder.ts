/**
 * Finds archived transcripts that are to be read: those archived while the bridge was not watching, and those that the file
 * system reports and whose file was not read under its earlier name.
 */
import { stat } from 'node:fs/promises';
import { inOrder, isArchive, isKnown, type KnownArchives, withKnown } from './archives.js';
import { createAgain, type Followed, isLater } from './followed.js';
import { findByFile } from './transcript-file.js';

export interface ArchiveFinder {
  /** The known archives, for the position. */
  snapshot(): KnownArchives;
  /** Marks archives as known that existed before anything is followed. */
  markKnown(paths: readonly string[]): void;
  /** Sets the complete list of archives that exist now. */
  setListing(paths: readonly string[]): void;
  /** Marks an archive as read to its end; returns whether it was unknown before. */
  markRead(path: string): boolean;
  /** Notes an archive that the file system reported. */
  report(path: string): void;
  hasReported(): boolean;
  /** Puts those of these archives that are to be read ahead of everything else that is pending. */
  enqueue(paths: Iterable<string>): Promise<void>;
  /** The same for the archives that the file system reported. */
  enqueueReported(): Promise<void>;
}

/** `left`: the archives that the previous process knew. */
export function createArchiveFinder(followed: Followed, left: KnownArchives): ArchiveFinder {
  const { transcripts, pending } = followed;
  let known = left;
  /** The archives known at the last complete listing: whatever is archived after that is later than these. */
  let known_before = left;
  /** Archives that need no further check: all in the last complete listing, and those that were found or read since. */
  let seen = new Set<string>();
  const reported = new Set<string>();

  const isFresh = (path: string): boolean =>
    !seen.has(path) && !isKnown(known_before, path) && !transcripts.has(path);

  /**
   * Whether an archive has to be read on its own: it may hold something to emit, and its file does not belong to a stream,
   * which would read it to its end.
   */
  async function isWanted(path: string): Promise<boolean> {
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined) return false;
    const transcript = createAgain(path, stats, followed);
    // It was changed by being renamed, but not written to.
    if (transcript.since_ms !== undefined && !isLater(stats.mtimeMs, followed)) return false;
    if ((await findByFile(transcripts.values(), path)) !== undefined) return false;
    transcripts.set(path, transcript);
    return true;
  }

  /** Archives come first, in their order, and before any stream ends, so that no later archive overtakes one that is waiting. */
  async function enqueue(paths: Iterable<string>): Promise<void> {
    const found: string[] = [];
    for (const path of [...paths].filter(isFresh)) {
      seen.add(path);
      if (await isWanted(path)) found.push(path);
    }
    if (found.length === 0) return;
    const waiting = [...pending];
    pending.clear();
    for (const path of inOrder([...waiting.filter(isArchive), ...found])) pending.add(path);
    for (const path of waiting) pending.add(path);
  }

  return {
    snapshot: () => known,
    markKnown(paths) {
      known = withKnown(known, paths);
      known_before = known;
    },
    setListing(paths) {
      seen = new Set(paths);
      known_before = known;
    },
    markRead(path) {
      seen.add(path);
      if (isKnown(known, path)) return false;
      known = withKnown(known, [path]);
      return true;
    },
    report: (path) => void reported.add(path),
    hasReported: () => reported.size > 0,
    enqueue,
    enqueueReported() {
      const paths = [...reported];
      reported.clear();
      return enqueue(paths);
    },
  };
}
