/**
 * Between the frames that a gateway pushes, at its own pace, and the consumer, at its: lines are gathered while a batch is
 * being taken, and over a bound the gateway is made to wait. A position tells of every run that goes on, and is written down
 * with its batch, so that it goes out once in a while: what came after it is asked for again, and counts once.
 */
import type { SourceLine } from '../../model/source.js';
import type { Push } from '../reader.js';

/** Bytes that wait here before the other side has to. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** With thousands of open runs a position is much longer than a frame. */
const POSITION_INTERVAL_MS = 1_000;

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
  /** How far everything has been given out, once what was added is; plain data, undefined where that can't be said yet. */
  position(): unknown;
}

export function createOutlet({ stream, push, onFull, position }: OutletOptions): Outlet {
  let waiting: SourceLine[] = [];
  let waiting_bytes = 0;
  let is_full = false;
  let number = 0;
  let pumping: Promise<void> | undefined;
  /** Present while the last position is young. */
  let resting: NodeJS.Timeout | undefined;
  /** A batch has gone out without a position. */
  let is_behind = false;

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

  /** The position for the batch that goes out now, where one is due. */
  function duePosition(): unknown {
    is_behind = resting !== undefined;
    if (is_behind) return undefined;
    const at = position();
    if (at !== undefined) resting = setTimeout(onRested, POSITION_INTERVAL_MS);
    return at;
  }

  /** What went out last is not left without a position where nothing comes after it. */
  function onRested(): void {
    resting = undefined;
    if (is_behind) pumping ??= pump();
  }

  async function pump(): Promise<void> {
    // What comes in this turn goes together: a rebuilt past is one batch.
    await Promise.resolve();
    do {
      // Before anything makes room for more: it is of what goes out now.
      const at = duePosition();
      await give(take(), at);
    } while (waiting.length > 0 || (is_behind && resting === undefined));
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
      clearTimeout(resting);
      resting = undefined;
      await give([], position());
    },
  };
}
