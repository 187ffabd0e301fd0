/**
 * A store that lasts as long as the process: for tests, and with scripted faults for those that are about them.
 */
import type { RecordChange } from '../model/record.js';
import type { Store, Written } from './store.js';

const inOrder = ([a]: [string, unknown], [b]: [string, unknown]): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

export function createMemoryStore(records = new Map<string, Uint8Array>()): Store {
  function apply(changes: readonly RecordChange[]): void {
    for (const { key, value } of changes) {
      if (value === undefined) records.delete(key);
      else records.set(key, value);
    }
  }

  return {
    get: (key) => records.get(key),
    entries: (prefix) =>
      [...records]
        .filter(([key]) => key.startsWith(prefix))
        .sort(inOrder)
        .map(([key, value]) => ({ key, value })),
    async write(changes): Promise<Written> {
      apply(changes);
      return { ok: true };
    },
    usedBytes: () => [...records.values()].reduce((total, { length }) => total + length, 0),
    close: async () => undefined,
  };
}
