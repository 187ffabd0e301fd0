/**
 * The ids that spans must have, computed from the documented formula without any of the bridge's code, so that a mistake
 * there is not repeated here.
 */
import { createHash } from 'node:crypto';

function digest(parts: readonly string[], digits: number): string {
  const hash = createHash('sha256');
  const length = Buffer.alloc(4);
  for (const part of parts) {
    length.writeUInt32BE(Buffer.byteLength(part));
    hash.update(length).update(part);
  }
  return hash.digest('hex').slice(0, digits);
}

export const traceId = (session_key: string, run_id: string): string =>
  digest(['trace', session_key, run_id], 32);

export const spanId = (kind: string, session_key: string, run_id: string, own_id = ''): string =>
  digest([kind, session_key, run_id, own_id], 16);
