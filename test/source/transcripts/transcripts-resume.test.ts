/** Followed transcripts across restarts of their reader. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { MAX_KNOWN_ARCHIVES } from '../../../src/source/transcripts/archives.js';
import { createTranscriptsSource } from '../../../src/source/transcripts/index.js';
import { openFiles, tellsOpenFiles, temporaryDirectory } from '../helpers.js';
import { type Consumer, createConsumer } from '../resume.js';

interface Home {
  root: string;
  /** A transcript's path. */
  path(name: string): string;
  consumer: Consumer;
  /** Appends a text, and takes items until the line `last` has come. */
  taking(name: string, text: string, last: string): Promise<void>;
  /** Renames a transcript as OpenClaw does, each time with a later time; returns the archive's path. */
  archive(name: string, at?: string): string;
  /** Starts, and takes everything that comes from the existing files. */
  startAndTakeAll(): Promise<void>;
}

function home(options: { from_start?: boolean } = {}): Home {
  const root = temporaryDirectory();
  const sessions = join(root, 'agents', 'main', 'sessions');
  mkdirSync(sessions, { recursive: true });
  const path = (name: string): string => join(sessions, `${name}.jsonl`);
  let archived_s = 0;
  let starts = 0;
  const consumer = createConsumer((resume) =>
    createTranscriptsSource(`transcripts:${root}`, root, {
      max_line_bytes: 1_000,
      from_start: false,
      poll_interval_ms: 20,
      ...options,
      resume,
    }),
  );
  async function taking(name: string, text: string, last: string): Promise<void> {
    appendFileSync(path(name), text);
    await consumer.takeUntil(() => consumer.texts().includes(last));
  }
  return {
    root,
    path,
    consumer,
    taking,
    archive(name, at = stampOf(++archived_s)) {
      const archived = `${path(name)}.${archived_s % 2 === 0 ? 'reset' : 'deleted'}.${at}`;
      renameSync(path(name), archived);
      return archived;
    },
    async startAndTakeAll() {
      await consumer.start();
      await taking(`zz${++starts}`, `all of start ${starts}\n`, `all of start ${starts}`);
    },
  };
}

/** The time of an archive as OpenClaw writes it. */
const stampOf = (second: number): string =>
  new Date(Date.UTC(2026, 10, 22) + second * 1000).toISOString().replaceAll(':', '-');

/** Sets the clock until the end of the test; the times of files stay those of the system. */
function setClock(now_ms: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: now_ms });
  onTestFinished(() => void vi.useRealTimers());
}

const textsOf = (consumer: Consumer, stream: string): string[] =>
  consumer.lines.filter((line) => line.stream === stream).map(({ text }) => text);

const sinceOf = (consumer: Consumer, stream: string): (number | undefined)[] =>
  consumer.batches.filter((batch) => batch.stream === stream).map(({ since_ms }) => since_ms);

