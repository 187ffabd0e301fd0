/**
 * The published formula of the ids, implemented a second time from its description, so that the program is not checked
 * against itself.
 */
import { createHash } from 'node:crypto';

function digest(parts: string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = Buffer.from(part, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest('hex');
}

export const traceId = (root_session_key: string, root_run_id: string): string =>
  digest(['trace', root_session_key, root_run_id]).slice(0, 32);

export const spanId = (
  kind: 'run' | 'tool' | 'chat',
  session_key: string,
  run_id: string,
  own_id: string,
): string => digest([kind, session_key, run_id, own_id]).slice(0, 16);
