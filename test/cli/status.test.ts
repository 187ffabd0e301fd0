/** The sources in `status`, and `status --check`, which a supervisor uses to see whether a bridge is working. */
import { join } from 'node:path';
import { describe, expect, vi } from 'vitest';
import { DEAD_LETTERS_PREFIX } from '../../src/model/delivery.js';
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

async function writeLedger(store: Store, updated_ms: number, fields: Partial<Ledger> = {}): Promise<void> {
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
    ...fields,
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

describe('what is shown of a bridge', () => {
  const HOUR_MS = 3_600_000;
  const counts = { lines: 2, events: 1, ignored: { 'event.tick': 1 }, rejected: { json: 1 } };

  /** A ledger of an hour ago, of whatever there is to show. */
  function ledgerOf(now_ms: number): Partial<Ledger> {
    const since_ms = now_ms - 30 * HOUR_MS;
    return {
      started_ms: Date.UTC(2026, 10, 1),
      store_bytes: 2_500_000,
      sources: {
        'unix:/in\u001b[2J': { ...counts, condition: { state: 'down', message: 'nobody answers', since_ms } },
        'file:/日志': {
          ...counts,
          ignored: {},
          rejected: {},
          condition: { state: 'up', message: 'fine', since_ms },
        },
      },
      runs: { opened: 3, ended: 2, open: 1, with_gap: 1, given_up: { late: 4 } },
      destinations: {
        otlp: {
          traces: { produced: 9, delivered: 8, pending: 0, rejected: { 'http.400': 1 }, dropped: {} },
          logs: {
            produced: 9,
            delivered: 5,
            pending: 2,
            pending_since_ms: since_ms,
            rejected: {},
            dropped: { 'memory.limit': 2 },
            last_error: { message: 'HTTP 503', at_ms: since_ms },
          },
        },
      },
    };
  }

  async function shown(directory: string): Promise<string> {
    const { status, stdout, stderr } = await runToEnd(['status', '--data-dir', directory]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.replaceAll(directory, '/here');
  }

  test('that runs: everything that it has counted, and what is wrong now', async () => {
    const directory = temporaryDirectory();
    const store = openOwn(directory);
    await writeLedger(store, Date.now(), ledgerOf(Date.now()));
    expect(await shown(directory)).toBe(`\
bridge                      running since 2026-11-01T00:00:00.000Z, process ${process.pid}
store                       /here · 2.4 MB
source        unix:/in�[2J  2 lines · 1 event · 1 ignored: 1 event.tick · 1 bad: 1 json · down for 1 d 06 h: nobody answers
source        file:/日志    2 lines · 1 event
runs                        3 opened · 2 ended · 1 open · 1 with a gap · 4 given up: 4 late
otlp          traces        9 produced · 8 delivered · 0 pending · 1 rejected: 1 http.400
otlp          logs          9 produced · 5 delivered · 2 pending (oldest: 1 d 06 h) · 2 dropped: 2 memory.limit · last error 1 d 06 h ago: HTTP 503
dead letters                none
`);
    await store.close();
  });

  test('that has stopped: since when, and no longer how its sources are', async () => {
    const directory = temporaryDirectory();
    const store = openOwn(directory);
    await writeLedger(store, Date.now() - 25 * HOUR_MS, { ...ledgerOf(Date.now()), running: false });
    await store.write([{ key: `${DEAD_LETTERS_PREFIX}1`, value: Buffer.from('{}') }]);
    await store.close();
    const lines = (await shown(directory)).split('\n');
    expect(lines[0]).toBe('bridge                      stopped 1 d 01 h ago');
    expect(lines[2]).toMatch(/ 2 lines · 1 event · 1 ignored: 1 event\.tick · 1 bad: 1 json$/);
    expect(lines[7]).toBe('dead letters                1; run `dead-letters list` to see them');
  });
});
