/**
 * The store between processes: a single owner, others beside it, and what remains when a process is killed at any moment.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkStore, readRecord } from '../../src/store/check.js';
import { putRecord } from '../../src/store/database.js';
import { openStore, updateShared } from '../../src/store/open.js';
import type { Store } from '../../src/store/store.js';

const OPEN = new URL('../../dist/store/open.js', import.meta.url);

let directory: string;
let children: ChildProcess[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'store-'));
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  rmSync(directory, { recursive: true, force: true });
});

/** Runs `body` in a child process, with `store`, `findings` and `say`, which prints a value as a line of JSON. */
function run(body: string, shell = 'exec "$@"') {
  const script = `
    import { openStore } from ${JSON.stringify(OPEN.href)};
    const { store, findings, problem } = openStore(${JSON.stringify(directory)}, { access: 'own' });
    const say = (line) => process.stdout.write(JSON.stringify(line) + '\\n');
    if (problem !== undefined) say({ problem });
    else { ${body} }
  `;
  const node = [process.execPath, '--input-type=module', '-e', script];
  const child = spawn('sh', ['-c', shell, 'sh', ...node], { stdio: ['pipe', 'pipe', 'pipe'] });
  children.push(child);
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const closed = once(child, 'close');
  return {
    child,
    lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](),
    ended: closed.then(() => stderr),
  };
}

const next = async (lines: AsyncIterator<string>): Promise<unknown> => {
  const { value } = await lines.next();
  return value === undefined ? undefined : JSON.parse(value);
};

function open(): { store: Store; findings: string[] } {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  return opened;
}

const WAIT = `say('open'); process.stdin.resume(); process.stdin.on('end', async () => { await store.close(); say('closed'); });`;

test('a directory has one owner, which is named to the next process', async () => {
  const { child, lines, ended } = run(WAIT);
  expect(await next(lines)).toBe('open');
  const problem = `${directory} is in use by process ${child.pid}; stop that process, or give another data directory`;
  expect(openStore(directory, { access: 'own' })).toEqual({ problem, is_taken: true });
  expect(checkStore(directory)).toMatchObject({ kind: 'owned', owner: { pid: child.pid } });
  child.stdin?.end();
  expect(await next(lines)).toBe('closed');
  expect(await ended).toBe('');
  const { store } = open();
  expect(openStore(directory, { access: 'own' })).toMatchObject({
    problem: expect.stringContaining(`${process.pid}`),
  });
  await store.close();
});

test('the next owner can start at once after the previous one was killed', async () => {
  const { child, lines } = run(WAIT);
  await next(lines);
  child.kill('SIGKILL');
  await once(child, 'close');
  const { store, findings } = open();
  expect(findings).toEqual([]);
  await store.close();
});

test('a process with the pid of an earlier owner is not mistaken for it', async () => {
  const { store } = open();
  await store.close();
  const owner = { pid: process.pid, started: 'another-boot/1' };
  updateShared(directory, (db) => putRecord(db, 'owner', Buffer.from(JSON.stringify(owner))));
  if (process.platform === 'linux') await open().store.close();
});

test('of many processes that start at once, one becomes the owner', async () => {
  const starts = Array.from({ length: 6 }, () => run(WAIT));
  const said = await Promise.all(starts.map(({ lines }) => next(lines)));
  expect(said.filter((line) => line === 'open')).toHaveLength(1);
  expect(said.filter((line) => line !== 'open')).toEqual(
    Array(5).fill({ problem: expect.stringContaining('is in use by process') }),
  );
});

test('other processes read and write beside the owner', async () => {
  expect(openStore(directory, { access: 'share' })).toEqual({
    problem: `there is no store in ${directory} yet; the first run creates it`,
    is_taken: false,
  });
  const { child, lines } = run(`
    await store.write([{ key: 'a', value: Buffer.from('one') }]);
    say('written');
    for await (const _ of process.stdin) {
      // A write of another process makes the file grow beyond what this process has mapped.
      const grown = await store.write([{ key: 'b', value: Buffer.alloc(3_000_000, 1) }]);
      say([grown, store.get('c')?.length, store.get('b')?.length]);
    }
  `);
  await next(lines);
  const opened = openStore(directory, { access: 'share' });
  if ('problem' in opened) throw new Error(opened.problem);
  expect(Buffer.from(opened.store.get('a') ?? '').toString()).toBe('one');
  await opened.store.write([{ key: 'c', value: Buffer.alloc(8_000_000, 2) }]);
  child.stdin?.write('go');
  expect(await next(lines)).toEqual([{ ok: true }, 8_000_000, 3_000_000]);
  expect(opened.store.get('b')?.length).toBe(3_000_000);
  await opened.store.close();
});

test('without an owner a store is created on request, together with its directory', async () => {
  const missing = join(directory, 'a', 'b');
  const problem = `there is no store in ${missing} yet; the first run creates it`;
  expect(openStore(missing, { access: 'share' })).toEqual({ problem, is_taken: false });
  expect(updateShared(missing, (db) => putRecord(db, 'device', Buffer.from('key')))).toEqual({
    value: undefined,
  });
  expect(Buffer.from(readRecord(missing, 'device') ?? '').toString()).toBe('key');
  expect([missing, join(missing, 'data.mdb')].map((path) => statSync(path).mode & 0o777)).toEqual([
    0o700, 0o600,
  ]);
  const opened = openStore(missing, { access: 'own' });
  expect(opened).toMatchObject({ findings: [] });
  if ('store' in opened) await opened.store.close();
});

