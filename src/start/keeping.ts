/**
 * What a start keeps, and where: opens the store in the data directory, and says what was found in it. Where the directory
 * can't be used at all the bridge goes on in memory, since to see what happens now is worth more than to keep it; where it
 * belongs to another bridge, it does not.
 */

import type { KeepOptions } from '../bridge.js';
import { openKept } from '../keep/kept.js';
import type { Logger } from '../model/logger.js';
import { openStore, type Store } from '../store/index.js';
import { BYTES_PER_MB } from '../util/units.js';
import { dataDirectory } from './gateway.js';
import type { Settings, StartSettings } from './settings.js';

export interface Keeping {
  /** Absent where nothing is kept. */
  keep?: KeepOptions;
  close(): Promise<void>;
}

/** Nothing is kept. */
export const IN_MEMORY: Keeping = { close: async () => undefined };

/** Opens the store in a directory; `is_taken`: the directory is another's, else it can't be used at all. */
export function keepIn(
  command: 'run' | 'replay',
  directory: string,
  { store: { checkpoint_interval_ms }, limits }: StartSettings,
  logger: Logger,
): Keeping | { problem: string; is_taken: boolean } {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) return opened;
  const { store, findings } = opened;
  for (const finding of findings) logger.warn(finding);
  const keep = {
    kept: openKept(store, command),
    place: directory,
    checkpoint_interval_ms,
    store_limit_bytes: limits.store_mb * BYTES_PER_MB,
  };
  return { keep, close: () => store.close() };
}

/** The same for a command, which goes on in memory where the directory can't be used at all. */
export async function openKeeping(
  command: 'run' | 'replay',
  directory: string | undefined,
  settings: Settings,
  logger: Logger,
): Promise<Keeping | { error: string }> {
  if (directory === undefined) return IN_MEMORY;
  const opened = keepIn(command, directory, settings, logger);
  if (!('problem' in opened)) return opened;
  if (opened.is_taken) return { error: `${opened.problem} (--data-dir)` };
  logger.warn(`${opened.problem}; going on in memory, so that a restart loses what is open or pending`);
  return IN_MEMORY;
}

/** The store of another process, or of one that has stopped: to be read, and changed in small ways. */
export async function openShared(
  settings: Settings,
): Promise<{ store: Store; directory: string } | { error: string }> {
  const directory = dataDirectory(settings, process.env);
  if (directory === undefined) return { error: 'with --no-store nothing is kept; give --data-dir' };
  const opened = openStore(directory, { access: 'share' });
  return 'problem' in opened ? { error: opened.problem } : { store: opened.store, directory };
}
