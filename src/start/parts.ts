/**
 * Turns the settings and the destinations of a start into the parts of a bridge.
 */

import type { BridgeParts } from '../bridge.js';
import type { Logger } from '../model/logger.js';
import type { OpenedDestinations } from './destinations.js';
import { createSessionsLookup } from './sessions.js';
import type { StartSettings } from './settings.js';

/** Everything but the sources. */
export const bridgeParts = (
  { dialect, limits, content }: StartSettings,
  { destinations, metrics, is_metered }: OpenedDestinations,
  logger: Logger,
): Omit<BridgeParts, 'sources'> => ({
  destinations,
  ...(is_metered ? { recordMeasurements: metrics.record } : {}),
  dialect,
  max_line_bytes: limits.line_bytes,
  correlator: { content, content_max_bytes: limits.content_bytes },
  logger,
  sessionsOf: createSessionsLookup((message) => logger.warn(message)),
});
