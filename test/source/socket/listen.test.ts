import { once } from 'node:events';
import { existsSync, linkSync, mkdirSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { link } from 'node:fs/promises';
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { parseSourceName } from '../../../src/source/parse.js';
import {
  boundAddress,
  createListenSource,
  listen,
  MAX_CONNECTIONS,
} from '../../../src/source/socket/listen.js';
import { flood, opened, type Puller, temporaryDirectory, texts, textsByStream } from '../helpers.js';

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>();
  return { ...original, link: vi.fn(original.link) };
});

/** Makes the next link fail. */
const failToLink = (code: string): void =>
  void vi.mocked(link).mockRejectedValueOnce(Object.assign(new Error(code), { code }));

const LINE_LIMIT_BYTES = 1_000_000;

const listenUnix = (path: string) => createListenSource(`listen:unix:${path}`, { path }, LINE_LIMIT_BYTES);
const listenTcp = (port: number) =>
  createListenSource(`listen:tcp:${port}`, { host: '127.0.0.1', port }, LINE_LIMIT_BYTES);

/** Connects as a producer. */
async function produce(address: NetConnectOpts): Promise<Socket> {
  const socket = connect(address);
  socket.on('error', () => undefined);
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const write = (socket: Socket, data: string | Buffer) =>
  new Promise((resolve) => socket.write(data, resolve));

async function listeningPort(puller: Puller): Promise<number> {
  const message = await puller.status('up');
  expect(message).toMatch(/^listen:tcp:127\.0\.0\.1:\d+ accepts connections$/);
  return Number(/:(\d+) /.exec(message)?.[1]);
}

describe('producers', () => {
  test('are a stream each, even if they are interleaved byte by byte', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const source = listenUnix(path);
    const puller = await opened(source);
    const a = await produce({ path });
    const b = await produce({ path });
    const ofA = '{"from":"a"}\r\n{"é":1}\n';
    const ofB = '{"from":"b"}\n\n{"b":2}';
    const [bytesA, bytesB] = [Buffer.from(ofA), Buffer.from(ofB)];
    for (let index = 0; index < Math.max(bytesA.length, bytesB.length); index += 1) {
      if (index < bytesA.length) await write(a, bytesA.subarray(index, index + 1));
      if (index < bytesB.length) await write(b, bytesB.subarray(index, index + 1));
    }
    const items = [await puller.next()];
    const ended = () => items.filter((item) => item.kind === 'lines' && item.end).length;
    a.end();
    b.end();
    while (ended() < 2) items.push(await puller.next());
    expect(textsByStream(items)).toEqual({
      [`listen:unix:${path}#1`]: ['{"from":"a"}', '{"é":1}'],
      [`listen:unix:${path}#2`]: ['{"from":"b"}', '{"b":2}'],
    });
  });

  test('are not affected by others that misbehave', async () => {
    const puller = await opened(listenTcp(0));
    const port = await listeningPort(puller);
    const address = { host: '127.0.0.1', port };
    const good = await produce(address);
    await write(good, 'one\n');
    expect(await puller.lines(1)).toEqual(['one']);

    const endless = await produce(address);
    const written = write(endless, 'x'.repeat(5_000_000));
    expect(await puller.lines(1)).toEqual(['line_too_long']);
    await written;
    const broken = await produce(address);
    await write(broken, 'whole\nhal');
    expect(await puller.lines(1)).toEqual(['whole']);
    broken.resetAndDestroy();
    expect(await puller.lines(1)).toEqual(['line_incomplete']);

    await write(good, 'two\n');
    expect(await puller.lines(1)).toEqual(['two']);
    await write(endless, '\nnext\n');
    expect(await puller.lines(1)).toEqual(['next']);
  });

  test('may be many without a warning about a leak', async () => {
    const warned: Error[] = [];
    const hear = (warning: Error): void => void warned.push(warning);
    process.on('warning', hear);
    onTestFinished(() => void process.off('warning', hear));
    const path = join(temporaryDirectory(), 'in.sock');
    const puller = await opened(listenUnix(path));
    for (let index = 0; index < 20; index += 1) await write(await produce({ path }), 'one\n');
    expect(await puller.lines(20)).toHaveLength(20);
    expect(warned).toEqual([]);
  });

  test('are made to wait while nothing is pulled', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const puller = await opened(listenUnix(path));
    await puller.status('up');
    await flood(await produce({ path }), puller);
  });

  test('are limited in number, including those that have ended and still wait for the consumer', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const puller = await opened(listenUnix(path));
    const name = `listen:unix:${path}`;
    for (let index = 0; index < MAX_CONNECTIONS + 3; index += 1) {
      const socket = await produce({ path });
      socket.resume().end();
      await once(socket, 'close');
    }
    const over = await produce({ path });
    await once(over.resume(), 'close');
    await puller.status('up');
    for (let index = 1; index <= MAX_CONNECTIONS; index += 1) {
      expect(await puller.batch()).toMatchObject({ stream: `${name}#${index}`, end: true, lines: [] });
    }
    expect(await puller.status('down')).toBe(
      `${name} can't accept connections: 1024 are open, the maximum; new ones are refused until one ends`,
    );
    const again = await produce({ path });
    await write(again, 'one\n');
    expect(await puller.status('up')).toBe(`${name} accepts connections again`);
    expect(await puller.lines(1)).toEqual(['one']);
    await write(await produce({ path }), 'two\n');
    expect(texts([await puller.batch()])).toEqual(['two']);
  });

  test('are disconnected when the source is closed, and what was read from them is emitted', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const source = listenUnix(path);
    const puller = await opened(source);
    await puller.status('up');
    const producers = [await produce({ path }), await produce({ path })];
    for (const producer of producers) await write(producer, 'one\nhal');
    expect(await puller.lines(2)).toEqual(['one', 'one']);
    const disconnected = producers.map((producer) => once(producer.resume(), 'close'));
    await source.close();
    await Promise.all(disconnected);
    expect(texts(await puller.rest())).toEqual(['line_incomplete', 'line_incomplete']);
  });
});

