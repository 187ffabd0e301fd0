import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { LineBatch } from '../../../src/model/source.js';
import { MAX_KNOWN_ARCHIVES } from '../../../src/source/transcripts/archives.js';
import { holdsTranscripts } from '../../../src/source/transcripts/directories.js';
import { createTranscriptsSource, type TranscriptsOptions } from '../../../src/source/transcripts/index.js';
import {
  lineText,
  opened,
  openFiles,
  type Puller,
  tellsOpenFiles,
  temporaryDirectory,
  texts,
  turns,
} from '../helpers.js';

vi.mock('node:fs', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs')>();
  return { ...original, watch: vi.fn(original.watch) };
});

/** Makes watching fail until the end of the test, as if no watches were left. */
function refuseToWatch(): void {
  vi.mocked(watch).mockImplementation(() => {
    throw new Error('no watches are left');
  });
  onTestFinished(() => void vi.mocked(watch).mockReset());
}

/** Calls the function just before the next directory is watched, whose path is returned. */
function atNextWatch(before = (): void => undefined): Promise<string> {
  const realWatch = vi.mocked(watch).getMockImplementation() as typeof watch;
  return new Promise((resolve) => {
    vi.mocked(watch).mockImplementationOnce((path, listener) => {
      before();
      resolve(String(path));
      return realWatch(path, listener);
    });
  });
}

/** Until the end of the test, the names that the system reports are passed through this function. */
function watchAs(pass: (report: (name: string | null) => void, name: string | null) => void): void {
  const realWatch = vi.mocked(watch).getMockImplementation() as typeof watch;
  vi.mocked(watch).mockImplementation((path, listener) =>
    realWatch(path, (event, changed) => pass((name) => listener?.(event, name), changed)),
  );
  onTestFinished(() => void vi.mocked(watch).mockReset());
}

/** Polls so rarely that a test can pass only by watching, and fails by its timeout otherwise. */
const WATCHING_ONLY: TranscriptsOptions = {
  max_line_bytes: 1_000_000,
  from_start: false,
  poll_interval_ms: 60_000,
  resume: {},
};
const POLLING = { ...WATCHING_ONLY, poll_interval_ms: 10 };

interface Home {
  root: string;
  sessions: string;
  /** A transcript's path. */
  path(name: string): string;
}

function home(): Home {
  const root = temporaryDirectory();
  const sessions = join(root, 'agents', 'main', 'sessions');
  mkdirSync(sessions, { recursive: true });
  return { root, sessions, path: (name) => join(sessions, `${name}.jsonl`) };
}

async function followed(root: string, options: Partial<TranscriptsOptions> = {}): Promise<Puller> {
  const source = createTranscriptsSource(`transcripts:${root}`, root, { ...WATCHING_ONLY, ...options });
  const puller = await opened(source);
  expect(await puller.batch()).toMatchObject({ stream: root, end: false, lines: [] });
  return puller;
}

/** The next batch, which must be of this stream and have these lines. */
async function expectBatch(puller: Puller, stream: string, lines: string[], end = false): Promise<LineBatch> {
  const batch = await puller.batch();
  expect({ stream: batch.stream, lines: texts([batch]), end: batch.end }).toEqual({ stream, lines, end });
  return batch;
}

