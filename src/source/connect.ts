/**
 * Opens one outgoing connection. Failing is an ordinary outcome here, so it is returned and not thrown.
 */
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';

const CONNECT_TIMEOUT_MS = 10_000;
/** A peer that has vanished without a word is noticed by probes, since a reader alone would wait for ever. */
export const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 30_000 } as const;

/** A Unix socket's, or one of TCP. */
export type ConnectAddress = { path: string } | { host: string; port: number };

/** The connection, or why there is none; an `AbortError` when it was stopped. */
export async function connect(address: ConnectAddress, stop: AbortSignal): Promise<Socket | Error> {
  const socket = netConnect({ ...address, ...KEEP_ALIVE });
  // Whoever reads looks at `socket.errored`: an error may come at a moment when nobody listens for it.
  socket.on('error', () => undefined);
  socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
    socket.destroy(new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`));
  });
  try {
    await once(socket, 'connect', { signal: stop });
    socket.setTimeout(0);
    return socket;
  } catch (error) {
    socket.destroy();
    return error instanceof Error ? error : new Error(String(error));
  }
}
