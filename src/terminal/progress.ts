/**
 * The progress bar of `replay`: how much of the recordings has been read, at the bottom of the terminal.
 */
import { Writable } from 'node:stream';
import { SingleBar } from 'cli-progress';
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

export function createProgress(options: {
  stream: NodeJS.WritableStream & { columns?: number };
  total_bytes: number;
}): Progress {
  const { stream, total_bytes } = options;
  const bottom = createBottom(stream, DEFAULT_COLUMNS);
  const bar = new SingleBar({
    // The bar writes plain lines, as if to a file. On a terminal it would return to its first position when it stops, and
    // overwrite what has been logged since.
    stream: createLineStream((line) => bottom.show([line.slice(0, stream.columns || DEFAULT_COLUMNS)])),
    noTTYOutput: true,
    notTTYSchedule: FRAME_INTERVAL_MS,
    format: '{bar} {percentage}%  {read}B of {size}B  {events} events  {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    // Signals are handled by the program.
    gracefulExit: false,
  });
  const size = formatCount(total_bytes);
  bar.start(total_bytes, 0, { read: '0', size, events: '0' });
  return {
    update: (bytes, events) => bar.update(bytes, { read: formatCount(bytes), events: formatCount(events) }),
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
