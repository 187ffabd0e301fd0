/**
 * Finds archived transcripts that are to be read: those that came while nobody looked, and those that the system tells of
 * whose file was not read under the name that it had before.
 */
import { stat } from 'node:fs/promises';
import { inOrder, isArchive, isKnown, type KnownArchives, withKnown } from './archives.js';
import { createAgain, type Followed, isLater } from './followed.js';
import { findByFile } from './transcript-file.js';

export interface ArchiveFinder {
  /** For the position. */
  known(): KnownArchives;
  /** These have been there before anything is followed. */
  learn(paths: readonly string[]): void;
  /** These are all that there are now. */
  see(paths: readonly string[]): void;
  /** One has been read to its end; gives whether that was not known. */
  note(path: string): boolean;
  /** The system told of one. */
  tell(path: string): void;
  hasTold(): boolean;
  /** Puts those of these that are to be read before everything else that waits to be. */
  find(paths: Iterable<string>): Promise<void>;
  /** The same for those that the system told of. */
  findTold(): Promise<void>;
}

/** `left`: those that an earlier process knew. */
export function createArchiveFinder(followed: Followed, left: KnownArchives): ArchiveFinder {
  const { transcripts, pending } = followed;
  let known = left;
  /** Those that were known at the last look at everything: what is archived after it is later than these. */
  let known_before = left;
  /** Those that need not be looked at again: all that there were at the last look, and what came since. */
  let seen = new Set<string>();
  const told = new Set<string>();

  const isFresh = (path: string): boolean =>
    !seen.has(path) && !isKnown(known_before, path) && !transcripts.has(path);

  /** Whether one came while nobody looked, and holds what may be told. The file of a stream is read to its end by that. */
  async function isWanted(path: string): Promise<boolean> {
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined) return false;
    const transcript = createAgain(path, stats, followed);
    // It was changed by its renaming, but not written.
    if (transcript.since_ms !== undefined && !isLater(stats.mtimeMs, followed)) return false;
    const reading = await findByFile(transcripts.values(), path);
    if (reading === undefined) transcripts.set(path, transcript);
    else pending.add(reading.path);
    return reading === undefined;
  }

  /** They come first, in their order, and before any stream ends: none is to be passed by later ones while it waits for its turn. */
  async function find(paths: Iterable<string>): Promise<void> {
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
    known: () => known,
    learn(paths) {
      known = withKnown(known, paths);
      known_before = known;
    },
    see(paths) {
      seen = new Set(paths);
      known_before = known;
    },
    note(path) {
      seen.add(path);
      if (isKnown(known, path)) return false;
      known = withKnown(known, [path]);
      return true;
    },
    tell: (path) => void told.add(path),
    hasTold: () => told.size > 0,
    find,
    findTold() {
      const paths = [...told];
      told.clear();
      return find(paths);
    },
  };
}
