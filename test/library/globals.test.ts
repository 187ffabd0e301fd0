/** What Node's `fetch` sends with is the program's that the library is in: neither the import nor a bridge that runs changes it. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { startSink } from '../cli/sink.js';

const ROOT = resolve(import.meta.dirname, '../..');

/**
 * Tells which of the dispatchers are others than at its start, after the import and after a bridge has run; and whether the part of
 * undici was loaded that installs its own, beside one that was: Node 24 installs its own when anybody looks at \`Request\`.
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

test('undici installs none', { timeout: 30_000 }, async () => {
  expect(await runProgram('')).toMatchObject({ loaded: [true, false], delivered: 8 });
});

test("one of the program's own stays as it is", { timeout: 30_000 }, async () => {
  const own = "globalThis[Symbol.for('undici.globalDispatcher.1')] = { dispatch() {} };";
  expect(await runProgram(own)).toMatchObject({ changed: [[], []], delivered: 8 });
});
