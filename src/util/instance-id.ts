/**
 * What a writer of metrics is called, the resource's `service.instance.id`: no other may have the name, since two that add to one
 * series make its sums worthless. It begins as people know the machine.
 */
import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

const DIGITS = 8;

const nameOf = (digits: string): string => `${hostname()}-${digits}`;

export const newInstanceId = (): string => nameOf(randomBytes(DIGITS / 2).toString('hex'));

/** Of one that writes the same each time: sent again, it counts once, as its spans do. */
export const instanceIdOf = (what: string): string =>
  nameOf(createHash('sha256').update(what).digest('hex').slice(0, DIGITS));
