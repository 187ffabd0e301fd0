/**
 * A gateway that a test scripts completely: its challenge, its answer to each call, the events that it pushes, when it closes
 * a connection, and when it stays silent. It listens on a free port of the loopback interface until the tests of the file end.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';

// biome-ignore lint/suspicious/noExplicitAny: JSON as it came; the tests look at what they know of it
type Json = any;

/** A gateway's answer to a call. */
export type Reply =
  | { payload: object }
  /** `close`: the gateway then closes the connection, as it does when it refuses `connect`. */
  | { error: object; close?: { code: number; reason: string } }
  | 'silence';

export interface GatewayCall {
  method: string;
  params: Json;
  connection: GatewayConnection;
}

export interface GatewayConnection {
  /** Pushes an event, numbered as the gateway numbers them. */
  push(event: string, payload: object): void;
  /** Sends this text, valid frame or not. */
  say(text: string): void;
  close(code: number, reason?: string): void;
  /** Breaks the connection without a close frame. */
  drop(): void;
  /** Reads nothing more, and keeps the connection. */
  hang(): void;
  /** Resolves with the close code when the connection has ended; 1006 without a close frame. */
  ended: Promise<number>;
}

export interface GatewayScript {
  /** The challenge's payload, by default with the time of the connection; `null`: no challenge is sent. */
  challenge?: object | null;
  /** By method. Other methods are answered with an empty payload, `connect` with a hello. */
  replies?: Record<string, Reply | ((call: GatewayCall) => Reply)>;
  /** Called as soon as a client has connected, before the challenge. */
  onConnection?(connection: GatewayConnection): void;
}

export interface FakeGateway {
  /** `ws://127.0.0.1:PORT` */
  url: string;
  /** All calls so far, in the order of their arrival. */
  calls: GatewayCall[];
  connections: GatewayConnection[];
  /** The parameters of the latest `connect`. */
  connect(): Json;
}

export const NONCE = 'nonce-1';

export interface HelloOptions {
  protocol?: number;
  version?: string;
  scopes?: string[];
  device_token?: string;
  tick_interval_ms?: number;
  methods?: string[];
}

/** A gateway's answer to a client that it accepts. */
export const hello = ({
  protocol = 4,
  version = '2026.9.6',
  scopes = ['operator.read'],
  device_token,
  tick_interval_ms = 30_000,
  methods = [],
}: HelloOptions = {}): Reply => ({
  payload: {
    type: 'hello-ok',
    protocol,
    server: { version, connId: 'connection-1', bootId: 'boot-1' },
    features: { methods, events: [] },
    snapshot: {},
    auth: { role: 'operator', scopes, ...(device_token ? { deviceToken: device_token } : {}) },
    policy: { tickIntervalMs: tick_interval_ms },
  },
});

/** A refused `connect`: the error, then the close of the connection. */
export const refused = (
  code: string,
  details: object,
  { message = `refused: ${code}`, close_code = 1008 } = {},
): Reply => ({ error: { code, message, details }, close: { code: close_code, reason: message } });

const servers = new Set<() => void>();

afterAll(() => {
  for (const stop of servers) stop();
});

function toConnection(socket: WebSocket): GatewayConnection {
  let seq = 0;
  return {
    push: (event, payload) => socket.send(JSON.stringify({ type: 'event', event, payload, seq: ++seq })),
    say: (text) => socket.send(text),
    close: (code, reason) => socket.close(code, reason),
    drop: () => socket.terminate(),
    hang: () => socket.pause(),
    ended: once(socket, 'close').then(([code]) => code),
  };
}

function answer(socket: WebSocket, id: string, reply: Reply): void {
  if (reply === 'silence') return;
  const ok = 'payload' in reply;
  socket.send(JSON.stringify({ type: 'res', id, ok, ...(ok ? reply : { error: reply.error }) }));
  if (!ok && reply.close) socket.close(reply.close.code, reply.close.reason);
}

export async function startFakeGateway(script: GatewayScript = {}): Promise<FakeGateway> {
  const { challenge, replies = {}, onConnection } = script;
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  servers.add(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  const calls: GatewayCall[] = [];
  const connections: GatewayConnection[] = [];
  server.on('connection', (socket) => {
    const connection = toConnection(socket);
    connections.push(connection);
    // A client may send data that is not valid for a WebSocket.
    socket.on('error', () => undefined);
    socket.on('message', (data) => {
      const { id, method, params } = JSON.parse(String(data));
      const call: GatewayCall = { method, params, connection };
      calls.push(call);
      const reply = replies[method] ?? (method === 'connect' ? hello() : { payload: {} });
      answer(socket, id, typeof reply === 'function' ? reply(call) : reply);
    });
    onConnection?.(connection);
    if (challenge !== null && socket.readyState === socket.OPEN) {
      const payload = challenge ?? { nonce: NONCE, ts: Date.now() };
      socket.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload }));
    }
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    connections,
    connect: () => calls.findLast(({ method }) => method === 'connect')?.params,
  };
}

/** Starts a server that is no gateway. Returns its address, `ws://127.0.0.1:PORT`. */
export async function startListener(onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.add(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A plain HTTP server that answers every request with this status. */
export const httpAnswer =
  (status: string): ((socket: Socket) => void) =>
  (socket) =>
    socket.once('data', () => socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`));
