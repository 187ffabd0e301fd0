import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { connect } from '../../../src/source/socket/connect.js';
import { type Backoff, backoffDelay, createSocketSource } from '../../../src/source/socket/socket.js';
import { flood, opened, temporaryDirectory, texts, turns } from '../helpers.js';

const AT_ONCE: Backoff = { min_ms: 1, max_ms: 2 };
const NEVER: Backoff = { min_ms: 1e6, max_ms: 1e6 };
const LINE_LIMIT_BYTES = 1_000_000;

/** The server that a source connects to. */
interface Peer {
  server: Server;
  name: string;
  address: { path: string } | { host: string; port: number };
  connection(): Promise<Socket>;
}

function connectionOf(server: Server): () => Promise<Socket> {
  const arrived: Socket[] = [];
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    arrived.push(socket);
  });
  return async () => {
    if (arrived.length === 0) await once(server, 'connection');
    const [socket] = arrived.splice(0, 1);
    return socket!;
  };
}

async function unixPeer(path = join(temporaryDirectory(), 'peer.sock')): Promise<Peer> {
  const server = createServer();
  const connection = connectionOf(server);
  await once(server.listen(path), 'listening');
  onTestFinished(() => void server.close());
  return { server, name: `unix:${path}`, address: { path }, connection };
}

