/**
 * What the commands that drain have in common: how the first signal stops them, and what is logged then.
 */
import type { Logger } from '../model/logger.js';

/**
 * Registers `stop`, called by the first signal, or at once if that has come already, and `abandon`, called before the second
 * signal ends the process. Each call replaces the previous one.
 */
export type OnInterrupt = (stop: () => void, abandon?: () => void) => void;

export function logStopping(logger: Logger, drain_s: number): void {
  logger.info(`stopping: sending pending data for at most ${drain_s} s; a second signal exits at once`);
}
