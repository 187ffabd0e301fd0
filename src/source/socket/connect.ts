/**
 * Opens one outgoing connection. Failure is an ordinary outcome here, so it is returned and not thrown.
 */
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';

const CONNECT_TIMEOUT_MS = 10_000;
/** Probes notice a peer that has vanished silently, since a reader alone would wait forever. */
export const KEEP_ALIVE = { keepAlive: true, keepAliveInitialDelay: 30_000 } as const;

/** The address of a Unix socket or a TCP server. */
export type ConnectAddress = { path: string } | { host: string; port: number };

/** Returns the connection, or why there is none; an `AbortError` if it was stopped. */
export async function connect(address: ConnectAddress, stop: AbortSignal): Promise<Socket | Error> {
  const socket = netConnect({ ...address, ...KEEP_ALIVE });
  // Without a listener an error would be thrown. Readers check `socket.errored`.
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
