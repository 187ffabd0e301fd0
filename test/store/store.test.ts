/** What every store does, LMDB or in memory. */
import { createHash } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc } from '@fast-check/vitest';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RecordChange } from '../../src/model/record.js';
import { openStore } from '../../src/store/open.js';
import type { Store } from '../../src/store/store.js';
import { createMemoryStore } from './memory.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'store-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function openLmdb(): Store {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  expect(opened.findings).toEqual([]);
  return opened.store;
}

const bytes = (text: string): Uint8Array => Buffer.from(text);
const put = (key: string, value: string): RecordChange => ({ key, value: bytes(value) });
const remove = (key: string): RecordChange => ({ key });
const textOf = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString();
const digest = (value: Uint8Array): string => createHash('sha1').update(value).digest('hex');
const contents = (store: Store, prefix = ''): Record<string, string | undefined> =>
  Object.fromEntries([...store.entries(prefix)].map(({ key, value }) => [key, textOf(value)]));

describe.each([
  ['LMDB', openLmdb],
  ['memory', createMemoryStore],
])('%s', (_name, open) => {
  let store: Store;
  beforeEach(() => {
    store = open();
  });
  afterEach(() => store.close());

  test('a written record can be read, under its key only', async () => {
    expect(await store.write([put('a/1', 'one'), put('a/2', '')])).toEqual({ ok: true });
    expect(textOf(store.get('a/1'))).toBe('one');
    expect(textOf(store.get('a/2'))).toBe('');
    expect(store.get('a')).toBeUndefined();
    await store.write([remove('a/1'), remove('never')]);
    expect(store.get('a/1')).toBeUndefined();
  });

  test('the last of several changes to a record wins', async () => {
    await store.write([put('k', 'one'), remove('k'), put('k', 'two')]);
    await Promise.all([store.write([put('k', 'three')]), store.write([]), store.write([put('k', 'four')])]);
    expect(textOf(store.get('k'))).toBe('four');
  });

  test('entries come in byte order, and only those with the prefix', async () => {
    const keys = ['b', 'a/\u{1f600}', 'a/\uffee', 'a/', 'a', 'a0', 'a/é', 'a/z', '\u0000', '\u{10ffff}'];
    await store.write(keys.map((key) => put(key, key)));
    const sorted = (found: string[]): string[] =>
      found.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
    const keysOf = (prefix: string): string[] => [...store.entries(prefix)].map(({ key }) => key);
    expect(keysOf('a/')).toEqual(sorted(keys.filter((key) => key.startsWith('a/'))));
    expect(keysOf('')).toEqual(sorted([...keys]));
    expect(keysOf('nothing')).toEqual([]);
    for (const prefix of ['a/', '', 'nothing']) expect([...store.keys(prefix)]).toEqual(keysOf(prefix));
  });

  test('entries are those at the time of the call', async () => {
    await store.write([put('a', 'one'), put('b', 'one')]);
    const entries = store.entries('');
    const keys = store.keys('');
    await store.write([put('a', 'two'), remove('b'), put('c', 'two')]);
    expect([...entries].map(({ key, value }) => [key, textOf(value)])).toEqual([
      ['a', 'one'],
      ['b', 'one'],
    ]);
    expect([...keys]).toEqual(['a', 'b']);
  });

  test('the bytes in use grow and shrink with the records', async () => {
    const before = store.usedBytes();
    // With LMDB's and the frame's overhead, a value fills its last page.
    const value = Buffer.alloc(65_000, 1);
    await store.write(Array.from({ length: 20 }, (_, i) => ({ key: `k/${i}`, value })));
    const full = store.usedBytes();
    expect(full - before).toBeGreaterThanOrEqual(20 * value.length);
    expect(full - before).toBeLessThan(22 * value.length);
    await store.write(Array.from({ length: 20 }, (_, i) => remove(`k/${i}`)));
    expect(store.usedBytes() - before).toBeLessThan(value.length);
  });

  test('a key that no store can hold throws', () => {
    expect(() => store.write([put('', 'v')])).toThrow(RangeError);
    expect(() => store.write([put('k'.repeat(1_001), 'v')])).toThrow(RangeError);
  });

  test('any sequence of writes has the same effect as on a map', async () => {
    const change = fc.record({
      key: fc.integer({ min: 0, max: 40 }).map((n) => `k/${n}`),
      value: fc.option(
        fc.integer({ min: 0, max: 20_000 }).map((n) => Buffer.alloc(n, n)),
        { nil: undefined },
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 20 }), async (calls) => {
        const changes = calls.map((call) =>
          call.map(({ key, value }) => (value === undefined ? { key } : { key, value })),
        );
        await store.write([...store.entries('')].map(({ key }) => ({ key })));
        await Promise.all(changes.map((call) => store.write(call)));
        const expected = new Map<string, string>();
        for (const { key, value } of changes.flat() as RecordChange[]) {
          if (value === undefined) expected.delete(key);
          else expected.set(key, digest(value));
        }
        const found = new Map([...store.entries('')].map(({ key, value }) => [key, digest(value)]));
        expect(found).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });
});

test('changes given as a function include those added after the call', async () => {
  const store = openLmdb();
  const first = store.write([put('a', 'one'), put('b', 'one')]);
  await new Promise(setImmediate);
  const changes = [put('b', 'two')];
  let asked = 0;
  const second = store.write(() => {
    asked += 1;
    return changes;
  });
  const third = store.write([put('b', 'three')]);
  changes.push(put('c', 'late'));
  expect(await Promise.all([first, second, third])).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
  expect(asked).toBe(1);
  expect(contents(store)).toEqual({ a: 'one', b: 'three', c: 'late' });
  await store.close();
});

test('written records are there when the store is opened again', async () => {
  const first = openLmdb();
  await first.write([put('a', 'one'), put('b', 'two')]);
  await first.close();
  const second = openLmdb();
  expect(contents(second)).toEqual({ a: 'one', b: 'two' });
  await second.close();
});

describe('a directory that does not exist', () => {
  test('is created with its parents, accessible only to its owner', async () => {
    const nested = join(directory, 'a', 'b');
    const opened = openStore(nested, { access: 'own' });
    if ('problem' in opened) throw new Error(opened.problem);
    await opened.store.close();
    for (const path of [nested, join(directory, 'a')]) expect(statSync(path).mode & 0o777).toBe(0o700);
  });

  test.runIf(process.platform === 'linux')("is reported if it can't be created", () => {
    expect(openStore('/proc/bridge/data', { access: 'own' })).toMatchObject({
      problem: expect.stringContaining('/proc/bridge/data'),
    });
  });
});

test('a store whose file is moved away reports it, and continues when the file is back', async () => {
  const store = openLmdb();
  const [path, elsewhere] = ['data.mdb', 'elsewhere'].map((name) => join(directory, name)) as [
    string,
    string,
  ];
  expect(await store.write([put('a', 'one')])).toEqual({ ok: true });
  renameSync(path, elsewhere);
  expect(await store.write([put('a', 'two')])).toMatchObject({
    ok: false,
    message: expect.stringContaining('was removed or replaced'),
  });
  renameSync(elsewhere, path);
  expect(await store.write([put('a', 'three')])).toEqual({ ok: true });
  await store.close();
});
