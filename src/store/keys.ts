/** Keys as bytes, by which they are ordered, and the store's two internal keys. */

const KEY_BYTES_MAX = 1_000;

/** The version of the store's format. It is read before anything else, so it is framed alike in all versions. */
export const FORMAT_KEY = 'format';
/** The process that owns the directory. */
export const OWNER_KEY = 'owner';

export const isOwnKey = (key: string): boolean => key === FORMAT_KEY || key === OWNER_KEY;

export function keyBytes(key: string): Buffer {
  const bytes = Buffer.from(key, 'utf8');
  if (bytes.length === 0 || bytes.length > KEY_BYTES_MAX) {
    throw new RangeError(`A key must be 1 to ${KEY_BYTES_MAX} bytes long; this one has ${bytes.length}.`);
  }
  return bytes;
}
