/**
 * A proxy between a sender and its server that can lose responses: the server has sent them, and the sender never gets
 * them.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Relay {
  url: string;
  /** Loses every response from now on; resolves when the first is lost. */
  loseAnswers(): Promise<void>;
  /** Forwards responses again. */
  mend(): void;
  close(): void;
}

/** Forwards requests to this local port. `onRequest` gets each one when it is complete. */
export async function startRelay(
  port: number,
  onRequest?: (path: string, body: Buffer) => void,
): Promise<Relay> {
  let lose: (() => void) | undefined;

  function handOn(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { method, url, headers } = incoming;
    const gone = (): void => void incoming.socket.destroy();
    const forwarded = request(
      { host: '127.0.0.1', port, method, path: url, headers, agent: false },
      (answer) => {
        if (lose !== undefined) {
          gone();
          lose();
          return;
        }
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      },
    );
    // To the sender, an unreachable server looks like a broken connection.
    forwarded.on('error', gone);
    incoming.pipe(forwarded);
    if (onRequest === undefined) return;
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => void chunks.push(chunk));
    incoming.on('end', () => onRequest(url ?? '', Buffer.concat(chunks)));
  }

  const server = createServer(handOn).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    loseAnswers: () =>
      new Promise((resolve) => {
        lose = resolve;
      }),
    mend() {
      lose = undefined;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
