/**
 * The sources `unix:PATH` and `tcp:HOST:PORT`: connect to a server and read what it sends, one connection at a time,
 * and connect again for ever. Each connection is a stream of its own, so that reading goes on at a line's start.
 */
import { Socket } from 'node:net';
import type { Source } from '../model/source.js';
import { errorReason } from '../util/errors.js';
import { type ConnectAddress, connect } from './connect.js';
import { createNotifier } from './notifier.js';
import { createReaderSource, type Push } from './reader.js';
import { readLines, type StreamEnd } from './stream.js';

/** How long to wait before connecting again: from `min_ms`, doubled at each try, up to `max_ms`. */
export interface Backoff {
  min_ms: number;
  max_ms: number;
  /** A number from 0 to 1, for the jitter. */
  random(): number;
}

export const DEFAULT_BACKOFF: Backoff = { min_ms: 200, max_ms: 5000, random: Math.random };

export interface SocketOptions {
  max_line_bytes: number;
  backoff: Backoff;
}

/** The wait after `failures` tries in a row. Jitter takes off up to half, so that many clients don't come back at once. */
export function backoffDelay(failures: number, { min_ms, max_ms, random }: Backoff): number {
  return Math.min(max_ms, min_ms * 2 ** failures) * (1 - random() / 2);
}

function lostMessage(name: string, end: StreamEnd): string {
  const what =
    end.kind === 'failed' ? `lost ${name}: ${errorReason(end.error)}` : `${name} ended the connection`;
  return `${what}; connecting again until it answers`;
}

/** Connects, reads and connects again, until it is stopped. */
async function keepConnected(
  name: string,
  address: ConnectAddress,
  { max_line_bytes, backoff }: SocketOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  const stopped = createNotifier();
  stop.addEventListener('abort', stopped.notify);
  let connections = 0;
  let failures = 0;
  let down = false;

  async function tellDown(message: string): Promise<void> {
    if (down || stop.aborted) return;
    down = true;
    await push({ kind: 'status', state: 'down', message });
  }

  async function readConnection(socket: Socket): Promise<void> {
    connections += 1;
    down = false;
    await push({ kind: 'status', state: 'up', message: `connected to ${name}` });
    const stream = `${name}#${connections}`;
    // A last line without its end may still be whole; if it is not, it is no JSON and is rejected as such.
    const end = await readLines(socket, { stream, max_line_bytes, keep_unended_line: true }, push, stop);
    // A server that accepts and hangs up without a word is not worth hurrying for.
    if (socket.bytesRead > 0) failures = 0;
    await tellDown(lostMessage(name, end));
  }

  while (!stop.aborted) {
    const socket = await connect(address, stop);
    if (socket instanceof Socket) await readConnection(socket);
    else await tellDown(`can't connect to ${name}: ${errorReason(socket)}; trying again until it answers`);
    if (!stop.aborted) await stopped.wait(backoffDelay(failures, backoff));
    failures += 1;
  }
}

/** A source that never ends by itself and whose opening never fails: what goes wrong is told as a status. */
export function createSocketSource(name: string, address: ConnectAddress, options: SocketOptions): Source {
  return createReaderSource(
    name,
    async (push, stop) => () => keepConnected(name, address, options, push, stop),
  );
}
