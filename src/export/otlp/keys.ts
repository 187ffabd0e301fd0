/**
 * A cache of encoded attribute keys: there are few, and they recur with every record.
 */
import { cleanText } from '../text.js';

/** The limits of the cache; other keys are encoded each time. */
const MAX_KEYS = 1_000;
const MAX_KEY_LENGTH = 100;

/** Returns an encoded key; `undefined` if the key has to be cleaned first. */
export type KeyWriter<T> = (key: string) => T | undefined;

export function createKeyWriter<T>(write: (key: string) => T): KeyWriter<T> {
  const known = new Map<string, T>();
  return (key) => {
    const written = known.get(key);
    if (written !== undefined) return written;
    if (cleanText(key) !== key) return undefined;
    const fresh = write(key);
    if (known.size < MAX_KEYS && key.length <= MAX_KEY_LENGTH) known.set(key, fresh);
    return fresh;
  };
}
