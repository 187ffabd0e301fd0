/** What Node's `fetch` sends with is the program's that the library is in: neither the import nor a bridge that runs changes it. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { startSink } from '../cli/sink.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** Tells which of the dispatchers are others than at its start, after the import and after a bridge has run. */
const PROGRAM = `
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
console.log(JSON.stringify({ imported, ran: changed(), delivered: destinations.collector.traces.delivered }));
`;

beforeAll(() => {
  if (!existsSync(join(ROOT, 'dist/index.js'))) throw new Error('dist is missing: run "npm run build" first');
});

test.each([
  ['none that is installed', ''],
  ["one of the program's own", "globalThis[Symbol.for('undici.globalDispatcher.1')] = { dispatch() {} };"],
])('%s stays as it is', { timeout: 30_000 }, async (_, preparation) => {
  const sink = await startSink();
  const args = ['--input-type=module', '-e', preparation + PROGRAM, sink.url];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  expect(JSON.parse(stdout)).toEqual({ imported: [], ran: [], delivered: 8 });
});
