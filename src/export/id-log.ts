/**
 * A log of ids as bytes, each followed by its length. Tens of thousands may be logged between two writes; as objects they would
 * live just long enough to be most costly for the garbage collector.
 */

/**
 * Identifies a thing among others of its kind, which all have the same parts. Texts are ASCII. At most 255 bytes in all; a
 * number takes 8.
 */
export type Id = readonly (string | number)[];

const FIRST_BYTES = 4 * 1024;
const EMPTY = Buffer.alloc(0);

const number = new Float64Array(1);
const number_bytes = new Uint8Array(number.buffer);

export interface IdLog {
  add(id: Id): void;
  isEmpty(): boolean;
  /** Returns the logged ids and empties the log. */
  take(): Uint8Array;
  /** Puts back what was taken, before later ids. */
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

  /** Copies byte by byte: most texts are so short that a native call would take longer. */
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
      // A buffer grown for many ids is not kept for the next few.
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

/** The ids in these bytes, in order, each as a key like that of `idKey`. */
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

/** An id as a key: a string with a character for each byte. */
export function idKey(id: Id): string {
  const log = createIdLog();
  log.add(id);
  const [key = ''] = readIds(log.take());
  return key;
}
