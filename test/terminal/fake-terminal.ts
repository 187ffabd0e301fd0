/** A clock that a test advances, and a terminal whose screen a test can read. */
import { Writable } from 'node:stream';
import type { Clock } from '../../src/terminal/alarm.js';

export interface FakeClock extends Clock {
  /** Lets time pass and calls due timers in order. */
  advance(duration_ms: number): void;
  timer_count(): number;
}

export function createFakeClock(): FakeClock {
  let now_ms = 0;
  let last_handle = 0;
  const timers = new Map<number, { due_ms: number; callback: () => void }>();
  const clock = {
    now: () => now_ms,
    timers: {
      setTimeout(callback: () => void, delay_ms: number) {
        last_handle += 1;
        timers.set(last_handle, { due_ms: now_ms + delay_ms, callback });
        return last_handle;
      },
      clearTimeout: (handle: never) => void timers.delete(handle),
    },
    timer_count: () => timers.size,
    advance(duration_ms: number) {
      const end_ms = now_ms + duration_ms;
      for (;;) {
        const [next] = [...timers]
          .filter(([, { due_ms }]) => due_ms <= end_ms)
          .sort((a, b) => a[1].due_ms - b[1].due_ms);
        if (next === undefined) break;
        now_ms = Math.max(now_ms, next[1].due_ms);
        timers.delete(next[0]);
        next[1].callback();
      }
      now_ms = end_ms;
    },
  };
  return clock;
}

/** Collects what is written; once `fault` is set, writes fail with it. */
export class FakeStream extends Writable {
  text = '';
  writes = 0;
  columns?: number;
  rows?: number;
  isTTY?: boolean;
  fault?: Error;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.writes += 1;
    if (this.fault === undefined) this.text += chunk.toString();
    done(this.fault);
  }

  lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }
}

/** The sequences used for redrawing: moving by lines, going to the left edge, erasing a line or its rest. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a terminal reads.
const SEQUENCE = /\x1b\[(\??\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+/g;

/** The screen of a terminal of unlimited height after `text`, without empty lines at its end. */
export function screenOf(text: string): string[] {
  const lines = [''];
  let row = 0;
  let column = 0;
  for (const [whole, count, command] of text.matchAll(SEQUENCE)) {
    if (whole === '\n') {
      row += 1;
      column = 0;
      lines[row] ??= '';
    } else if (whole === '\r') column = 0;
    else if (command === undefined) {
      const line = (lines[row] ?? '').padEnd(column);
      lines[row] = line.slice(0, column) + whole + line.slice(column + whole.length);
      column += whole.length;
    } else if (command === 'A') row = Math.max(0, row - Number(count || 1));
    else if (command === 'B') row += Number(count || 1);
    else if (command === 'G') column = 0;
    else if (command === 'K') lines[row] = count === '2' ? '' : (lines[row] ?? '').slice(0, column);
  }
  while (lines.at(-1) === '') lines.pop();
  return lines;
}
