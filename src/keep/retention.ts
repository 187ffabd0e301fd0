/**
 * The bound on the disk: what is pending may take up most of it, and then the oldest is given up, counted; what no backend
 * wants may take up a part, and then the oldest is thrown away.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DEAD_LETTERS_PREFIX, type Destination, OUTBOX_PREFIX } from '../model/delivery.js';
import type { RecordChange, SavedRecord } from '../model/record.js';
import type { Store } from '../store/index.js';

/** The rest is for the journal, the state, and what the store itself needs. */
const PENDING_SHARE = 0.8;
const DEAD_LETTERS_SHARE = 0.1;

/** Dead letters that may be too many are looked through at one checkpoint of so many: all of them have to be read for it. */
const CHECKPOINTS_PER_LOOK = 12;
/** So much of them is read in one go. */
const PORTION_BYTES = 1024 * 1024;

export interface Retention {
  /** How many records are pending for destinations that there are no more. They stay, and are the first to go. */
  orphans(): number;
  /** These are about to be written. */
  note(changes: readonly RecordChange[]): void;
  /** Gives up what is over the bound. Resolves when it is known what that is; nothing waits for it meanwhile. */
  keep(): Promise<void>;
  /** What is to be removed because of it. */
  takeChanges(): RecordChange[];
}

export function createRetention(store: Store, destinations: Destination[], limit_bytes: number): Retention {
  const known = destinations.flatMap(({ keeping }) => keeping?.prefixes ?? []);
  const max_letters_bytes = limit_bytes * DEAD_LETTERS_SHARE;
  const orphans = [...store.keys(OUTBOX_PREFIX)]
    .filter((key) => !known.some((prefix) => key.startsWith(prefix)))
    .map((key) => ({ key, bytes: store.get(key)?.length ?? 0 }));
  let orphan_bytes = orphans.reduce((total, { bytes }) => total + bytes, 0);
  /** No more than so many, since others may have taken some away; not known before the first look. */
  let letters_bytes = Number.POSITIVE_INFINITY;
  let removed: RecordChange[] = [];
  let checkpoints = 0;

  const largestFirst = () =>
    destinations.flatMap(({ keeping }) => keeping ?? []).toSorted((a, b) => b.bytes() - a.bytes());

  const pendingBytes = (): number =>
    destinations.reduce((total, { keeping }) => total + (keeping?.bytes() ?? 0), orphan_bytes);

  function dropOldest(): boolean {
    const orphan = orphans.shift();
    // All that the largest has may be on its way, and can't be given up.
    if (orphan === undefined) return largestFirst().some((keeping) => keeping.dropOldest());
    removed.push({ key: orphan.key });
    orphan_bytes -= orphan.bytes;
    return true;
  }

  function keepPending(): void {
    while (pendingBytes() > limit_bytes * PENDING_SHARE && dropOldest());
  }

  /** Those that are there when it is called. */
  async function* readDeadLetters(): AsyncGenerator<SavedRecord> {
    let portion_bytes = 0;
    for (const letter of store.entries(DEAD_LETTERS_PREFIX)) {
      yield letter;
      portion_bytes += letter.value.length;
      if (portion_bytes < PORTION_BYTES) continue;
      portion_bytes = 0;
      await nextTurn();
    }
  }

  async function keepDeadLetters(): Promise<void> {
    // From here on those that come are noted.
    letters_bytes = 0;
    let read_bytes = 0;
    for await (const { value } of readDeadLetters()) read_bytes += value.length;
    letters_bytes += read_bytes;
    for await (const { key, value } of readDeadLetters()) {
      if (letters_bytes <= max_letters_bytes) return;
      removed.push({ key });
      letters_bytes -= value.length;
    }
  }

  return {
    orphans: () => orphans.length,
    note(changes) {
      for (const { key, value } of changes)
        if (value !== undefined && key.startsWith(DEAD_LETTERS_PREFIX)) letters_bytes += value.length;
    },
    async keep() {
      keepPending();
      if (checkpoints++ % CHECKPOINTS_PER_LOOK === 0 && letters_bytes > max_letters_bytes)
        await keepDeadLetters();
    },
    takeChanges() {
      const changes = removed;
      removed = [];
      return changes;
    },
  };
}
