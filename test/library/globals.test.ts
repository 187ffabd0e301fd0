/**
 * The dispatcher of Node's `fetch` belongs to the host program: neither importing the library nor running a bridge replaces
 * it.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { startSink } from '../cli/sink.js';

const ROOT = resolve(import.meta.dirname, '../..');

/**
 * Prints which dispatchers differ from those at the start, after the import and after a bridge has run; and whether
 * undici's pool was loaded, and the part of undici that installs a global dispatcher. Node 24 installs its own as soon as
 * anything uses `Request`.
 */
const PROGRAM = `
import { createRequire } from 'node:module';
const isLoaded = (part) => Object.keys(createRequire('/').cache).some((path) => path.endsWith('/undici/lib/' + part));
const NAMES = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'];
const look = () => NAMES.map((name) => globalThis[Symbol.for(name)]);
const before = look();
const changed = () => NAMES.filter((_, index) => look()[index] !== before[index]);
const { createBridge } = await import('openclaw-otel-bridge');
const imported = changed();
const bridge = createBridge({
  sources: [{ kind: 'recordings', paths: ['examples/catalog.ndjson'] }],
  destinations: [{ preset: 'collector', url: process.argv[1] }],
});
await bridge.start();
await bridge.ended();
const { destinations } = await bridge.stop();
console.log(JSON.stringify({
  changed: [imported, changed()],
  loaded: ['dispatcher/pool.js', 'global.js'].map(isLoaded),
  delivered: destinations.collector.traces.delivered,
}));
`;

beforeAll(() => {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('dist is missing: run "npm run build" first');
});

async function runProgram(preparation: string): Promise<object> {
  const sink = await startSink();
  const args = ['--input-type=module', '-e', preparation + PROGRAM, sink.url];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  return JSON.parse(stdout);
}

test('undici installs no global dispatcher', { timeout: 30_000 }, async () => {
  expect(await runProgram('')).toMatchObject({ loaded: [true, false], delivered: 8 });
});

test('a dispatcher of the program stays in place', { timeout: 30_000 }, async () => {
  const own = "globalThis[Symbol.for('undici.globalDispatcher.1')] = { dispatch() {} };";
  expect(await runProgram(own)).toMatchObject({ changed: [[], []], delivered: 8 });
});