describe('after a restart', () => {
  test('a transcript continues where it was, with the same stream and line numbers', async () => {
    const { path, consumer, taking } = home();
    await consumer.start();
    await taking('a', 'one\ntwo\nhal', 'two');
    await consumer.stop();
    appendFileSync(path('a'), 'f\nfour\n');
    await consumer.start();
    await taking('a', '', 'four');
    const numbers = [1, 2, 3, 4];
    expect(consumer.texts()).toEqual(['one', 'two', 'half', 'four']);
    expect(consumer.lines.map(({ stream, number }) => [stream, number])).toEqual(
      numbers.map((number) => [path('a'), number]),
    );
    expect(consumer.batches.some(({ end }) => end)).toBe(false);
  });

  test('a transcript that was created meanwhile is new as a whole, even if it is a copy with an old time', async () => {
    const { path, consumer, taking } = home();
    // Well before the times of the files, which are coarser than the clock.
    setClock(Date.now() - 60_000);
    await consumer.start();
    await taking('a', 'one\n', 'one');
    await consumer.stop();
    writeFileSync(path('b'), 'new\n');
    utimesSync(path('b'), 1, 1);
    await consumer.start();
    await taking('b', '', 'new');
    expect(sinceOf(consumer, path('b'))).toEqual([undefined]);
  });

  test('a transcript that existed at the first start and grew meanwhile is followed from that start on', async () => {
    const { root, path, consumer } = home();
    writeFileSync(path('a'), 'before\n');
    await consumer.start();
    await consumer.takeUntil(() => root in consumer.positions());
    const { since_ms } = consumer.positions()[root] as { since_ms: number };
    await consumer.stop();
    appendFileSync(path('a'), 'after\n');
    await consumer.start();
    await consumer.takeUntil(() => consumer.lines.length === 2);
    expect(textsOf(consumer, path('a'))).toEqual(['before', 'after']);
    expect(sinceOf(consumer, path('a'))).toEqual([since_ms]);
    await consumer.start();
    appendFileSync(path('a'), 'later\n');
    await consumer.takeUntil(() => consumer.lines.length === 3);
    expect(sinceOf(consumer, path('a'))).toEqual([since_ms, since_ms]);
  });

  test('a transcript that existed at the first start and never grew is not read', async () => {
    const { root, path, consumer, taking } = home();
    writeFileSync(path('idle'), 'before\n');
    setClock(Date.now() + 60_000);
    await consumer.start();
    await consumer.takeUntil(() => root in consumer.positions());
    setClock(Date.now() + 60_000);
    await consumer.start();
    await taking('a', 'one\n', 'one');
    // A new agent has everything looked at.
    const other = join(root, 'agents', 'other', 'sessions', 'a.jsonl');
    mkdirSync(dirname(other), { recursive: true });
    writeFileSync(other, 'two\n');
    await consumer.takeUntil(() => other in consumer.positions());
    await taking('a', 'three\n', 'three');
    expect(textsOf(consumer, path('idle'))).toEqual([]);
    expect(Object.keys(consumer.positions())).toEqual([root, path('a'), other]);
    const since_ms = (consumer.positions()[root] as { since_ms: number }).since_ms;
    await taking('idle', 'after\n', 'after');
    expect(sinceOf(consumer, path('idle'))).toEqual([since_ms]);
  });

  test('transcripts are read from their start on request, also those from which nothing was taken', async () => {
    const { root, path, consumer } = home({ from_start: true });
    writeFileSync(path('a'), 'before\n');
    await consumer.start();
    await consumer.takeUntil(() => root in consumer.positions());
    await consumer.start();
    await consumer.takeUntil(() => consumer.lines.length === 1);
    expect(sinceOf(consumer, path('a'))).toEqual([undefined]);
  });

  test('a transcript that was put aside before does not count as new after a restart', async () => {
    const { root, path, consumer, taking } = home();
    await consumer.start();
    await taking('a', 'one\n', 'one');
    const next_day_ms = Date.now() + 25 * 60 * 60 * 1000;
    setClock(next_day_ms);
    await consumer.takeUntil(() => consumer.batches.at(-1)?.end === true);
    expect(Object.keys(consumer.positions())).toEqual([root]);
    await consumer.start();
    await taking('a', 'two\n', 'two');
    expect(sinceOf(consumer, path('a')).at(-1)).toBe(next_day_ms - 24 * 60 * 60 * 1000);
  });

  test('a transcript that was idle across a restart is put aside after a day', async () => {
    const { path, consumer, taking } = home();
    await consumer.start();
    await taking('a', 'one\n', 'one');
    setClock(Date.now() + 25 * 60 * 60 * 1000);
    await consumer.start();
    await consumer.takeUntil(() => consumer.batches.at(-1)?.end === true);
    expect(consumer.batches.at(-1)).toMatchObject({ stream: path('a'), lines: [] });
  });

  test.each([
    ['rewritten', writeFileSync],
    [
      'replaced',
      (path: string, text: string): void => {
        writeFileSync(`${path}.tmp`, text);
        renameSync(`${path}.tmp`, path);
      },
    ],
  ])('a transcript that was %s is read from its start, as a new stream', async (_how, write) => {
    const { path, consumer, taking } = home();
    await consumer.start();
    await taking('a', 'one\ntwo\n', 'two');
    await consumer.stop();
    write(path('a'), `one\n${'x'.repeat(1_001)}\nthree\nfour\n`);
    await consumer.start();
    await taking('a', '', 'four');
    expect(textsOf(consumer, path('a'))).toEqual(['one', 'two']);
    expect(textsOf(consumer, `${path('a')}#2`)).toEqual(['one', 'line_too_long', 'three', 'four']);
    expect(consumer.batches.filter(({ end }) => end).map(({ stream }) => stream)).toEqual([path('a')]);
    await consumer.start();
    await taking('a', 'five\n', 'five');
    expect(consumer.lines.at(-1)).toEqual({ stream: `${path('a')}#2`, number: 5, text: 'five' });
    await taking('b', 'six\n', 'six');
    expect(consumer.batches.filter(({ end }) => end)).toHaveLength(1);
  });

  test('a transcript that was archived is read to its end, then the one in its place', async () => {
    const { path, consumer, taking } = home();
    await consumer.start();
    await taking('a', 'one\n', 'one');
    await consumer.stop();
    appendFileSync(path('a'), 'late\n');
    renameSync(path('a'), `${path('a')}.reset.2026-11-22T11-15-37.587Z`);
    writeFileSync(path('a'), 'new\n');
    await consumer.start();
    await taking('a', '', 'new');
    expect(textsOf(consumer, path('a'))).toEqual(['one', 'late']);
    expect(textsOf(consumer, `${path('a')}#2`)).toEqual(['new']);
  });

  test('the stream of a transcript that was removed ends', async () => {
    const { root, path, consumer, taking } = home();
    await consumer.start();
    await taking('a', 'one\n', 'one');
    await consumer.stop();
    rmSync(path('a'));
    await consumer.start();
    await consumer.takeUntil(() => consumer.batches.at(-1)?.end === true);
    expect(Object.keys(consumer.positions())).toEqual([root]);
  });
});

