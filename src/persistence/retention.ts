/**
 * Keeps the store within its size limit. Pending data may take up most of what the journal and the state leave; beyond that the
 * oldest is dropped and counted. Dead letters may take up a part; beyond that the oldest are deleted.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DEAD_LETTERS_PREFIX, type Destination, OUTBOX_PREFIX } from '../model/delivery.js';
import type { RecordChange, SavedRecord } from '../model/record.js';
import type { Store } from '../store/index.js';

/**
 * Shares of the limit. With everything else in the store, pending data may take up `USED_SHARE`: the file also has to hold what
 * a checkpoint replaces. However large the rest is, pending data may take up `LEAST_SHARE`.
 */
const USED_SHARE = 0.75;
const LEAST_SHARE = 0.2;
const DEAD_LETTERS_SHARE = 0.1;

/** Dead letters are measured at one of this many checkpoints, if there may be too many: all of them have to be read. */
const CHECKPOINTS_PER_LOOK = 12;
/** They are measured at once if there may be this many times as many, as with a backend that rejects everything. */
const FAR_TOO_MANY = 2;
/** How much of them is read before everything else has its turn. */
const PORTION_BYTES = 1024 * 1024;

export interface Retention {
  /** The number of records pending for destinations that no longer exist: kept, but dropped first if space runs out. */
  orphans(): number;
  /** Notes changes that are about to be written. */
  note(changes: readonly RecordChange[]): void;
  /** Drops what exceeds the limits, at a checkpoint. Resolves when that is decided; nothing else is held up. */
  enforce(): Promise<void>;
  /** The same between two checkpoints, for dead letters only, and only if there may be far too many. */
  enforceBetween(): Promise<void>;
  /** The removals that result, since the last call. */
  takeChanges(): RecordChange[];
  /** Returns removals that could not be written. */
  putBack(changes: readonly RecordChange[]): void;
}

export function createRetention(store: Store, destinations: Destination[], limit_bytes: number): Retention {
  const known = destinations.flatMap(({ outbox }) => outbox?.prefixes ?? []);
  const max_letters_bytes = limit_bytes * DEAD_LETTERS_SHARE;
  const orphans = [...store.keys(OUTBOX_PREFIX)]
    .filter((key) => !known.some((prefix) => key.startsWith(prefix)))
    .map((key) => ({ key, bytes: store.get(key)?.length ?? 0 }));
  let orphan_bytes = orphans.reduce((total, { bytes }) => total + bytes, 0);
  /** An upper bound, since others may have deleted some; unknown before the first measurement. */
  let letters_bytes = Number.POSITIVE_INFINITY;
  let removed: RecordChange[] = [];
  let deleting: Promise<void> | undefined;
  let checkpoints = 0;

  const largestFirst = () =>
    destinations.flatMap(({ outbox }) => outbox ?? []).toSorted((a, b) => b.bytes() - a.bytes());

  const pendingBytes = (): number =>
    destinations.reduce((total, { outbox }) => total + (outbox?.bytes() ?? 0), orphan_bytes);

  function dropOldest(): boolean {
    const orphan = orphans.shift();
    // Everything that the largest has may be in flight, and then it can't be dropped.
    if (orphan === undefined) return largestFirst().some((outbox) => outbox.dropOldest());
    removed.push({ key: orphan.key });
    orphan_bytes -= orphan.bytes;
    return true;
  }

  function dropExcessPending(): void {
    // While the store can't be written, less may be in it than pends.
    const other_bytes = Math.max(0, store.usedBytes() - pendingBytes());
    const max_bytes = Math.max(limit_bytes * LEAST_SHARE, limit_bytes * USED_SHARE - other_bytes);
    while (pendingBytes() > max_bytes && dropOldest());
  }

  /** The dead letters that exist when it is called. */
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

  async function deleteExcessDeadLetters(): Promise<void> {
    // `note` adds those that are written from here on.
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

  /** One at a time. */
  function trimDeadLetters(): Promise<void> {
    deleting ??= deleteExcessDeadLetters().finally(() => {
      deleting = undefined;
    });
    return deleting;
  }

  return {
    orphans: () => orphans.length,
    note(changes) {
      for (const { key, value } of changes)
        if (value !== undefined && key.startsWith(DEAD_LETTERS_PREFIX)) letters_bytes += value.length;
    },
    async enforce() {
      dropExcessPending();
      const is_due = checkpoints++ % CHECKPOINTS_PER_LOOK === 0;
      if (letters_bytes > (is_due ? 1 : FAR_TOO_MANY) * max_letters_bytes) await trimDeadLetters();
    },
    async enforceBetween() {
      if (letters_bytes > FAR_TOO_MANY * max_letters_bytes) await trimDeadLetters();
    },
    takeChanges() {
      const changes = removed;
      removed = [];
      return changes;
    },
    putBack(changes) {
      removed.push(...changes);
    },
  };
}
