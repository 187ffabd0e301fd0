/**
 * Writes to the store, and tracks whether that works. A failure is logged once; until the store can be written again,
 * destinations hold new data in memory only.
 */
import type { DestinationOutbox } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { Changes, Store, Written } from '../store/index.js';

export interface Writer {
  write(changes: Changes): Promise<Written>;
  /** Notes the outcome of a write that was made elsewhere. */
  note(written: Written): Written;
  /** Whether a write has failed and no complete checkpoint has been written since. */
  isFailing(): boolean;
  /** Everything has been written again. */
  recover(): void;
}

/** `place`: where the store is, for messages. */
export function createWriter(
  store: Store,
  place: string,
  outboxes: readonly DestinationOutbox[],
  logger: Logger,
): Writer {
  let is_failing = false;

  function setFailing(failing: boolean): void {
    is_failing = failing;
    for (const outbox of outboxes) outbox.setWritable(!failing);
  }

  function fail(message: string): void {
    if (is_failing) return;
    logger.error(
      `can't write to ${place}: ${message}; until it is writable again, new data is held only in memory, and a crash loses it`,
    );
    setFailing(true);
  }

  function note(written: Written): Written {
    if (!written.ok) fail(written.message);
    return written;
  }

  return {
    write: async (changes) => note(await store.write(changes)),
    note,
    isFailing: () => is_failing,
    recover() {
      if (!is_failing) return;
      logger.info(`${place} is writable again; data is kept on disk again`);
      setFailing(false);
    },
  };
}
