/**
 * Which process a data directory belongs to. A pid alone does not tell: after a restart of the machine or of a container
 * another process has it. So the time at which the process started is a part of its name, where the system tells that.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { errorCode } from '../util/errors.js';

const ownerSchema = z.object({ pid: z.int().positive(), started: z.string().optional() });

export type Owner = z.infer<typeof ownerSchema>;

/** Of `/proc/PID/stat`, counted from what follows the name, which may have spaces and parentheses. */
const STATE_FIELD = 0;
const START_TIME_FIELD = 19;
/** It has ended, and its parent has not asked how. */
const ENDED = ['Z', 'X'];

/** Linux only: the boot, and the start within it. */
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

/** Undefined where it is no owner's record. */
export function decodeOwner(value: Uint8Array | undefined): Owner | undefined {
  if (value === undefined) return undefined;
  try {
    return ownerSchema.safeParse(JSON.parse(Buffer.from(value).toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
