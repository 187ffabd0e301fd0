/**
 * The process that owns a data directory. A pid alone does not identify it: after a restart of the machine or a container,
 * another process may have the same pid. So the start time of the process is recorded too, where the system provides it.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { errorCode } from '../util/errors.js';

const ownerSchema = z.object({ pid: z.int().positive(), started: z.string().optional() });

export type Owner = z.infer<typeof ownerSchema>;

/** Fields of `/proc/PID/stat`, counted after the process name, which may contain spaces and parentheses. */
const STATE_FIELD = 0;
const START_TIME_FIELD = 19;
/** States of a process that has ended but was not reaped by its parent. */
const ENDED = ['Z', 'X'];

/** Linux only. `started`: the boot id, and the start time since that boot. */
function lookUp(pid: number): { state: string; started: string } | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[STATE_FIELD] ?? '', started: `${boot}/${fields[START_TIME_FIELD]}` };
  } catch {
    return undefined;
  }
}

export function thisProcess(): Owner {
  const found = lookUp(process.pid);
  return { pid: process.pid, ...(found === undefined ? {} : { started: found.started }) };
}

export function isAlive({ pid, started }: Owner): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false;
  }
  const found = lookUp(pid);
  if (found === undefined) return true;
  return !ENDED.includes(found.state) && (started === undefined || found.started === started);
}

export const encodeOwner = (owner: Owner): Buffer => Buffer.from(JSON.stringify(owner));

/** Undefined if the value is not an owner record. */
export function decodeOwner(value: Uint8Array | undefined): Owner | undefined {
  if (value === undefined) return undefined;
  try {
    return ownerSchema.safeParse(JSON.parse(Buffer.from(value).toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
