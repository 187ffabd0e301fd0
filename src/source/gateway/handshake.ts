/**
 * How the bridge introduces itself to a gateway: what it calls itself, what it asks for, and how it proves who it is. The
 * gateway takes names from closed lists only, so that the bridge is a `gateway-client` of the mode `backend`.
 */
import { isObject, type Json, number, object, text } from '../../util/json.js';
import { VERSION } from '../../version.js';

/** Protocol 3 is what OpenClaw 2026.4 speaks, 4 what 2026.9 does. */
export const PROTOCOLS = { min: 3, max: 4 } as const;
export const READ_SCOPE = 'operator.read';

const CLIENT = { id: 'gateway-client', mode: 'backend' } as const;
const ROLE = 'operator';

/** What lets a client in. A gateway in password mode takes the password, any other the token. */
export interface Credentials {
  token?: string;
  password?: string;
}

/** Who the bridge is, where a gateway wants to know its clients one by one: an Ed25519 key of its own. */
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

/** The device's signature covers all that the gateway will go by, so that nobody can change it on the way. */
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

/** A device, and the token that the gateway gave it when it was paired: that stands in where there is no shared one. */
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
  // As in OpenClaw's own client: a password is not signed.
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

/** What a gateway says when it has let a client in. */
export interface Hello {
  protocol: number;
  /** OpenClaw's version. */
  server_version: string;
  /** The gateway's process: another one runs none of the runs of this one. */
  boot_id?: string;
  /** What the gateway really granted, which can be less than was asked for. */
  scopes: string[];
  tick_interval_ms: number;
  device_token?: string;
}

const DEFAULT_TICK_INTERVAL_MS = 30_000;
/** Ticks that are said to come faster than this are not waited for as if they did. */
const MIN_TICK_INTERVAL_MS = 1_000;
/** A connection that is dead is noticed in the end, however seldom the ticks come. */
const MAX_TICK_INTERVAL_MS = 3_600_000;

/** An interval that is none, as 0, stands for nothing said. */
const tickInterval = (told_ms = 0): number =>
  told_ms > 0
    ? Math.min(MAX_TICK_INTERVAL_MS, Math.max(MIN_TICK_INTERVAL_MS, told_ms))
    : DEFAULT_TICK_INTERVAL_MS;

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

/** Reads `hello-ok`; undefined where the answer is something else. */
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
