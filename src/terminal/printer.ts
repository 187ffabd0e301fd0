/**
 * Traces for a stream that is no terminal (a file, a pipe, a container's log): each is printed once, as plain lines, when it is
 * complete, or as it is when the program ends.
 */
import { type Clock, createAlarm } from './alarm.js';
import type { TraceView } from './live.js';
import { renderForest } from './render.js';
import { createTraceBuffer, type Trace } from './trace-buffer.js';
import { buildForest } from './tree.js';

export interface PrinterOptions extends Clock {
  stream: NodeJS.WritableStream;
  columns: number;
  unicode: boolean;
}

export function createPrinter(options: PrinterOptions): TraceView {
  const { stream, columns, unicode, now } = options;
  const buffer = createTraceBuffer();
  const alarm = createAlarm(options, flush);

  function print(traces: readonly Trace[]): void {
    if (traces.length === 0) return;
    const now_ms = buffer.reached(now());
    const lines = renderForest(buildForest(traces.flat()), { columns, color: false, unicode, now_ms });
    stream.write(`${lines.join('\n')}\n`);
  }

  function flush(): void {
    print(buffer.take(now()));
    const deadline_ms = buffer.deadline();
    if (deadline_ms !== undefined) alarm.set(deadline_ms);
  }

  return {
    accept(emission) {
      buffer.add(emission, now());
      flush();
    },
    close() {
      alarm.stop();
      print(buffer.takeAll());
    },
  };
}
