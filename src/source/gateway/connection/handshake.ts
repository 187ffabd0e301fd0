/**
 * How the bridge introduces itself to a gateway: its name, the scope that it asks for, and the proof of its identity. The
 * gateway accepts names from closed lists only, so the bridge is a `gateway-client` in the mode `backend`.
 */
import { isObject, type Json, number, object, text } from '../../../util/json.js';
import { VERSION } from '../../../version.js';

/** OpenClaw 2026.4 and older speak protocol 3, OpenClaw 2026.5 and newer protocol 4. */
export const PROTOCOLS = { min: 3, max: 4 } as const;
export const READ_SCOPE = 'operator.read';

const CLIENT = { id: 'gateway-client', mode: 'backend' } as const;
const ROLE = 'operator';

/** What authenticates a client. A gateway in password mode takes the password, any other the token. */
export interface Credentials {
  token?: string;
  password?: string;
}

/** The bridge's identity, for a gateway that requires one of each client: an Ed25519 key of its own. */
export interface Device {
  /** SHA-256 of the raw public key, in hex. */
  id: string;
  /** The raw public key, base64url. */
  public_key: string;
  /** Signs UTF-8 text; base64url. */
  sign(message: string): string;
}

export interface Challenge {
  nonce: string;
  /** The gateway's clock, epoch milliseconds. */
  ts: number;
}

export function readChallenge(payload: unknown): Challenge | undefined {
  const nonce = text(object(payload).nonce);
  const ts = number(object(payload).ts);
  return nonce === undefined || ts === undefined ? undefined : { nonce, ts };
}

/** The device's signature covers everything that the gateway relies on, so that nobody can change it in transit. */
function signChallenge(device: Device, { nonce, ts }: Challenge, secret: string): Json {
  const { id, mode } = CLIENT;
  const signed = [
    'v3',
    device.id,
    id,
    mode,
    ROLE,
    READ_SCOPE,
    String(ts),
    secret,
    nonce,
    process.platform.toLowerCase(),
    '',
  ];
  return {
    id: device.id,
    publicKey: device.public_key,
    signature: device.sign(signed.join('|')),
    signedAt: ts,
    nonce,
  };
}

/** A device, and the token that the gateway issued when it was paired; that is used if there is no token or password. */
export interface DeviceProof {
  device: Device;
  token?: string | undefined;
}

/** The parameters of `connect`. */
export function connectParams(
  challenge: Challenge,
  { token, password }: Credentials,
  proof?: DeviceProof,
): Json {
  const auth: Json = {
    ...(token ? { token } : {}),
    ...(password ? { password } : {}),
    ...(proof?.token && !token && !password ? { deviceToken: proof.token } : {}),
  };
  // As in OpenClaw's own client, a password is not signed.
  const signed = text(auth.token) ?? text(auth.deviceToken) ?? '';
  return {
    minProtocol: PROTOCOLS.min,
    maxProtocol: PROTOCOLS.max,
    client: {
      ...CLIENT,
      version: VERSION,
      platform: process.platform,
      displayName: 'openclaw-otel-bridge',
    },
    role: ROLE,
    scopes: [READ_SCOPE],
    caps: [],
    ...(Object.keys(auth).length > 0 ? { auth } : {}),
    ...(proof ? { device: signChallenge(proof.device, challenge, signed) } : {}),
    locale: 'en-US',
    userAgent: `openclaw-otel-bridge/${VERSION}`,
  };
}

/** The gateway's answer to a client that it accepts. */
export interface Hello {
  protocol: number;
  /** OpenClaw's version. */
  server_version: string;
  /** Identifies the gateway's process: another process runs none of its runs. */
  boot_id?: string;
  /** The scopes that the gateway granted, which can be fewer than were requested. */
  scopes: string[];
  tick_interval_ms: number;
  device_token?: string;
}

export const SUBSCRIBE = 'sessions.subscribe';

/** Whether the gateway that sent this hello can push the events of all sessions: OpenClaw 2026.2 can't. */
export function canSubscribe(payload: unknown): boolean {
  const methods = strings(object(object(payload).features).methods);
  return methods.length === 0 || methods.includes(SUBSCRIBE);
}

const DEFAULT_TICK_INTERVAL_MS = 30_000;
/** The gateway is not relied on to tick more often than this, even if it announces so. */
const MIN_TICK_INTERVAL_MS = 1_000;
/** A dead connection is noticed eventually, even if the gateway announces a longer interval. */
const MAX_TICK_INTERVAL_MS = 3_600_000;

/** An interval of 0 or less counts as none announced. */
const tickInterval = (given_ms = 0): number =>
  given_ms > 0
    ? Math.min(MAX_TICK_INTERVAL_MS, Math.max(MIN_TICK_INTERVAL_MS, given_ms))
    : DEFAULT_TICK_INTERVAL_MS;

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

/** The first OpenClaw that numbers the events of each connection apart. */
const OWN_NUMBERS_SINCE = [2026, 4, 20];

function isSince(version: string, since: number[]): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number) ?? [];
  const different = since.findIndex((part, index) => part !== parts[index]);
  return different < 0 || (parts[different] ?? 0) > (since[different] ?? 0);
}

/**
 * Whether a number that is left out means that the gateway dropped an event for this connection. Older gateways number the
 * events of all connections together, also those that this one has no scope for.
 */
export const hasOwnNumbers = ({ protocol, server_version }: Hello): boolean =>
  protocol > PROTOCOLS.min || isSince(server_version, OWN_NUMBERS_SINCE);

/** Parses `hello-ok`; undefined if the answer is something else. */
export function readHello(payload: unknown): Hello | undefined {
  if (!isObject(payload) || payload.type !== 'hello-ok') return undefined;
  const auth = object(payload.auth);
  const server = object(payload.server);
  const device_token = text(auth.deviceToken);
  const boot_id = text(server.bootId);
  return {
    protocol: number(payload.protocol) ?? PROTOCOLS.min,
    server_version: text(server.version) ?? 'unknown',
    scopes: strings(auth.scopes),
    tick_interval_ms: tickInterval(number(object(payload.policy).tickIntervalMs)),
    ...(device_token === undefined ? {} : { device_token }),
    ...(boot_id === undefined ? {} : { boot_id }),
  };
}
