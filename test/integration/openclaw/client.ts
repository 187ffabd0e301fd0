/**
 * A gateway client of the tests' own, independent of the bridge. It starts runs, reads what the gateway stored, and records
 * what the gateway pushes.
 */
import WebSocket from 'ws';
import { type Changes, createChanges } from '../../cli/changes.js';

// biome-ignore lint/suspicious/noExplicitAny: frames as they came; the tests look at what they know of them
export type Json = any;

export interface Client {
  /** Resolves with the payload of the response; rejects if the gateway refuses. */
  call(method: string, params?: object): Promise<Json>;
  close(): void;
}

export interface Address {
  url: string;
  token: string;
}

const CONNECT = {
  minProtocol: 4,
  maxProtocol: 4,
  client: { id: 'gateway-client', version: '0.0.0', platform: 'linux', mode: 'backend' },
  role: 'operator',
  caps: [],
};

/** Resolves when the gateway accepts the connection, and rejects if it does not. `onFrame` gets every received frame. */
export function connectClient(
  { url, token }: Address,
  { scopes = ['operator.read'], onFrame }: { scopes?: string[]; onFrame?: (frame: Json) => void } = {},
): Promise<Client> {
  const socket = new WebSocket(url);
  const waiting = new Map<string, { resolve(payload: Json): void; reject(error: Error): void }>();
  let calls = 0;

  function call(method: string, params: object = {}): Promise<Json> {
    const id = String(++calls);
    socket.send(JSON.stringify({ type: 'req', id, method, params }));
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  }
  function settle({ id, ok, payload, error }: Json): void {
    if (ok) waiting.get(id)?.resolve(payload);
    else waiting.get(id)?.reject(new Error(`the gateway says ${JSON.stringify(error)}`));
    waiting.delete(id);
  }

  return new Promise((resolve, reject) => {
    const client: Client = { call, close: () => socket.terminate() };
    socket.on('error', reject);
    socket.on('close', (code) => {
      const error = new Error(`the gateway closed the connection with code ${code}`);
      reject(error);
      for (const { reject: refuse } of waiting.values()) refuse(error);
    });
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data));
      onFrame?.(frame);
      if (frame.type === 'res') settle(frame);
      if (frame.event === 'connect.challenge')
        call('connect', { ...CONNECT, scopes, auth: { token } }).then(() => resolve(client), reject);
    });
  });
}

/** What a gateway has pushed over all connections to it. */
export interface Watch {
  /** The recording so far, one frame per line. */
  recording(): string;
  /** The events that were pushed. */
  events: Json[];
  /** The runs of which an event was seen, by id. */
  runs: Map<string, { session_key: string; is_over: boolean }>;
  /** Connects, and watches that connection from then on. */
  connect(): Promise<Client>;
  until: Changes['until'];
}

/** The number of runs that have ended. */
export const countOver = ({ runs }: Watch): number => [...runs.values()].filter((run) => run.is_over).length;

export function createWatch(address: Address): Watch {
  const lines: string[] = [];
  const events: Json[] = [];
  const runs: Watch['runs'] = new Map();
  const changes = createChanges();

  function seeEvent({ runId, sessionKey, stream, data }: Json): void {
    const run = runs.get(runId) ?? { session_key: sessionKey, is_over: false };
    runs.set(runId, run);
    if (stream === 'lifecycle' && data.executionSettled === true && data.phase !== 'finishing')
      run.is_over = true;
  }
  function onFrame(frame: Json): void {
    lines.push(JSON.stringify({ rx: Date.now(), frame }));
    if (frame.type === 'event') events.push(frame);
    if (frame.event === 'agent') seeEvent(frame.payload);
    changes.tell();
  }

  return {
    recording: () => `${lines.join('\n')}\n`,
    events,
    runs,
    async connect() {
      const client = await connectClient(address, { onFrame });
      await client.call('sessions.subscribe');
      return client;
    },
    until: changes.until,
  };
}
