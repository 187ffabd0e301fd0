/** A crash at any step of a repair leaves either the damaged or the repaired store, from which the next start continues. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { openStore } from '../../src/store/open.js';
import type { Store } from '../../src/store/store.js';

/** From step `at` on, every change to the file system throws, as if the process had died. */
const crash = vi.hoisted(() => ({ at: Number.POSITIVE_INFINITY, steps: 0 }));

vi.mock('node:fs', async (importOriginal) => {
  const fs = await importOriginal<typeof import('node:fs')>();
  const step =
    <A extends unknown[], R>(change: (...args: A) => R) =>
    (...args: A): R => {
      crash.steps += 1;
      if (crash.steps >= crash.at) throw new Error('crashed');
      return change(...args);
    };
  return {
    ...fs,
    linkSync: step(fs.linkSync),
    renameSync: step(fs.renameSync),
    mkdirSync: step(fs.mkdirSync),
    rmSync: step(fs.rmSync),
    fsyncSync: step(fs.fsyncSync),
    copyFileSync: step(fs.copyFileSync),
  };
});

const directory = mkdtempSync(join(tmpdir(), 'repair-'));
const path = join(directory, 'data.mdb');

function open(): { store: Store; findings: string[] } {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  return opened;
}

test('a crash at any step of a repair loses no sound record', async () => {
  const first = open();
  const changes = Array.from({ length: 200 }, (_, i) => ({ key: `k/${i}`, value: Buffer.alloc(3_000, i) }));
  await first.store.write(changes);
  await first.store.close();
  const bytes = readFileSync(path);
  const at = bytes.indexOf(Buffer.alloc(2_000, 100)) + 1_000;
  bytes[at] = (bytes[at] ?? 0) ^ 1;

  let crashed = 0;
  for (let step = 1; crashed === step - 1; step += 1) {
    for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    writeFileSync(path, bytes);
    crash.steps = 0;
    crash.at = step;
    const opened = openStore(directory, { access: 'own' });
    crash.at = Number.POSITIVE_INFINITY;
    if ('problem' in opened) crashed += 1;
    else await opened.store.close();
    const { store } = open();
    expect([...store.entries('k/')], `step ${step}`).toHaveLength(199);
    await store.close();
    expect(readdirSync(directory).filter((name) => !name.startsWith('damaged-'))).toEqual([
      'clean',
      'data.mdb',
      'lock.mdb',
    ]);
  }
  expect(crashed).toBeGreaterThan(5);
  rmSync(directory, { recursive: true });
});
