/**
 * The progress bar of `replay`: how much of the recordings has been read, at the bottom of the terminal.
 */
import { Writable } from 'node:stream';
// Node.js finds `SingleBar` in this CommonJS module by its name, but not `Format`.
import cliProgress, { type GenericFormatter, SingleBar } from 'cli-progress';
import { nounFor } from '../util/counted.js';
import { createBottom } from './bottom.js';
import { formatCount } from './units.js';

export interface Progress {
  /** `bytes` read and `events` decoded since the start. */
  update(bytes: number, events: number): void;
  /** Draws the bar a last time and ends its line. */
  stop(): void;
}

const FRAME_INTERVAL_MS = 100;
const DEFAULT_COLUMNS = 80;
const MAX_BAR_CELLS = 30;
const NUMBERS = '{percentage}%  {read}B of {size}B  {events}  {eta_formatted} left';

/** A narrow terminal shortens the bar, so that the numbers are whole as long as they fit. */
const formatWithin =
  (columns: () => number): GenericFormatter =>
  (options, params, payload) => {
    const numbers = cliProgress.Format.Formatter({ ...options, format: NUMBERS }, params, payload);
    const cells = Math.min(MAX_BAR_CELLS, columns() - numbers.length - 1);
    if (cells <= 0) return numbers;
    const complete = Math.round(params.progress * cells);
    return `${'█'.repeat(complete)}${'░'.repeat(cells - complete)} ${numbers}`;
  };

const formatEvents = (count: number): string => `${formatCount(count)} ${nounFor(count, 'event')}`;

export function createProgress(options: {
  stream: NodeJS.WritableStream & { columns?: number };
  total_bytes: number;
}): Progress {
  const { stream, total_bytes } = options;
  const columns = (): number => stream.columns || DEFAULT_COLUMNS;
  const bottom = createBottom(stream, DEFAULT_COLUMNS);
  const bar = new SingleBar({
    // The bar writes plain lines, as if to a file. On a terminal it would return to its first position when it stops, and
    // overwrite what has been logged since.
    stream: createLineStream((line) => bottom.show([line.slice(0, columns())])),
    noTTYOutput: true,
    notTTYSchedule: FRAME_INTERVAL_MS,
    format: formatWithin(columns),
    // Signals are handled by the program.
    gracefulExit: false,
  });
  const size = formatCount(total_bytes);
  bar.start(total_bytes, 0, { read: '0', size, events: formatEvents(0) });
  return {
    update: (bytes, events) => bar.update(bytes, { read: formatCount(bytes), events: formatEvents(events) }),
    stop() {
      bar.stop();
      bottom.release();
    },
  };
}

/** A stream that passes on lines; each line, and its line end, comes as a separate write. */
function createLineStream(take: (line: string) => void): Writable {
  return new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      if (text !== '\n') take(text);
      done();
    },
  });
}
