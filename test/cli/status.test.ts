/** What `status` says of sources, and `status --check`, by which whoever looks after a bridge sees whether it is at work. */
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { LEDGER, type Ledger } from '../../src/keep/ledger.js';
import { openStore, type Store } from '../../src/store/index.js';
import { test } from './concurrent.js';
import { DEAD_URL, type Ended, expectNoStack, runToEnd, start, temporaryDirectory } from './program.js';

const check = (directory: string): Promise<Ended> => runToEnd(['status', '--check', '--data-dir', directory]);

/** Waits for the ledger of a start that has just begun. */
async function untilHealthy(directory: string): Promise<void> {
  for (let tries = 0; (await check(directory)).status !== 0; tries++) expect(tries).toBeLessThan(50);
}

/** The store of a bridge that this process is. */
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

test('it is 0 while a bridge runs, though its destination takes nothing, and 1 once it has ended', async () => {
  const directory = temporaryDirectory();
  const to = ['--to', `otlp=${DEAD_URL}`, '--data-dir', directory];
  const program = start(['run', '--from', 'stdin', ...to, '--drain', '0']);
  await untilHealthy(directory);
  program.signal('SIGTERM');
  expectNoStack(await program.ended);
  const { status, stderr } = await check(directory);
  expect(status).toBe(1);
  expect(stderr).toContain(`no bridge is running on ${directory}`);
});

test('it shows a source that can not be reached, and since when, until the bridge is gone', async () => {
  const directory = temporaryDirectory();
  const at = ['--data-dir', directory];
  const source = `unix:${join(directory, 'nobody.sock')}`;
  const program = start(['run', '--from', source, '--to', `otlp=${DEAD_URL}`, ...at, '--drain', '0']);
  await program.untilLogged(/nobody\.sock/);
  const told = new RegExp(`source +${source}  0 lines · 0 events · for \\d+.* m?s: .*nobody\\.sock.*`);
  await vi.waitFor(async () => {
    expect((await runToEnd(['status', ...at])).stdout).toMatch(told);
  }, 20_000);
  program.signal('SIGTERM');
  await program.ended;
  const { stdout } = await runToEnd(['status', ...at]);
  expect(stdout).toContain('0 lines · 0 events\n');
});

test('it is 1 after a kill, and where no bridge has ever run', async () => {
  const directory = temporaryDirectory();
  expect(await check(directory)).toMatchObject({ status: 1 });
  const program = start(['run', '--from', 'stdin', '--to', `otlp=${DEAD_URL}`, '--data-dir', directory]);
  await untilHealthy(directory);
  program.signal('SIGKILL');
  await program.ended;
  const { status, stdout, stderr } = await check(directory);
  expect(status).toBe(1);
  expect(stdout).toContain('was killed');
  expect(stderr).toContain('no bridge is running');
});

test('it is 1 where a bridge is there and has written nothing down for long', async () => {
  const directory = temporaryDirectory();
  const store = openOwn(directory);
  await writeLedger(store, Date.now() - 20_000);
  const { status, stdout, stderr } = await check(directory);
  expect(status).toBe(1);
  expect(stdout).toContain('running since');
  expect(stderr).toMatch(/has written nothing down for [\d.]+ (s|m)/);
  // Ahead of the clock, since a start can take long on a busy machine.
  await writeLedger(store, Date.now() + 60_000);
  expect(await check(directory)).toMatchObject({ status: 0, stderr: '' });
  await store.close();
});

test('a process that is there is no bridge, whatever the ledger says', async () => {
  const directory = temporaryDirectory();
  const store = openOwn(directory);
  await writeLedger(store, Date.now());
  await store.close();
  const { status, stdout } = await check(directory);
  expect(status).toBe(1);
  expect(stdout).toContain('was killed');
});
