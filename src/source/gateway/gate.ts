/**
 * Holds pushed lines back during a backfill, so that the stream stays in order. Over `MAX_HELD_BYTES` they are emitted, in
 * order or not.
 */

const MAX_HELD_BYTES = 32 * 1024 * 1024;

/** Closed at first. */
export interface Gate {
  /** Passes a line on, or holds it back. */
  give(line: string): void;
  /** Holds lines back from now on. */
  close(): void;
  /** Releases the held lines, and passes on those that come. */
  open(): void;
  /** Holds lines back from now on, and discards those held so far. */
  clear(): void;
}

/** `onThrough` is called whenever no lines are held. */
export function createGate(pass: (line: string) => void, onThrough: () => void): Gate {
  /** Undefined while lines are passed on as they come. */
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
