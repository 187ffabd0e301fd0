/**
 * `run`: follows live sources until a signal, or until all of them have ended; then drains.
 */
import type { Logger } from 'pino';
import { type BridgeOptions, createBridge } from '../bridge.js';
import { errorReason } from '../errors.js';
import type { SavedRecord } from '../model/record.js';
import { SourceError } from '../model/source.js';
import type { Settings } from '../settings.js';
import { openCheckpointStore } from '../store/checkpoint.js';
import { bridgeOptions, type OnInterrupt, sayStopping } from './bridge-options.js';
import { openDestinations } from './destinations.js';
import { dataDirectory } from './gateway.js';
import { conclude, failed, misused, type Outcome, summaryProblem } from './outcome.js';
import { createSources, isResumable } from './sources.js';

/** What an earlier start left, and where this one leaves its own; nothing where that is not wanted or can't be used. */
async function openCheckpoint(
  settings: Settings,
  logger: Logger,
): Promise<Pick<BridgeOptions, 'restored' | 'saveCheckpoint'>> {
  const directory = dataDirectory(settings, process.env);
  if (directory === undefined || !isResumable(settings)) return {};
  const store = openCheckpointStore<SavedRecord[]>(directory);
  const restored = await store.read().catch((error: unknown) => {
    logger.warn(`can't read the checkpoint in ${directory}: ${errorReason(error)}; starting without it`);
    return undefined;
  });
  if (restored === 'damaged') logger.warn(`the checkpoint in ${directory} is damaged; starting without it`);
  let is_writable = true;
  return {
    restored: restored === 'damaged' ? undefined : restored,
    saveCheckpoint(checkpoint) {
      try {
        store.write(checkpoint);
        is_writable = true;
      } catch (error) {
        if (is_writable)
          logger.warn(
            `can't write a checkpoint to ${directory}: ${errorReason(error)}; a restart would lose what is open`,
          );
        is_writable = false;
      }
    },
  };
}

export async function run(settings: Settings, logger: Logger, onInterrupt: OnInterrupt): Promise<Outcome> {
  const problem = summaryProblem(settings.summary);
  if (problem !== undefined) return failed(problem);
  const checkpoint = await openCheckpoint(settings, logger);
  const from = createSources(settings, { positions: checkpoint.restored?.positions ?? {} });
  if ('error' in from) return misused(from.error);
  const opened = await openDestinations(settings, logger);
  if ('error' in opened) return misused(opened.error);
  const bridge = createBridge({
    ...bridgeOptions(settings, opened, logger),
    ...checkpoint,
    sources: from.sources,
  });
  opened.attach(bridge);
  try {
    await bridge.open();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    // Those that did open are closed again, so that no socket's file stays behind.
    await bridge.stopReading();
    return failed(error.message);
  }
  const quiet = from.sources.filter(({ name }) => !/^wss?:/.test(name));
  if (quiet.length > 0) logger.info(`following ${quiet.map((source) => source.name).join(', ')}`);
  onInterrupt(() => {
    sayStopping(logger, settings.drain);
    void bridge.stopReading();
  });
  const failures = await bridge.read();
  await bridge.finish(settings.drain * 1000);
  return conclude({ summary: bridge.summary(), failures }, settings, logger);
}
