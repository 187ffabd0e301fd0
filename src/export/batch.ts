/**
 * A batch: the items of one request. It keeps its body, so that a retry is the same request.
 */

import type { LaneItem } from './item.js';
import type { Encoding } from './presets.js';

export interface Batch<T> {
  items: LaneItem<T>[];
  /** The body as it was last sent. */
  body?: { encoding: Encoding; bytes: Uint8Array };
  /** How often this batch was refused unchanged. */
  refusals: number;
  /** The backend's last message, if the batch is suspect. */
  message?: string;
}

export const batchOf = <T>(items: LaneItem<T>[]): Batch<T> => ({ items, refusals: 0 });

/** The items without previews and corrections. */
export const countedItems = <T>({ items }: Batch<T>): LaneItem<T>[] => items.filter(({ count }) => count > 0);

export function halvesOf<T>({ items }: Batch<T>): Batch<T>[] {
  const middle = Math.ceil(items.length / 2);
  return [batchOf(items.slice(0, middle)), batchOf(items.slice(middle))];
}

/** The body of its request; encoded again only if the encoding has changed. */
export function bodyOf<T>(
  batch: Batch<T>,
  encoding: Encoding,
  encode: (payloads: T[], encoding: Encoding) => Uint8Array,
): Uint8Array {
  if (batch.body?.encoding !== encoding) {
    const payloads = batch.items.map((item) => item.payload);
    batch.body = { encoding, bytes: encode(payloads, encoding) };
  }
  return batch.body.bytes;
}
