import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createSource } from '../../../src/source/index.js';
import { opened, temporaryDirectory, texts } from '../helpers.js';

const openFile = (path: string) =>
  opened(createSource({ name: `file:${path}`, kind: 'file', path }, { mode: 'to_end' }));

describe('a file read to its end', () => {
  test('gives every line once, in one stream that ends', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    const lines = Array.from({ length: 20_000 }, (_, index) => `{"seq":${index}}`);
    writeFileSync(path, lines.join('\n'));
    const items = await (await openFile(path)).rest();
    expect(texts(items)).toEqual(lines);
    expect(items.length).toBeGreaterThan(3);
    const ends = items.map((item) => item.kind === 'lines' && item.stream === path && item.end);
    expect(ends).toEqual([...items.slice(1).map(() => false), true]);
  });

  test('gives one empty batch if it is empty', async () => {
    const path = join(temporaryDirectory(), 'empty.ndjson');
    writeFileSync(path, '');
    expect(await (await openFile(path)).rest()).toMatchObject([{ stream: path, end: true, lines: [] }]);
  });

  test('skips a line of 5 MB and gives the next', async () => {
    const path = join(temporaryDirectory(), 'long.ndjson');
    writeFileSync(path, `one\n${'x'.repeat(5_000_000)}\nthree\n`);
    expect(texts(await (await openFile(path)).rest())).toEqual(['one', 'line_too_long', 'three']);
  });

  test('ends soon after it is closed, with what was read', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'a line\n'.repeat(100_000));
    const source = createSource({ name: `file:${path}`, kind: 'file', path }, { mode: 'to_end' });
    const puller = await opened(source);
    await puller.batch();
    await source.close();
    const rest = await puller.rest();
    expect(rest.length).toBeLessThan(4);
    expect(rest.some((item) => item.kind === 'lines' && item.end)).toBe(false);
  });

  test('is refused with a reason if it is a directory, missing or a pipe', async () => {
    const directory = temporaryDirectory();
    const missing = join(directory, 'no.ndjson');
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const messages = [directory, missing, pipe].map((path) => openFile(path).catch((error) => error.message));
    expect(await Promise.all(messages)).toEqual([
      `can't read ${directory}: it is a directory; give the path of an NDJSON file`,
      `can't read ${missing}: it does not exist; check the path`,
      `can't read ${pipe}: it is not a regular file; give the path of an NDJSON file`,
    ]);
    await expect(openFile(missing)).rejects.toMatchObject({ name: 'SourceError' });
  });

  test.skipIf(process.getuid?.() === 0)(
    'is refused with a reason without permission to read it',
    async () => {
      const path = join(temporaryDirectory(), 'secret.ndjson');
      writeFileSync(path, '');
      chmodSync(path, 0);
      await expect(openFile(path)).rejects.toThrow(
        `can't read ${path}: permission denied; check that this user can read it`,
      );
    },
  );
});