test('a store of a newer format is not touched', async () => {
  await open().store.close();
  updateShared(directory, (db) => putRecord(db, 'format', Buffer.from('2')));
  const before = readFileSync(join(directory, 'data.mdb'));
  const problem = `the store in ${directory} has format 2, but this version reads only up to format 1; start the newer version that created it, or give another data directory`;
  expect(openStore(directory, { access: 'own' })).toEqual({ problem, is_taken: true });
  expect(openStore(directory, { access: 'share' })).toEqual({ problem, is_taken: false });
  expect(readFileSync(join(directory, 'data.mdb')).equals(before)).toBe(true);
});

/** Call N puts record N and removes record N - 20, so the records show how many calls took effect. */
const WRITER = `
  let n = 0;
  const lane = async () => {
    for (;;) {
      n += 1;
      const call = n;
      const value = Buffer.alloc(call % 7 === 0 ? 65_536 : 300, call);
      await store.write([
        { key: 'last', value: Buffer.from(String(call)) },
        { key: 'n/' + String(call).padStart(9, '0'), value },
        { key: 'n/' + String(call - 20).padStart(9, '0') },
      ]);
      say(call);
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
`;

test('killed at any moment, a store has all that was reported as written, and a prefix of the rest', {
  timeout: 60_000,
}, async () => {
  for (let kill = 1; kill <= 6; kill += 1) {
    rmSync(directory, { recursive: true, force: true });
    const { child, lines, ended } = run(WRITER);
    const until = 1 + Math.floor(Math.random() * 400);
    let told = 0;
    while (told < until) told = Math.max(told, Number(await next(lines)));
    child.kill('SIGKILL');
    for (let line = await next(lines); line !== undefined; line = await next(lines)) {
      told = Math.max(told, Number(line));
    }
    await ended;
    const { store, findings } = open();
    expect(findings).toEqual([]);
    const last = Number(Buffer.from(store.get('last') ?? '').toString());
    expect(last, `told ${told}`).toBeGreaterThanOrEqual(told);
    const numbers = [...store.entries('n/')].map(({ key, value }) => {
      const call = Number(key.slice(2));
      expect(Buffer.alloc(call % 7 === 0 ? 65_536 : 300, call).equals(value)).toBe(true);
      return call;
    });
    const first = Math.max(1, last - 19);
    expect(numbers).toEqual(Array.from({ length: last - first + 1 }, (_, i) => first + i));
    await store.close();
  }
});

test.skipIf(process.platform === 'win32')(
  'a full disk makes writes fail with a message, and damages nothing',
  async () => {
    // The shell's blocks are 512 or 1,024 bytes.
    const { lines, ended } = run(
      `
    const value = Buffer.alloc(65_536, 7);
    const keys = [];
    let written;
    do {
      written = await store.write([{ key: 'k/' + keys.length, value }, { key: 'count', value: Buffer.from(String(keys.length)) }]);
      if (written.ok) keys.push('k/' + keys.length);
    } while (written.ok);
    say([written, keys.length, Number(Buffer.from(store.get('count')).toString()) + 1, [...store.entries('k/')].length]);
    say(await Promise.all([1, 2, 3].map(() => store.write([{ key: 'k/more', value }]))));
    say(await store.write(keys.slice(10).map((key) => ({ key }))));
    const too_large = Buffer.alloc(32 * 1024 * 1024);
    say(await Promise.all([too_large, value].map((each) => store.write([{ key: 'k/more', value: each }]))));
    await store.write([]);
    await store.write([{ key: 'count' }]);
    say(await store.write([{ key: 'again', value }]));
    await store.close();
    say(findings);
  `,
      'ulimit -f 16000; exec "$@"',
    );
    const [written, ...counts] = (await next(lines)) as [unknown, number, number, number];
    const full = { ok: false, message: 'the file size limit is exceeded' };
    expect(written).toEqual(full);
    expect(new Set(counts).size).toBe(1);
    expect(counts[0]).toBeGreaterThan(20);
    expect(await next(lines)).toEqual([full, full, full]);
    expect(await next(lines)).toEqual({ ok: true });
    // A write after one that does not fit fails with it.
    expect(await next(lines)).toEqual([full, full]);
    expect(await next(lines)).toEqual({ ok: true });
    expect(await next(lines)).toEqual([]);
    expect(await ended).toBe('');
    const { store, findings } = open();
    expect(findings).toEqual([]);
    expect([...store.entries('')]).toHaveLength(11);
    await store.close();
  },
);

test.each([
  ['a file in its place', () => join(fileURLToPath(import.meta.url))],
  ['a file above it', () => join(fileURLToPath(import.meta.url), 'data')],
])('%s is reported', (_name, path) => {
  expect(openStore(path(), { access: 'own' })).toEqual({
    problem: expect.stringContaining(`can't use the store in ${path()}: `),
    is_taken: false,
  });
});
