/** A followed file across restarts of its reader. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { createFollowSource } from '../../../src/source/file/follow.js';
import { createLineSplitter } from '../../../src/source/lines.js';
import { lineText, temporaryDirectory } from '../helpers.js';
import { type Consumer, createConsumer } from '../resume.js';

const MAX_LINE_BYTES = 20;

function setUp(): { path: string; consumer: Consumer } {
  const path = join(temporaryDirectory(), 'events.ndjson');
  const options = { max_line_bytes: MAX_LINE_BYTES, poll_interval_ms: 20 };
  const consumer = createConsumer((resume) =>
    createFollowSource(`file:${path}`, path, { ...options, resume }),
  );
  return { path, consumer };
}

let instant_s = 1_000_000;

/** Renames the file and the older ones as a rotation does; rotations are one second apart. */
function rotate(path: string): void {
  let count = 1;
  while (existsSync(`${path}.${count}`)) count += 1;
  for (let number = count; number > 1; number -= 1) renameSync(`${path}.${number - 1}`, `${path}.${number}`);
  renameSync(path, `${path}.1`);
  instant_s += 1;
  utimesSync(`${path}.1`, instant_s, instant_s);
}

async function takeTexts(consumer: Consumer, count: number): Promise<string[]> {
  await consumer.takeUntil(() => consumer.lines.length >= count);
  return consumer.texts();
}

/** A consumer that has taken `one` and `two`, and was stopped. */
async function stopped(): Promise<ReturnType<typeof setUp>> {
  const made = setUp();
  writeFileSync(made.path, 'one\ntwo\nhal');
  await made.consumer.start();
  await takeTexts(made.consumer, 2);
  await made.consumer.stop();
  return made;
}

const LOST = /can't resume .*events\.ndjson after line 2: it was removed or rewritten/;

