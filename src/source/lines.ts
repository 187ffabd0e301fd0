/**
 * Splits a byte stream into lines, regardless of its chunks. Lines are views of the chunk that they came in, and only what has
 * to wait for the next chunk is copied, so that a small rest never keeps a large chunk in memory. A line over the limit is
 * lost, and takes no more memory than the limit.
 */
import type { SkippedLine, SourceLine } from '../model/source.js';

export const DEFAULT_MAX_LINE_BYTES = 1024 * 1024;

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const EMPTY = Buffer.alloc(0);

export type Line = SourceLine | SkippedLine;

const FIRST_LINE: LinePlace = { number: 1, is_too_long: false };

/** A place between lines, or within a line that has been reported as too long, the rest of which is skipped. */
export interface LinePlace {
  /** The number of the line that comes next, or is being skipped. */
  number: number;
  is_too_long: boolean;
}

export interface LineSplitter {
  /** Returns the lines that this chunk completes. The splitter keeps no reference to the chunk, but its lines do. */
  push(chunk: Buffer): Line[];
  /** The stream has ended: its last line counts even without a line end. */
  end(): Line[];
  /** The stream broke off: a line without a line end is reported as `line_incomplete`. */
  abort(): Line[];
  /** Where another splitter has to begin to resume from here, if the last `unended_bytes` are pushed to it again. */
  place(): LinePlace & { unended_bytes: number };
}

/** Removes one `\r` at the end, and on a stream's first line the byte order mark. */
function trim(raw: Buffer, first: boolean): Buffer {
  const start = first && raw.subarray(0, BOM.length).equals(BOM) ? BOM.length : 0;
  const end = raw.length > start && raw[raw.length - 1] === CARRIAGE_RETURN ? raw.length - 1 : raw.length;
  // Creating a view costs as much as finding the line.
  return start === 0 && end === raw.length ? raw : raw.subarray(start, end);
}

/** Number of leading zero bytes: a writer that keeps its offset leaves a hole before it in a file that was truncated. */
function holeBytes(chunk: Buffer): number {
  let bytes = 0;
  while (chunk[bytes] === 0) bytes += 1;
  return bytes;
}

/**
 * Creates a splitter for one stream. Lines end with `\n` or `\r\n`; a hole and a byte order mark at the very start are dropped;
 * empty lines are omitted, but counted in the line numbers. A line of more than `max_line_bytes` is reported once, as
 * `line_too_long`, as soon as that is certain.
 */
export function createLineSplitter({
  max_line_bytes = DEFAULT_MAX_LINE_BYTES,
  from = FIRST_LINE,
} = {}): LineSplitter {
  // A byte order mark and a `\r` do not count against the limit, so they may have to be held in addition.
  const held_bytes_max = max_line_bytes + BOM.length + 1;
  let { number, is_too_long: too_long } = from;
  let held = EMPTY;
  let held_bytes = 0;
  let unended_bytes = 0;

  function forgetHeld(): void {
    // A long line's buffer is not kept for the next line: there may be a thousand idle streams.
    held = EMPTY;
    held_bytes = 0;
  }

  function hold(piece: Buffer, lines: Line[]): void {
    if (too_long) return;
    const needed_bytes = held_bytes + piece.length;
    if (needed_bytes > held_bytes_max) {
      lines.push({ number, skipped: 'line_too_long' });
      too_long = true;
      forgetHeld();
      return;
    }
    if (needed_bytes > held.length) {
      // Doubling keeps a line that arrives byte by byte from being copied once for each byte.
      const grown = Buffer.allocUnsafe(Math.max(needed_bytes, Math.min(2 * held.length, held_bytes_max)));
      held.copy(grown, 0, 0, held_bytes);
      held = grown;
    }
    piece.copy(held, held_bytes);
    held_bytes = needed_bytes;
  }

  function finishLine(piece: Buffer, lines: Line[]): void {
    let raw = piece;
    if (held_bytes > 0) {
      hold(piece, lines);
      raw = held.subarray(0, held_bytes);
      forgetHeld();
    }
    const bytes = trim(raw, number === 1);
    if (too_long) too_long = false;
    else if (bytes.length > max_line_bytes) lines.push({ number, skipped: 'line_too_long' });
    else if (bytes.length > 0) lines.push({ number, bytes });
    number += 1;
  }

  return {
    push(chunk) {
      const lines: Line[] = [];
      let start = number === 1 && held_bytes === 0 ? holeBytes(chunk) : 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        finishLine(chunk.subarray(start, end), lines);
        start = end + 1;
        unended_bytes = 0;
      }
      if (start < chunk.length) hold(chunk.subarray(start), lines);
      unended_bytes = too_long ? 0 : unended_bytes + chunk.length - start;
      return lines;
    },
    end() {
      const lines: Line[] = [];
      finishLine(EMPTY, lines);
      return lines;
    },
    abort() {
      return held_bytes > 0 ? [{ number, skipped: 'line_incomplete' }] : [];
    },
    place: () => ({ number, is_too_long: too_long, unended_bytes }),
  };
}
