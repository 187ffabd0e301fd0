/** Which files beside a path are found after a rotation. */
import { mkdirSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type FileId, idOf } from '../../../src/source/file/cursor.js';
import { findFile, findRotatedSince, findSuccessor } from '../../../src/source/file/rotation.js';
import { temporaryDirectory } from '../helpers.js';

const idAt = (path: string): FileId => idOf(statSync(path, { bigint: true }));

/** Creates these files beside `events.log`, each written one second after the one before; a name with `/` is a directory. */
function filesAt(directory: string, files: [name: string, content: string][]): void {
  for (const [nth, [name, content]] of files.entries()) {
    const path = join(directory, name);
    if (name.endsWith('/')) mkdirSync(path);
    else writeFileSync(path, content);
    utimesSync(path, 1_000 + nth, 1_000 + nth);
  }
}

describe('beside a path', () => {
  /** What is not a rotated file that can be read, each newer than `events.log.3`. */
  const OTHERS: [string, string][] = [
    ['events.log.4/', ''],
    ['events.log.5', ''],
    ['events.log.bak', 'copy\n'],
    ['other.log.1', 'other\n'],
  ];

  test('the successor of a rotated file is the next one with something in it', async () => {
    const directory = temporaryDirectory();
    filesAt(directory, [
      ['events.log.6', 'oldest\n'],
      ['events.log.3', 'own\n'],
      ...OTHERS,
      ['events.log.2', 'next\n'],
      ['events.log.1', 'last\n'],
      ['events.log', 'now\n'],
    ]);
    const at = (number: number): FileId => idAt(join(directory, `events.log.${number}`));
    expect(await findSuccessor(join(directory, 'events.log'), at(3))).toEqual(at(2));
    expect(await findSuccessor(join(directory, 'events.log'), at(1))).toBeUndefined();
    const gone = { device: '0', inode: '0' };
    expect(await findSuccessor(join(directory, 'events.log'), gone)).toBeUndefined();
  });

  test.each([
    ['a number at the end', 'events.log.1'],
    ['a date at the end', 'events.log-2026-11-30T12:00'],
    ['a number before the extension', 'events.1.log'],
    ['a date before the extension', 'events_2026-11-30.log'],
  ])('the first file that was rotated since a time has %s', async (_, name) => {
    const directory = temporaryDirectory();
    filesAt(directory, [['events.log.9', 'before\n'], ...OTHERS, [name, 'first\n'], ['events.log', 'now\n']]);
    const path = join(directory, 'events.log');
    expect(await findRotatedSince(path, 1_000_000)).toEqual(idAt(join(directory, name)));
    expect(await findRotatedSince(path, 1_005_000)).toBeUndefined();
  });
});

test('a file is found where a link led, even if nothing is there any more', async () => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, 'logs'));
  symlinkSync('logs/events.log', join(directory, 'link.log'));
  filesAt(join(directory, 'logs'), [['events.log.1', 'rotated\n']]);
  const rotated = join(directory, 'logs', 'events.log.1');
  expect(await findFile(join(directory, 'link.log'), idAt(rotated))).toBe(rotated);
});