describe('after a restart', () => {
  test('a followed file continues where it was, with the same stream and line numbers', async () => {
    const { path, consumer } = await stopped();
    appendFileSync(path, 'f\nfour\n');
    await consumer.start();
    expect(await takeTexts(consumer, 4)).toEqual(['one', 'two', 'half', 'four']);
    expect(consumer.lines.map(({ stream, number }) => [stream, number])).toEqual(
      [1, 2, 3, 4].map((number) => [path, number]),
    );
    expect(consumer.messages.at(-1)).toBe(`reading ${path} from the saved position`);
  });

  test('a position is plain data, and small', async () => {
    const { path, consumer } = await stopped();
    const { device, inode, read_at_ms, ...position } = consumer.positions()[path] as Record<string, string>;
    expect(typeof read_at_ms).toBe('number');
    expect(position).toEqual({ offset: 8, line: 3, before: Buffer.from('one\ntwo\n').toString('base64') });
    expect([typeof device, typeof inode]).toEqual(['string', 'string']);
  });

  test('a file from which nothing was taken is read from its start', async () => {
    const { path, consumer } = setUp();
    writeFileSync(path, 'half');
    await consumer.start();
    await consumer.takeUntil(() => path in consumer.positions());
    await consumer.stop();
    rotate(path);
    writeFileSync(path, 'new\n');
    await consumer.start();
    expect(await takeTexts(consumer, 2)).toEqual(['half', 'new']);
  });

  test.each([5, 50])(
    'a line that was reported as too long is not reported again, nor is its rest of %d bytes a line',
    async (bytes) => {
      const { path, consumer } = setUp();
      writeFileSync(path, `one\n${'x'.repeat(50)}`);
      await consumer.start();
      expect(await takeTexts(consumer, 2)).toEqual(['one', 'line_too_long']);
      await consumer.stop();
      appendFileSync(path, `${'x'.repeat(bytes)}\nthree\n`);
      await consumer.start();
      expect(await takeTexts(consumer, 3)).toEqual(['one', 'line_too_long', 'three']);
      expect(consumer.lines.at(-1)).toEqual({ stream: path, number: 3, text: 'three' });
    },
  );

  test('a rotated file is read to its end under its new name, then the new file', async () => {
    const { path, consumer } = await stopped();
    appendFileSync(path, 'f\nlast without a line');
    rotate(path);
    writeFileSync(path, 'new\n');
    await consumer.start();
    expect((await takeTexts(consumer, 5)).slice(2)).toEqual(['half', 'last without a line', 'new']);
    expect(consumer.lines.at(-1)).toEqual({ stream: `${path}#2`, number: 1, text: 'new' });
    expect(consumer.batches.filter(({ end }) => end).map(({ stream }) => stream)).toEqual([path]);
    expect(Object.keys(consumer.positions())).toEqual([`${path}#2`]);
  });

  test('a rotated file is read, and may still grow, while there is no new file', async () => {
    const { path, consumer } = await stopped();
    rotate(path);
    appendFileSync(`${path}.1`, 'f\n');
    await consumer.start();
    expect((await takeTexts(consumer, 3)).slice(2)).toEqual(['half']);
    appendFileSync(`${path}.1`, 'late\n');
    writeFileSync(path, 'new\n');
    expect((await takeTexts(consumer, 5)).slice(3)).toEqual(['late', 'new']);
  });

  test('files that were rotated meanwhile are read in order, and others beside them are not', async () => {
    const { path, consumer } = await stopped();
    writeFileSync(`${path}.0`, 'older\n');
    utimesSync(`${path}.0`, 1, 1);
    rotate(path);
    for (const name of ['second', 'third']) {
      writeFileSync(path, `${name}\n`);
      rotate(path);
    }
    writeFileSync(`${path}.bak`, 'copied\n');
    writeFileSync(path, 'fourth\n');
    await consumer.start();
    expect((await takeTexts(consumer, 6)).slice(2)).toEqual(['hal', 'second', 'third', 'fourth']);
    expect(consumer.lines.at(-1)?.stream).toBe(`${path}#4`);
  });

  /** From here on rotated files are newer than what has been read. */
  const goOn = (): void => {
    instant_s = Date.now() / 1000 + 60;
  };

  test('files that were rotated meanwhile are read even if the first one is gone', async () => {
    const { path, consumer } = await stopped();
    writeFileSync(`${path}.9`, 'older\n');
    utimesSync(`${path}.9`, 1, 1);
    goOn();
    rmSync(path);
    for (const name of ['second', 'third']) {
      writeFileSync(path, `${name}\n`);
      rotate(path);
    }
    writeFileSync(`${path}.gz`, 'packed\n');
    writeFileSync(path, 'fourth\n');
    await consumer.start();
    expect((await takeTexts(consumer, 5)).slice(2)).toEqual(['second', 'third', 'fourth']);
    expect(consumer.lines.at(-1)?.stream).toBe(`${path}#4`);
    expect(consumer.messages).toContainEqual(expect.stringMatching(LOST));
  });

  test('a file that was copied and truncated is continued in its copy', async () => {
    const { path, consumer } = await stopped();
    goOn();
    appendFileSync(path, 'f\n');
    copyFileSync(path, `${path}.1`);
    utimesSync(`${path}.1`, instant_s, instant_s);
    writeFileSync(path, 'anew\n');
    await consumer.start();
    expect((await takeTexts(consumer, 4)).slice(2)).toEqual(['half', 'anew']);
    expect(consumer.lines.map(({ stream, number }) => [stream, number]).slice(2)).toEqual([
      [path, 3],
      [`${path}#2`, 1],
    ]);
    expect(consumer.messages).not.toContainEqual(expect.stringMatching(LOST));
  });

  test.each(['empty', 'missing'])(
    'files that were rotated meanwhile are read while the path is %s',
    async (state) => {
      const { path, consumer } = await stopped();
      rotate(path);
      writeFileSync(path, 'second\n');
      rotate(path);
      // Nothing was written to this one, so it does not show where the writer is.
      writeFileSync(path, '');
      rotate(path);
      writeFileSync(path, 'third\n');
      rotate(path);
      if (state === 'empty') writeFileSync(path, '');
      await consumer.start();
      expect((await takeTexts(consumer, 5)).slice(2)).toEqual(['hal', 'second', 'third']);
      writeFileSync(path, 'fourth\n');
      expect((await takeTexts(consumer, 6)).slice(5)).toEqual(['fourth']);
    },
  );

  test('files that were rotated meanwhile are read if the path is a link to one of them', async () => {
    const { path, consumer } = setUp();
    const target = join(temporaryDirectory(), '0.log');
    writeFileSync(target, 'one\n');
    symlinkSync(target, path);
    await consumer.start();
    await takeTexts(consumer, 1);
    await consumer.stop();
    appendFileSync(target, 'two\n');
    rotate(target);
    writeFileSync(target, 'three\n');
    rotate(target);
    // The target of the link does not exist for now.
    await consumer.start();
    expect(await takeTexts(consumer, 3)).toEqual(['one', 'two', 'three']);
    await consumer.start();
    writeFileSync(target, 'four\n');
    expect((await takeTexts(consumer, 4)).at(-1)).toBe('four');
    expect(consumer.messages.filter((message) => LOST.test(message))).toEqual([]);
  });

  test.each<[string, (path: string) => void]>([
    ['gone', (path) => rmSync(path)],
    ['truncated', (path) => truncateSync(path)],
    ['rewritten to at least the same length', (path) => writeFileSync(path, 'others!!and then some\n')],
  ])(
    'a file that is %s is reported, its stream ends, and the path is read from its start',
    async (_state, change) => {
      const { path, consumer } = await stopped();
      change(path);
      await consumer.start();
      await consumer.takeUntil(() => consumer.batches.at(-1)?.end === true);
      expect(consumer.messages.at(-1)).toMatch(LOST);
      expect(consumer.batches.at(-1)).toMatchObject({ stream: path, lines: [] });
      appendFileSync(path, 'new\n');
      await consumer.takeUntil(() => consumer.texts().at(-1) === 'new');
      expect(consumer.lines.at(-1)?.stream).toBe(`${path}#2`);
      await consumer.start();
      appendFileSync(path, 'newer\n');
      await consumer.takeUntil(() => consumer.texts().at(-1) === 'newer');
      expect(consumer.lines.at(-1)?.stream).toBe(`${path}#2`);
    },
  );
});