async function tcpPeer(): Promise<Peer> {
  const server = createServer();
  const connection = connectionOf(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { server, name: `tcp:127.0.0.1:${port}`, address: { host: '127.0.0.1', port }, connection };
}

const sourceOf = ({ name, address }: Pick<Peer, 'name' | 'address'>, backoff = AT_ONCE, random = () => 0) =>
  createSocketSource(name, address, { max_line_bytes: LINE_LIMIT_BYTES, backoff, random });

describe.each([
  ['unix', unixPeer],
  ['tcp', tcpPeer],
])('a %s connection', (_kind, createPeer) => {
  test('gives the lines as they come', async () => {
    const peer = await createPeer();
    const puller = await opened(sourceOf(peer));
    const server = await peer.connection();
    expect(await puller.status('up')).toBe(`connected to ${peer.name}`);
    server.write('one\ntw');
    expect(await puller.batch()).toMatchObject({
      stream: `${peer.name}#1`,
      end: false,
      lines: [{ number: 1 }],
    });
    server.write('o\n');
    expect(await puller.lines(1)).toEqual(['two']);
  });

  test('reconnects after the other side has ended, and begins with a new line', async () => {
    const peer = await createPeer();
    const puller = await opened(sourceOf(peer));
    (await peer.connection()).end('one\nhal');
    await puller.status('up');
    expect(await puller.lines(1)).toEqual(['one']);
    expect(await puller.batch()).toMatchObject({
      stream: `${peer.name}#1`,
      end: true,
      lines: [{ number: 2, bytes: Buffer.from('hal') }],
    });
    expect(await puller.status('down')).toBe(
      `${peer.name} closed the connection; reconnecting until it answers`,
    );
    (await peer.connection()).write('two\n');
    await puller.status('up');
    const batch = await puller.batch();
    expect(batch).toMatchObject({ stream: `${peer.name}#2`, end: false, lines: [{ number: 1 }] });
    expect(texts([batch])).toEqual(['two']);
  });

  test('skips a line of 5 MB and reads the next', async () => {
    const peer = await createPeer();
    const puller = await opened(sourceOf(peer));
    (await peer.connection()).write(`${'x'.repeat(5_000_000)}\nnext\n`);
    expect(await puller.lines(2)).toEqual(['line_too_long', 'next']);
  });

  test('makes the server wait while nothing is pulled', async () => {
    const peer = await createPeer();
    const puller = await opened(sourceOf(peer));
    const server = await peer.connection();
    await puller.status('up');
    await flood(server, puller);
  });

  test('emits what has been read when it is closed, and ends', async () => {
    const peer = await createPeer();
    const source = sourceOf(peer);
    const puller = await opened(source);
    const server = await peer.connection();
    await puller.status('up');
    server.write('one\nhal');
    expect(await puller.lines(1)).toEqual(['one']);
    const disconnected = once(server, 'close');
    server.resume();
    await source.close();
    await disconnected;
    const rest = await puller.rest();
    expect(rest).toMatchObject([{ end: true, lines: [{ skipped: 'line_incomplete' }] }]);
  });
});

describe('connecting', () => {
  test('reports once that nobody answers, and keeps trying', async () => {
    const path = join(temporaryDirectory(), 'peer.sock');
    let tries = 0;
    let triedOften: () => void;
    const often = new Promise<void>((resolve) => {
      triedOften = resolve;
    });
    const random = () => {
      tries += 1;
      if (tries === 5) triedOften();
      return 0;
    };
    const puller = await opened(sourceOf({ name: `unix:${path}`, address: { path } }, AT_ONCE, random));
    expect(await puller.status('down')).toBe(
      `can't connect to unix:${path}: it does not exist; retrying until it answers`,
    );
    await often;
    const peer = await unixPeer(path);
    expect(await puller.status('up')).toBe(`connected to unix:${path}`);
    (await peer.connection()).write('one\n');
    expect(await puller.lines(1)).toEqual(['one']);
  });

  test('reports an address that refuses the connection', async () => {
    const peer = await tcpPeer();
    peer.server.close();
    await once(peer.server, 'close');
    const puller = await opened(sourceOf(peer, NEVER));
    expect(await puller.status('down')).toBe(
      `can't connect to ${peer.name}: connection refused; retrying until it answers`,
    );
  });

  test('reports a reset with its reason', async () => {
    const peer = await tcpPeer();
    const puller = await opened(sourceOf(peer));
    const server = await peer.connection();
    await puller.status('up');
    server.write('one\nhal');
    expect(await puller.lines(1)).toEqual(['one']);
    server.resetAndDestroy();
    expect(await puller.batch()).toMatchObject({ end: true, lines: [{ skipped: 'line_incomplete' }] });
    expect(await puller.status('down')).toBe(
      `lost the connection to ${peer.name}: the connection was reset; reconnecting until it answers`,
    );
  });

  test('survives and reports a reset before anything is pulled', async () => {
    const peer = await tcpPeer();
    const puller = await opened(sourceOf(peer));
    const server = await peer.connection();
    await turns(100);
    server.resetAndDestroy();
    await turns(100);
    await puller.status('up');
    expect(await puller.batch()).toMatchObject({ end: true, lines: [] });
    expect(await puller.status('down')).toContain('the connection was reset');
  });

  test('loses no lines that were read before a reset while nothing is pulled', async () => {
    const peer = await tcpPeer();
    const puller = await opened(sourceOf(peer));
    const server = await peer.connection();
    await puller.status('up');
    server.write('one\n');
    expect(await puller.lines(1)).toEqual(['one']);
    for (const line of ['two\n', 'three\n']) {
      await new Promise((resolve) => server.write(line, resolve));
      await turns(100);
    }
    server.resetAndDestroy();
    await turns(100);
    expect(await puller.lines(2)).toEqual(['two', 'three']);
  });

  test('backs off exponentially up to a limit, with jitter', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2000 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, jitter) => {
        const at = (random: number) => backoffDelay(failures, { min_ms: 200, max_ms: 5000 }, () => random);
        const longest_ms = Math.min(5000, 200 * 2 ** failures);
        expect(at(0)).toBe(longest_ms);
        expect(at(jitter)).toBeGreaterThanOrEqual(longest_ms / 2);
        expect(at(jitter)).toBeLessThanOrEqual(longest_ms);
      }),
    );
  });

  describe('backs off', () => {
    /** The first waits, in ms, for a server that does this with every connection. */
    async function waitsFor(act: (socket: Socket) => void) {
      const peer = await unixPeer();
      peer.server.on('connection', act);
      const timers = vi.spyOn(globalThis, 'setTimeout');
      onTestFinished(() => timers.mockRestore());
      let waits = 0;
      let waitedOften = (): void => undefined;
      const often = new Promise<void>((resolve) => {
        waitedOften = resolve;
      });
      // Called once per wait, for its jitter.
      const random = (): number => {
        waits += 1;
        if (waits === 7) waitedOften();
        return 0;
      };
      const source = sourceOf(peer, { min_ms: 1, max_ms: 16 }, random);
      const puller = await opened(source);
      const rest = puller.rest();
      await often;
      await source.close();
      await rest;
      return timers.mock.calls.map(([, wait_ms]) => wait_ms).slice(0, 6);
    }

    test('from a server that closes every connection without sending anything', async () => {
      expect(await waitsFor((socket) => void socket.end())).toEqual([1, 2, 4, 8, 16, 16]);
    });

    test('no longer once something has been received', async () => {
      expect(await waitsFor((socket) => void socket.end('{}\n'))).toEqual([1, 1, 1, 1, 1, 1]);
    });
  });

  test('waits 10 s for an answer, and any time for the first data', async () => {
    const { address } = await unixPeer();
    const limits = vi.spyOn(Socket.prototype, 'setTimeout');
    onTestFinished(() => limits.mockRestore());
    const socket = await connect(address, new AbortController().signal);
    expect(limits.mock.calls.map(([limit_ms]) => limit_ms)).toEqual([10_000, 0]);
    const [, giveUp] = limits.mock.calls[0]!;
    giveUp?.();
    expect(socket).toMatchObject({ destroyed: true, errored: { message: 'no answer within 10 s' } });
  });

  test('leaves no connection if it is stopped', async () => {
    const { address, server } = await unixPeer();
    expect(await connect(address, AbortSignal.abort())).toMatchObject({ name: 'AbortError' });
    await turns(100);
    const open = await new Promise((resolve) => server.getConnections((_, count) => resolve(count)));
    expect(open).toBe(0);
  });

  test('reports each loss of a connection', async () => {
    const peer = await unixPeer();
    const puller = await opened(sourceOf(peer));
    for (let connections = 0; connections < 2; connections++) {
      (await peer.connection()).end();
      expect(await puller.status('up')).toBe(`connected to ${peer.name}`);
      expect(await puller.batch()).toMatchObject({ end: true });
      expect(await puller.status('down')).toContain('closed the connection');
    }
  });
});
