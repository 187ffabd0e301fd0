/**
 * An item on a lane, which is a span, a log record or a metrics request, and the record of the store that it may be in.
 */

export interface LaneItem<T> {
  payload: T;
  /** Estimated size, in memory and in a request. */
  bytes: number;
  /** How many spans, log records or data points it counts as; 0 for a preview or a correction. */
  count: number;
  /** The span id, if copies of this item replace each other. */
  id?: string | undefined;
  /** The record that it is stored in. */
  segment?: Segment<T> | undefined;
  /** Where it waits to be stored: its list and its index there, and the time when it was added. */
  list?: object | undefined;
  place?: number | undefined;
  since_ms?: number | undefined;
}

/** Items that are stored in one record. */
export interface Segment<T> {
  key: string;
  /** How many spans, log records or data points it holds, less those that the previous process got answers for. */
  count: number;
  /** The size of the record. */
  bytes: number;
  since_ms: number;
  /** The unanswered items with their indexes in the record; absent if they are on the disk only. */
  items?: Map<LaneItem<T>, number>;
  is_written: boolean;
  /** From the previous process, which may have sent it. */
  is_restored?: boolean;
  /** Whether the record also holds items that are answered or divided. */
  is_partial: boolean;
}

/** Sets every field at once, so that the object never has to grow. */
export const createItem = <T>(payload: T, bytes: number, count: number, id?: string): LaneItem<T> => ({
  payload,
  bytes,
  count,
  id,
  segment: undefined,
  list: undefined,
  place: undefined,
  since_ms: undefined,
});

/** Whether the item is a copy of a span that has not ended; it may be lost. */
export const isPreview = <T>(item: LaneItem<T>): item is LaneItem<T> & { id: string } =>
  item.count === 0 && item.id !== undefined;

/** The total count: 0 for previews, the number of data points for a collection. */
export const countOf = (items: readonly LaneItem<unknown>[]): number =>
  items.reduce((total, { count }) => total + count, 0);

/** Whether the item amends an ended span; it must not arrive before the end. */
export const isCorrection = ({ count, id }: LaneItem<unknown>): boolean => count === 0 && id === undefined;
