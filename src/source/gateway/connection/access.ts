/**
 * Gets into a gateway: with the shared secret alone if that is enough, and as a device with its own key if the gateway requires
 * an identity of each client.
 */
import { type Connection, type ConnectionOptions, connectGateway } from './connection.js';
import type { Credentials, Device, DeviceProof } from './handshake.js';
import { type Refusal, type RefusalReason, refusal } from './refusals.js';

/** Stores the bridge's device key and the tokens that gateways issued to it. */
export interface Devices {
  /** The key, created when it is first asked for; a message if it can't be had. */
  device(): Device | { problem: string };
  tokenOf(gateway: string): string | undefined;
  saveToken(gateway: string, token: string): void;
}

/** A gateway, and what is needed to get in. */
export interface Access {
  url: string;
  /** The address in a form that is safe to show. */
  name: string;
  /** Read at each try, since they may have been corrected meanwhile. */
  secrets(): Credentials & { problem?: string };
  devices: Devices;
}

/** Refusals that connecting as a device may get around. */
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
  if ('problem' in device) return refusal('device_refused', `requires a device key: ${device.problem}`);
  const proof: DeviceProof = { device, token };
  const { url } = access;
  const opened = await connectGateway({ ...wishes, url, credentials: access.secrets(), proof });
  const given = isRefusal(opened) ? undefined : opened.hello.device_token;
  if (given !== undefined) access.devices.saveToken(access.name, given);
  return opened;
}

/**
 * Opens a connection, or returns why there is none. A configured secret that can't be read is reported if the gateway then
 * requires one.
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
  // Without any secret a gateway pairs nobody; with one, it may require an identity.
  const isWorthTrying = token === undefined && hasSecret && WANTS_DEVICE.has(opened.reason);
  return isWorthTrying ? enterAsDevice(access, wishes, undefined) : opened;
}
