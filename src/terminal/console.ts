/**
 * The destination `console`: the runs as trees, live on a terminal, each once elsewhere. It is what the program falls back
 * to where it finds nothing to send to, and has the shape of any other destination.
 */
import type { Destination } from '../model/delivery.js';
import type { Timers } from './alarm.js';
import { createLiveTree, type TerminalStream, type TraceView } from './live.js';
import { createPrinter } from './printer.js';

export interface ConsoleOptions {
  /** Its key in the summary; default: `console`. */
  name?: string;
  stream: TerminalStream;
  is_tty: boolean;
  /** The width where the stream does not tell its own. */
  columns: number;
  /** Only a terminal is coloured. */
  color: boolean;
  /** Default: true. */
  unicode?: boolean;
  now: () => number;
  timers: Timers;
}

/** Why a span that was accepted was not shown: the reader of the stream has gone, as in `… | head`. */
export const OUTPUT_CLOSED = 'output_closed';

const FRAME_INTERVAL_MS = 100;

export function createConsoleDestination(options: ConsoleOptions): Destination {
  const view = createView(options);
  let delivered = 0;
  const dropped: Record<string, number> = {};
  let state: 'open' | 'broken' | 'closed' = 'open';

  // A pipe that is closed says so in an event, at any later time, and unheard it would end the process.
  options.stream.on('error', () => {
    if (state !== 'open') return;
    state = 'broken';
    view.close();
  });

  return {
    name: options.name ?? 'console',
    takes_logs: false,
    // A span counts as delivered once it is taken: what is on a screen can't be acknowledged, and nothing is tried again.
    // Only spans count, since the tree is drawn from them alone: metrics and logs of this destination do not exist.
    accept(emission) {
      const count = emission.spans.length;
      if (state === 'open') {
        delivered += count;
        view.accept(emission);
      } else if (count > 0) {
        dropped[OUTPUT_CLOSED] = (dropped[OUTPUT_CLOSED] ?? 0) + count;
      }
    },
    collectMetrics: () => Promise.resolve(),
    sendMetrics: () => undefined,
    summary() {
      const produced = delivered + (dropped[OUTPUT_CLOSED] ?? 0);
      return { traces: { produced, delivered, pending: 0, rejected: {}, dropped: { ...dropped } } };
    },
    pending: () => 0,
    idle: () => Promise.resolve(),
    close() {
      if (state === 'open') view.close();
      state = 'closed';
      return Promise.resolve();
    },
  };
}

function createView(options: ConsoleOptions): TraceView {
  const { stream, is_tty, columns, color, unicode = true, now, timers } = options;
  if (!is_tty) return createPrinter({ stream, columns, unicode, now, timers });
  return createLiveTree({ stream, columns, color, unicode, now, timers, interval_ms: FRAME_INTERVAL_MS });
}
