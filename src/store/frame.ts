/**
 * The stored form of a record: a checksum of key and value, then the value, so that changes made by a faulty disk are detected.
 */
import { crc32 } from 'node:zlib';
import { type StoredValue, valueBytes } from './store.js';

const FRAME_BYTES = 4;

/** Frames a copy of the value, in memory allocated by `take`; the value itself is not needed afterwards. */
export function frame(
  key: Uint8Array,
  value: StoredValue,
  take: (bytes: number) => Buffer = Buffer.allocUnsafeSlow,
): Buffer {
  const framed = take(FRAME_BYTES + valueBytes(value));
  let checksum = crc32(key);
  let at = FRAME_BYTES;
  for (const piece of value instanceof Uint8Array ? [value] : value) {
    framed.set(piece, at);
    checksum = crc32(piece, checksum);
    at += piece.length;
  }
  framed.writeUInt32LE(checksum, 0);
  return framed;
}

/** The value; undefined if it is not what was written under this key. */
export function unframe(key: Uint8Array, framed: Uint8Array): Uint8Array | undefined {
  if (framed.length < FRAME_BYTES) return undefined;
  const value = framed.subarray(FRAME_BYTES);
  const view = new DataView(framed.buffer, framed.byteOffset, FRAME_BYTES);
  return view.getUint32(0, true) === crc32(value, crc32(key)) ? value : undefined;
}
