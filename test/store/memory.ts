/** An in-memory store for tests; `gatherFor` is for wrappers around it that delay or refuse its writes. */
import type { SavedRecord } from '../../src/model/record.js';
import { keyBytes } from '../../src/store/keys.js';
import {
  type Changes,
  changesOf,
  type Gathering,
  type Store,
  type StoreChange,
  type StoredValue,
  type Written,
} from '../../src/store/store.js';

/** Gathers the changes and writes them all at once. Their values must not be modified meanwhile. */
export function gatherFor(write: Store['write']): Gathering {
  const gathered: StoreChange[] = [];
  return {
    add(changes) {
      for (const change of changes) gathered.push(change);
    },
    write: () => write(gathered),
  };
}

interface Held {
  key: Buffer;
  value: Uint8Array;
}

const copyOf = (value: StoredValue): Uint8Array =>
  value instanceof Uint8Array ? new Uint8Array(value) : Buffer.concat(value);

export function createMemoryStore(): Store {
  const records = new Map<string, Held>();
  let used_bytes = 0;

  function apply(key: Buffer, { key: text, value: given }: StoreChange): void {
    used_bytes -= records.get(text)?.value.length ?? 0;
    records.delete(text);
    if (given === undefined) return;
    const value = copyOf(given);
    records.set(text, { key, value });
    used_bytes += value.length;
  }

  function found(prefix: string): [string, Held][] {
    const matching = [...records].filter(([key]) => key.startsWith(prefix));
    return matching.sort(([, one], [, other]) => Buffer.compare(one.key, other.key));
  }

  function* entriesOf(found: (readonly [string, Held])[]): Generator<SavedRecord> {
    for (const [key, { value }] of found) yield { key, value };
  }

  function write(wanted: Changes): Promise<Written> {
    const changes = changesOf(wanted);
    const keys = changes.map(({ key }) => keyBytes(key));
    keys.forEach((key, index) => {
      const change = changes[index];
      if (change !== undefined) apply(key, change);
    });
    return Promise.resolve({ ok: true });
  }

  return {
    get: (key) => records.get(key)?.value,
    keys: (prefix) => found(prefix).map(([key]) => key),
    entries: (prefix) => entriesOf(found(prefix)),
    write,
    gather: () => gatherFor(write),
    usedBytes: () => used_bytes,
    close: async () => {},
  };
}
