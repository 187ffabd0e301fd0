/**
 * What is kept between two starts, in the terms of whoever keeps it: records under keys. The store writes them down; the
 * stages that have something to keep say it in these terms, and know no store.
 */

/** A record is put, or with no value removed. Keys are text of at most 1,000 bytes, and stand in the order of their bytes. */
export interface RecordChange {
  key: string;
  value?: Uint8Array;
}

export interface SavedRecord {
  key: string;
  value: Uint8Array;
}

/**
 * A state as it was at one instant, turned into records a piece at a time, so that nobody has to wait for all of it: what is
 * about to change meanwhile is turned into its record before that.
 */
export interface Capture {
  /** Turns at most so many more values into records, which it adds to the changes; true once all are. */
  advance(max_records: number): boolean;
  /** What has changed since the capture before, and was not taken yet; complete once `advance` has told so. */
  readonly changes: RecordChange[];
  /** Gives out the changes that are there, so that nothing keeps them here. */
  take(): RecordChange[];
}

/** The capture of a stage: all of its records but a few stand under keys that none had before. */
export interface StagedCapture extends Capture {
  /**
   * Gives out the changes that may be written before the others, in any number of transactions: none of them has an effect until
   * the others are written, in one.
   */
  takeAhead(): RecordChange[];
}

/** Several captures of the same instant as one. */
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

/** A record of a header, as one line of JSON, and what it is about, in pieces. */
export function joinRecord(header: object, body: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...body]);
}

/** Throws where it is no such record. The body is a view. */
export function splitRecord(value: Uint8Array): { header: unknown; body: Uint8Array } {
  const end = value.indexOf(NEWLINE);
  return {
    header: JSON.parse(Buffer.from(value.subarray(0, end)).toString()),
    body: value.subarray(end + 1),
  };
}

/** A number of a record's key, so that keys stand in the order of their numbers. */
export const keyNumber = (number: number): string => number.toString(16).padStart(12, '0');
