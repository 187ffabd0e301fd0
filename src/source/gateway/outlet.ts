/**
 * Between the frames that a gateway pushes, at its own pace, and the consumer, at its: lines are gathered while a batch is
 * being taken, and over a bound the gateway is made to wait.
 */
import type { SourceLine } from '../../model/source.js';
import type { Push } from '../reader.js';

/** Bytes that wait here before the other side has to. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

export interface Outlet {
  /** Adds a line: JSON of one frame in the recording form, on one line. */
  add(json: string): void;
  /** Gives out what waits, and how far everything has been seen. */
  flush(): Promise<void>;
}

export interface OutletOptions {
  stream: string;
  push: Push;
  /** Called when too much waits, and when it no longer does. */
  onFull(is_full: boolean): void;
  /** How far everything has been seen, for what is added now. */
  position(): unknown;
}

export function createOutlet({ stream, push, onFull, position }: OutletOptions): Outlet {
  let waiting: SourceLine[] = [];
  let waiting_bytes = 0;
  let is_full = false;
  let number = 0;
  let pumping: Promise<void> | undefined;

  function take(): SourceLine[] {
    const lines = waiting;
    waiting = [];
    waiting_bytes = 0;
    if (is_full) onFull(false);
    is_full = false;
    return lines;
  }

  const give = (lines: SourceLine[], at: unknown): Promise<void> =>
    push({ kind: 'lines', stream, end: false, lines, arrival_ms: Date.now(), position: at });

  async function pump(): Promise<void> {
    // What comes in this turn goes together: a rebuilt past is one batch.
    await Promise.resolve();
    while (waiting.length > 0) {
      const at = position();
      await give(take(), at);
    }
    pumping = undefined;
  }

  return {
    add(json) {
      const bytes = Buffer.from(json, 'utf8');
      waiting.push({ number: ++number, bytes });
      waiting_bytes += bytes.length;
      // Told each time: it may be another connection that has to wait by now.
      is_full = waiting_bytes > MAX_WAITING_BYTES;
      if (is_full) onFull(true);
      pumping ??= pump();
    },
    async flush() {
      await pumping;
      await give([], position());
    },
  };
}
