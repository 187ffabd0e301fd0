/**
 * The program's own log, to stderr: for people by default, as JSON for machines. Nothing that is logged holds a header or a
 * token: who logs names an address or a file, never a configuration.
 */
import pino from 'pino';
import pretty from 'pino-pretty';
import { withoutControls } from './controls.js';
import type { LogFormat, LogLevel } from './log-options.js';
import type { Logger } from './model/logger.js';
import { supportsColor } from './terminal/escapes.js';

const STDERR = 2;

export function createLogger(level: LogLevel, format: LogFormat): Logger {
  if (format === 'json') return pino({ level, base: null }, pino.destination({ dest: STDERR, sync: true }));
  const stream = pretty({
    destination: STDERR,
    sync: true,
    colorize: supportsColor(process.stderr, process.env),
    translateTime: 'HH:MM:ss',
    // The message tells all that the fields do; those are for machines.
    hideObject: true,
    // A line break in the name of a file would make two lines of it.
    messageFormat: (log, key) => withoutControls(String(log[key])),
  });
  return pino({ level, base: null }, stream);
}
