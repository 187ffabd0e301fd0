/**
 * Every reason by which data dies on its way to a backend, so that a summary, a metric and a log line say the same word for
 * the same thing.
 */

/** Dropped: the queue was over its bound, and this was the oldest in it. */
export const MEMORY_FULL = 'memory_full';
/** Dropped: the store was over its bound, and this was the oldest in it. */
export const STORE_FULL = 'store_full';
/** Dropped: the store could not be written, and the process that held this in memory has ended. */
export const STORE_UNWRITABLE = 'store_unwritable';
/** Dropped: it was written down, and can't be read any more. */
export const STORE_DAMAGED = 'store_damaged';
/** Rejected: the backend answered 200 and said that it did not take these. */
export const PARTIAL_SUCCESS = 'partial_success';
/** Rejected: refused alone, again and again, while everything else passed. */
export const POISON = 'poison';
/** Rejected: the backend answered with a status that sending again does not mend. */
export const httpReason = (status: number): string => `http_${status}`;
/** Rejected: a processor of the program that the bridge is a part of threw when it was handed this. */
export const PROCESSOR_FAILED = 'processor_failed';

const NOT_THERE: ReadonlySet<string> = new Set([404, 405].map(httpReason));

/** There is a server, and it takes no such thing there. */
export const isNotThere = (reason: string): boolean => NOT_THERE.has(reason);