type Step =
  | { kind: 'append'; text: string }
  | { kind: 'rotate' }
  | { kind: 'take'; count: number }
  | { kind: 'restart' };

/** `#` stands for a unique number. */
const text = fc
  .array(fc.constantFrom('#', '#\n', '#\n', '#\r\n', '\n', '\r', '\ufeff', 'é', 'x'.repeat(15)), {
    minLength: 1,
    maxLength: 12,
  })
  .map((parts) => parts.join(''));
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('append' as const), text }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rotate' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);

function linesOf(content: Buffer): string[] {
  const splitter = createLineSplitter({ max_line_bytes: MAX_LINE_BYTES });
  return [...splitter.push(content), ...splitter.end()].map(lineText);
}

/** The lines of all files, in the order in which they had the path. */
function linesOfAll(path: string): string[] {
  const paths = [path];
  while (existsSync(`${path}.${paths.length}`)) paths.unshift(`${path}.${paths.length}`);
  return paths.flatMap((each) => linesOf(readFileSync(each)));
}

describe('any appends, rotations and restarts', () => {
  property.prop([fc.array(step, { minLength: 5, maxLength: 40 })], { numRuns: 60 })(
    'give every line once and in order',
    async (steps) => {
      const { path, consumer } = setUp();
      let number = 0;
      const append = (added: string): void =>
        appendFileSync(
          path,
          added.replaceAll('#', () => `<${++number}>`),
        );
      const run = async (each: Step): Promise<void> => {
        if (each.kind === 'append') append(each.text);
        else if (each.kind === 'take') await consumer.take(each.count);
        else if (each.kind === 'restart') await consumer.start();
        else {
          rotate(path);
          writeFileSync(path, '');
        }
      };
      append('');
      await consumer.start();
      await consumer.takeUntil(() => path in consumer.positions());
      for (const each of steps) await run(each);
      append('\nend\n');
      await consumer.takeUntil(() => consumer.texts().at(-1) === 'end');
      await consumer.stop();
      expect(consumer.texts()).toEqual(linesOfAll(path));
      expect(consumer.messages.filter((message) => LOST.test(message))).toEqual([]);
      const streams = new Map<string, number>();
      for (const line of consumer.lines) {
        expect(line.number).toBeGreaterThan(streams.get(line.stream) ?? 0);
        streams.set(line.stream, line.number);
      }
    },
    60_000,
  );
});
