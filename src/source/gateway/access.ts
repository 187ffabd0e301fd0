/**
 * Getting into a gateway: with the shared secret alone where that is enough, and as a device of its own where the gateway
 * wants to know its clients one by one.
 */
import { type Connection, type ConnectionOptions, connectGateway } from './connection.js';
import type { Credentials, Device, DeviceProof } from './handshake.js';
import { type Refusal, type RefusalReason, refusal } from './refusals.js';

/** Where the bridge's device key and the tokens that gateways gave it are kept. */
export interface Devices {
  /** The key, made when it is first asked for; a message where it can't be had. */
  device(): Device | { problem: string };
  tokenOf(gateway: string): string | undefined;
  saveToken(gateway: string, token: string): void;
}

/** A gateway and what opens it. */
export interface Access {
  url: string;
  /** The address as it may be shown. */
  name: string;
  /** Looked up for each try: it may have been mended meanwhile. */
  secrets(): Credentials & { problem?: string };
  devices: Devices;
}

/** Refusals that a device may get around. */
const WANTS_DEVICE: ReadonlySet<RefusalReason> = new Set([
  'token_missing',
  'scope_missing',
  'pairing_required',
]);

const WANTS_SECRET: ReadonlySet<RefusalReason> = new Set(['token_missing', 'password_missing']);

const isRefusal = (opened: Connection | Refusal): opened is Refusal => 'kind' in opened;

type Wishes = Pick<ConnectionOptions, 'onEvent' | 'stop'>;

async function enterAsDevice(access: Access, wishes: Wishes, token: string | undefined) {
  const device = access.devices.device();
  if ('problem' in device) return refusal('device_refused', device.problem);
  const proof: DeviceProof = { device, token };
  const { url } = access;
  const opened = await connectGateway({ ...wishes, url, credentials: access.secrets(), proof });
  const given = isRefusal(opened) ? undefined : opened.hello.device_token;
  if (given !== undefined) access.devices.saveToken(access.name, given);
  return opened;
}

/**
 * Opens a connection, or says why there is none. A secret that is there and can't be read is said where the gateway then
 * wants one.
 */
export async function enterGateway(access: Access, wishes: Wishes): Promise<Connection | Refusal> {
  const { problem, ...credentials } = access.secrets();
  const token = access.devices.tokenOf(access.name);
  const opened =
    token === undefined
      ? await connectGateway({ ...wishes, url: access.url, credentials })
      : await enterAsDevice(access, wishes, token);
  if (!isRefusal(opened)) return opened;
  const hasSecret = credentials.token !== undefined || credentials.password !== undefined;
  if (WANTS_SECRET.has(opened.reason) && problem !== undefined) {
    return refusal(opened.reason, opened.found, problem);
  }
  // Without any secret a gateway pairs nobody; with one, it may want to know who uses it.
  const isWorthTrying = token === undefined && hasSecret && WANTS_DEVICE.has(opened.reason);
  return isWorthTrying ? enterAsDevice(access, wishes, undefined) : opened;
}