describe('an archive', () => {
  /** The lines that the tests wrote themselves, without those of `startAndTakeAll`. */
  const told = (consumer: Consumer): string[] =>
    consumer.texts().filter((text) => !text.startsWith('all of start'));

  test('of a transcript that was created meanwhile is read from its start, once', async () => {
    const { root, path, consumer, archive, startAndTakeAll } = home();
    setClock(Date.now() - 60_000);
    await startAndTakeAll();
    await consumer.stop();
    writeFileSync(path('a'), 'one\ntwo\nwithout a line end');
    const archived = archive('a');
    // A copy with an old time, archived at a full second.
    writeFileSync(path('b'), 'three\n');
    utimesSync(path('b'), 1, 1);
    archive('b', stampOf(2).replace('.000', ''));
    writeFileSync(path('a.trajectory'), 'no transcript\n');
    archive('a.trajectory');
    await startAndTakeAll();
    expect(told(consumer)).toEqual(['one', 'two', 'without a line end', 'three']);
    expect(textsOf(consumer, archived)).toEqual(['one', 'two', 'without a line end']);
    expect(sinceOf(consumer, archived)).toEqual([undefined, undefined]);
    expect(Object.keys(consumer.positions())).not.toContain(archived);
    await startAndTakeAll();
    expect(told(consumer)).toHaveLength(4);
    expect(consumer.positions()).toHaveProperty([root, 'archives', 'length'], 2);
  });

  test('that existed at the first start is never read', async () => {
    const { path, consumer, archive, startAndTakeAll } = home();
    writeFileSync(path('a'), 'before\n');
    archive('a');
    for (let starts = 0; starts < 3; starts += 1) await startAndTakeAll();
    expect(told(consumer)).toEqual([]);
  });

  test('is not read after a start of an earlier version, which did not remember archives', async () => {
    const { root, path, archive } = home();
    writeFileSync(path('a'), 'before\n');
    archive('a');
    const source = createTranscriptsSource('transcripts', root, {
      max_line_bytes: 1_000,
      from_start: false,
      poll_interval_ms: 20,
      resume: { [root]: { since_ms: 1 } },
    });
    onTestFinished(() => source.close());
    const items = (await source.open())[Symbol.asyncIterator]();
    await items.next();
    writeFileSync(path('b'), 'first\n');
    let next = await items.next();
    while (next.value?.kind !== 'lines') next = await items.next();
    expect(next.value.stream).toBe(path('b'));
  });

  test('of a transcript that was followed is not read again', async () => {
    const { root, path, consumer, taking, archive, startAndTakeAll } = home();
    await startAndTakeAll();
    await taking('a', 'one\n', 'one');
    archive('a');
    await consumer.takeUntil(() => consumer.batches.at(-1)?.end === true);
    await taking('b', 'two\n', 'two');
    await consumer.stop();
    appendFileSync(path('b'), 'three\n');
    archive('b');
    for (let starts = 0; starts < 2; starts += 1) await startAndTakeAll();
    expect(told(consumer)).toEqual(['one', 'two', 'three']);
    expect(textsOf(consumer, path('b'))).toEqual(['two', 'three']);
    await consumer.stop();
    if (tellsOpenFiles) expect(openFiles(root)).toBe(0);
  });

  test('of a transcript that existed at the first start is read if that grew, and followed from that start on', async () => {
    const { root, path, consumer, archive, startAndTakeAll } = home();
    writeFileSync(path('grown'), 'before\n');
    writeFileSync(path('idle'), 'before\n');
    utimesSync(path('idle'), 1, 1);
    await startAndTakeAll();
    const { since_ms } = consumer.positions()[root] as { since_ms: number };
    await consumer.stop();
    appendFileSync(path('grown'), 'after\n');
    const archived = archive('grown');
    archive('idle');
    await startAndTakeAll();
    expect(told(consumer)).toEqual(['before', 'after']);
    expect(new Set(sinceOf(consumer, archived))).toEqual(new Set([since_ms]));
  });

  test('of a transcript that was rewritten meanwhile is read from its start', async () => {
    const { path, consumer, taking, archive, startAndTakeAll } = home();
    await startAndTakeAll();
    await taking('a', 'one\ntwo\n', 'two');
    await consumer.stop();
    // The same inode, as if the system had reused that of a removed file.
    writeFileSync(path('a'), 'three\nfour\n');
    const archived = archive('a');
    await startAndTakeAll();
    expect(textsOf(consumer, archived)).toEqual(['three', 'four']);
    expect(Object.keys(consumer.positions())).not.toContain(path('a'));
  });

  test('is read whatever the clocks say', async () => {
    const { path, consumer, archive, startAndTakeAll } = home();
    const now_ms = Date.now();
    writeFileSync(path('old'), 'before\n');
    archive('old', stampOf(1_000_000));
    setClock(now_ms - 60_000);
    await startAndTakeAll();
    await consumer.stop();
    // OpenClaw's clock was set back, and then that of the bridge.
    writeFileSync(path('a'), 'one\n');
    archive('a', stampOf(-1_000_000));
    vi.setSystemTime(now_ms - 24 * 60 * 60 * 1000);
    await startAndTakeAll();
    expect(told(consumer)).toEqual(['one']);
    writeFileSync(path('b'), 'two\n');
    await consumer.stop();
    archive('b', stampOf(2_000_000));
    vi.setSystemTime(now_ms + 60 * 60 * 1000);
    for (let starts = 0; starts < 2; starts += 1) await startAndTakeAll();
    expect(told(consumer)).toEqual(['one', 'two']);
  });

  test('among many is read once, and the latest ones are remembered', async () => {
    const { root, path, consumer, archive, startAndTakeAll } = home();
    const count = 2 * MAX_KNOWN_ARCHIVES;
    const archiveAll = (name: string): void => {
      for (let number = 0; number < count; number += 1) {
        writeFileSync(path(`${name}${number}`), `${name}${number}\n`);
        archive(`${name}${number}`);
      }
    };
    archiveAll('before ');
    await startAndTakeAll();
    expect(told(consumer)).toEqual([]);
    await consumer.stop();
    archiveAll('');
    await consumer.start();
    await consumer.takeUntil(() => told(consumer).length === count / 2);
    for (let starts = 0; starts < 2; starts += 1) await startAndTakeAll();
    expect(told(consumer)).toEqual(Array.from({ length: count }, (_, number) => `${number}`));
    expect(consumer.positions()).toHaveProperty([root, 'archives', 'length'], MAX_KNOWN_ARCHIVES);
    expect(Object.keys(consumer.positions())).not.toContain(expect.stringContaining('.reset.'));
  });

  test.each([1, MAX_KNOWN_ARCHIVES])(
    'that comes while the bridge follows is not lost behind later ones, if the bridge is killed after %i of them',
    async (ends) => {
      const { path, consumer, archive, startAndTakeAll } = home();
      await startAndTakeAll();
      const names = Array.from({ length: MAX_KNOWN_ARCHIVES }, (_, number) => `${number}-a`);
      for (const each of names) writeFileSync(path(each), `${each}\n`);
      await consumer.takeUntil(() => told(consumer).length === names.length);
      writeFileSync(path('missed'), 'missed\n');
      for (const each of ['missed', ...names]) archive(each);
      await consumer.takeUntil(() => consumer.batches.filter(({ end }) => end).length === ends);
      for (let starts = 0; starts < 2; starts += 1) await startAndTakeAll();
      expect(told(consumer).toSorted()).toEqual(['missed', ...names].toSorted());
    },
    60_000,
  );

  test('is read once wherever the bridge is killed meanwhile', async () => {
    const lines = Array.from({ length: 400 }, (_, number) => `${number} ${'x'.repeat(500)}`);
    for (let taken = 1, is_through = false; !is_through; taken += 1) {
      const { path, consumer, archive, startAndTakeAll } = home();
      await startAndTakeAll();
      await consumer.stop();
      writeFileSync(path('a'), `${lines.join('\n')}\nwithout a line end`);
      archive('a');
      writeFileSync(path('b'), 'later\n');
      archive('b');
      await consumer.start();
      await consumer.take(taken);
      is_through = told(consumer).length > lines.length + 1;
      for (let starts = 0; starts < 2; starts += 1) await startAndTakeAll();
      expect(told(consumer)).toEqual([...lines, 'without a line end', 'later']);
    }
  });
});

