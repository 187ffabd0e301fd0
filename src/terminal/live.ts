/**
 * The live view on a terminal: open traces as a tree that is redrawn in place. A complete trace is printed once above it and
 * discarded, so that the terminal's own scrollback is the history.
 */
import picocolors from 'picocolors';
import type { Emission } from '../model/telemetry.js';
import { counted } from '../util/counted.js';
import { type Clock, createAlarm } from './alarm.js';
import { createBottom } from './bottom.js';
import { renderForest } from './render.js';
import { createTraceBuffer, type Trace } from './trace-buffer.js';
import { buildForest } from './tree.js';

export type TerminalStream = NodeJS.WritableStream & { columns?: number; rows?: number };

export interface LiveTreeOptions extends Clock {
  stream: TerminalStream;
  /** The width if the stream does not have one. */
  columns: number;
  color: boolean;
  unicode: boolean;
  /** The shortest time between two frames. */
  interval_ms: number;
}

/** A view of traces. After `close` it shows no more. */
export interface TraceView {
  accept(emission: Emission): void;
  /** Shows everything that it still holds, as it is, and stops its timer. */
  close(): void;
}

const FALLBACK_ROWS = 24;
/** Drawing takes at most one part in this many of the process's time, however large the tree is. */
const DRAWING_SHARE = 10;

/** Keeps the column titles and the root, and the last lines; the marker says how many lines are hidden in between. */
function elide(lines: readonly string[], max_lines: number, marker: (hidden: number) => string): string[] {
  if (lines.length <= max_lines) return [...lines];
  const head = lines.slice(0, max_lines < 5 ? 0 : 2);
  const tail_length = Math.max(0, max_lines - head.length - 1);
  const hidden = lines.length - head.length - tail_length;
  return [...head, marker(hidden), ...lines.slice(lines.length - tail_length)];
}

export function createLiveTree(options: LiveTreeOptions): TraceView {
  const { stream, color, unicode, now, interval_ms } = options;
  const buffer = createTraceBuffer();
  const bottom = createBottom(stream, options.columns);
  const alarm = createAlarm(options, draw);
  const { dim } = picocolors.createColors(color);
  const ellipsis = unicode ? '…' : '~';
  let next_frame_ms = 0;

  function linesOf(traces: readonly Trace[], now_ms: number): string[] {
    const columns = stream.columns || options.columns;
    return renderForest(buildForest(traces.flat()), {
      columns,
      color,
      unicode,
      now_ms: buffer.reached(now_ms),
    });
  }

  function frame(now_ms: number): string[] {
    // One line below the frame is the cursor's, and one is for the number of hidden traces.
    const max_lines = Math.max(1, (stream.rows || FALLBACK_ROWS) - 2);
    const latest = buffer.latest(max_lines - 1);
    const hidden = buffer.size() - latest.length;
    const lines = elide(linesOf(latest, now_ms), max_lines, (count) =>
      dim(`${ellipsis} ${counted(count, 'more line')}`),
    );
    return hidden === 0 ? lines : [dim(`${ellipsis} ${counted(hidden, 'more trace')}`), ...lines];
  }

  function draw(): void {
    const start_ms = now();
    const complete = buffer.take(start_ms);
    if (complete.length > 0) print(complete, start_ms);
    bottom.show(buffer.size() === 0 ? [] : frame(start_ms));
    next_frame_ms = start_ms + Math.max(interval_ms, DRAWING_SHARE * (now() - start_ms));
    const deadline_ms = buffer.hasOpen() ? next_frame_ms : buffer.deadline();
    if (deadline_ms !== undefined) alarm.set(deadline_ms);
  }

  function print(traces: readonly Trace[], now_ms: number): void {
    bottom.show([]);
    stream.write(`${linesOf(traces, now_ms).join('\n')}\n`);
  }

  return {
    accept(emission) {
      if (emission.spans.length === 0 && emission.previews.length === 0) return;
      buffer.add(emission, now());
      if (buffer.isOverfull()) draw();
      else alarm.set(next_frame_ms);
    },
    close() {
      alarm.stop();
      const rest = buffer.takeAll();
      if (rest.length > 0) print(rest, now());
      bottom.release();
    },
  };
}
