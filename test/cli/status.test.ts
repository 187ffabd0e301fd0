/** The sources in `status`, and `status --check`, which a supervisor uses to see whether a bridge is working. */
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { LEDGER, type Ledger } from '../../src/persistence/ledger.js';
import { openStore, type Store } from '../../src/store/index.js';
import { test } from './concurrent.js';
import { DEAD_URL, type Ended, expectNoStack, runToEnd, start, temporaryDirectory } from './program.js';

const check = (directory: string): Promise<Ended> => runToEnd(['status', '--check', '--data-dir', directory]);

/** Waits for the status record of a bridge that is starting. */
async function untilHealthy(directory: string): Promise<void> {
  for (let tries = 0; (await check(directory)).status !== 0; tries++) expect(tries).toBeLessThan(50);
}

/** Opens the store as its owner, like a bridge. */
function openOwn(directory: string): Store {
  const opened = openStore(directory, { access: 'own' });
  if ('problem' in opened) throw new Error(opened.problem);
  return opened.store;
}

async function writeLedger(store: Store, updated_ms: number): Promise<void> {
  const ledger: Ledger = {
    version: 1,
    pid: process.pid,
    running: true,
    started_ms: updated_ms,
    updated_ms,
    store_bytes: 0,
    sources: {},
    runs: { opened: 0, ended: 0, open: 0 },
    destinations: {},
  };
  await store.write([{ key: LEDGER, value: Buffer.from(JSON.stringify(ledger)) }]);
}

test('--check: 0 while a bridge runs, even if its destination is unreachable, and 1 once it has ended', async () => {
  const directory = temporaryDirectory();
  const to = ['--to', `otlp=${DEAD_URL}`, '--data-dir', directory];
  const program = start(['run', '--from', 'stdin', ...to, '--drain', '0']);
  await untilHealthy(directory);
  program.signal('SIGTERM');
  expectNoStack(await program.ended);
  const { status, stderr } = await check(directory);
  expect(status).toBe(1);
  expect(stderr).toContain(`no bridge is running with the data directory ${directory}`);
});

test('status shows an unreachable source, and since when, until the bridge has ended', async () => {
  const directory = temporaryDirectory();
  const at = ['--data-dir', directory];
  const source = `unix:${join(directory, 'nobody.sock')}`;
  const program = start(['run', '--from', source, '--to', `otlp=${DEAD_URL}`, ...at, '--drain', '0']);
  await program.untilLogged(/nobody\.sock/);
  const told = new RegExp(`source +${source}  0 lines · 0 events · down for \\d+.* m?s: .*nobody\\.sock.*`);
  await vi.waitFor(async () => {
    expect((await runToEnd(['status', ...at])).stdout).toMatch(told);
  }, 20_000);
  program.signal('SIGTERM');
  await program.ended;
  const { stdout } = await runToEnd(['status', ...at]);
  expect(stdout).toContain('0 lines · 0 events\n');
});

test('--check: 1 after a kill, and in a directory where no bridge has run', async () => {
  const directory = temporaryDirectory();
  expect(await check(directory)).toMatchObject({ status: 1 });
  const program = start(['run', '--from', 'stdin', '--to', `otlp=${DEAD_URL}`, '--data-dir', directory]);
  await untilHealthy(directory);
  program.signal('SIGKILL');
  await program.ended;
  const { status, stdout, stderr } = await check(directory);
  expect(status).toBe(1);
  expect(stdout).toContain('killed, last seen');
  expect(stderr).toContain('no bridge is running');
});

test('--check: 1 if the bridge has not updated its status for long', async () => {
  const directory = temporaryDirectory();
  const store = openOwn(directory);
  await writeLedger(store, Date.now() - 20_000);
  const { status, stdout, stderr } = await check(directory);
  expect(status).toBe(1);
  expect(stdout).toContain('running since');
  expect(stderr).toMatch(/has stored nothing for [\d.]+ (s|m)/);
  // Ahead of the clock, since starting the program can take long on a busy machine.
  await writeLedger(store, Date.now() + 60_000);
  expect(await check(directory)).toMatchObject({ status: 0, stderr: '' });
  await store.close();
});

test('another process with the recorded pid is not mistaken for a bridge', async () => {
  const directory = temporaryDirectory();
  const store = openOwn(directory);
  await writeLedger(store, Date.now());
  await store.close();
  const { status, stdout } = await check(directory);
  expect(status).toBe(1);
  expect(stdout).toContain('killed, last seen');
});
