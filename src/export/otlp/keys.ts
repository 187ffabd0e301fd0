/**
 * The keys of attributes are few, and come again with every record: what an encoding writes for one is worked out once.
 */
import { cleanText } from '../text.js';

/** Bounds on what is kept: other keys are worked out each time. */
const MAX_KEYS = 1_000;
const MAX_KEY_LENGTH = 100;

/** Gives what is written for a key; `undefined` for one that can't be sent as it is, and has to be cleaned. */
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
