/**
 * How a record stands in the store: its value with a checksum of key and value before it, so that what a disk has changed is
 * known for what it is.
 */
import { crc32 } from 'node:zlib';

export const FRAME_BYTES = 4;

export function frame(key: Uint8Array, value: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafeSlow(FRAME_BYTES + value.length);
  framed.writeUInt32LE(crc32(value, crc32(key)), 0);
  framed.set(value, FRAME_BYTES);
  return framed;
}

/** The value; undefined where it is not what was written under this key. */
export function unframe(key: Uint8Array, framed: Uint8Array): Uint8Array | undefined {
  if (framed.length < FRAME_BYTES) return undefined;
  const value = framed.subarray(FRAME_BYTES);
  const view = new DataView(framed.buffer, framed.byteOffset, FRAME_BYTES);
  return view.getUint32(0, true) === crc32(value, crc32(key)) ? value : undefined;
}