type Step = { name: string; text: string } | { take: number } | 'restart';

const name = fc.constantFrom('there', 'also there', 'new');
const text = fc
  .array(fc.constantFrom('#', '#\n', '#\n', '#\r\n', 'é'), { minLength: 1, maxLength: 8 })
  .map((parts) => parts.join(''));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ name, text }) },
  { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.constant('restart' as const) },
);

describe('any appends and restarts', () => {
  property.prop([fc.array(step, { minLength: 5, maxLength: 40 })], { numRuns: 40 })(
    'give every line of every file once and in order',
    async (steps) => {
      const { root, path, consumer } = home();
      let number = 0;
      const append = (to: string, added: string): void =>
        appendFileSync(
          path(to),
          added.replaceAll('#', () => `<${++number}>`),
        );
      for (const each of ['there', 'also there']) append(each, '#\n#');
      await consumer.start();
      await consumer.takeUntil(() => root in consumer.positions());
      const position = consumer.positions()[root];
      for (const each of steps) {
        if (each === 'restart') await consumer.start();
        else if ('take' in each) await consumer.take(each.take);
        else append(each.name, each.text);
      }
      const names = ['there', 'also there', 'new'];
      for (const each of names) append(each, '\nend\n');
      const hasAll = (): boolean => consumer.texts().filter((line) => line === 'end').length === names.length;
      await consumer.takeUntil(hasAll);
      await consumer.stop();
      for (const each of names) {
        const written = readFileSync(path(each), 'utf8').split(/\r?\n/);
        expect(textsOf(consumer, path(each))).toEqual(written.filter((line) => line !== ''));
        if (each !== 'new')
          expect(sinceOf(consumer, path(each))).toEqual(
            sinceOf(consumer, path(each)).map(() => (position as { since_ms: number }).since_ms),
          );
      }
      expect(consumer.positions()[root]).toEqual(position);
    },
    60_000,
  );
});

