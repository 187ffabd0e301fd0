/**
 * Whatever happened to its files, opening a store succeeds, with all sound records in it and the damage reported. The tests
 * open stores in their own process on purpose: a crash would be a crash of the tests.
 */
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { inspect, readSound } from '../../src/store/inspect.js';
import { openStore } from '../../src/store/open.js';
import type { Store } from '../../src/store/store.js';

const RUNS = 15;

const digest = (value: Uint8Array): string => `${value.length}:${crc32(value)}`;

/** Pseudo-random numbers that are the same in each run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
}

let directory: string;
let sound: Buffer;
const records = new Map<string, string>();
const written = new Map<string, Set<string>>();
const pathOf = (name: string): string => join(directory, name);

function open(): { store: Store; findings: string[] } {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  return opened;
}

const SIZES = [0, 1, 1, 40, 40, 400, 400, 1_900, 2_100, 7_900, 8_300, 16_356, 17_000, 40_000];

/** Fills a tree of three levels, with values on pages of their own and with free pages. */
async function fill(store: Store): Promise<void> {
  const random = randomNumbers(1);
  for (let round = 0; round < 12; round += 1) {
    const changes = Array.from({ length: 120 }, () => {
      const key = `${['journal', 'outbox', 'checkpoint'][random(3)]}/${'x'.repeat(random(300))}/${random(80)}`;
      if (random(5) === 0) return { key };
      return { key, value: Buffer.alloc(SIZES[random(SIZES.length)] ?? 0, random(256)) };
    });
    await store.write(changes);
    for (const { key, value } of changes) {
      if (value === undefined) records.delete(key);
      else {
        records.set(key, digest(value));
        written.set(key, (written.get(key) ?? new Set()).add(digest(value)));
      }
    }
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'damage-'));
  const { store } = open();
  await fill(store);
  await store.close();
  // Neither of the two last transactions contains the record of ownership by this process.
  const beside = openStore(directory, { access: 'share' });
  if ('problem' in beside) throw new Error(beside.problem);
  for (const key of ['last/1', 'last/2']) {
    const value = Buffer.from(key);
    await beside.store.write([{ key, value }]);
    records.set(key, digest(value));
    written.set(key, new Set([digest(value)]));
  }
  await beside.store.close();
  sound = readFileSync(pathOf('data.mdb'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const empty = (): void => {
  for (const name of readdirSync(directory)) rmSync(pathOf(name), { recursive: true });
};
beforeEach(empty);

const found = (store: Store): Map<string, string> =>
  new Map([...store.entries('')].map(({ key, value }) => [key, digest(value)]));

/** Opens the store, compares it with what was written, and returns the number of lost records. */
async function expectSurvivors(what: string): Promise<number> {
  const { store, findings } = open();
  const survivors = found(store);
  const lost = [...records].filter(([key, value]) => survivors.get(key) !== value);
  expect(
    [...survivors].filter(([key, value]) => !written.get(key)?.has(value)),
    what,
  ).toEqual([]);
  if (lost.length > 0) expect(findings.join(), what).toMatch(/damaged|missing/);
  expect(await store.write([{ key: 'after', value: Buffer.from('it') }]), what).toEqual({ ok: true });
  await store.close();
  return lost.length;
}

function flipped(position: number, bit: number): Buffer {
  const bytes = Buffer.from(sound);
  bytes[position] = (bytes[position] ?? 0) ^ (1 << bit);
  return bytes;
}

const PAGE = 16_384;

test('an undamaged file is sound', async () => {
  // LMDB's first meta page has the page size.
  expect(sound.readUInt32LE(48)).toBe(PAGE);
  writeFileSync(pathOf('data.mdb'), sound);
  expect(inspect(pathOf('data.mdb'))).toMatchObject({ fault: undefined, sound: records.size + 1 });
  expect(records.size).toBeGreaterThan(300);
  expect(await expectSurvivors('sound')).toBe(0);
  expect(readdirSync(directory).sort()).toEqual(['clean', 'data.mdb', 'lock.mdb']);
});

describe('a flipped bit', () => {
  const random = randomNumbers(2);
  const anywhere = (): number => random(sound.length);
  const inHeader = (): number => random(sound.length / PAGE) * PAGE + random(120);
  const inMeta = (): number => random(2) * PAGE + random(170);

  test.each([
    ['anywhere', anywhere],
    ['at the beginning of a page', inHeader],
    ['in a meta page', inMeta],
  ])('%s loses at most some of the records', { timeout: 120_000 }, async (_name, position) => {
    for (let run = 0; run < RUNS; run += 1) {
      empty();
      const at = position();
      const bit = random(8);
      writeFileSync(pathOf('data.mdb'), flipped(at, bit));
      const lost = await expectSurvivors(`bit ${bit} of byte ${at}`);
      expect(lost, `bit ${bit} of byte ${at}`).toBeLessThan(records.size);
    }
  });

  test('is noticed whichever record it damages', { timeout: 120_000 }, () => {
    writeFileSync(pathOf('data.mdb'), sound);
    const fd = openSync(pathOf('data.mdb'), 'r+');
    let noticed = 0;
    for (let run = 0; run < RUNS * 10; run += 1) {
      const at = run % 2 === 0 ? anywhere() : inHeader();
      const what = `bit ${run % 8} of byte ${at}`;
      writeSync(fd, Buffer.of((sound[at] ?? 0) ^ (1 << (run % 8))), 0, 1, at);
      const { fault } = inspect(pathOf('data.mdb'));
      let intact = 0;
      readSound(pathOf('data.mdb'), (key, framed) => {
        const text = key.toString();
        const value = digest(framed.subarray(4));
        if (records.get(text) === value) intact += 1;
        else if (text !== 'format') expect(written.get(text)?.has(value), what).toBe(true);
      });
      if (intact < records.size) expect(fault, what).toBeDefined();
      noticed += fault === undefined ? 0 : 1;
      writeSync(fd, sound, at, 1, at);
    }
    closeSync(fd);
    expect(noticed).toBeGreaterThan(RUNS);
  });
});

test('overwritten ranges of several pages leave a usable store', { timeout: 120_000 }, async () => {
  const random = randomNumbers(3);
  for (let run = 0; run < RUNS; run += 1) {
    empty();
    const bytes = Buffer.from(sound);
    for (let i = random(8); i >= 0; i -= 1) {
      const start = random(bytes.length);
      bytes.fill(random(256), start, start + random(5_000));
    }
    writeFileSync(pathOf('data.mdb'), bytes);
    await expectSurvivors(`run ${run}`);
  }
});

test('a file truncated anywhere leaves a usable store', { timeout: 120_000 }, async () => {
  const random = randomNumbers(4);
  const lengths = [
    0,
    1,
    100,
    PAGE,
    2 * PAGE - 1,
    2 * PAGE,
    ...Array.from({ length: RUNS }, () => random(sound.length)),
  ];
  for (const length of lengths) {
    empty();
    writeFileSync(pathOf('data.mdb'), sound);
    truncateSync(pathOf('data.mdb'), length);
    await expectSurvivors(`cut at ${length}`);
  }
});

function isDamaged(bytes: Buffer): boolean {
  writeFileSync(pathOf('data.mdb'), bytes);
  return inspect(pathOf('data.mdb')).fault !== undefined;
}

test('the damage is reported in one line, and the old file is kept', async () => {
  const bytes = Buffer.from(sound);
  // Zeroes the first page that is in use.
  for (let page = 2 * PAGE; !isDamaged(bytes); page += PAGE) {
    sound.copy(bytes);
    bytes.fill(0, page, page + PAGE);
  }
  const { store, findings } = open();
  const count = found(store).size;
  await store.close();
  expect(findings).toHaveLength(1);
  expect(findings[0]).toMatch(/^\S+: data\.mdb is damaged: .+ records readable, \d+ unreadable/);
  expect(findings[0]).toContain(`${count + 1} records readable`);
  expect(findings[0]).toMatch(/kept in .*damaged-\d{4}-\d\d-\d\dT/);
  const [aside] = readdirSync(directory).filter((name) => name.startsWith('damaged-'));
  expect(readFileSync(join(directory, aside ?? '', 'data.mdb')).equals(bytes)).toBe(true);
  const again = open();
  expect(again.findings).toEqual([]);
  await again.store.close();
});

test('only the newest three of the files set aside are kept', async () => {
  for (let i = 0; i < 5; i += 1) {
    writeFileSync(pathOf('data.mdb'), flipped(4 * PAGE, 0));
    truncateSync(pathOf('data.mdb'), 100_000);
    const { store, findings } = open();
    expect(findings).toHaveLength(1);
    await store.close();
  }
  expect(readdirSync(directory).filter((name) => name.startsWith('damaged-'))).toHaveLength(3);
});

test('a missing data file is reported; a missing or damaged lock file does not matter', async () => {
  const first = open();
  expect(first.findings).toEqual([]);
  await first.store.write([{ key: 'a', value: Buffer.from('one') }]);
  await first.store.close();
  for (const damage of [
    () => rmSync(pathOf('lock.mdb')),
    () => writeFileSync(pathOf('lock.mdb'), 'no lock file'),
    () => writeFileSync(pathOf('lock.mdb'), Buffer.alloc(8_272, 0xff)),
    () => truncateSync(pathOf('lock.mdb'), 0),
    () => rmSync(pathOf('clean')),
    () => writeFileSync(pathOf('clean'), 'not so'),
  ]) {
    damage();
    const { store, findings } = open();
    expect(findings).toEqual([]);
    expect(found(store).size).toBe(1);
    await store.close();
  }
  rmSync(pathOf('data.mdb'));
  const { store, findings } = open();
  expect(findings).toEqual([`data.mdb in ${directory} is missing or empty: starting with an empty store`]);
  await store.close();
  expect(existsSync(pathOf('data.mdb'))).toBe(true);
});
