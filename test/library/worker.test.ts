/** The library in a worker thread, which may not change process-wide state. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { startSink } from '../cli/sink.js';

const LIBRARY = resolve(import.meta.dirname, '../../dist/index.js');

/** Posts a message when its bridge has started, and its counters when it has been told to stop. */
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads');
(async () => {
  const { createBridge } = await import(workerData.library);
  const bridge = createBridge(workerData.options);
  await bridge.start();
  parentPort.once('message', async () => parentPort.postMessage(await bridge.stop()));
  parentPort.postMessage('started');
})();
`;

const EVENTS = [
  { type: 'agent.started', ts: 1_000, session_key: 's', run_id: 'r' },
  { type: 'agent.finished', ts: 2_000, session_key: 's', run_id: 'r', status: 'ok' },
];

test('a bridge in a worker listens on a socket that only its owner may use', {
  timeout: 30_000,
}, async () => {
  if (!existsSync(LIBRARY)) throw new Error('dist is missing: run "npm run build" first');
  const directory = mkdtempSync(join(tmpdir(), 'worker-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'in.sock');
  const { url } = await startSink();
  const options = { sources: [{ kind: 'listen', path }], destinations: [{ preset: 'collector', url }] };
  const workerData = { library: pathToFileURL(LIBRARY).href, options };
  const worker = new Worker(PROGRAM, { eval: true, workerData });
  onTestFinished(() => void worker.terminate());

  expect(await once(worker, 'message')).toEqual(['started']);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const producer = connect(path);
  producer.end(EVENTS.map((event) => `${JSON.stringify(event)}\n`).join(''));
  await once(producer.resume(), 'close');
  worker.postMessage('stop');
  const [summary] = await once(worker, 'message');
  expect(summary).toMatchObject({
    source: { events: 2 },
    destinations: { collector: { traces: { delivered: 1 } } },
  });
  expect(readdirSync(directory)).toEqual([]);
});
