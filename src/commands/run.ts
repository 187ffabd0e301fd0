/**
 * `run`: follows live sources until a signal, or until all of them have ended; then drains.
 */

import { composeBridge } from '../bridge.js';
import type { Logger } from '../model/logger.js';
import { SourceError } from '../model/source.js';
import { createHold, holdFiles } from '../start/backlog.js';
import { openDestinations } from '../start/destinations.js';
import { dataDirectory } from '../start/gateway.js';
import { type OpenedStore, openOwnStore } from '../start/open-store.js';
import type { NamesOrigin } from '../start/origin.js';
import { bridgeParts } from '../start/parts.js';
import type { Settings } from '../start/settings.js';
import { createSources } from '../start/sources.js';
import { BYTES_PER_MB } from '../util/units.js';
import { keepHeapSmall } from './heap.js';
import { logStopping, type OnInterrupt } from './interrupt.js';
import { abandon, conclude, failed, misused, type Outcome, summaryProblem } from './outcome.js';

async function follow(
  settings: Settings,
  { persist }: OpenedStore,
  logger: Logger,
  onInterrupt: OnInterrupt,
  origin: NamesOrigin,
): Promise<Outcome> {
  const from = createSources(settings, { origin, positions: persist?.saved.positions ?? {} });
  if ('error' in from) return misused(from.error);
  const opened = await openDestinations(settings, logger, persist?.saved.deliveries);
  if ('error' in opened) return misused(opened.error);
  let is_stopping = false;
  let stop = (): void => {
    is_stopping = true;
  };
  const hasStopped = (): boolean => is_stopping;
  const store_limit_bytes = settings.limits.store_mb * BYTES_PER_MB;
  const bridge = composeBridge({
    ...bridgeParts(settings, opened, logger),
    persist,
    sources: holdFiles(from.sources, opened.destinations, { store_limit_bytes, hasStopped }),
    afterBatch: createHold(opened.destinations, { is_persisted: persist !== undefined, hasStopped }),
  });
  opened.attach(bridge);
  // From here on a signal stops it in an orderly way, after what is being opened has been opened.
  onInterrupt(
    () => {
      logStopping(logger, settings.drain);
      stop();
    },
    () => abandon(bridge, settings, logger),
  );
  try {
    await bridge.open();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return failed(error.message);
  }
  const quiet = from.sources.filter(({ name }) => !/^wss?:/.test(name));
  if (quiet.length > 0) logger.info(`following ${quiet.map((source) => source.name).join(', ')}`);
  stop = () => {
    is_stopping = true;
    void bridge.stopReading();
  };
  if (is_stopping) stop();
  const failures = await bridge.read();
  await bridge.finish(settings.drain * 1000);
  return conclude({ summary: bridge.summary(), failures }, settings, logger);
}

/** `origin`: where the sources are named. */
export async function run(
  settings: Settings,
  logger: Logger,
  onInterrupt: OnInterrupt,
  origin: NamesOrigin,
): Promise<Outcome> {
  const problem = summaryProblem(settings.summary);
  if (problem !== undefined) return failed(problem);
  keepHeapSmall();
  const store = await openOwnStore('run', dataDirectory(settings, process.env), settings, logger);
  if ('error' in store) return failed(store.error);
  try {
    return await follow(settings, store, logger, onInterrupt, origin);
  } finally {
    await store.close();
  }
}
