/**
 * The sources `unix:PATH` and `tcp:HOST:PORT`: connect to a server and read what it sends, one connection at a time, and
 * reconnect forever. Each connection is a stream of its own, so that reading begins at the start of a line.
 */
import { Socket } from 'node:net';
import type { Source } from '../../model/source.js';
import { errorReason } from '../../util/errors.js';
import { createNotifier } from '../notifier.js';
import { createReaderSource, type Push } from '../reader.js';
import { readLines, type StreamEnd } from '../stream.js';
import { type ConnectAddress, connect } from './connect.js';

/** How long to wait before reconnecting: from `min_ms`, doubled with each failure, up to `max_ms`. */
export interface Backoff {
  min_ms: number;
  max_ms: number;
}

export const DEFAULT_BACKOFF: Backoff = { min_ms: 200, max_ms: 5000 };

export interface SocketOptions {
  max_line_bytes: number;
  backoff: Backoff;
  /** Returns a number from 0 to 1, for the jitter; `Math.random` by default. */
  random?: () => number;
}

/** The wait after `failures` failures in a row. Jitter takes off up to half, so that many clients don't reconnect at once. */
export function backoffDelay(
  failures: number,
  { min_ms, max_ms }: Backoff,
  random: () => number = Math.random,
): number {
  return Math.min(max_ms, min_ms * 2 ** failures) * (1 - random() / 2);
}

function lostMessage(name: string, end: StreamEnd): string {
  const what =
    end.kind === 'failed'
      ? `lost the connection to ${name}: ${errorReason(end.error)}`
      : `${name} closed the connection`;
  return `${what}; reconnecting until it answers`;
}

/** Connects, reads and reconnects, until it is stopped. */
async function keepConnected(
  name: string,
  address: ConnectAddress,
  { max_line_bytes, backoff, random }: SocketOptions,
  push: Push,
  stop: AbortSignal,
): Promise<void> {
  const stopped = createNotifier();
  stop.addEventListener('abort', stopped.notify);
  let connections = 0;
  let failures = 0;
  let down = false;

  async function reportDown(message: string): Promise<void> {
    if (down || stop.aborted) return;
    down = true;
    await push({ kind: 'status', state: 'down', message });
  }

  async function readConnection(socket: Socket): Promise<void> {
    connections += 1;
    down = false;
    await push({ kind: 'status', state: 'up', message: `connected to ${name}` });
    const stream = `${name}#${connections}`;
    // A last line without a line end may still be complete; if it is not, it is rejected as invalid JSON.
    const end = await readLines(socket, { stream, max_line_bytes, keep_unended_line: true }, push, stop);
    // A server that accepts and hangs up without sending anything counts as a failure.
    if (socket.bytesRead > 0) failures = 0;
    await reportDown(lostMessage(name, end));
  }

  while (!stop.aborted) {
    const socket = await connect(address, stop);
    if (socket instanceof Socket) await readConnection(socket);
    else await reportDown(`can't connect to ${name}: ${errorReason(socket)}; retrying until it answers`);
    await stopped.wait(backoffDelay(failures, backoff, random));
    failures += 1;
  }
}

/** Creates a source that never ends by itself and whose opening never fails: problems are reported as a status. */
export function createSocketSource(name: string, address: ConnectAddress, options: SocketOptions): Source {
  return createReaderSource(
    name,
    async (push, stop) => () => keepConnected(name, address, options, push, stop),
  );
}