describe('followed transcripts', () => {
  test('a new file is read from its start, each line when it is complete', async () => {
    const { root, path } = home();
    const puller = await followed(root);
    expect(await puller.status('up')).toBe(`following the transcripts below ${root}`);
    writeFileSync(path('a'), 'one\ntw');
    const first = await expectBatch(puller, path('a'), ['one']);
    expect(first).not.toHaveProperty('since_ms');
    appendFileSync(path('a'), 'o\nthree\n');
    const second = await puller.batch();
    expect(second.lines.map(({ number }) => number)).toEqual([2, 3]);
    expect(texts([second])).toEqual(['two', 'three']);
  });

  test('a file that existed before is read when it grows, with the time since which it is followed', async () => {
    const { root, path } = home();
    writeFileSync(path('idle'), 'never read\n');
    writeFileSync(path('a'), 'before\n');
    const before_ms = Date.now();
    const puller = await followed(root);
    const open_ms = Date.now();
    await puller.status('up');
    appendFileSync(path('a'), 'after\n');
    const { since_ms } = await expectBatch(puller, path('a'), ['before', 'after']);
    expect(since_ms).toBeGreaterThanOrEqual(before_ms);
    expect(since_ms).toBeLessThanOrEqual(open_ms);
  });

  test('what was written since an earlier time is emitted at once', async () => {
    const { root, path } = home();
    const before_ms = Date.now() - 3_600_000;
    writeFileSync(path('a'), 'since then\n');
    const puller = await followed(root, { since_ms: before_ms });
    await puller.status('up');
    await expectBatch(puller, path('a'), ['since then']);
  });

  test('files that existed before are read from their start on request', async () => {
    const { root, path } = home();
    writeFileSync(path('a'), 'before\n');
    const puller = await followed(root, { from_start: true });
    await puller.status('up');
    expect(await expectBatch(puller, path('a'), ['before'])).not.toHaveProperty('since_ms');
  });

  test('files that are not transcripts are not read', async () => {
    const { root, sessions, path } = home();
    for (const how of ['reset', 'deleted'])
      writeFileSync(`${path('a')}.${how}.2026-11-22T11-15-37.587Z`, 'before\n');
    const puller = await followed(root, { from_start: true });
    await puller.status('up');
    const others = [
      'sessions.json',
      'sessions.json.lock',
      'a.jsonl.lock',
      'a.jsonl.bak.2026-11-22T11-15-37.587Z',
      'a.jsonl.deleted.2026-11-22',
      'a.trajectory.jsonl.deleted.2026-11-22T11-15-37.587Z',
      'a.trajectory.jsonl',
      'a.trajectory-path.json',
      'a.acp-stream.jsonl',
      'a.checkpoint.0b4a1ad3-6b54-4f6e-8f0a-0d4f6c1f8b11.jsonl',
      '.a.jsonl.123.tmp',
      '.a.jsonl',
    ];
    for (const name of others) writeFileSync(join(sessions, name), 'no\n');
    const names = ['a', 'a-topic-7', '2026-11-22T11-15-37-587Z_b', 'two\nlines'];
    for (const name of names) writeFileSync(path(name), 'yes\n');
    const streams: string[] = [];
    while (streams.length < names.length) streams.push((await puller.batch()).stream);
    expect(streams.sort()).toEqual(names.map(path).sort());
  });

  test.each(['.', 'agents', 'agents/main/sessions', 'agents/main/sessions/.'])(
    'the directory may be %s',
    async (given) => {
      const { root, path } = home();
      const puller = await followed(`${root}/${given}`);
      await puller.status('up');
      writeFileSync(path('a'), 'one\n');
      await expectBatch(puller, path('a'), ['one']);
    },
  );

  test('agents that are added later are followed', async () => {
    const { root } = home();
    const puller = await followed(root);
    await puller.status('up');
    for (const agent of ['second', 'third']) {
      const sessions = join(root, 'agents', agent, 'sessions');
      mkdirSync(sessions, { recursive: true });
      writeFileSync(join(sessions, 'a.jsonl'), 'one\n');
      await expectBatch(puller, join(sessions, 'a.jsonl'), ['one']);
    }
  });

  test.each([true, false])(
    'a directory that was removed and created again is followed (at once: %s)',
    async (at_once) => {
      const { root, sessions, path } = home();
      const puller = await followed(root);
      await puller.status('up');
      writeFileSync(path('a'), 'one\n');
      await expectBatch(puller, path('a'), ['one']);
      rmSync(sessions, { recursive: true });
      if (at_once) mkdirSync(sessions);
      await expectBatch(puller, path('a'), [], true);
      if (!at_once) mkdirSync(sessions);
      writeFileSync(path('b'), 'two\n');
      await expectBatch(puller, path('b'), ['two']);
      appendFileSync(path('b'), 'three\n');
      await expectBatch(puller, path('b'), ['three']);
      writeFileSync(path('c'), 'four\n');
      await expectBatch(puller, path('c'), ['four']);
    },
  );

  test('an agent that is added when its directory is not watched yet is followed', async () => {
    const { root } = home();
    const late = join(root, 'agents', 'late', 'sessions');
    const watched = atNextWatch(() => void mkdirSync(late, { recursive: true }));
    const puller = await followed(join(root, 'agents'));
    await puller.status('up');
    expect(await watched).toBe(join(root, 'agents'));
    writeFileSync(join(late, 'a.jsonl'), 'one\n');
    await expectBatch(puller, join(late, 'a.jsonl'), ['one']);
  });

  test('changes are found even if the system does not report their names', async () => {
    const { root, path } = home();
    watchAs((report) => report(null));
    const puller = await followed(root);
    await puller.status('up');
    for (const name of ['a', 'b']) {
      writeFileSync(path(name), 'one\n');
      await expectBatch(puller, path(name), ['one']);
    }
  });

  test('a long file is not read any further once the source is closed', async () => {
    const { root, path } = home();
    writeFileSync(path('a'), 'line\n'.repeat(1_000_000));
    const source = createTranscriptsSource('transcripts', root, { ...WATCHING_ONLY, from_start: true });
    const puller = await opened(source);
    await puller.batch();
    await puller.status('up');
    await puller.batch();
    await source.close();
    expect((await puller.rest()).length).toBeLessThan(3);
  });

  test('a directory whose watch fails is watched again', async () => {
    const { root, sessions } = home();
    const puller = await followed(root, POLLING);
    await puller.status('up');
    const watched = atNextWatch();
    vi.mocked(watch).mock.results.at(-1)?.value.emit('error', new Error('it failed'));
    expect(await watched).toBe(sessions);
  });

  test.each([
    ['a state directory without agents', 'state', WATCHING_ONLY],
    ['no directory at all', 'missing/state', POLLING],
  ])('%s is waited for, and that is reported once', async (_state, name, options) => {
    const directory = temporaryDirectory();
    const root = join(directory, name);
    if (!name.startsWith('missing')) mkdirSync(root);
    const puller = await followed(root, options);
    expect(await puller.status('down')).toMatch(/^no transcripts below .* yet; .*OpenClaw's state directory/);
    const sessions = join(root, 'agents', 'main', 'sessions');
    mkdirSync(sessions, { recursive: true });
    writeFileSync(join(sessions, 'a.jsonl'), 'one\n');
    expect(await puller.status('up')).toBe(`following the transcripts below ${root}`);
    await expectBatch(puller, join(sessions, 'a.jsonl'), ['one']);
  });

  test('a path that is not a directory is refused with a reason', async () => {
    const path = join(temporaryDirectory(), 'file');
    writeFileSync(path, '');
    await expect(followed(path)).rejects.toThrow(
      `can't follow transcripts in ${path}: it is not a directory; use OpenClaw's state directory, such as ~/.openclaw`,
    );
    const loop = join(temporaryDirectory(), 'loop');
    symlinkSync(loop, loop);
    await expect(followed(loop)).rejects.toThrow(
      `can't follow transcripts in ${loop}: ELOOP; use OpenClaw's`,
    );
  });

  test('a file that is idle for a day is put aside, and counts as one that existed before when it grows', async () => {
    const { root, path } = home();
    const puller = await followed(root, POLLING);
    await puller.status('up');
    writeFileSync(path('a'), 'one\n');
    expect(await expectBatch(puller, path('a'), ['one'])).not.toHaveProperty('since_ms');
    const next_day_ms = Date.now() + 25 * 60 * 60 * 1000;
    vi.useFakeTimers({ toFake: ['Date'], now: next_day_ms });
    onTestFinished(() => void vi.useRealTimers());
    await expectBatch(puller, root, []);
    await expectBatch(puller, path('a'), [], true);
    appendFileSync(path('a'), 'two\n');
    const { since_ms } = await expectBatch(puller, `${path('a')}#2`, ['one', 'two']);
    expect(since_ms).toBe(next_day_ms - 24 * 60 * 60 * 1000);
  });

  test('a file is put aside a day after it was last read', async () => {
    const { root, path } = home();
    refuseToWatch();
    const puller = await followed(root, POLLING);
    await puller.status('up');
    writeFileSync(path('a'), 'one\n');
    await expectBatch(puller, path('a'), ['one']);
    const begin_ms = Date.now();
    onTestFinished(() => void vi.useRealTimers());
    for (const [hours, name] of [
      [20, 'a'],
      // When the second one is found, everything has been looked at.
      [43.9, 'b'],
      [43.9, 'c'],
    ] as const) {
      vi.useFakeTimers({ toFake: ['Date'], now: begin_ms + hours * 60 * 60 * 1000 });
      appendFileSync(path(name), 'two\n');
      await expectBatch(puller, path(name), ['two']);
    }
    vi.setSystemTime(begin_ms + 44.1 * 60 * 60 * 1000);
    await expectBatch(puller, root, []);
    await expectBatch(puller, path('a'), [], true);
  });

  test('lines that are written while a file is put aside are not lost', async () => {
    const { root, path } = home();
    const puller = await followed(root, POLLING);
    await puller.status('up');
    writeFileSync(path('a'), 'one\n');
    await expectBatch(puller, path('a'), ['one']);
    const next_day_ms = Date.now() + 25 * 60 * 60 * 1000;
    vi.useFakeTimers({ toFake: ['Date'], now: next_day_ms });
    onTestFinished(() => void vi.useRealTimers());
    // Its stream ends only when that is pulled.
    await expectBatch(puller, root, []);
    const written_ms = next_day_ms + 1000;
    appendFileSync(path('a'), 'two\n');
    vi.setSystemTime(written_ms + 1000);
    await expectBatch(puller, path('a'), [], true);
    const { since_ms } = await expectBatch(puller, `${path('a')}#2`, ['one', 'two']);
    expect(since_ms).toBeLessThan(written_ms);
  });

  test('changes that the system does not report are found by polling', async () => {
    const { root, path } = home();
    const target = join(temporaryDirectory(), 'elsewhere');
    writeFileSync(target, 'one\n');
    symlinkSync(target, path('link'));
    const puller = await followed(root, POLLING);
    await puller.status('up');
    appendFileSync(target, 'two\n');
    await expectBatch(puller, path('link'), ['one', 'two']);
    appendFileSync(target, 'three\n');
    await expectBatch(puller, path('link'), ['three']);
  });
});

test.each([
  ['nothing', [], false],
  ['other files of sessions', ['agents/main/sessions/sessions.json'], false],
  ['an archive', ['agents/main/sessions/a.jsonl.reset.2026-11-22T11-15-37.587Z'], false],
  [
    'files that are not in directories of sessions',
    ['a.jsonl', 'agents/a.jsonl', 'agents/main/a.jsonl'],
    false,
  ],
  ['a transcript of one of two agents', ['agents/a/sessions/x', 'agents/b/sessions/a.jsonl'], true],
])('a directory may hold transcripts: %s: %s', async (_, names, expected) => {
  const root = temporaryDirectory();
  for (const path of names.map((name) => join(root, name))) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, '');
  }
  expect(await holdsTranscripts(root)).toBe(expected);
});

