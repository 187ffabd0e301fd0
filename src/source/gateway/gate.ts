/**
 * Where what is pushed waits while the past is asked for, so that the stream stays in order. Over a bound it goes out, in order
 * or not.
 */

const MAX_HELD_BYTES = 32 * 1024 * 1024;

/** It is closed at first. */
export interface Gate {
  /** A line goes through, or waits. */
  give(line: string): void;
  /** From now on lines wait. */
  close(): void;
  /** Lets go what waits, and what comes. */
  open(): void;
  /** From now on lines wait; those that waited are forgotten. */
  clear(): void;
}

/** `onThrough` is called when nothing waits any more. */
export function createGate(pass: (line: string) => void, onThrough: () => void): Gate {
  /** Undefined where lines go out as they come. */
  let held: string[] | undefined = [];
  let held_bytes = 0;

  function open(): void {
    for (const line of held ?? []) pass(line);
    held = undefined;
    held_bytes = 0;
    onThrough();
  }

  return {
    give(line) {
      if (held === undefined) {
        pass(line);
        onThrough();
        return;
      }
      held.push(line);
      held_bytes += Buffer.byteLength(line);
      if (held_bytes > MAX_HELD_BYTES) open();
    },
    close() {
      held ??= [];
    },
    open,
    clear() {
      held = [];
      held_bytes = 0;
    },
  };
}
