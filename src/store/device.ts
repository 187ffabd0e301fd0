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
import { z } from 'zod';
import { errorCode, errorReason } from '../util/errors.js';
import { readRecord } from './check.js';
import { getRecord, putRecord } from './database.js';
import { updateShared } from './open.js';

const DEVICE_KEY = 'device';
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
  let kept: Kept | undefined;
  let problem: string | undefined;
  let is_read = directory === undefined;

  /** When it is first wanted: most starts want none. */
  function read(): void {
    if (is_read || directory === undefined) return;
    is_read = true;
    try {
      kept = decodeDevice(readRecord(directory, DEVICE_KEY));
    } catch (error) {
      problem =
        errorCode(error) === undefined
          ? `can't use the device key in ${directory}; give another data directory, and pair the bridge again`
          : `can't read the device key in ${directory}: ${errorReason(error)}`;
    }
  }

  /** Of two processes that make a key at the same time, both go on with the one that is kept. */
  function make(): Kept | { problem: string } {
    if (directory === undefined) return newDevice();
    const made = updateShared(directory, (db) => {
      const found = decodeDevice(getRecord(db, DEVICE_KEY));
      if (found !== undefined) return found;
      const device = newDevice();
      putRecord(db, DEVICE_KEY, encodeDevice(device));
      return device;
    });
    return 'problem' in made ? { problem: `can't keep a device key: ${made.problem}` } : made.value;
  }

  return {
    device() {
      read();
      if (problem !== undefined) return { problem };
      const device = kept ?? make();
      if ('problem' in device) return device;
      kept = device;
      return identityOf(createPrivateKey(kept.private_key));
    },
    tokenOf(gateway) {
      read();
      return kept?.tokens[gateway];
    },
    saveToken(gateway, token) {
      const device = kept;
      if (device === undefined || device.tokens[gateway] === token) return;
      device.tokens[gateway] = token;
      if (directory === undefined) return;
      // Others may have kept tokens since. Where this one can't be kept, the gateway gives another one to a device that comes with
      // the shared secret.
      updateShared(directory, (db) => {
        const found = decodeDevice(getRecord(db, DEVICE_KEY)) ?? device;
        found.tokens[gateway] = token;
        putRecord(db, DEVICE_KEY, encodeDevice(found));
      });
    },
  };
}

const encodeDevice = (device: Kept): Buffer => Buffer.from(JSON.stringify(device));

/** Throws where it is no device's record. */
const decodeDevice = (value: Uint8Array | undefined): Kept | undefined =>
  value === undefined ? undefined : deviceSchema.parse(JSON.parse(Buffer.from(value).toString('utf8')));
