/**
 * Opens the store of a start in the data directory, and logs what was found in it. If the directory is unusable, the bridge
 * continues in memory, since showing what happens now matters more than storing it; if the directory belongs to another process
 * or to a newer version, the bridge does not start.
 */

import type { PersistOptions } from '../bridge.js';
import type { Logger } from '../model/logger.js';
import { openSavedState } from '../persistence/saved-state.js';
import { openStore, type Store } from '../store/index.js';
import { BYTES_PER_MB } from '../util/units.js';
import { dataDirectory } from './gateway.js';
import type { Settings, StartSettings } from './settings.js';

export interface OpenedStore {
  /** Absent if nothing is stored. */
  persist?: PersistOptions;
  close(): Promise<void>;
}

/** For the log, if a store can't be used. */
export const CONTINUING_IN_MEMORY = 'continuing in memory, so a restart loses open runs and pending data';

/** A start without a store. */
export const IN_MEMORY: OpenedStore = { close: async () => undefined };

/** Opens the store in a directory. `is_taken`: it belongs to another process or a newer version; otherwise it is unusable. */
export function openStoreIn(
  command: 'run' | 'replay',
  directory: string,
  { store: { checkpoint_interval_ms }, limits }: StartSettings,
  logger: Logger,
): OpenedStore | { problem: string; is_taken: boolean } {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) return opened;
  const { store, findings } = opened;
  for (const finding of findings) logger.warn(finding);
  const persist = {
    saved: openSavedState(store, command),
    place: directory,
    checkpoint_interval_ms,
    store_limit_bytes: limits.store_mb * BYTES_PER_MB,
  };
  return { persist, close: () => store.close() };
}

/** Opens the store for a command, which continues in memory if the directory is unusable. */
export async function openOwnStore(
  command: 'run' | 'replay',
  directory: string | undefined,
  settings: Settings,
  logger: Logger,
): Promise<OpenedStore | { error: string }> {
  if (directory === undefined) return IN_MEMORY;
  const opened = openStoreIn(command, directory, settings, logger);
  if (!('problem' in opened)) return opened;
  if (opened.is_taken) return { error: `${opened.problem} (--data-dir)` };
  logger.warn(
    `${opened.problem}; ${CONTINUING_IN_MEMORY}; to keep them, pass a --data-dir that this user can write`,
  );
  return IN_MEMORY;
}

/** Opens the store of another process, or of one that has stopped, for reading and small changes. */
export async function openShared(
  settings: Settings,
): Promise<{ store: Store; directory: string } | { error: string }> {
  const directory = dataDirectory(settings, process.env);
  if (directory === undefined)
    return {
      error:
        'no_store is set in the configuration file, so no data directory is used; remove it, or run without --config',
    };
  const opened = openStore(directory, { access: 'share' });
  return 'problem' in opened ? { error: opened.problem } : { store: opened.store, directory };
}
