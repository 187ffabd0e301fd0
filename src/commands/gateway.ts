/**
 * The gateway of a start: its address, and what opens it. For both the order is that of all settings: option, environment,
 * configuration file, and last what OpenClaw's own configuration on this machine says.
 */
import { type GatewaySecrets, readGatewaySecrets } from '../openclaw.js';
import type { Settings } from '../settings.js';
import type { Access } from '../source/index.js';
import { openDeviceStore } from '../store/device.js';
import { defaultDataDirectory } from '../store/directory.js';

export const DEFAULT_GATEWAY_URL = 'ws://127.0.0.1:18789';

type Environment = Readonly<Record<string, string | undefined>>;

/** The directory for what is kept between two starts; undefined where nothing is to be kept. */
export const dataDirectory = (
  { data_dir, no_store }: Pick<Settings, 'data_dir' | 'no_store'>,
  env: Environment,
): string | undefined => (no_store ? undefined : (data_dir ?? defaultDataDirectory(env)));

/** The address to follow where none is named. */
export const gatewayUrl = ({ gateway }: Pick<Settings, 'gateway'>, env: Environment): string =>
  env.OPENCLAW_GATEWAY_URL || gateway.url || DEFAULT_GATEWAY_URL;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Whether a gateway is on this machine: only then the secret in OpenClaw's configuration here is its own. */
export const isLocal = (url: string): boolean => LOOPBACK.test(new URL(url).hostname);

function findSecrets(url: string, { gateway }: Pick<Settings, 'gateway'>, env: Environment): GatewaySecrets {
  const token = env.OPENCLAW_GATEWAY_TOKEN || gateway.token;
  const password = env.OPENCLAW_GATEWAY_PASSWORD || gateway.password;
  if (token === undefined && password === undefined) return isLocal(url) ? readGatewaySecrets(env) : {};
  return { ...(token ? { token } : {}), ...(password ? { password } : {}) };
}

/** `name`: the address without credentials. */
export function gatewayAccess(
  { url, name }: { url: string; name: string },
  settings: Pick<Settings, 'gateway' | 'data_dir' | 'no_store'>,
  env: Environment,
): Access {
  return {
    url,
    name,
    secrets: () => findSecrets(url, settings, env),
    devices: openDeviceStore(dataDirectory(settings, env)),
  };
}
