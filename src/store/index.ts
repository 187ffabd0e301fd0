import { mkdirSync } from 'node:fs';
import { open } from 'lmdb';
import type { Store, Written } from './store.js';

export async function openStore(
  directory: string,
  _options: { access: 'own' | 'share' },
): Promise<{ store: Store; findings: string[] } | { problem: string; reason: string }> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const db = open<Buffer, Buffer>({
    path: directory,
    encoding: 'binary',
    keyEncoding: 'binary',
    noSubdir: false,
    separateFlushed: true,
  } as never);
  const key = (text: string) => Buffer.from(text);
  const store: Store = {
    get: (k) => db.get(key(k)),
    *entries(prefix) {
      for (const { key: k, value } of db.getRange({
        start: key(prefix),
        end: key(`${prefix}\xff`),
        snapshot: true,
      } as never))
        yield { key: Buffer.from(k as Buffer).toString(), value };
    },
    async write(changes): Promise<Written> {
      const done = db.batch(() => {
        for (const { key: k, value } of changes) {
          if (value === undefined) void db.remove(key(k));
          else void db.put(key(k), Buffer.from(value.buffer, value.byteOffset, value.byteLength));
        }
      }) as Promise<boolean> & { flushed: Promise<unknown> };
      try {
        await done;
        await (done.flushed ?? db.flushed);
        return { ok: true };
      } catch (error) {
        return { ok: false, message: String(error) };
      }
    },
    usedBytes: () => 0,
    close: () => db.close(),
  };
  return { store, findings: [] };
}
export { createMemoryStore } from './memory.js';
