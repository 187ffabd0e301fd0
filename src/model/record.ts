/**
 * The contract for state that is kept between two starts: records under keys. The store writes them; the stages that have such
 * state use this contract and do not depend on the store.
 */

/**
 * A change of one record: it is put, or removed if there is no value. Keys are text of at most 1,000 bytes of UTF-8, ordered by
 * their bytes; values are opaque to the store.
 */
export interface RecordChange {
  key: string;
  value?: Uint8Array;
}

/** A saved record, as it is returned at the next start. */
export interface SavedRecord {
  key: string;
  value: Uint8Array;
}

/**
 * State as of one point in time, turned into records piece by piece, so that nothing has to wait for all of it: a value that is
 * about to change meanwhile is turned into its record first.
 */
export interface Capture {
  /** Turns at most `max_records` more changes into records, added to `changes`; true once all are. */
  advance(max_records: number): boolean;
  /** The changes since the previous capture that were not taken yet; complete once `advance` has returned true. */
  readonly changes: RecordChange[];
  /** Returns the changes so far and removes them from the capture. */
  take(): RecordChange[];
}

/** A capture of which most records have new keys, so they can be written before the final transaction. */
export interface StagedCapture extends Capture {
  /**
   * Returns changes that may be written early, in any number of batches. They take effect only when the final transaction,
   * which has all other changes, commits.
   */
  takeAhead(): RecordChange[];
}

/** Joins several captures of the same point in time. */
export function joinCaptures(captures: readonly Capture[]): Capture {
  return {
    advance: (max_entries) => captures.every((capture) => capture.advance(max_entries)),
    get changes() {
      return captures.flatMap((capture) => capture.changes);
    },
    take: () => captures.flatMap((capture) => capture.take()),
  };
}

const NEWLINE = 0x0a;

/** Joins a header, as one line of JSON, and the pieces of a body to a record. */
export function joinRecord(header: object, body: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...body]);
}

/** Splits a record into header and body; throws if it is not one. The body is a view. */
export function splitRecord(value: Uint8Array): { header: unknown; body: Uint8Array } {
  const end = value.indexOf(NEWLINE);
  return {
    header: JSON.parse(Buffer.from(value.subarray(0, end)).toString()),
    body: value.subarray(end + 1),
  };
}

/** A number as part of a record's key, padded so that keys sort by it. */
export const keyNumber = (number: number): string => number.toString(16).padStart(12, '0');
