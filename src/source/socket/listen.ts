/**
 * The sources `listen:unix:PATH` and `listen:tcp:HOST:PORT`: a server for many producers at once. Each connection is a stream
 * of its own, and none of them affects the others.
 */
import { once } from 'node:events';
import { access, chmod, constants, link, lstat, mkdtemp, rename, rm, unlink } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { type Source, SourceError } from '../../model/source.js';
import { errorCode, errorReason } from '../../util/errors.js';
import { SOCKET_NAME } from '../parse.js';
import { createReaderSource, type Push } from '../reader.js';
import { readLines } from '../stream.js';
import { type ConnectAddress, connect, KEEP_ALIVE } from './connect.js';

/** Each connection may hold one chunk and one unfinished line. */
export const MAX_CONNECTIONS = 1024;

const OWNER_ONLY_MODE = 0o600;

function refusal(name: string, reason: string, advice: string): SourceError {
  return new SourceError(`can't listen on ${name}: ${reason}; ${advice}`);
}

/** Makes room for a socket at this path: removes a socket on which nobody listens any more, and nothing else. */
async function removeStaleSocket(name: string, path: string, stop: AbortSignal): Promise<void> {
  const directory = dirname(path);
  try {
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw refusal(
      name,
      `${directory}: ${errorReason(error)}`,
      'use a path in a directory that this user can write to',
    );
  }
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw refusal(name, 'the path exists and is not a socket', 'remove it or use another path');
  }
  const answer = await connect({ path }, stop);
  if (answer instanceof Socket) {
    answer.destroy();
    throw refusal(name, 'another process is listening there', 'stop it or use another path');
  }
  if (errorCode(answer) !== 'ECONNREFUSED') {
    throw refusal(name, errorReason(answer), 'remove it or use another path');
  }
  await unlink(path).catch(() => undefined);
}

/** The error codes of file systems that can't link sockets. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'ENOSYS']);

/** Unlike a rename, a link fails if another process was faster. */
async function putInPlace(made: string, path: string): Promise<void> {
  try {
    await link(made, path);
  } catch (error) {
    if (!NO_LINKS.has(errorCode(error))) throw error;
    await rename(made, path);
  }
}

/**
 * Listens on a socket that only its owner can use from the first moment: it is created in a directory that nobody else can
 * enter, and linked to its place once its mode is set. A umask would apply to the whole process, and a worker can't set it.
 */
async function listenAlone(server: Server, path: string): Promise<void> {
  const directory = await mkdtemp(`${dirname(path)}/`);
  const made = `${directory}/${SOCKET_NAME}`;
  try {
    await once(server.listen(made), 'listening');
    await chmod(made, OWNER_ONLY_MODE);
    await putInPlace(made, path);
  } catch (error) {
    server.close();
    throw error;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Starts to listen; throws a `SourceError` if that fails. */
export async function listen(name: string, server: Server, address: ConnectAddress): Promise<void> {
  try {
    if ('path' in address) await listenAlone(server, address.path);
    else await once(server.listen(address), 'listening');
  } catch (error) {
    throw refusal(name, errorReason(error), 'use another address');
  }
}

/** The TCP address with the actual port if port 0 was given; undefined for a Unix socket. */
export function boundAddress(server: Server): string | undefined {
  const address = server.address();
  if (address === null || typeof address === 'string') return undefined;
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `${host}:${address.port}`;
}

/** The address that it listens on, as the user would write it. */
function listeningOn(name: string, server: Server): string {
  const address = boundAddress(server);
  return address === undefined ? name : `listen:tcp:${address}`;
}

/** The server's connections: each is read until it ends, and their number is limited. */
function createConnections(name: string, max_line_bytes: number, push: Push, stop: AbortSignal) {
  const open = new Set<Promise<unknown>>();
  let accepted = 0;
  let refusing = false;

  /** Reports once, until a connection is accepted again. Not awaited, since no reading has to wait for it. */
  function refuse(reason: string): void {
    if (refusing || stop.aborted) return;
    refusing = true;
    void push({ kind: 'status', state: 'down', message: `${name} can't accept connections: ${reason}` });
  }

  function accept(socket: Socket): void {
    // Counts readers, not sockets: one whose socket has ended may still wait for the consumer.
    if (open.size >= MAX_CONNECTIONS || stop.aborted) {
      socket.destroy();
      refuse(`${open.size} are open, the maximum; new ones are refused until one ends`);
      return;
    }
    accepted += 1;
    const stream = `${name}#${accepted}`;
    // A producer connects once: what it sent before its orderly end is complete, with a line end or not.
    const reading = readLines(socket, { stream, max_line_bytes, keep_unended_line: true }, push, stop);
    open.add(reading);
    void reading.finally(() => open.delete(reading));
    if (refusing) void push({ kind: 'status', state: 'up', message: `${name} accepts connections again` });
    refusing = false;
  }

  return { accept, refuse, finished: () => Promise.all(open) };
}

/** Which file is at a path now. */
async function fileAt(path: string): Promise<string | undefined> {
  const stats = await lstat(path).catch(() => undefined);
  return stats && `${stats.dev}:${stats.ino}`;
}

async function serve(server: Server, address: ConnectAddress, stop: AbortSignal): Promise<void> {
  const own = 'path' in address ? await fileAt(address.path) : undefined;
  if (!stop.aborted) await once(stop, 'abort');
  const closed = once(server, 'close');
  // Removed while the server still answers: a socket that does not may be replaced by another process. After somebody else has
  // removed it, another process may already listen there.
  if ('path' in address && (await fileAt(address.path)) === own)
    await unlink(address.path).catch(() => undefined);
  server.close();
  await closed;
}

/**
 * Creates a server source. The socket file has mode 0600 and is removed at the end. Opening throws a `SourceError` if the
 * address is taken or not available.
 */
export function createListenSource(name: string, address: ConnectAddress, max_line_bytes: number): Source {
  return createReaderSource(name, async (push, stop) => {
    if ('path' in address) await removeStaleSocket(name, address.path, stop);
    const connections = createConnections(name, max_line_bytes, push, stop);
    const server = createServer(KEEP_ALIVE, connections.accept);
    await listen(name, server, address);
    server.on('error', (error) => connections.refuse(errorReason(error)));
    return async () => {
      void push({ kind: 'status', state: 'up', message: `${listeningOn(name, server)} accepts connections` });
      await serve(server, address, stop);
      await connections.finished();
    };
  });
}
