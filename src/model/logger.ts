/**
 * The part of a logger's interface that the bridge uses; pino has it. A message is complete without its fields, which are for
 * machines.
 */

/** Logs one message. */
export interface LogMethod {
  (message: string): void;
  (fields: Record<string, unknown>, message: string): void;
}

/** The log of the bridge. */
export interface Logger {
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
}
