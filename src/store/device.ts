/**
 * The bridge's identity as a device, for gateways that want to know their clients one by one: an Ed25519 key, made when it
 * is first wanted, and the tokens that gateways gave it.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { errorCode, errorReason } from '../errors.js';
import { makeDataDirectory, replaceFile } from './directory.js';

const FILE = 'device.json';
const RAW_KEY_BYTES = 32;

const deviceSchema = z.object({
  version: z.literal(1),
  private_key: z.string(),
  /** By the gateway's address. */
  tokens: z.record(z.string(), z.string()),
});

export interface DeviceIdentity {
  /** SHA-256 of the raw public key, in hex. */
  id: string;
  /** The raw public key, base64url. */
  public_key: string;
  /** Signs UTF-8 text; base64url. */
  sign(message: string): string;
}

export interface DeviceStore {
  /** The key, made and kept when it is first asked for; a message where that can't be done. */
  device(): DeviceIdentity | { problem: string };
  tokenOf(gateway: string): string | undefined;
  /** Keeps a gateway's token for this device; where that can't be done, for as long as the process lasts. */
  saveToken(gateway: string, token: string): void;
}

type Kept = z.infer<typeof deviceSchema>;

function identityOf(private_key: KeyObject): DeviceIdentity {
  const exported = createPublicKey(private_key).export({ type: 'spki', format: 'der' });
  const raw = exported.subarray(-RAW_KEY_BYTES);
  return {
    id: createHash('sha256').update(raw).digest('hex'),
    public_key: raw.toString('base64url'),
    sign: (message) => sign(null, Buffer.from(message, 'utf8'), private_key).toString('base64url'),
  };
}

const toPem = (key: KeyObject): string => String(key.export({ type: 'pkcs8', format: 'pem' }));

const newDevice = (): Kept => ({
  version: 1,
  private_key: toPem(generateKeyPairSync('ed25519').privateKey),
  tokens: {},
});

/** Without a directory the key lasts as long as the process. */
export function openDeviceStore(directory: string | undefined): DeviceStore {
  const path = directory === undefined ? undefined : join(directory, FILE);
  let kept: Kept | undefined;
  let problem: string | undefined;
  try {
    kept = path === undefined ? undefined : readDevice(path);
  } catch (error) {
    problem =
      errorCode(error) === undefined
        ? `can't use the device key in ${path}; delete that file, and pair the bridge again`
        : `can't read the device key in ${path}: ${errorReason(error)}`;
  }

  function save(device: Kept): void {
    if (directory === undefined || path === undefined) return;
    makeDataDirectory(directory);
    replaceFile(path, JSON.stringify(device));
  }

  function make(): Kept {
    const made = newDevice();
    save(made);
    return made;
  }

  return {
    device() {
      if (problem !== undefined) return { problem };
      try {
        kept ??= make();
        return identityOf(createPrivateKey(kept.private_key));
      } catch (error) {
        return { problem: `can't keep a device key in ${directory}: ${errorReason(error)}` };
      }
    },
    tokenOf: (gateway) => kept?.tokens[gateway],
    saveToken(gateway, token) {
      if (kept === undefined || kept.tokens[gateway] === token) return;
      kept.tokens[gateway] = token;
      try {
        save(kept);
      } catch {
        // The gateway gives another one to a device that comes with the shared secret.
      }
    },
  };
}

function readDevice(path: string): Kept | undefined {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  return deviceSchema.parse(JSON.parse(content));
}
