/**
 * The program's own log, to stderr: readable by default, or as JSON. No log line contains a header or a token: callers log an
 * address or a file, never a configuration.
 */
import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Logger } from '../model/logger.js';
import { supportsColor } from '../terminal/escapes.js';
import { printAbove } from '../terminal/standing.js';
import { withoutControls } from '../util/controls.js';
import type { LogFormat, LogLevel } from './log-options.js';

const STDERR = 2;

/** The most unwritten output that is buffered; newer lines beyond it are lost. */
const MAX_HELD_BYTES = 1024 * 1024;

/** Creates a function that turns a JSON line into a readable one. */
const createPretty = (): ((line: string) => string) =>
  prettyFactory({
    colorize: supportsColor(process.stderr, process.env),
    translateTime: 'HH:MM:ss',
    // The message contains all that the fields do; those are for machines.
    hideObject: true,
    // A line break in a file name would make two lines of one.
    messageFormat: (log, key) => withoutControls(String(log[key])),
  });

function openStderr(): ReturnType<typeof pino.destination> {
  const stderr = pino.destination({ dest: STDERR, sync: true, maxLength: MAX_HELD_BYTES });
  // After an error, such as a full disk, the next line is tried again. Without a listener the error would end the process.
  stderr.on('error', () => undefined);
  return stderr;
}

export function createLogger(level: LogLevel, format: LogFormat): Logger {
  const stderr = openStderr();
  const render = format === 'json' ? (line: string) => line : createPretty();
  const write = (line: string): void => void stderr.write(render(line));
  const writeAbove = (line: string): void => printAbove(() => write(line));
  return pino({ level, base: null }, { write: process.stderr.isTTY ? writeAbove : write });
}
