/**
 * Buffers between the gateway, which pushes frames at its own pace, and the consumer: lines are gathered while a batch is being
 * pulled, and over a limit the connection is paused. A position lists every open run and is stored with its batch, so it is
 * sent only at intervals; after a restart, what came after it is asked for again and deduplicated.
 */
import type { SourceLine } from '../../model/source.js';
import type { Push } from '../reader.js';

/** Bytes that may wait here before the connection is paused. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Minimum time between positions: with thousands of open runs a position is much longer than a frame. */
const POSITION_INTERVAL_MS = 1_000;

export interface Outlet {
  /** Adds a line: the JSON of one frame in the recording form, on one line. */
  add(json: string): void;
  /** Waits until everything has been pulled, then emits the position. */
  flush(): Promise<void>;
}

export interface OutletOptions {
  stream: string;
  push: Push;
  /** Called when too much is waiting, and when it no longer is. */
  onFull(is_full: boolean): void;
  /** The position once everything that was added has been emitted, as plain data; undefined if there is none yet. */
  position(): unknown;
}

export function createOutlet({ stream, push, onFull, position }: OutletOptions): Outlet {
  let waiting: SourceLine[] = [];
  let waiting_bytes = 0;
  let is_full = false;
  let number = 0;
  let pumping: Promise<void> | undefined;
  /** Present while the last position is recent. */
  let resting: NodeJS.Timeout | undefined;
  /** A batch was emitted without a position. */
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

  /** The position for the next batch, if one is due. */
  function duePosition(): unknown {
    is_behind = resting !== undefined;
    if (is_behind) return undefined;
    const at = position();
    if (at !== undefined) resting = setTimeout(onRested, POSITION_INTERVAL_MS);
    return at;
  }

  /** Ensures that the last batch is followed by a position even if no other batch comes. */
  function onRested(): void {
    resting = undefined;
    if (is_behind) pumping ??= pump();
  }

  async function pump(): Promise<void> {
    // Lines added in this turn go together: a rebuilt past is one batch.
    await Promise.resolve();
    do {
      // Taken before `take` makes room for more lines: it belongs to this batch.
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
      // Called each time: by now it may be another connection that has to be paused.
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
