/**
 * A store with a scripted disk: writes fail where a test says so, and a crash keeps the changes of a chosen number of
 * calls, between those reported as written and all that were made.
 */
import {
  type Changes,
  changesOf,
  type Store,
  type StoreChange,
  type StoredValue,
  type Written,
} from '../../src/store/store.js';
import { createMemoryStore, gatherFor } from './memory.js';

export interface FaultyStore extends Store {
  /** How many calls were made, and how many of them, from the first on, are on the disk. */
  calls(): { made: number; durable: number };
  /** Makes the first `calls` calls durable and reports them as written; by default all. */
  flush(calls?: number): void;
  /** The store that a process finds after a crash that kept `calls` calls, between the durable ones and all. */
  reopen(calls: number): Promise<FaultyStore>;
}

interface Call {
  changes: readonly StoreChange[];
  has_failed: boolean;
  resolve(): void;
}

const copyOf = (value: StoredValue): Uint8Array =>
  value instanceof Uint8Array ? new Uint8Array(value) : Buffer.concat(value);

/** `fails`: whether call number `n`, counted from 1, fails. Only `flush` and `close` make calls durable. */
export function createFaultyStore(fails: (n: number) => boolean = () => false): FaultyStore {
  const inner = createMemoryStore();
  const calls: Call[] = [];
  let durable = 0;

  function flush(count = calls.length): void {
    for (; durable < Math.min(count, calls.length); durable += 1) calls[durable]?.resolve();
  }

  function write(changes: Changes): Promise<Written> {
    const has_failed = fails(calls.length + 1);
    const kept = changesOf(changes).map(({ key, value }) =>
      value ? { key, value: copyOf(value) } : { key },
    );
    if (!has_failed) void inner.write(kept);
    return new Promise((resolve) => {
      const written = has_failed ? ({ ok: false, message: 'no space' } as const) : ({ ok: true } as const);
      calls.push({ changes: kept, has_failed, resolve: () => resolve(written) });
    });
  }

  return {
    get: inner.get,
    keys: inner.keys,
    entries: inner.entries,
    usedBytes: inner.usedBytes,
    write,
    gather: () => gatherFor(write),
    async close() {
      flush();
    },
    calls: () => ({ made: calls.length, durable }),
    flush,
    async reopen(count) {
      if (count < durable || count > calls.length) throw new RangeError(`${count} calls can not be kept`);
      const next = createFaultyStore();
      const kept = calls.slice(0, count).filter(({ has_failed }) => !has_failed);
      for (const { changes } of kept) void next.write(changes);
      next.flush();
      return next;
    },
  };
}
