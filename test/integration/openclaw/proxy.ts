/** A TCP proxy to a local port that can be cut and mended, and that counts connections. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Way {
  port: number;
  /** The number of connections that were let through so far. */
  count(): number;
  /** Breaks all connections, and new ones until it is mended. */
  cut(): void;
  mend(): void;
  stop(): Promise<void>;
}

export async function openWay(to_port: number): Promise<Way> {
  const sockets = new Set<Socket>();
  let is_cut = false;
  let connections = 0;

  function join(near: Socket): void {
    connections++;
    const far = connect(to_port, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
      // The close event follows, and ends the other side too.
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  }

  const server = createServer((socket) => {
    if (is_cut) socket.resetAndDestroy();
    else join(socket);
  });
  const cut = (): void => {
    is_cut = true;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    count: () => connections,
    cut,
    mend() {
      is_cut = false;
    },
    async stop() {
      cut();
      await once(server.close(), 'close');
    },
  };
}
