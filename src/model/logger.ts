/**
 * The contract of a logger, as far as the bridge uses one; pino is one. The message says all that the fields do: those are
 * for machines.
 */

/** Logs one message. */
export interface LogMethod {
  (message: string): void;
  (fields: Record<string, unknown>, message: string): void;
}

/** Where the bridge says what happens. */
export interface Logger {
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
}
