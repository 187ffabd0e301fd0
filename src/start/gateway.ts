/**
 * The gateway of a start: its address and its secrets. Both are looked up in the order of all settings (option, environment,
 * configuration file), and last in OpenClaw's own configuration on this machine.
 */
import type { Access } from '../source/index.js';
import { defaultDataDirectory, openDeviceStore } from '../store/index.js';
import type { Variables } from '../util/variables.js';
import { type GatewaySecrets, openclawConfigPath, readGatewaySecrets } from './openclaw.js';
import type { Settings } from './settings.js';

export const DEFAULT_GATEWAY_URL = 'ws://127.0.0.1:18789';

/** The directory for what outlives the process; undefined if nothing is to be stored. */
export const dataDirectory = (
  { data_dir, no_store }: Pick<Settings, 'data_dir' | 'no_store'>,
  env: Variables,
): string | undefined => (no_store ? undefined : (data_dir ?? defaultDataDirectory(env)));

/** A setting, and a description of where it was found. */
interface Found<T> {
  value: T;
  origin: string;
}

const FILE = 'the configuration file';

export function findGatewayUrl({ gateway }: Pick<Settings, 'gateway'>, env: Variables): Found<string> {
  if (env.OPENCLAW_GATEWAY_URL) return { value: env.OPENCLAW_GATEWAY_URL, origin: 'OPENCLAW_GATEWAY_URL' };
  if (gateway.url) return { value: gateway.url, origin: FILE };
  return { value: DEFAULT_GATEWAY_URL, origin: 'the default' };
}

/** The gateway to follow if no source is named. */
export const gatewayUrl = (settings: Pick<Settings, 'gateway'>, env: Variables): string =>
  findGatewayUrl(settings, env).value;

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Whether a gateway is on this machine: only then is the secret in OpenClaw's configuration here meant for it. */
export const isLocal = (url: string): boolean => LOOPBACK.test(new URL(url).hostname);

export function findSecrets(
  url: string,
  { gateway }: Pick<Settings, 'gateway'>,
  env: Variables,
): Found<GatewaySecrets> {
  const token = env.OPENCLAW_GATEWAY_TOKEN || gateway.token;
  const password = env.OPENCLAW_GATEWAY_PASSWORD || gateway.password;
  if (token === undefined && password === undefined) {
    return { value: isLocal(url) ? readGatewaySecrets(env) : {}, origin: openclawConfigPath(env) };
  }
  const value = { ...(token ? { token } : {}), ...(password ? { password } : {}) };
  if (token) return { value, origin: env.OPENCLAW_GATEWAY_TOKEN ? 'OPENCLAW_GATEWAY_TOKEN' : FILE };
  return { value, origin: env.OPENCLAW_GATEWAY_PASSWORD ? 'OPENCLAW_GATEWAY_PASSWORD' : FILE };
}

/** `name`: the address without credentials. */
export function gatewayAccess(
  { url, name }: { url: string; name: string },
  settings: Pick<Settings, 'gateway' | 'data_dir' | 'no_store'>,
  env: Variables,
): Access {
  return {
    url,
    name,
    secrets: () => findSecrets(url, settings, env).value,
    devices: openDeviceStore(dataDirectory(settings, env)),
  };
}
