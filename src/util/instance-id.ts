/**
 * The resource's `service.instance.id`, which identifies a writer of metrics. It must be unique, since two writers that add to
 * the same series make its sums worthless. It begins with the host name.
 */
import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

const DIGITS = 8;

const nameOf = (digits: string): string => `${hostname()}-${digits}`;

export const newInstanceId = (): string => nameOf(randomBytes(DIGITS / 2).toString('hex'));

/** The id of a writer that writes the same data each time: if that is sent again it counts once, as its spans do. */
export const instanceIdOf = (what: string): string =>
  nameOf(createHash('sha256').update(what).digest('hex').slice(0, DIGITS));