type ArchivingStep = { name: string; lines: number } | { archive: string } | { take: number } | 'restart';

const archivingStep: fc.Arbitrary<ArchivingStep> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ name, lines: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ archive: name }) },
  { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.constant('restart' as const) },
);

describe('any appends, archivings and restarts', () => {
  property.prop([fc.array(archivingStep, { minLength: 5, maxLength: 40 })], { numRuns: 40 })(
    'give every line of every file once',
    async (steps) => {
      const { path, consumer, archive, startAndTakeAll } = home();
      const written: string[] = [];
      const append = (to: string, lines: number): void => {
        for (let line = 0; line < lines; line += 1) {
          written.push(`<${written.length}>`);
          appendFileSync(path(to), `${written.at(-1)}\n`);
        }
      };
      for (const each of ['there', 'also there']) appendFileSync(path(each), 'before\n');
      await startAndTakeAll();
      for (const each of steps) {
        if (each === 'restart') await consumer.start();
        else if ('take' in each) await consumer.take(each.take);
        else if ('lines' in each) append(each.name, each.lines);
        else if (existsSync(path(each.archive))) archive(each.archive);
      }
      const told = (): string[] => consumer.texts().filter((line) => line.startsWith('<'));
      await consumer.takeUntil(() => told().length >= written.length);
      for (let starts = 0; starts < 2; starts += 1) await startAndTakeAll();
      expect(told().toSorted()).toEqual(written.toSorted());
    },
    60_000,
  );
});
