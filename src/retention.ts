/**
 * The bound on the disk: what is pending may take up most of it, and then the oldest is given up, counted; what no backend
 * wants may take up a part, and then the oldest is thrown away.
 */
import { DEAD_LETTERS_PREFIX, type Destination, OUTBOX_PREFIX } from './model/delivery.js';
import type { RecordChange } from './model/record.js';
import type { Store } from './store/store.js';

/** The rest is for the journal, the state, and what the store itself needs. */
const PENDING_SHARE = 0.8;
const DEAD_LETTERS_SHARE = 0.1;

/** How often dead letters are counted. */
const COUNTS_PER_LOOK = 12;

export interface Retention {
  /** How many records are pending for destinations that there are no more. They stay, and are the first to go. */
  orphans(): number;
  /** Gives up what is over the bound. */
  keep(): void;
  /** What is to be removed because of it. */
  takeChanges(): RecordChange[];
}

export function createRetention(store: Store, destinations: Destination[], limit_bytes: number): Retention {
  const known = destinations.flatMap(({ keeping }) => keeping?.prefixes ?? []);
  const orphans = [...store.entries(OUTBOX_PREFIX)]
    .filter(({ key }) => !known.some((prefix) => key.startsWith(prefix)))
    .map(({ key, value }) => ({ key, bytes: value.length }));
  let removed: RecordChange[] = [];
  let looks = 0;

  const largestFirst = () =>
    destinations.flatMap(({ keeping }) => keeping ?? []).toSorted((a, b) => b.bytes() - a.bytes());

  const pendingBytes = (): number =>
    destinations.reduce((total, { keeping }) => total + (keeping?.bytes() ?? 0), 0) +
    orphans.reduce((total, { bytes }) => total + bytes, 0);

  function dropOldest(): boolean {
    const orphan = orphans.shift();
    // All that the largest has may be on its way, and can't be given up.
    if (orphan === undefined) return largestFirst().some((keeping) => keeping.dropOldest());
    removed.push({ key: orphan.key });
    return true;
  }

  function keepPending(): void {
    while (pendingBytes() > limit_bytes * PENDING_SHARE && dropOldest());
  }

  function keepDeadLetters(): void {
    const letters = [...store.entries(DEAD_LETTERS_PREFIX)].map(({ key, value }) => ({
      key,
      bytes: value.length,
    }));
    let excess = letters.reduce((total, { bytes }) => total + bytes, -limit_bytes * DEAD_LETTERS_SHARE);
    for (const { key, bytes } of letters) {
      if (excess <= 0) return;
      removed.push({ key });
      excess -= bytes;
    }
  }

  return {
    orphans: () => orphans.length,
    keep() {
      keepPending();
      if (looks++ % COUNTS_PER_LOOK === 0) keepDeadLetters();
    },
    takeChanges() {
      const changes = removed;
      removed = [];
      return changes;
    },
  };
}
