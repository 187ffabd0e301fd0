/**
 * Every reason for which data is lost on its way to a backend, so that the summary, metrics and log use the same words.
 */

/** Dropped: the queue was over its memory limit, and this was the oldest in it. */
export const MEMORY_FULL = 'memory_full';
/** Dropped: the store was over its limit, and this was the oldest in it. */
export const STORE_FULL = 'store_full';
/** Dropped: the store could not be written, and the process that had this in memory has ended. */
export const STORE_UNWRITABLE = 'store_unwritable';
/** Dropped: it was stored, but can't be read any more. */
export const STORE_DAMAGED = 'store_damaged';
/** Rejected: the backend answered 200, but rejected these. */
export const PARTIAL_SUCCESS = 'partial_success';
/** Rejected: refused alone, again and again, while everything else was accepted. */
export const POISON = 'poison';
/** Rejected: the backend answered with a status that a retry would not change. */
export const httpReason = (status: number): string => `http_${status}`;
/** Rejected: a processor of the program around the bridge threw when it was handed this. */
export const PROCESSOR_FAILED = 'processor_failed';

const NOT_THERE: ReadonlySet<string> = new Set([404, 405].map(httpReason));

/** Whether there is a server, but no OTLP endpoint at this URL. */
export const isNotThere = (reason: string): boolean => NOT_THERE.has(reason);