test.each([
  ['tenth', 10, true],
  ['first', 1, false],
])(
  'changes that are not reported are found at the %s poll, in a file just read at once',
  async (_, at_poll, is_told) => {
    const { root, path } = home();
    const targets = temporaryDirectory();
    const append = (name: string): void => appendFileSync(join(targets, name), 'one\n');
    const link = (name: string): void => symlinkSync(join(targets, name), path(name));
    append('old');
    link('old');
    if (!is_told) refuseToWatch();
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const puller = await followed(root);
    await puller.status('up');
    const poll = (): void => void vi.advanceTimersByTime(WATCHING_ONLY.poll_interval_ms);
    append('fresh');
    link('fresh');
    if (!is_told) poll();
    await expectBatch(puller, path('fresh'), ['one']);
    append('old');
    for (let polls = 1; polls < at_poll; polls += 1) {
      // When the other file is read, this one has been read to its end: only a poll finds more in it.
      appendFileSync(path('b'), 'two\n');
      await expectBatch(puller, path('b'), ['two']);
      append('fresh');
      poll();
      await expectBatch(puller, path('fresh'), ['one']);
    }
    poll();
    await expectBatch(puller, path('old'), ['one', 'one']);
  },
);

describe('an archive that is made between two looks', () => {
  const archiveOf = (path: string): string => `${path}.reset.2026-11-22T11-15-37.587Z`;

  test('of a new transcript is read from its start', async () => {
    const { root, path } = home();
    // Well before the time of the file, which is coarser than the clock.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 60_000 });
    onTestFinished(() => void vi.useRealTimers());
    const puller = await followed(root);
    await puller.status('up');
    writeFileSync(path('a'), 'one\ntwo\nlast without a line end');
    renameSync(path('a'), archiveOf(path('a')));
    expect(await expectBatch(puller, archiveOf(path('a')), ['one', 'two'])).not.toHaveProperty('since_ms');
    expect(await expectBatch(puller, root, [])).toMatchObject({
      position: { archives: [archiveOf(path('a'))] },
    });
    await expectBatch(puller, archiveOf(path('a')), ['last without a line end'], true);
    writeFileSync(path('b'), 'three\n');
    await expectBatch(puller, path('b'), ['three']);
  });

  test('of a transcript that existed before is read if that grew, with the time since which it is followed', async () => {
    const { root, path } = home();
    for (const name of ['idle', 'grown']) {
      writeFileSync(path(name), 'before\n');
      utimesSync(path(name), 1, 1);
    }
    const puller = await followed(root);
    await puller.status('up');
    appendFileSync(path('grown'), 'after\n');
    for (const name of ['idle', 'grown']) renameSync(path(name), archiveOf(path(name)));
    const { since_ms } = await expectBatch(puller, archiveOf(path('grown')), ['before', 'after']);
    expect(since_ms).toBeLessThanOrEqual(Date.now());
    await expectBatch(puller, root, []);
    await expectBatch(puller, archiveOf(path('grown')), [], true);
    writeFileSync(path('b'), 'one\n');
    await expectBatch(puller, path('b'), ['one']);
  });

  test('of an open transcript that was rewritten is read once', async () => {
    const { root, path } = home();
    const puller = await followed(root);
    await puller.status('up');
    writeFileSync(path('a'), 'one\ntaken out\n');
    await expectBatch(puller, path('a'), ['one', 'taken out']);
    // The first file is read to its end before the second one.
    writeFileSync(path('b'), 'zero\n');
    await expectBatch(puller, path('b'), ['zero']);
    writeFileSync(path('a'), 'one\ntwo\nthree\n');
    renameSync(path('a'), archiveOf(path('a')));
    await expectBatch(puller, path('a'), [], true);
    await expectBatch(puller, `${path('a')}#2`, ['one', 'two', 'three']);
    await expectBatch(puller, root, []);
    await expectBatch(puller, `${path('a')}#2`, [], true);
    appendFileSync(path('b'), 'four\n');
    await expectBatch(puller, path('b'), ['four']);
  });

  test.each([
    ['only its directory is reported', WATCHING_ONLY, true],
    ['nothing is reported', POLLING, false],
  ])('is found even if %s, and one that existed before is not read', async (_told, options, is_told) => {
    const { root, path, sessions } = home();
    writeFileSync(archiveOf(path('old')), 'before\n');
    if (!is_told) refuseToWatch();
    const puller = await followed(root, options);
    await puller.status('up');
    const other = temporaryDirectory();
    mkdirSync(join(other, 'sessions'));
    writeFileSync(archiveOf(join(other, 'sessions', 'a.jsonl')), 'one\n');
    renameSync(other, join(root, 'agents', 'other'));
    const archive = archiveOf(join(root, 'agents', 'other', 'sessions', 'a.jsonl'));
    await expectBatch(puller, archive, ['one']);
    await expectBatch(puller, root, []);
    await expectBatch(puller, archive, [], true);
    writeFileSync(join(sessions, 'b.jsonl'), 'two\n');
    await expectBatch(puller, path('b'), ['two']);
  });

  test('is not lost behind many later ones, even if only those are reported', async () => {
    const { root, path } = home();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 60_000 });
    onTestFinished(() => void vi.useRealTimers());
    watchAs((report, name) => {
      if (!name?.startsWith('missed')) report(name);
    });
    const puller = await followed(root);
    await puller.status('up');
    const names = Array.from({ length: MAX_KNOWN_ARCHIVES }, (_, number) => `${number}`);
    for (const name of names) writeFileSync(path(name), 'one\n');
    await puller.lines(names.length);
    writeFileSync(path('missed'), 'missed\n');
    renameSync(path('missed'), archiveOf(path('missed')));
    for (const name of names) renameSync(path(name), `${path(name)}.reset.2026-11-23T00-00-00.000Z`);
    for (let ends = 0; ends < names.length; ) if ((await puller.batch()).end) ends += 1;
    // That has everything looked at.
    mkdirSync(join(root, 'agents', 'other'));
    await expectBatch(puller, archiveOf(path('missed')), ['missed']);
  });

  test('is not read again if its directory was away for a while', async () => {
    const { root, sessions, path } = home();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 60_000 });
    onTestFinished(() => void vi.useRealTimers());
    const puller = await followed(root);
    await puller.status('up');
    writeFileSync(path('a'), 'one\n');
    renameSync(path('a'), archiveOf(path('a')));
    await expectBatch(puller, archiveOf(path('a')), ['one']);
    await expectBatch(puller, root, []);
    await expectBatch(puller, archiveOf(path('a')), [], true);
    for (const name of ['b', 'c']) {
      writeFileSync(path(name), 'two\n');
      await expectBatch(puller, path(name), ['two']);
    }
    renameSync(sessions, `${sessions}-away`);
    // The stream of the first one, which has been read to its end, only ends if everything is looked at.
    const ended = [await puller.batch(), await puller.batch()];
    expect(ended.map(({ end }) => end)).toEqual([true, true]);
    renameSync(`${sessions}-away`, sessions);
    const again = [await puller.batch(), await puller.batch()];
    expect(again.map(({ stream }) => stream).sort()).toEqual(['b', 'c'].map(path));
  });

  test('of a followed transcript is read to its end, even if the system does not report it', async () => {
    const { root, path } = home();
    refuseToWatch();
    const puller = await followed(root, POLLING);
    await puller.status('up');
    writeFileSync(path('a'), 'one\n');
    await expectBatch(puller, path('a'), ['one']);
    appendFileSync(path('a'), 'two\n');
    renameSync(path('a'), archiveOf(path('a')));
    await expectBatch(puller, path('a'), ['two']);
    await expectBatch(puller, root, []);
    await expectBatch(puller, path('a'), [], true);
  });
});

