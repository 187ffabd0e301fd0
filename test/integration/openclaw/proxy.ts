/** A way to a port of this machine that can be cut and mended, and that counts who has come by. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Way {
  port: number;
  /** Connections that were let through so far. */
  count(): number;
  /** Breaks what is connected, and whatever comes until it is mended. */
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
      // It is closed next, and so is the other one.
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
