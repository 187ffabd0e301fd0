/**
 * The progress bar of `replay`: how much of the recordings has been read, on a terminal; nothing elsewhere.
 */
import { SingleBar } from 'cli-progress';
import { formatCount } from './units.js';

export interface Progress {
  /** `bytes` read and `events` decoded, since the start. */
  update(bytes: number, events: number): void;
  /** Draws the bar a last time and ends its line. */
  stop(): void;
}

const NO_PROGRESS: Progress = { update: () => {}, stop: () => {} };

export function createProgress(options: {
  stream: NodeJS.WritableStream & { isTTY?: boolean };
  total_bytes: number;
}): Progress {
  const { stream, total_bytes } = options;
  if (stream.isTTY !== true) return NO_PROGRESS;
  const bar = new SingleBar({
    stream,
    format: '{bar} {percentage}%  {read}B of {size}B  {events} events  {eta_formatted} left',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    // Signals are the program's, and the terminal's own line wrapping stays on: a bar that dies halfway leaves no trace.
    gracefulExit: false,
    linewrap: true,
  });
  const size = formatCount(total_bytes);
  bar.start(total_bytes, 0, { read: '0', size, events: '0' });
  return {
    update: (bytes, events) => bar.update(bytes, { read: formatCount(bytes), events: formatCount(events) }),
    stop: () => bar.stop(),
  };
}