describe('a transcript that does not only grow', () => {
  async function reading(...lines: string[]): Promise<Home & { puller: Puller }> {
    const directories = home();
    const puller = await followed(directories.root);
    await puller.status('up');
    writeFileSync(directories.path('a'), `${lines.join('\n')}\n`);
    await expectBatch(puller, directories.path('a'), lines);
    return { ...directories, puller };
  }

  test('is read to its end if it is replaced, and the new one from its start', async () => {
    const { puller, root, path } = await reading('one');
    const archive = `${path('a')}.reset.2026-11-22T11-15-37.587Z`;
    appendFileSync(path('a'), 'late\nlast without a line end');
    renameSync(path('a'), archive);
    writeFileSync(path('a'), 'new\n');
    await expectBatch(puller, path('a'), ['late']);
    expect(await expectBatch(puller, root, [])).toMatchObject({ position: { archives: [archive] } });
    await expectBatch(puller, path('a'), ['last without a line end'], true);
    const fresh = await expectBatch(puller, `${path('a')}#2`, ['new']);
    expect(fresh.lines).toMatchObject([{ number: 1 }]);
  });

  test('is read on while the one in its place is empty, and ends if that grows', async () => {
    const { puller, path } = await reading('one');
    const kept = `${path('a')}.bak`;
    renameSync(path('a'), kept);
    writeFileSync(path('a'), '');
    writeFileSync(path('b'), 'other\n');
    await expectBatch(puller, path('b'), ['other']);
    appendFileSync(kept, 'late\n');
    appendFileSync(path('a'), 'new\n');
    await expectBatch(puller, path('a'), ['late']);
    await expectBatch(puller, path('a'), [], true);
    await expectBatch(puller, `${path('a')}#2`, ['new']);
  });

  test('is read from its start again if it is shortened', async () => {
    const { puller, path } = await reading('one', 'two', 'three');
    truncateSync(path('a'), 8);
    await expectBatch(puller, path('a'), [], true);
    await expectBatch(puller, `${path('a')}#2`, ['one', 'two']);
  });

  test('is read from its start again if it is rewritten, even if it is longer at the next look', async () => {
    const { puller, path } = await reading('one', 'two', 'taken out');
    writeFileSync(path('a'), 'one\ntwo\nthree\nfour\nfive\nsix\n');
    await expectBatch(puller, path('a'), [], true);
    await expectBatch(puller, `${path('a')}#2`, ['one', 'two', 'three', 'four', 'five', 'six']);
  });

  test('is read from its start again if it is rewritten with the same length, even if the system does not report it', async () => {
    const { root, path } = home();
    writeFileSync(path('idle'), 'never read\n');
    refuseToWatch();
    const puller = await followed(root, POLLING);
    await puller.status('up');
    // When the third file is found, the first one has been checked and read again.
    for (const name of ['a', 'b', 'c']) {
      writeFileSync(path(name), 'one\n');
      await expectBatch(puller, path(name), ['one']);
    }
    writeFileSync(path('a'), 'two\n');
    await expectBatch(puller, path('a'), [], true);
    await expectBatch(puller, `${path('a')}#2`, ['two']);
  });

  test('ends its stream if it is removed, and the others continue', async () => {
    const { puller, path } = await reading('one');
    writeFileSync(path('b'), 'first\n');
    await expectBatch(puller, path('b'), ['first']);
    rmSync(path('a'));
    await expectBatch(puller, path('a'), [], true);
    appendFileSync(path('b'), 'second\n');
    await expectBatch(puller, path('b'), ['second']);
    writeFileSync(path('a'), 'again\n');
    await expectBatch(puller, path('a'), ['again']);
  });

  test('ends its stream if it is removed, even if the system does not report it', async () => {
    const { root, path } = home();
    refuseToWatch();
    const puller = await followed(root, { poll_interval_ms: 200 });
    await puller.status('up');
    writeFileSync(path('a'), 'one\n');
    await expectBatch(puller, path('a'), ['one']);
    // Its end has been read now, and the next look is yet to come.
    await turns(20);
    rmSync(path('a'));
    await expectBatch(puller, path('a'), [], true);
  });

  test('is reported once if it is a directory, and does not affect the others', async () => {
    const { puller, path } = await reading('one');
    mkdirSync(path('b'));
    expect(await puller.status('down')).toMatch(
      /b\.jsonl: it is a directory; .*; retrying until it can be read/,
    );
    writeFileSync(path('c'), 'two\n');
    await expectBatch(puller, path('c'), ['two']);
  });
});