describe('the address to listen on', () => {
  test('is a socket file that only its owner can access, whatever the umask, and that is removed on close', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'in.sock');
    const umask = process.umask(0);
    onTestFinished(() => void process.umask(umask));
    const source = listenUnix(path);
    await opened(source);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(0);
    expect(readdirSync(directory)).toEqual(['in.sock']);
    await source.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  test('is left to another source if somebody has removed the socket in the meantime', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const first = listenUnix(path);
    await (await opened(first)).status('up');
    unlinkSync(path);
    const puller = await opened(listenUnix(path));
    await first.close();
    await write(await produce({ path }), 'one\n');
    expect(await puller.lines(1)).toEqual(['one']);
  });

  test('goes to one of several sources that open it at the same time', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const sources = Array.from({ length: 5 }, () => listenUnix(path));
    const tries = await Promise.allSettled(sources.map((source) => opened(source)));
    const refused = tries.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    expect(refused.map(({ name }) => name)).toEqual(Array(4).fill('SourceError'));
    for (const { message } of refused) expect(message).toMatch(/another process is listening|already exists/);
    const [puller] = tries.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    await write(await produce({ path }), 'one\n');
    expect(await puller?.lines(1)).toEqual(['one']);
  });

  test('may be a socket in a directory with the longest possible path', async () => {
    const above = temporaryDirectory();
    const max_bytes = process.platform === 'linux' ? 98 : 94;
    const directory = join(above, 'x'.repeat(max_bytes - above.length - 1));
    mkdirSync(directory);
    const path = join(directory, 'i.sock');
    expect(parseSourceName(`listen:unix:${path}`)).toMatchObject({ kind: 'listen' });
    const puller = await opened(listenUnix(path));
    await write(await produce({ path }), 'one\n');
    expect(await puller.lines(1)).toEqual(['one']);
  });

  test('may be a socket on which nobody answers, which is replaced', async () => {
    const directory = temporaryDirectory();
    const [path, stale] = [join(directory, 'in.sock'), join(directory, 'stale.sock')];
    const server = createServer();
    await once(server.listen(path), 'listening');
    linkSync(path, stale);
    server.close();
    await once(server, 'close');
    expect(statSync(stale).isSocket()).toBe(true);

    const puller = await opened(listenUnix(stale));
    await write(await produce({ path: stale }), 'one\n');
    expect(await puller.lines(1)).toEqual(['one']);
  });

  test('is refused if another process answers on the socket, and the socket stays', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const puller = await opened(listenUnix(path));
    const second = listenUnix(path);
    const failure = second.open();
    await expect(failure).rejects.toThrow(
      `can't listen on listen:unix:${path}: another process is listening there; stop it or use another path`,
    );
    await expect(failure).rejects.toMatchObject({ name: 'SourceError' });
    await second.close();
    await puller.status('up');
    await write(await produce({ path }), 'one\n');
    expect(await puller.lines(1)).toEqual(['one']);
  });

  test('is left by the connection that found out that another process answers', async () => {
    const path = join(temporaryDirectory(), 'in.sock');
    const server = createServer();
    onTestFinished(() => void server.close());
    await once(server.listen(path), 'listening');
    const probed = once(server, 'connection');
    await expect(listenUnix(path).open()).rejects.toThrow('another process is listening there');
    const [connection] = (await probed) as [Socket];
    await once(connection.resume(), 'close');
  });

  test('may be in a file system that can not link sockets', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'in.sock');
    failToLink('EPERM');
    const puller = await opened(listenUnix(path));
    expect(readdirSync(directory)).toEqual(['in.sock']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await write(await produce({ path }), 'one\n');
    expect(await puller.lines(1)).toEqual(['one']);
  });

  test('is no longer listened on, and nothing is left, if the socket can not be put there', async () => {
    const directory = temporaryDirectory();
    failToLink('EIO');
    const server = createServer();
    await expect(listen('name', server, { path: join(directory, 'in.sock') })).rejects.toThrow(
      "can't listen on name: ",
    );
    expect(server.listening).toBe(false);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('is shown with brackets if it is IPv6', () => {
    const at = (address: object | string | null) => boundAddress({ address: () => address } as Server);
    expect(at({ address: '::1', family: 'IPv6', port: 5 })).toBe('[::1]:5');
    expect(at({ address: '127.0.0.1', family: 'IPv4', port: 5 })).toBe('127.0.0.1:5');
    expect(at('/run/in.sock')).toBeUndefined();
  });

  test('is refused if it is a file but not a socket, and the file stays', async () => {
    const path = join(temporaryDirectory(), 'notes.txt');
    writeFileSync(path, 'keep me');
    await expect(listenUnix(path).open()).rejects.toThrow('the path exists and is not a socket; remove it');
    expect(existsSync(path)).toBe(true);
  });

  test('is refused with the name of a missing directory', async () => {
    const directory = join(temporaryDirectory(), 'no');
    await expect(listenUnix(join(directory, 'in.sock')).open()).rejects.toThrow(
      `${directory}: it does not exist; use a path in a directory that this user can write to`,
    );
  });

  test('is refused with a reason if the port is in use', async () => {
    const puller = await opened(listenTcp(0));
    const port = await listeningPort(puller);
    await expect(listenTcp(port).open()).rejects.toThrow(
      `can't listen on listen:tcp:${port}: another process uses this address; use another address`,
    );
  });
});
