/** Recordings that are read one after the other, also across restarts of their reader. */
import { appendFileSync, existsSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import {
  checkRecordings,
  createRecordingsSource,
  type RecordingsOptions,
} from '../../../src/source/file/recordings.js';
import { opened, temporaryDirectory, textsByStream, turns } from '../helpers.js';
import { type Consumer, createConsumer } from '../resume.js';

function setUp(
  contents: string[],
  options: Partial<RecordingsOptions> = {},
): { paths: string[]; consumer: Consumer } {
  const directory = temporaryDirectory();
  const paths = contents.map((content, index) => {
    const path = join(directory, `${index}.ndjson`);
    writeFileSync(path, content);
    return path;
  });
  const consumer = createConsumer((resume) =>
    createRecordingsSource(paths, { max_line_bytes: 10, one_by_one: true, ...options, resume }),
  );
  return { paths, consumer };
}

const hasTaken = (consumer: Consumer, count: number) => (): boolean => consumer.lines.length >= count;

describe('recordings', () => {
  test('are read one after the other, each as a stream that ends', async () => {
    const { paths } = setUp(['a\nb\n', '', 'c']);
    const source = createRecordingsSource(paths, { max_line_bytes: 10, one_by_one: false, resume: {} });
    expect(source.name).toBe(paths.join(', '));
    const items = await (await opened(source)).rest();
    expect(textsByStream(items)).toMatchObject({ [paths[0] ?? '']: ['a', 'b'], [paths[2] ?? '']: ['c'] });
    const ends = items.flatMap((item) => (item.kind === 'lines' && item.end ? [item.stream] : []));
    expect(ends).toEqual(paths);
  });

  test('give each line as a batch of its own on request', async () => {
    const { consumer } = setUp(['a\n\nb\nc\n']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 3));
    const counts = consumer.batches.map(({ lines }) => lines.length);
    expect(counts.filter((count) => count > 0)).toEqual([1, 1, 1]);
  });

  test('that can not be opened are reported before any is read', async () => {
    const { paths } = setUp(['a\n']);
    const source = createRecordingsSource([...paths, 'missing'], {
      max_line_bytes: 10,
      one_by_one: false,
      resume: {},
    });
    await expect(source.open()).rejects.toThrow("can't read missing: it does not exist");
  });

  test('end no stream and begin no other when reading is stopped', async () => {
    const { consumer } = setUp(['a\nb\nc\n', 'd\n']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 1));
    await turns(5);
    await consumer.stop();
    await consumer.takeAll();
    expect(consumer.batches.some(({ end }) => end)).toBe(false);
    expect(consumer.texts()).not.toContain('d');
  });
});

describe('after a restart', () => {
  test('reading continues after the last line that was taken', async () => {
    const { paths, consumer } = setUp(['a\nb\n', '\nc\nd\n']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 3));
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 4));
    expect(consumer.lines.map(({ stream, number, text }) => [stream, number, text])).toEqual([
      [paths[0], 1, 'a'],
      [paths[0], 2, 'b'],
      [paths[1], 2, 'c'],
      [paths[1], 3, 'd'],
    ]);
  });

  test('nothing is read again if everything had been read', async () => {
    const { consumer } = setUp(['a\n', 'b\n']);
    await consumer.start();
    await consumer.takeAll();
    expect(Object.keys(consumer.positions())).toEqual(['all read']);
    await consumer.start();
    await consumer.takeAll();
    expect(consumer.texts()).toEqual(['a', 'b']);
  });

  test('recordings that have changed are reported, and read from their start', async () => {
    const { paths, consumer } = setUp(['a\n', 'b\n']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 1));
    appendFileSync(paths[1] ?? '', 'c\n');
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 4));
    expect(consumer.messages).toEqual([
      `${paths.join(', ')}: changed since last read; reading from the beginning`,
    ]);
    expect(consumer.batches.find(({ end }) => end)).toMatchObject({ stream: paths[0], lines: [] });
    expect(consumer.texts()).toEqual(['a', 'a', 'b', 'c']);
  });
});