describe('a transcript that can not be read', () => {
  test.each([
    ['as soon as it is removed', WATCHING_ONLY, true],
    ['at the next look', POLLING, false],
  ])('is forgotten if it is removed, %s; then all others are followed', async (_when, options, is_told) => {
    const { root, path } = home();
    if (!is_told) refuseToWatch();
    const puller = await followed(root, options);
    await puller.status('up');
    for (const name of ['a', 'b']) {
      mkdirSync(path(name));
      expect(await puller.status('down')).toContain(`${path(name)}: it is a directory`);
    }
    rmSync(path('a'), { recursive: true });
    for (const line of ['one', 'two']) {
      appendFileSync(path('c'), `${line}\n`);
      await expectBatch(puller, path('c'), [line]);
    }
    rmSync(path('b'), { recursive: true });
    expect(await puller.status('up')).toBe(`following the transcripts below ${root}`);
  });

  test('is reported with its directory if that can not be read, once, until it can', async () => {
    const { root } = home();
    const agent = join(root, 'agents', 'loop');
    symlinkSync(agent, agent);
    const puller = await followed(root, POLLING);
    await puller.status('up');
    expect(await puller.status('down')).toBe(`can't read ${agent}: ELOOP; retrying until it can be read`);
    await turns(20);
    rmSync(agent);
    expect(await puller.status('up')).toBe(`following the transcripts below ${root}`);
    const later = join(agent, 'sessions', 'a.jsonl');
    mkdirSync(dirname(later), { recursive: true });
    writeFileSync(later, 'one\n');
    await expectBatch(puller, later, ['one']);
  });

  test.runIf(tellsOpenFiles).each(['stat', 'read'] as const)(
    'is tried again until it can be read, without holding it open: %s',
    async (operation) => {
      const { root, path } = home();
      const puller = await followed(root, POLLING);
      await puller.status('up');
      const handle = await open(root);
      const failing = vi.spyOn(Object.getPrototypeOf(handle), operation);
      await handle.close();
      onTestFinished(() => failing.mockRestore());
      const open_at_last = new Promise<number>((resolve) => {
        failing.mockImplementation(async () => {
          if (failing.mock.calls.length === 5) resolve(openFiles(root));
          throw Object.assign(new Error(), { code: 'EIO' });
        });
      });
      writeFileSync(path('a'), 'one\n');
      expect(await puller.status('down')).toBe(
        `can't continue reading ${path('a')}: disk I/O error; check the disk or network mount that it is on; retrying until it can be read`,
      );
      expect(openFiles(root)).toBe(0);
      expect(await open_at_last).toBe(1);
      failing.mockRestore();
      await expectBatch(puller, path('a'), ['one']);
      await puller.status('up');
    },
  );
});

