/**
 * How state is encoded in records: numbers in their keys, and JSON behind a header with a format version and a checksum. Also
 * decides when a state has so many records that it is worth writing it anew.
 */
import { crc32 } from 'node:zlib';
import type { RecordChange } from '../model/record.js';

/** Padded, so that numbers sort as text in their numeric order. */
const NUMBER_LENGTH = Number.MAX_SAFE_INTEGER.toString(36).length;
export const numberText = (number: number): string => number.toString(36).padStart(NUMBER_LENGTH, '0');

export const readNumber = (text: string | undefined): number => {
  const number = text?.length === NUMBER_LENGTH ? Number.parseInt(text, 36) : 0;
  return Number.isSafeInteger(number) ? number : 0;
};

/** The number at the end of a key, else 0. */
export const numberIn = (key: string): number => readNumber(key.split('/').at(-1));

/** The first byte of every record; a record of another version can't be used. */
const FORMAT_VERSION = 6;
const HEADER_BYTES = 5;
/** A text of this many characters may need three times as many bytes. */
const SHORT_TEXT = 4_096;
const scratch = Buffer.allocUnsafeSlow(HEADER_BYTES + 3 * SHORT_TEXT);

const checksum = (key: string, body: Uint8Array): number => crc32(body, crc32(key));

function textBytes(text: string): Buffer {
  if (text.length > SHORT_TEXT) return Buffer.from(`${' '.repeat(HEADER_BYTES)}${text}`);
  return Buffer.from(scratch.subarray(0, HEADER_BYTES + scratch.write(text, HEADER_BYTES)));
}

/** A record: a header, then the text, which is JSON. */
export function encodeText(key: string, text: string): Uint8Array {
  const record = textBytes(text);
  record[0] = FORMAT_VERSION;
  record.writeUInt32BE(checksum(key, record.subarray(HEADER_BYTES)), 1);
  return record;
}

export function decodeRecord(key: string, record: Uint8Array): unknown {
  const { buffer, byteOffset, length } = record;
  const bytes = Buffer.from(buffer, byteOffset, length);
  const body = bytes.subarray(HEADER_BYTES);
  if (length < HEADER_BYTES || bytes[0] !== FORMAT_VERSION || bytes.readUInt32BE(1) !== checksum(key, body))
    return undefined;
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

/** A change that puts the content, or removes the record if the content can't be serialised. */
export function changeOf(key: string, content: unknown): RecordChange {
  const text = toText(content);
  return text === undefined ? { key } : { key, value: encodeText(key, text) };
}

/** The content as JSON; undefined if it can't be serialised: nested too deeply, or not plain data. */
export function toText(content: unknown): string | undefined {
  try {
    return JSON.stringify(content);
  } catch {
    return undefined;
  }
}

/** Records beyond twice the necessary number that are tolerated. */
const SPARE_RECORDS = 16;

export const isScattered = (records: readonly string[], size: number, of_a_record: number): boolean =>
  records.length > (2 * size) / of_a_record + SPARE_RECORDS;

/** Changes in records, beyond twice the number of current entries, that are tolerated. */
const SPARE_CHANGES = 1_000;

export const isOvergrown = (recorded: number, size: number): boolean => recorded > 2 * size + SPARE_CHANGES;
