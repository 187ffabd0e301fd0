/**
 * Makes the ids of calls unique within their run: some models give several calls the same id, one after the other. Each dialect
 * counts them in its own way, but names them alike.
 */

/** The id of the `count`th call of a run under this id, counted from 1. */
export const numbered = (call_id: string, count: number): string =>
  count === 1 ? call_id : `${call_id}#${count}`;
