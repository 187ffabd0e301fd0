/**
 * The one durable place, as far as everybody else sees it: records under keys, changed together or not at all. What the
 * records mean is the business of those who write them.
 */
import type { SavedRecord } from '../model/record.js';

/** What became of a write. A failed one has changed nothing; the message says why, in the system's words. */
export type Written = { ok: true } | { ok: false; message: string };

/** In pieces where putting them together would be one copy more. */
export type StoredValue = Uint8Array | readonly Uint8Array[];

export const valueBytes = (value: StoredValue): number =>
  value instanceof Uint8Array ? value.length : value.reduce((sum, piece) => sum + piece.length, 0);

/** A record is put, or with no value removed. */
export interface StoreChange {
  key: string;
  value?: StoredValue;
}

/** Or what gives them, asked once, when their turn to be written has come: what there is by then goes with them. */
export type Changes = readonly StoreChange[] | (() => readonly StoreChange[]);

export const changesOf = (changes: Changes): readonly StoreChange[] =>
  typeof changes === 'function' ? changes() : changes;

/** Changes that are made together, when `write` is called. */
export interface Gathering {
  /** The values are copied at once. */
  add(changes: readonly StoreChange[]): void;
  write(): Promise<Written>;
}

export interface Store {
  get(key: string): Uint8Array | undefined;
  /** The keys that begin so, in their order, as they are when it is called. No value is read. */
  keys(prefix: string): Iterable<string>;
  /** The records whose keys begin so, likewise. They are read one by one: what nobody holds on to takes up no memory. */
  entries(prefix: string): Iterable<SavedRecord>;
  /**
   * Makes all the changes or none, in the order of the calls. Resolves when they are on the disk, and never rejects; the values are
   * copied at once, or as soon as they are given. After a crash the store holds the changes of the first n calls for some n, at
   * least of every call that had resolved with `ok`. Where the changes can't be made, those of the calls that wait fail, too.
   */
  write(changes: Changes): Promise<Written>;
  /** A `write` whose changes come by and by. */
  gather(): Gathering;
  /** What the records take up on the disk. */
  usedBytes(): number;
  /** Resolves when everything written is on the disk and the place is free for another process. */
  close(): Promise<void>;
}
