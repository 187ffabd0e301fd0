/**
 * A backend that receives OTLP/JSON on a port of its own, or fails to: its behaviour can be changed at any moment.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from './random.js';
import { createReceived, type Received, type Signal } from './received.js';

export const BEHAVIOURS = [
  'up',
  'slow',
  '503',
  'refusing connections',
  'hanging',
  'answers lost',
  'Retry-After 3600',
] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];

const SLOWEST_ANSWER_MS = 400;
/** How long another process may occupy the port that a backend listens on again. */
const PORT_TRIES = 50;
const PORT_TRY_MS = 100;

export interface Backend {
  url: string;
  received: Received;
  /** The number of requests that were received completely, answered or not. */
  requests(): number;
  behave(behaviour: Behaviour): Promise<void>;
  close(): Promise<void>;
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk);
  } catch {
    // The sender was killed in the middle of it.
    return undefined;
  }
  return Buffer.concat(chunks).toString();
}

async function listen(server: Server, port: number): Promise<number> {
  for (let tries = PORT_TRIES; ; tries--) {
    server.listen(port, '127.0.0.1');
    const failed = await once(server, 'listening').then(
      () => undefined,
      (error: unknown) => error,
    );
    if (failed === undefined) return (server.address() as AddressInfo).port;
    if (tries === 0) throw failed;
    await sleep(PORT_TRY_MS);
  }
}

function say(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end('{}');
}

export async function startBackend(random: Random): Promise<Backend> {
  const received = createReceived();
  let behaviour: Behaviour = 'up';
  let requests = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    if (body === undefined) return;
    requests++;
    const signal = request.url?.split('/').at(-1) as Signal;
    if (behaviour === 'up' || behaviour === 'slow' || behaviour === 'answers lost')
      received.take(signal, body);
    if (behaviour === 'slow') await sleep(random.int(0, SLOWEST_ANSWER_MS));
    if (behaviour === 'answers lost') request.socket.resetAndDestroy();
    else if (behaviour === '503') say(response, 503);
    else if (behaviour === 'Retry-After 3600')
      say(response, random.pick([429, 503]), { 'retry-after': '3600' });
    else if (behaviour !== 'hanging') say(response, 200);
  }

  const server = createServer((request, response) => void answer(request, response));
  const port = await listen(server, 0);

  async function stopListening(): Promise<void> {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  return {
    url: `http://127.0.0.1:${port}`,
    received,
    requests: () => requests,
    async behave(next) {
      behaviour = next;
      if (next === 'refusing connections') await stopListening();
      else if (!server.listening) await listen(server, port);
    },
    close: stopListening,
  };
}
