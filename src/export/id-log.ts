/**
 * Ids as bytes, each with its length behind it. There can be ten thousands of them until the next time that they are written down:
 * as objects they would live just long enough to cost a collector of garbage the most.
 */

/** What tells one thing from others of its kind: in all of a kind the same parts. Texts are ASCII; 255 bytes at most, 8 a number. */
export type Id = readonly (string | number)[];

const FIRST_BYTES = 4 * 1024;
const EMPTY = Buffer.alloc(0);

const number = new Float64Array(1);
const number_bytes = new Uint8Array(number.buffer);

export interface IdLog {
  add(id: Id): void;
  isEmpty(): boolean;
  /** Gives out what was added, and begins anew. */
  take(): Uint8Array;
  /** Puts back what was taken, before what came since. */
  putBack(taken: Uint8Array): void;
}

const bytesOf = (part: string | number): number =>
  typeof part === 'string' ? part.length : number_bytes.length;

export function createIdLog(): IdLog {
  let bytes = EMPTY;
  let length = 0;

  function makeRoom(needed_bytes: number): void {
    if (length + needed_bytes <= bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, 2 * bytes.length, length + needed_bytes));
    bytes.copy(grown, 0, 0, length);
    bytes = grown;
  }

  /** Most texts are so short that a call into the runtime would take longer. */
  function write(part: string | number): void {
    makeRoom(bytesOf(part));
    if (typeof part === 'string') {
      for (let at = 0; at < part.length; at++) bytes[length++] = part.charCodeAt(at);
    } else {
      number[0] = part;
      for (let at = 0; at < number_bytes.length; at++) bytes[length++] = number_bytes[at] as number;
    }
  }

  return {
    add(id) {
      const start = length;
      for (const part of id) write(part);
      makeRoom(1);
      bytes[length] = length - start;
      length++;
    },
    isEmpty: () => length === 0,
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

/** The ids of such bytes in their order, each as `idKey` gives it. */
export function readIds(bytes: Uint8Array): string[] {
  const all = Buffer.from(bytes);
  const keys: string[] = [];
  for (let end = all.length - 1; end >= 0; ) {
    const start = end - (all[end] as number);
    keys.push(all.toString('latin1', start, end));
    end = start - 1;
  }
  return keys.reverse();
}

/** An id as a key: its bytes, each as the character of that number. */
export function idKey(id: Id): string {
  const log = createIdLog();
  log.add(id);
  const [key = ''] = readIds(log.take());
  return key;
}
