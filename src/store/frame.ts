/**
 * How a record stands in the store: its value with a checksum of key and value before it, so that what a disk has changed is
 * known for what it is.
 */
import { crc32 } from 'node:zlib';
import { type StoredValue, valueBytes } from './store.js';

export const FRAME_BYTES = 4;

/** `take` gives the memory for it; the value is copied into that, and not needed afterwards. */
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

/** The value; undefined where it is not what was written under this key. */
export function unframe(key: Uint8Array, framed: Uint8Array): Uint8Array | undefined {
  if (framed.length < FRAME_BYTES) return undefined;
  const value = framed.subarray(FRAME_BYTES);
  const view = new DataView(framed.buffer, framed.byteOffset, FRAME_BYTES);
  return view.getUint32(0, true) === crc32(value, crc32(key)) ? value : undefined;
}
