/**
 * The destination `console`: runs as trees, live on a terminal, otherwise printed once each, and at the end a sum of the
 * metrics and log records. It is the fallback if the program finds nothing to send to, and has the interface of any other
 * destination.
 */
import { type Destination, SIGNALS, type Signal, type SignalCounts } from '../model/delivery.js';
import type { MetricTotals } from '../model/telemetry.js';
import type { Timers } from './alarm.js';
import { renderFooter } from './footer.js';
import { createLiveTree, type TerminalStream, type TraceView } from './live.js';
import { createPrinter } from './printer.js';

export interface ConsoleOptions {
  /** Its key in the summary; default: `console`. */
  name?: string;
  stream: TerminalStream;
  /** Whether trees are redrawn in place, for which the stream must support escapes; otherwise each is printed once. */
  is_live: boolean;
  /** The width if the stream does not have one. */
  columns: number;
  /** Colours are used in the live view only. */
  color: boolean;
  /** Default: true. */
  unicode?: boolean;
  /** The totals since the start. */
  collectMetrics(): Promise<MetricTotals>;
  now: () => number;
  timers: Timers;
}

/** Why an accepted item was not shown: the reader of the stream has gone, as in `… | head`. */
export const OUTPUT_CLOSED = 'output_closed';

const FRAME_INTERVAL_MS = 100;

export function createConsoleDestination(options: ConsoleOptions): Destination {
  const { stream, is_live, columns, color, unicode = true } = options;
  const view = createView(options);
  const tallies: Record<Signal, Tally> = { traces: newTally(), metrics: newTally(), logs: newTally() };
  let totals: MetricTotals['totals'] = new Map();
  /** By event name, of which there are few. */
  const records = new Map<string, number>();
  let state: 'open' | 'broken' | 'closed' = 'open';

  const removeListener = onFailure(stream, () => {
    state = 'broken';
    view.close();
  });

  // Items count as delivered once accepted: a screen can't acknowledge them, and nothing is retried.
  function count(signal: Signal, items: number): void {
    tallies[signal][state === 'open' ? 'delivered' : 'dropped'] += items;
  }

  function printFooter(): void {
    const width = stream.columns || columns;
    const lines = renderFooter(totals, records, { columns: width, color: is_live && color, unicode });
    if (lines.length > 0) stream.write(`\n${lines.join('\n')}\n`);
  }

  return {
    name: options.name ?? 'console',
    accept(emission) {
      count('traces', emission.spans.length);
      count('logs', emission.logs.length);
      if (state !== 'open') return;
      view.accept(emission);
      for (const { event_name } of emission.logs) records.set(event_name, (records.get(event_name) ?? 0) + 1);
    },
    async collectMetrics() {
      const collected = await options.collectMetrics();
      count('metrics', collected.points);
      totals = collected.totals;
    },
    sendMetrics: () => undefined,
    summary: () => Object.fromEntries(SIGNALS.map((signal) => [signal, countsOf(tallies[signal])])),
    pending: () => 0,
    idle: () => Promise.resolve(),
    close() {
      removeListener();
      if (state === 'open') {
        view.close();
        printFooter();
      }
      state = 'closed';
      return Promise.resolve();
    },
  };
}

/** The failure listeners by stream. */
const failure_listeners = new WeakMap<TerminalStream, Set<() => void>>();

/**
 * Calls `listener` when the stream fails. A closed pipe is reported by an event, at any later time, and without a listener it would
 * end the process: one listener stays on the stream, for all consoles that a program creates one after the other. Returns a
 * function that removes `listener`.
 */
function onFailure(stream: TerminalStream, listener: () => void): () => void {
  const open = failure_listeners.get(stream) ?? new Set();
  if (!failure_listeners.has(stream)) {
    failure_listeners.set(stream, open);
    stream.on('error', () => {
      for (const listener of open) listener();
      open.clear();
    });
  }
  open.add(listener);
  return () => open.delete(listener);
}

/** The outcome of one signal's items. */
interface Tally {
  delivered: number;
  dropped: number;
}

const newTally = (): Tally => ({ delivered: 0, dropped: 0 });

const countsOf = ({ delivered, dropped }: Tally): SignalCounts => ({
  produced: delivered + dropped,
  delivered,
  pending: 0,
  rejected: {},
  dropped: dropped === 0 ? {} : { [OUTPUT_CLOSED]: dropped },
});

function createView(options: ConsoleOptions): TraceView {
  const { stream, is_live, columns, color, unicode = true, now, timers } = options;
  if (!is_live) return createPrinter({ stream, columns: stream.columns || columns, unicode, now, timers });
  return createLiveTree({ stream, columns, color, unicode, now, timers, interval_ms: FRAME_INTERVAL_MS });
}
