import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFollowSource } from '../../../src/source/file/follow.js';
import { createSource } from '../../../src/source/index.js';
import { opened, type Puller, temporaryDirectory, texts, turns } from '../helpers.js';

const LINE_LIMIT_BYTES = 1_000_000;

/** Polls so rarely that a test can pass only by watching, and fails by its timeout otherwise. */
const WATCHING_ONLY = { max_line_bytes: LINE_LIMIT_BYTES, poll_interval_ms: 60_000, resume: {} };

const follow = (path: string) => createFollowSource(`file:${path}`, path, WATCHING_ONLY);

/** Expects the first batch of a stream, which has only its position. */
async function expectBeginning(puller: Puller, stream: string): Promise<void> {
  const position = { offset: 0, line: 1 };
  expect(await puller.batch()).toMatchObject({ stream, end: false, lines: [], position });
}

describe('a followed file', () => {
  test('gives existing lines, then appended ones, each when it is complete', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'one\ntwo\nthr');
    const puller = await opened(follow(path));
    expect(await puller.status('up')).toBe(`reading ${path}`);
    expect(await puller.lines(2)).toEqual(['one', 'two']);
    appendFileSync(path, 'ee\nfo');
    expect(await puller.batch()).toMatchObject({ stream: path, end: false, lines: [{ number: 3 }] });
    appendFileSync(path, 'ur\n');
    expect(await puller.lines(1)).toEqual(['four']);
  });

  test('gives appended lines fast', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'first\n');
    const puller = await opened(follow(path));
    expect(await puller.lines(1)).toEqual(['first']);
    const delays_ms: number[] = [];
    for (let index = 0; index < 20; index += 1) {
      const start_ms = performance.now();
      appendFileSync(path, `${index}\n`);
      expect(await puller.lines(1)).toEqual([String(index)]);
      delays_ms.push(performance.now() - start_ms);
    }
    delays_ms.sort((a, b) => a - b);
    expect(delays_ms[10]).toBeLessThan(50);
  });

  test('finds lines by polling if the system does not report them', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'elsewhere'));
    const target = join(directory, 'elsewhere', 'events.ndjson');
    const path = join(directory, 'link.ndjson');
    writeFileSync(target, 'one\n');
    symlinkSync(target, path);
    const puller = await opened(
      createFollowSource(`file:${path}`, path, {
        max_line_bytes: LINE_LIMIT_BYTES,
        poll_interval_ms: 20,
        resume: {},
      }),
    );
    expect(await puller.lines(1)).toEqual(['one']);
    appendFileSync(target, 'two\n');
    expect(await puller.lines(1)).toEqual(['two']);
  });

  test('is read to its end when it is rotated, then the new one from its start', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'one\n');
    const writer = openSync(path, 'a');
    const puller = await opened(follow(path));
    expect(await puller.lines(1)).toEqual(['one']);
    renameSync(path, `${path}.1`);
    writeSync(writer, 'late\n');
    writeFileSync(path, '');
    expect(await puller.lines(1)).toEqual(['late']);
    // Time enough to see the empty new file, and to leave the old one too early.
    await turns(2000);
    writeSync(writer, 'last without a line end');
    closeSync(writer);
    appendFileSync(path, 'new\n');
    expect(await puller.status('up')).toBe(`reading ${path}`);
    await expectBeginning(puller, `${path}#2`);
    const last = await puller.batch();
    expect(last).toMatchObject({ stream: path, end: true, lines: [{ number: 3 }] });
    expect(texts([last])).toEqual(['last without a line end']);
    const fresh = await puller.batch();
    expect(fresh).toMatchObject({ stream: `${path}#2`, end: false, lines: [{ number: 1 }] });
    expect(texts([fresh])).toEqual(['new']);
  });

  test('loses no line in many rotations', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'start\n');
    const puller = await opened(follow(path));
    expect(await puller.lines(1)).toEqual(['start']);
    for (let round = 0; round < 20; round += 1) {
      appendFileSync(path, `${round} old\n`);
      renameSync(path, `${path}.${round}`);
      writeFileSync(path, `${round} new\n`);
      expect(await puller.lines(2)).toEqual([`${round} old`, `${round} new`]);
    }
  });

  test('is read from its start again when it is truncated, and an incomplete line before that is reported', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'one\nhal');
    const puller = await opened(follow(path));
    expect(await puller.lines(1)).toEqual(['one']);
    truncateSync(path);
    await expectBeginning(puller, `${path}#2`);
    const last = await puller.batch();
    expect(last).toMatchObject({
      stream: path,
      end: true,
      lines: [{ number: 2, skipped: 'line_incomplete' }],
    });
    appendFileSync(path, 'two\n');
    const fresh = await puller.batch();
    expect(fresh).toMatchObject({ stream: `${path}#2`, lines: [{ number: 1 }] });
    expect(texts([fresh])).toEqual(['two']);
  });

  test('loses no line to the hole that a truncation leaves under a writer that keeps its offset', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    const writer = openSync(path, 'w');
    onTestFinished(() => closeSync(writer));
    // Longer than a line may be, and than a single read.
    writeSync(writer, `${'x'.repeat(2 * LINE_LIMIT_BYTES)}\none\n`);
    const puller = await opened(follow(path));
    expect(await puller.lines(2)).toEqual(['line_too_long', 'one']);
    truncateSync(path);
    writeSync(writer, 'two\nthree\n');
    expect(await puller.lines(2)).toEqual(['two', 'three']);
  });

  test('is waited for if it does not exist, and so is its directory', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'events.ndjson');
    const puller = await opened(follow(path));
    expect(await puller.status('down')).toBe(
      `can't read ${path}: it does not exist yet; waiting until it can be read`,
    );
    writeFileSync(path, 'one\n');
    expect(await puller.status('up')).toBe(`reading ${path}`);
    expect(await puller.lines(1)).toEqual(['one']);

    const deeper = join(directory, 'not', 'yet', 'events.ndjson');
    const polling = { max_line_bytes: LINE_LIMIT_BYTES, poll_interval_ms: 20, resume: {} };
    const waiting = await opened(createFollowSource(`file:${deeper}`, deeper, polling));
    await waiting.status('down');
    mkdirSync(join(directory, 'not', 'yet'), { recursive: true });
    writeFileSync(deeper, 'deep\n');
    expect(await waiting.lines(1)).toEqual(['deep']);
  });

  test('is read again if it is removed and created again', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'one\n');
    const puller = await opened(follow(path));
    expect(await puller.lines(1)).toEqual(['one']);
    rmSync(path);
    writeFileSync(path, 'two\n');
    expect(await puller.lines(1)).toEqual(['two']);
  });

  test('is refused with a reason if it is a directory', async () => {
    const directory = temporaryDirectory();
    await expect(follow(directory).open()).rejects.toThrow(
      `can't read ${directory}: it is a directory; give the path of an NDJSON file`,
    );
  });

  test('can be closed while it waits for growth, and leaves an incomplete line for the next start', async () => {
    const path = join(temporaryDirectory(), 'events.ndjson');
    writeFileSync(path, 'one\nhal');
    const source = createSource({ name: `file:${path}`, kind: 'file', path }, { mode: 'follow' });
    const puller = await opened(source);
    expect(await puller.lines(1)).toEqual(['one']);
    const rest = puller.rest();
    await source.close();
    expect(await rest).toEqual([]);
  });

  test('can be closed while it waits for the file to exist', async () => {
    const source = follow(join(temporaryDirectory(), 'events.ndjson'));
    const puller = await opened(source);
    await puller.status('down');
    const rest = puller.rest();
    await source.close();
    expect(await rest).toEqual([]);
  });
});
