/** Where a file is resumed, and whether that place is recognised. */
import { appendFileSync, writeFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import {
  createCursor,
  type FilePosition,
  idOf,
  isSameFile,
  isUnchanged,
  startOf,
} from '../../../src/source/file/cursor.js';
import { lineText, temporaryDirectory } from '../helpers.js';

async function setUp(content: string) {
  const path = join(temporaryDirectory(), 'events.ndjson');
  writeFileSync(path, content);
  const handle = await open(path, 'r');
  onTestFinished(() => handle.close());
  const from = startOf(idOf(await stat(path, { bigint: true })));
  /** Reads on from a position, and returns the lines found and the new position. */
  const readOn = async (cursor: ReturnType<typeof createCursor>): Promise<string[]> => {
    const found = await cursor.read(handle, path);
    return typeof found === 'string' ? [found] : found.map(lineText);
  };
  return { path, from, readOn, unchanged: (at: FilePosition) => isUnchanged(handle, path, at) };
}

test('a position stays at the start of a line that comes in pieces, however long they are', async () => {
  const { path, from, readOn, unchanged } = await setUp(`one\n${'x'.repeat(200)}`);
  const cursor = createCursor(from, 1_000);
  expect(await readOn(cursor)).toEqual(['one']);
  const position = cursor.position();
  expect(position).toMatchObject({ offset: 4, line: 2, before: Buffer.from('one\n').toString('base64') });
  for (const piece of ['y', 'z'.repeat(100)]) {
    appendFileSync(path, piece);
    expect(await readOn(cursor)).toEqual([]);
    expect(cursor.position()).toEqual(position);
    expect(await unchanged(cursor.position())).toBe(true);
  }
  appendFileSync(path, '\n');
  const line = `${'x'.repeat(200)}y${'z'.repeat(100)}`;
  expect(await readOn(cursor)).toEqual([line]);
  expect(await readOn(createCursor(position, 1_000))).toEqual([line]);
  expect(await readOn(cursor)).toEqual(['at_end']);
});

test('a position has the last 64 bytes before it, by which another text is noticed', async () => {
  const { path, from, readOn, unchanged } = await setUp(`${'a'.repeat(99)}\n`);
  const cursor = createCursor(from, 1_000);
  await readOn(cursor);
  const position = cursor.position();
  expect(Buffer.from(position.before, 'base64').toString()).toBe(`${'a'.repeat(63)}\n`);
  writeFileSync(path, `${'b'.repeat(36)}${'a'.repeat(63)}\nmore\n`);
  expect(await unchanged(position)).toBe(true);
  writeFileSync(path, `${'a'.repeat(36)}b${'a'.repeat(62)}\nmore\n`);
  expect(await unchanged(position)).toBe(false);
  expect(await readOn(cursor)).toEqual(['rewritten']);
});

test('two files are the same only if both their device and their inode are', () => {
  const file = { device: '1', inode: '2' };
  expect(isSameFile(file, { device: '1', inode: '2' })).toBe(true);
  expect(isSameFile(file, { device: '3', inode: '2' })).toBe(false);
  expect(isSameFile(file, { device: '1', inode: '3' })).toBe(false);
});
