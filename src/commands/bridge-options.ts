/**
 * What `run` and `replay` have in common: how a start's settings and destinations become a bridge, and what is said when the
 * first signal comes.
 */
import type { Logger } from 'pino';
import type { BridgeOptions } from '../bridge.js';
import type { Settings } from '../settings.js';
import type { OpenedDestinations } from './destinations.js';
import { createSessionsLookup } from './sessions.js';

/** Tells how to stop: called by the first signal. */
export type OnInterrupt = (stop: () => void) => void;

/** Everything but where the events come from. */
export const bridgeOptions = (
  { dialect, limits, content }: Settings,
  { destinations, metrics }: OpenedDestinations,
  logger: Logger,
): Omit<BridgeOptions, 'sources'> => ({
  destinations,
  recordMeasurements: metrics.record,
  dialect,
  max_line_bytes: limits.line_bytes,
  correlator: { content, content_max_bytes: limits.content_bytes },
  logger,
  sessionsOf: createSessionsLookup(),
});

export function sayStopping(logger: Logger, drain_s: number): void {
  logger.info(`stopping: sending what is left, for at most ${drain_s} s; a second signal ends it at once`);
}
