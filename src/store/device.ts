/**
 * The bridge's identity as a device, for gateways that identify each client: an Ed25519 key, created on first use, and the
 * tokens that gateways issued to it.
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
  /** Tokens by the gateway's address. */
  tokens: z.record(z.string(), z.string()),
});

export interface DeviceIdentity {
  /** SHA-256 of the raw public key, in hex. */
  id: string;
  /** The raw public key, in base64url. */
  public_key: string;
  /** Signs UTF-8 text; the signature is in base64url. */
  sign(message: string): string;
}

export interface DeviceStore {
  /** The key, created and stored on first use; `problem` says why if that fails. */
  device(): DeviceIdentity | { problem: string };
  tokenOf(gateway: string): string | undefined;
  /** Stores a gateway's token for this device; if that fails, it is remembered until the process ends. */
  saveToken(gateway: string, token: string): void;
}

type SavedDevice = z.infer<typeof deviceSchema>;

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

const newDevice = (): SavedDevice => ({
  version: 1,
  private_key: toPem(generateKeyPairSync('ed25519').privateKey),
  tokens: {},
});

/** Without a directory the key lasts as long as the process. */
export function openDeviceStore(directory: string | undefined): DeviceStore {
  let saved: SavedDevice | undefined;
  let problem: string | undefined;
  let is_read = directory === undefined;

  /** Reads the record on first use: most starts need no key. */
  function read(): void {
    if (is_read || directory === undefined) return;
    is_read = true;
    try {
      saved = decodeDevice(readRecord(directory, DEVICE_KEY));
    } catch (error) {
      problem =
        errorCode(error) === undefined
          ? `the device key in ${directory} is damaged; give another data directory, and pair the bridge again`
          : `can't read the device key in ${directory}: ${errorReason(error)}`;
    }
  }

  /** If two processes create a key at the same time, both use the one that is stored. */
  function make(): SavedDevice | { problem: string } {
    if (directory === undefined) return newDevice();
    const made = updateShared(directory, (db) => {
      const found = decodeDevice(getRecord(db, DEVICE_KEY));
      if (found !== undefined) return found;
      const device = newDevice();
      putRecord(db, DEVICE_KEY, encodeDevice(device));
      return device;
    });
    return 'problem' in made ? { problem: `can't store a device key: ${made.problem}` } : made.value;
  }

  return {
    device() {
      read();
      if (problem !== undefined) return { problem };
      const device = saved ?? make();
      if ('problem' in device) return device;
      saved = device;
      return identityOf(createPrivateKey(saved.private_key));
    },
    tokenOf(gateway) {
      read();
      return saved?.tokens[gateway];
    },
    saveToken(gateway, token) {
      const device = saved;
      if (device === undefined || device.tokens[gateway] === token) return;
      device.tokens[gateway] = token;
      if (directory === undefined) return;
      // Other processes may have stored tokens since. If this one can't be stored, the gateway issues another to a device that
      // presents the shared secret.
      updateShared(directory, (db) => {
        const found = decodeDevice(getRecord(db, DEVICE_KEY)) ?? device;
        found.tokens[gateway] = token;
        putRecord(db, DEVICE_KEY, encodeDevice(found));
      });
    },
  };
}

const encodeDevice = (device: SavedDevice): Buffer => Buffer.from(JSON.stringify(device));

/** Throws if the value is not a device record. */
const decodeDevice = (value: Uint8Array | undefined): SavedDevice | undefined =>
  value === undefined ? undefined : deviceSchema.parse(JSON.parse(Buffer.from(value).toString('utf8')));
