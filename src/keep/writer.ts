/**
 * Writes to the store, and knows whether that can be done. Where it can't, that is said once, and the destinations hold what
 * comes in memory alone until it can be done again.
 */
import type { DestinationKeeping } from '../model/delivery.js';
import type { Logger } from '../model/logger.js';
import type { Changes, Store, Written } from '../store/index.js';

export interface Writer {
  write(changes: Changes): Promise<Written>;
  /** Notes what became of a write that was not made here. */
  note(written: Written): Written;
  /** Something could not be written, and not everything has been since. */
  isFailing(): boolean;
  /** Everything has been written. */
  recover(): void;
}

/** `place`: where the store is, for people. */
export function createWriter(
  store: Store,
  place: string,
  keepings: readonly DestinationKeeping[],
  logger: Logger,
): Writer {
  let is_failing = false;

  function setFailing(failing: boolean): void {
    is_failing = failing;
    for (const keeping of keepings) keeping.setWritable(!failing);
  }

  function fail(message: string): void {
    if (is_failing) return;
    logger.error(
      `can't write to ${place}: ${message}; what comes is held in memory alone, and a crash would lose it`,
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
      logger.info(`${place} can be written again`);
      setFailing(false);
    },
  };
}