describe('the place to resume from', () => {
  const SIZE = 100_000;
  const options = { max_line_bytes: SIZE, one_by_one: true };

  test('may be before several recordings, all of which are read from there', async () => {
    const { consumer } = setUp(['a\nb\n', 'c\nd\n', 'e\n']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 1));
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 5));
    expect(consumer.texts()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('may be between two recordings: the next one is read from its first line', async () => {
    const { paths, consumer } = setUp(['a\n', 'b\nc\n']);
    await consumer.start();
    await consumer.takeUntil(() => consumer.batches.at(-1)?.stream === paths[1]);
    expect(consumer.texts()).toEqual(['a']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 3));
    expect(consumer.texts()).toEqual(['a', 'b', 'c']);
  });

  test('is the earlier one of two', async () => {
    const { paths, consumer } = setUp(['a\nb\n', 'c\n']);
    await consumer.start();
    await consumer.takeUntil(hasTaken(consumer, 1));
    const [[first = '', position] = []] = Object.entries(consumer.positions());
    const later = { ...(position as object), index: 1, after_line: 0 };
    for (const resume of [
      { [first]: position, [paths[1]!]: later },
      { [paths[1]!]: later, [first]: position },
    ]) {
      const items = await (await opened(createRecordingsSource(paths, { ...options, resume }))).rest();
      expect(textsByStream(items)).toMatchObject({ [paths[0]!]: ['b'], [paths[1]!]: ['c'] });
    }
  });

  test.each<[string, (path: string) => string]>([
    [
      'size',
      (path) => {
        appendFileSync(path, 'more\n');
        return path;
      },
    ],
    [
      'first bytes',
      (path) => {
        writeFileSync(path, 'b'.repeat(SIZE));
        return path;
      },
    ],
    [
      'name',
      (path) => {
        renameSync(path, `${path}.1`);
        return `${path}.1`;
      },
    ],
  ])('is not used if the recording has another %s', async (_, change) => {
    const { paths, consumer } = setUp(['a'.repeat(SIZE)], { max_line_bytes: SIZE });
    await consumer.start();
    await consumer.takeAll();
    const resume = consumer.positions();
    const source = createRecordingsSource([change(paths[0]!)], { ...options, resume });
    const items = await (await opened(source)).rest();
    expect(items[0]).toMatchObject({ kind: 'status', state: 'down' });
    expect(items.some((item) => item.kind === 'lines' && item.lines.length > 0)).toBe(true);
  });
});

test('a source of recordings says that it can be read again', () => {
  const source = createRecordingsSource(['a'], { max_line_bytes: 10, one_by_one: false, resume: {} });
  expect(source.is_rereadable).toBe(true);
});

test.skipIf(!existsSync('/proc/self/fd'))(
  'a file is open once while it is read, and not after it was checked',
  async () => {
    const { paths } = setUp(['a\n', 'b\n']);
    const open = (): string[] =>
      readdirSync('/proc/self/fd').flatMap((fd) => {
        const target = existsSync(`/proc/self/fd/${fd}`) ? readlinkSync(`/proc/self/fd/${fd}`) : '';
        return paths.includes(target) ? [target] : [];
      });
    expect(await checkRecordings(paths)).toBeUndefined();
    expect(await checkRecordings([...paths, 'missing'])).toContain("can't read missing");
    expect(open()).toEqual([]);
    const source = createRecordingsSource(paths, { max_line_bytes: 10, one_by_one: false, resume: {} });
    const puller = await opened(source);
    expect(open().sort()).toEqual(paths);
    await puller.rest();
    expect(open()).toEqual([]);
  },
);

const content = fc
  .array(fc.constantFrom('one', 'two', '\n', '\n', '\r\n', 'a line that is too long'), { maxLength: 15 })
  .map((parts) => parts.join(''));

property.prop(
  [fc.array(content, { minLength: 1, maxLength: 4 }), fc.array(fc.nat({ max: 5 })), fc.boolean()],
  { numRuns: 50 },
)(
  'with any restarts every line comes once and in order',
  async (contents, takes, one_by_one) => {
    const { consumer } = setUp(contents, { one_by_one });
    const whole = setUp(contents, { one_by_one }).consumer;
    for (const count of takes) {
      await consumer.start();
      await consumer.take(count);
    }
    for (const each of [consumer, whole]) {
      await each.start();
      await each.takeAll();
    }
    const told = ({ lines }: Consumer) => lines.map(({ number, text }) => [number, text]);
    expect(told(consumer)).toEqual(told(whole));
  },
  60_000,
);
