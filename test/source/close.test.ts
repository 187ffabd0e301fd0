import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createSource, isLineSource, parseSourceName } from '../../src/source/index.js';
import { createStdinSource } from '../../src/source/stdin.js';
import { opened, temporaryDirectory, turns } from './helpers.js';

/** Creates a source by its name, with waits so long that only closing can end them. */
function sourceNamed(name: string, mode: 'follow' | 'to_end' = 'follow') {
  const parsed = parseSourceName(name);
  if ('error' in parsed || !isLineSource(parsed)) throw new Error(`no such source: ${name}`);
  if (parsed.kind === 'stdin') return createStdinSource({ max_line_bytes: 1_000, input: new PassThrough() });
  return createSource(parsed, { mode, backoff: { min_ms: 1e6, max_ms: 1e6 } });
}

/** The kinds of handles that sources open, which keep a process alive. */
const HANDLE_KINDS = new Set([
  ...['FSEventWrap', 'PipeConnectWrap', 'PipeServerWrap', 'PipeWrap', 'TCPConnectWrap', 'TCPServerWrap'],
  ...['TCPSocketWrap', 'Timeout'],
]);

function handles(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => HANDLE_KINDS.has(kind));
}

/** Handles that were not open before. The test runner has handles of its own, and may close some of them meanwhile. */
function newHandles(before: string[]): string[] {
  const known = [...before];
  return handles().filter((kind) => {
    const at = known.indexOf(kind);
    if (at !== -1) known.splice(at, 1);
    return at === -1;
  });
}

function fileWith(content: string): string {
  const path = join(temporaryDirectory(), 'events.ndjson');
  writeFileSync(path, content);
  return path;
}

function directoryWithTranscript(): string {
  const sessions = join(temporaryDirectory(), 'sessions');
  mkdirSync(sessions);
  writeFileSync(join(sessions, 'a.jsonl'), 'line\n');
  return sessions;
}

describe('closing a source', () => {
  test.each<[string, () => string, ('follow' | 'to_end')?]>([
    ['stdin', () => 'stdin'],
    ['a file that is read', () => `file:${fileWith('line\n'.repeat(100_000))}`, 'to_end'],
    ['a file that does not grow', () => `file:${fileWith('')}`],
    ['a missing file', () => `file:${join(temporaryDirectory(), 'none')}`],
    ['a missing server', () => `unix:${join(temporaryDirectory(), 'none.sock')}`],
    ['a port on which nobody listens', () => 'tcp:127.0.0.1:9'],
    ['a socket to listen on', () => `listen:unix:${join(temporaryDirectory(), 'in.sock')}`],
    ['a port to listen on', () => 'listen:tcp:0'],
    ['missing transcripts', () => `transcripts:${temporaryDirectory()}`],
    ['followed transcripts', () => `transcripts:${directoryWithTranscript()}`],
  ])('leaves no handle open: %s', async (_state, name, mode) => {
    await turns(5);
    const before = handles();
    const source = sourceNamed(name(), mode);
    const items = await source.open();
    const iterator = items[Symbol.asyncIterator]();
    const first = iterator.next();
    await turns(20);
    await source.close();
    await first;
    for (let result = await iterator.next(); !result.done; result = await iterator.next());
    // The event loop releases a closed handle at the end of a turn.
    await turns(5);
    expect(newHandles(before)).toEqual([]);
  });

  test('ends the stream of a connection that nobody pulls from', async () => {
    const path = join(temporaryDirectory(), 'peer.sock');
    const server = createServer((socket) => {
      socket.on('error', () => undefined).write('line\n'.repeat(100_000));
    });
    await once(server.listen(path), 'listening');
    onTestFinished(() => void server.close());
    const source = sourceNamed(`unix:${path}`);
    const puller = await opened(source);
    await puller.status('up');
    await puller.batch();
    await source.close();
    const rest = await puller.rest();
    expect(rest.at(-1)).toMatchObject({ end: true });
  });

  test.each([
    ['before it is opened', 'stdin'],
    ['while it is opened', 'listen:tcp:0'],
  ])('%s ends its iteration', async (state, name) => {
    const source = sourceNamed(name);
    if (state === 'before it is opened') await source.close();
    const opening = source.open();
    await source.close();
    const statuses = [];
    for await (const item of await opening) statuses.push(item);
    expect(statuses.length).toBeLessThan(2);
  });
});
