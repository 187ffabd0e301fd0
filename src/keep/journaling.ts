/**
 * Writes the journal, and knows what of it is on its way to the disk. It tells of each batch what became of it, and whether
 * there is any that the next start will not find.
 */
import type { RecordChange } from '../model/record.js';
import type { Written } from '../store/index.js';
import { createJournal, type JournalEntry } from './journal.js';
import { comesAgain, type Kept, scoped } from './kept.js';
import type { Writer } from './writer.js';

/** What became of a batch: it is on the disk; or it is not, and comes again in the next process, or is lost with this one. */
export type Journaled = 'written' | 'comes_again' | 'unkept';

/** What takes everything out of the journal that is in it at one instant. */
export interface JournalCut {
  changes: RecordChange[];
  /** What became of the checkpoint that takes its place. */
  written(ok: boolean): void;
}

export interface Journaling {
  /** Writes down a batch that is about to be applied. Resolves when that is done, or can't be. */
  add(entry: JournalEntry): Promise<Journaled>;
  cut(): JournalCut;
  /** Whether the next start finds, or is told again, everything that was applied. */
  isKept(): boolean;
  /** What the journal holds. */
  bytes(): number;
  /** What of it is on its way to the disk. */
  unwrittenBytes(): number;
}

export function createJournaling(kept: Kept, writer: Writer): Journaling {
  const journal = createJournal(kept.journal.records);
  /** The last record of the journal that is to be written, or has been. */
  let record: Promise<Written> = Promise.resolve({ ok: true });
  let unwritten_bytes = 0;
  /** Batches that could not be written down and do not come again: all, and those that a checkpoint has what came of. */
  let unkept = 0;
  let saved_unkept = 0;

  /** A batch could not be written down. */
  function notWritten(comes_again: boolean): Journaled {
    if (!comes_again) unkept += 1;
    return comes_again ? 'comes_again' : 'unkept';
  }

  return {
    add(entry) {
      const comes_again = comesAgain(kept.positions, entry);
      if (writer.isFailing()) return Promise.resolve(notWritten(comes_again));
      // Nothing here keeps hold of the entry: its chunk is garbage once it is applied, long before it is written.
      const { change, bytes } = journal.add(entry);
      if (change !== undefined) record = writer.write(() => scoped(kept.scope, [change()]));
      unwritten_bytes += bytes;
      return record.then(({ ok }) => {
        unwritten_bytes -= bytes;
        return ok ? 'written' : notWritten(comes_again);
      });
    },
    cut() {
      const changes = journal.cut();
      const cut_unkept = unkept;
      return {
        changes,
        written(ok) {
          if (ok) saved_unkept = cut_unkept;
          else journal.undoCut(changes);
        },
      };
    },
    isKept: () => unkept === saved_unkept,
    bytes: () => journal.bytes(),
    unwrittenBytes: () => unwritten_bytes,
  };
}
