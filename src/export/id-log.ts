/**
 * Ids as bytes, a line each. There can be ten thousands of them until the next time that they are written down: as objects
 * they would live just long enough to cost a collector of garbage the most.
 */

const FIRST_BYTES = 4 * 1024;
const NEWLINE = 0x0a;
const EMPTY = Buffer.alloc(0);

export interface IdLog {
  /** ASCII without a line end. */
  add(id: string): void;
  /** Gives out what was added, and begins anew. */
  take(): Uint8Array;
  /** Puts back what was taken, before what came since. */
  putBack(taken: Uint8Array): void;
}

export function createIdLog(): IdLog {
  let bytes = EMPTY;
  let length = 0;

  function makeRoom(needed_bytes: number): void {
    if (length + needed_bytes <= bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, 2 * bytes.length, length + needed_bytes));
    bytes.copy(grown, 0, 0, length);
    bytes = grown;
  }

  return {
    add(id) {
      makeRoom(id.length + 1);
      length += bytes.write(id, length, 'latin1');
      bytes[length++] = NEWLINE;
    },
    take() {
      const taken = bytes.subarray(0, length);
      // What many once took is not kept for the few that come next.
      bytes = EMPTY;
      length = 0;
      return taken;
    },
    putBack(taken) {
      makeRoom(taken.length);
      bytes.copyWithin(taken.length, 0, length);
      bytes.set(taken);
      length += taken.length;
    },
  };
}

/** The ids of such bytes. */
export function readIds(bytes: Uint8Array): string[] {
  return Buffer.from(bytes).toString('latin1').split('\n').slice(0, -1);
}
