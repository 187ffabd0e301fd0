/**
 * The program's own log, to stderr: for people by default, as JSON for machines. Nothing that is logged holds a header or a
 * token: who logs names an address or a file, never a configuration.
 */
import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Logger } from '../model/logger.js';
import { supportsColor } from '../terminal/escapes.js';
import { printAbove } from '../terminal/standing.js';
import { withoutControls } from '../util/controls.js';
import type { LogFormat, LogLevel } from './log-options.js';

const STDERR = 2;

/** Of what can't be written: the latest that is beyond it is lost. */
const MAX_HELD_BYTES = 1024 * 1024;

/** Makes a line for people of one for machines. */
const createPretty = (): ((line: string) => string) =>
  prettyFactory({
    colorize: supportsColor(process.stderr, process.env),
    translateTime: 'HH:MM:ss',
    // The message tells all that the fields do; those are for machines.
    hideObject: true,
    // A line break in the name of a file would make two lines of it.
    messageFormat: (log, key) => withoutControls(String(log[key])),
  });

function openStderr(): ReturnType<typeof pino.destination> {
  const stderr = pino.destination({ dest: STDERR, sync: true, maxLength: MAX_HELD_BYTES });
  // On a full disk it is tried again with the next line. Unheard, this would end the process.
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
