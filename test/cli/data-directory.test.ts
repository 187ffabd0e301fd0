/** What `doctor` says about a data directory: who may use it, and how much fits into it. */
import { chmodSync, mkdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { checkDataDirectory } from '../../src/commands/doctor/data-directory.js';
import { temporaryDirectory } from '../source/helpers.js';

vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs')>();
  return { ...original, statfsSync: vi.fn(original.statfsSync) };
});

/** Makes every file system have this many MB left; returns the paths that are asked about. */
function leaveFree(free_mb: number): unknown[] {
  const asked: unknown[] = [];
  vi.mocked(statfsSync).mockImplementation(((path: unknown) => {
    asked.push(path);
    return { bavail: free_mb * 256 + 255, bsize: 4096 };
  }) as typeof statfsSync);
  onTestFinished(() => void vi.mocked(statfsSync).mockReset());
  return asked;
}

test('a directory that does not exist yet is looked for above, however far', () => {
  const above = temporaryDirectory();
  const asked = leaveFree(256);
  const path = join(above, 'not', 'yet', 'there');
  expect(checkDataDirectory(path)).toEqual([
    { check: 'data directory', level: 'ok', found: `${path} will be created at the first start` },
  ]);
  expect(asked).toEqual([above]);
});

test('a directory below a file can not be used', () => {
  const file = join(temporaryDirectory(), 'file');
  writeFileSync(file, '');
  expect(checkDataDirectory(join(file, 'data'))).toMatchObject([{ level: 'problem' }]);
});

test.each([
  [0o700, 'ok'],
  [0o740, 'warning'],
  [0o704, 'warning'],
  [0o701, 'warning'],
])('only its owner may use it: mode %o', (mode, level) => {
  const path = join(temporaryDirectory(), 'data');
  mkdirSync(path);
  chmodSync(path, mode);
  expect(checkDataDirectory(path)[0]?.level).toBe(level);
});

describe('the space', () => {
  test.each([
    [255, ['only 255 MB free in ']],
    [256, []],
  ])('is a warning if there are less than 256 MB: %d MB', (free_mb, found) => {
    const path = temporaryDirectory();
    chmodSync(path, 0o700);
    leaveFree(free_mb);
    const [, ...rest] = checkDataDirectory(path);
    expect(rest.map((check) => [check.level, check.found])).toEqual(
      found.map((text) => ['warning', `${text}${path}`]),
    );
  });
});
