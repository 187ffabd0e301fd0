/**
 * One connection to a gateway: the WebSocket, the handshake, and the detection of a silent gateway. Failing to connect is an
 * ordinary outcome, so it is returned and not thrown.
 */
import WebSocket, { type ClientOptions } from 'ws';
import { type Call, createCalls } from './calls.js';
import { type EventFrame, readFrame } from './frames.js';
import {
  type Challenge,
  type Credentials,
  canSubscribe,
  connectParams,
  type DeviceProof,
  type Hello,
  READ_SCOPE,
  readChallenge,
  readHello,
} from './handshake.js';
import {
  cantSubscribe,
  closedEarly,
  describeError,
  describeFailure,
  notHello,
  type Refusal,
  scopesCleared,
  silent,
} from './refusals.js';
import { createShown, shownHello } from './shown.js';

/** From connecting to the gateway's hello. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** How long a close waits for the gateway's own: one that hangs must not hold up a stop. By default `ws` waits for 30 s. */
const CLOSE_TIMEOUT_MS = 1_000;

/** Largest frame that is accepted; the gateway's own limit is 25 MiB. */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** Ticks that may be missing before the connection counts as dead, as in OpenClaw's own client. */
const MAX_MISSED_TICKS = 2;
const CLOSED_FOR_SILENCE = 4000;
/** The close code that reports no problem. */
const CLOSED_NORMALLY = 1000;

/** How a connection ended. */
export interface Ending {
  code: number;
  /** Safe to show. */
  reason: string;
}

export interface Connection {
  /** Its texts are safe to show. */
  hello: Hello;
  /** The gateway's clock minus this machine's, from the challenge: too small by the time that the challenge took to arrive. */
  clock_offset_ms: number;
  call: Call;
  /** Resolves when the connection has ended, whichever side ended it. */
  ended: Promise<Ending>;
  close(): void;
  /** Stops reading, so that the gateway has to wait. */
  pause(): void;
  resume(): void;
}

export interface ConnectionOptions {
  url: string;
  credentials: Credentials;
  /** Given if the gateway requires an identity of each client. */
  proof?: DeviceProof | undefined;
  /** Receives each event after the challenge, as text and parsed. */
  onEvent(text: string, frame: EventFrame): void;
  /** Ends the handshake; an established connection is closed by its owner. */
  stop: AbortSignal;
}

/** Resolves with the first failure before the gateway's hello. */
function watchFailure(socket: WebSocket, ended: Promise<Ending>): Promise<Refusal> {
  return new Promise((resolve) => {
    socket.on('unexpected-response', (_request, { statusCode }) => {
      resolve(describeFailure(undefined, statusCode));
    });
    // This listener stays: an error may also come at any later time, and is followed by the end of the connection.
    socket.on('error', (error) => resolve(describeFailure(error, undefined)));
    void ended.then(({ code, reason }) => resolve(closedEarly(code, reason)));
  });
}

/** Ends a connection on which nothing has arrived for so long that the gateway must have missed its ticks. */
function watchTicks(socket: WebSocket, interval_ms: number): { beat(): void; end(): void } {
  let missed = 0;
  const timer = setInterval(() => {
    // While reading is paused, ticks queue behind unread data: the gateway is not silent.
    missed = socket.isPaused ? 0 : missed + 1;
    // A dead peer does not answer a close either: that ends after `CLOSE_TIMEOUT_MS`.
    if (missed > MAX_MISSED_TICKS) socket.close(CLOSED_FOR_SILENCE, 'tick timeout');
  }, interval_ms);
  return {
    beat() {
      missed = 0;
    },
    end: () => clearInterval(timer),
  };
}

interface Greeting {
  hello: Hello;
  clock_offset_ms: number;
}

async function introduce(
  call: Call,
  challenge: Challenge,
  { credentials, proof }: ConnectionOptions,
): Promise<Greeting | Refusal> {
  const clock_offset_ms = challenge.ts - Date.now();
  const answer = await call('connect', connectParams(challenge, credentials, proof));
  if (!answer.ok) return describeError(answer.error);
  const hello = readHello(answer.payload);
  if (hello === undefined) return notHello();
  if (!canSubscribe(answer.payload)) return cantSubscribe();
  return hello.scopes.includes(READ_SCOPE) ? { hello, clock_offset_ms } : scopesCleared();
}

function after<T>(timeout_ms: number, value: T): { timeout: Promise<T>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<T>((resolve) => {
    timer = setTimeout(resolve, timeout_ms, value);
  });
  return { timeout, cancel: () => clearTimeout(timer) };
}

/** Shorter query values are not tokens, and would be redacted everywhere. */
const SHORTEST_TOKEN = 8;

/** Query values that a proxy in front of the gateway may require as tokens. */
const queryTokens = (url: string): string[] =>
  [...new URL(url).searchParams.values()].filter(({ length }) => length >= SHORTEST_TOKEN);

/** The types do not know `closeTimeout`, which `ws` documents. */
const SOCKET_OPTIONS: ClientOptions & { closeTimeout: number } = {
  maxPayload: MAX_FRAME_BYTES,
  perMessageDeflate: false,
  closeTimeout: CLOSE_TIMEOUT_MS,
};

/** Opens a connection and completes the handshake, or returns why that failed. */
export async function connectGateway(options: ConnectionOptions): Promise<Connection | Refusal> {
  const { url, credentials, proof, onEvent, stop } = options;
  const socket = new WebSocket(url, SOCKET_OPTIONS);
  const secrets = [credentials.token, credentials.password, proof?.token].filter(
    (each) => each !== undefined,
  );
  secrets.push(...queryTokens(url));
  const shown = createShown(secrets);
  const calls = createCalls((text) => socket.send(text), shown);
  const ended = new Promise<Ending>((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: shown(String(reason)) }));
  });
  void ended.then(calls.end);
  const failed = watchFailure(socket, ended);
  let noteActivity = (): void => undefined;
  const challenged = new Promise<Challenge>((resolve) => {
    socket.on('message', (data) => {
      noteActivity();
      const text = String(data);
      const frame = readFrame(text);
      if (frame?.type === 'res') return calls.settle(frame);
      if (frame?.event !== 'connect.challenge') return frame && onEvent(text, frame);
      const challenge = readChallenge(frame.payload);
      if (challenge !== undefined) resolve(challenge);
    });
  });
  const close = (): void => socket.close(CLOSED_NORMALLY);
  stop.addEventListener('abort', close);
  if (stop.aborted) close();
  const { timeout, cancel } = after(HANDSHAKE_TIMEOUT_MS, silent(HANDSHAKE_TIMEOUT_MS / 1000));
  const greeted = challenged.then((challenge) => introduce(calls.call, challenge, options));
  const greeting = await Promise.race([greeted, failed, timeout]);
  cancel();
  stop.removeEventListener('abort', close);
  if ('kind' in greeting) {
    socket.terminate();
    return greeting;
  }
  const { hello } = greeting;
  if (hello.device_token !== undefined) secrets.push(hello.device_token);
  const ticks = watchTicks(socket, hello.tick_interval_ms);
  noteActivity = ticks.beat;
  void ended.then(ticks.end);
  return {
    ...greeting,
    hello: shownHello(hello, shown),
    call: calls.call,
    ended,
    close,
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
}
