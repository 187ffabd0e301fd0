/**
 * What the commands that drain have in common: how the first signal tells them to stop, and what is said then.
 */
import type { Logger } from '../model/logger.js';

/**
 * Tells how to stop, called by the first signal, or at once where that has come; and what is to be done before the second one ends
 * the process. Each call takes the place of the one before.
 */
export type OnInterrupt = (stop: () => void, abandon?: () => void) => void;

export function sayStopping(logger: Logger, drain_s: number): void {
  logger.info(`stopping: sending what is left, for at most ${drain_s} s; a second signal ends it at once`);
}