describe('many files', () => {
  test.runIf(tellsOpenFiles)('are not all held open, and each continues where it was', async () => {
    const { root, path } = home();
    const puller = await followed(root);
    await puller.status('up');
    const names = Array.from({ length: 150 }, (_, index) => `file-${index}`);
    const lines = new Map<string, string[]>();
    const pull = async (wanted: number): Promise<void> => {
      for (let count = 0; count < wanted; ) {
        const batch = await puller.batch();
        expect(batch.end).toBe(false);
        lines.set(batch.stream, [...(lines.get(batch.stream) ?? []), ...batch.lines.map(lineText)]);
        count += batch.lines.length;
      }
    };
    for (const name of names) writeFileSync(path(name), `${name}: one\nand ha`);
    await pull(names.length);
    await turns(50);
    expect(openFiles(root)).toBeLessThanOrEqual(65);
    for (const name of names) appendFileSync(path(name), 'lf a line\n');
    await pull(names.length);
    expect([...lines]).toHaveLength(names.length);
    for (const name of names) expect(lines.get(path(name))).toEqual([`${name}: one`, 'and half a line']);
  });
});

describe('any way of writing', () => {
  const line = fc
    .string({ unit: 'grapheme', maxLength: 20 })
    .map((text) => text.replaceAll(/[\r\n\ufeff]/gu, '.'));
  const chunks = fc.array(fc.nat({ max: 40 }), { maxLength: 30 });

  property.prop([fc.array(line, { minLength: 1, maxLength: 30 }), chunks], { numRuns: 40 })(
    'gives the same lines as reading the whole file',
    async (lines, lengths) => {
      const { root, path } = home();
      const source = createTranscriptsSource('transcripts', root, WATCHING_ONLY);
      const items = (await source.open())[Symbol.asyncIterator]();
      await items.next();
      await items.next();
      const wanted = lines.filter((text) => text !== '');
      let rest = Buffer.from(`${lines.join('\n')}\nend\n`);
      const writing = (async () => {
        for (const length of lengths) {
          appendFileSync(path('a'), rest.subarray(0, length));
          rest = rest.subarray(length);
          await turns(length % 4);
        }
        appendFileSync(path('a'), rest);
      })();
      const seen: string[] = [];
      while (seen.at(-1) !== 'end' || seen.length < wanted.length + 1) {
        const { value } = await items.next();
        if (value?.kind === 'lines') seen.push(...value.lines.map(lineText));
      }
      await writing;
      await source.close();
      expect(seen).toEqual([...wanted, 'end']);
    },
  );
});
