/**
 * Writes the journal, and tracks what of it is still on its way to the disk. Reports the outcome of each batch, and whether any
 * applied batch will be missing at the next start.
 */
import type { RecordChange } from '../model/record.js';
import type { Written } from '../store/index.js';
import { createJournal, type JournalEntry } from './journal.js';
import { comesAgain, type SavedState, scoped } from './saved-state.js';
import type { Writer } from './writer.js';

/** The outcome of a batch: on the disk; not on the disk, but the next process gets it again; or lost with this process. */
export type JournalOutcome = 'written' | 'comes_again' | 'lost';

/** The changes that empty the journal as it is at one point in time. */
export interface JournalCut {
  changes: RecordChange[];
  /** Reports whether the checkpoint that replaces these entries was written. */
  written(ok: boolean): void;
}

export interface JournalWriter {
  /** Writes a batch that is about to be applied. Resolves when it is written, or can't be. */
  add(entry: JournalEntry): Promise<JournalOutcome>;
  cut(): JournalCut;
  /** Whether the next process will have everything that was applied, from the store or again from its source. */
  isRecoverable(): boolean;
  /** The size of the journal. */
  bytes(): number;
  /** The size of what is on its way to the disk. */
  unwrittenBytes(): number;
}

export function createJournalWriter(saved: SavedState, writer: Writer): JournalWriter {
  const journal = createJournal(saved.journal.records);
  /** The last record of the journal, written or about to be. */
  let record: Promise<Written> = Promise.resolve({ ok: true });
  let unwritten_bytes = 0;
  /**
   * The number of batches that could not be written and do not come again; `lost_before_checkpoint`: of those, the ones whose
   * effects are in a checkpoint.
   */
  let lost = 0;
  let lost_before_checkpoint = 0;

  /** Counts a batch that could not be written. */
  function notWritten(comes_again: boolean): JournalOutcome {
    if (!comes_again) lost += 1;
    return comes_again ? 'comes_again' : 'lost';
  }

  return {
    add(entry) {
      const comes_again = comesAgain(saved.positions, entry);
      if (writer.isFailing()) return Promise.resolve(notWritten(comes_again));
      // The entry is not retained here: its chunk becomes garbage once it is applied, long before it is written.
      const { change, bytes } = journal.add(entry);
      if (change !== undefined) record = writer.write(() => scoped(saved.scope, [change()]));
      unwritten_bytes += bytes;
      return record.then(({ ok }) => {
        unwritten_bytes -= bytes;
        return ok ? 'written' : notWritten(comes_again);
      });
    },
    cut() {
      const changes = journal.cut();
      const cut_lost = lost;
      return {
        changes,
        written(ok) {
          if (ok) lost_before_checkpoint = cut_lost;
          else journal.undoCut(changes);
        },
      };
    },
    isRecoverable: () => lost === lost_before_checkpoint,
    bytes: () => journal.bytes(),
    unwrittenBytes: () => unwritten_bytes,
  };
}
