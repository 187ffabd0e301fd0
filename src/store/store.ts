/**
 * The durable store as seen by the rest of the program: records under keys, changed atomically. The meaning of the records
 * belongs to the modules that write them.
 */
import type { SavedRecord } from '../model/record.js';

/** The outcome of a write. A failed one has changed nothing; the message is the system's reason. */
export type Written = { ok: true } | { ok: false; message: string };

/** In pieces, where joining them would cost an extra copy. */
export type StoredValue = Uint8Array | readonly Uint8Array[];

export const valueBytes = (value: StoredValue): number =>
  value instanceof Uint8Array ? value.length : value.reduce((sum, piece) => sum + piece.length, 0);

/** Puts a record, or removes it if there is no value. */
export interface StoreChange {
  key: string;
  value?: StoredValue;
}

/** Changes, or a function that is called once, just before they are written, so that the latest ones are included. */
export type Changes = readonly StoreChange[] | (() => readonly StoreChange[]);

export const changesOf = (changes: Changes): readonly StoreChange[] =>
  typeof changes === 'function' ? changes() : changes;

/** Changes that are collected, and made together when `write` is called. */
export interface Gathering {
  /** Adds changes; the values are copied at once. */
  add(changes: readonly StoreChange[]): void;
  write(): Promise<Written>;
}

export interface Store {
  get(key: string): Uint8Array | undefined;
  /** The keys with this prefix, in order, as of the call. No value is read. */
  keys(prefix: string): Iterable<string>;
  /**
   * The records whose keys have this prefix, in order, as of the call. They are read one by one, so memory is needed only for
   * those the caller retains.
   */
  entries(prefix: string): Iterable<SavedRecord>;
  /**
   * Makes all the changes or none, in the order of the calls. Resolves when they are on the disk, and never rejects; values are
   * copied at once, or as soon as a function returns them. After a crash the store holds the changes of the first n calls for
   * some n, including every call that had resolved with `ok`. If the changes can't be made, the calls waiting behind fail too.
   */
  write(changes: Changes): Promise<Written>;
  /** A `write` whose changes are added over time. */
  gather(): Gathering;
  /** The space that the records take up on the disk. */
  usedBytes(): number;
  /** Resolves when everything written is on the disk and another process may use the directory. */
  close(): Promise<void>;
}
