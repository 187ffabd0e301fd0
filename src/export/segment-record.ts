/**
 * The record of a segment in the store: a header with counts, and the packed items. Its key has a number, so that records sort
 * by age.
 */

import { OUTBOX_PREFIX } from '../model/delivery.js';
import { joinRecord, keyNumber, splitRecord } from '../model/record.js';
import type { LaneItem } from './item.js';

/** How items are serialised. */
export interface ItemFormat<T> {
  /** Serialises items, and back. */
  pack(payloads: T[]): Uint8Array;
  unpack(bytes: Uint8Array): T[];
  /** Rebuilds an item from its payload and count. */
  toItem(payload: T, count: number): LaneItem<T>;
}

interface Header {
  since_ms: number;
  count: number;
  /** The count of each item, if one is not 1. */
  counts?: number[];
}

/** Encodes free text for use in a key. */
const keyPart = (text: string): string => encodeURIComponent(text).slice(0, 200);

/** What the keys of an outbox begin with. */
export const keyPrefix = (destination: string, signal: string): string =>
  `${OUTBOX_PREFIX}${keyPart(destination)}/${signal}/`;

/** `whole`: the key of the record that its items were in before; the new key sorts in the place of that record. */
export function segmentKey(prefix: string, number: number, whole: string | undefined): string {
  const name = keyNumber(number);
  return whole === undefined ? prefix + name : `${whole.slice(0, prefix.length + name.length)}.${name}`;
}

/** The first number after those in a key, given without its prefix. */
export const numberAfter = (name: string): number =>
  Math.max(...name.split('.').map((part) => Number.parseInt(part, 16))) + 1;

export function segmentRecord<T>(
  items: readonly LaneItem<T>[],
  { since_ms, count }: Header,
  pack: ItemFormat<T>['pack'],
): Uint8Array {
  const counts = items.map((item) => item.count);
  const header: Header = { since_ms, count, ...(counts.some((each) => each !== 1) ? { counts } : {}) };
  return joinRecord(header, [pack(items.map((item) => item.payload))]);
}

/** Undefined if the record can't be read. */
export function readHeader(value: Uint8Array): Header | undefined {
  try {
    const header = splitRecord(value).header as Header;
    return Number.isFinite(header.count) && Number.isFinite(header.since_ms)
      ? { count: header.count, since_ms: header.since_ms }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined if the record can't be read. */
export function readItems<T>(
  value: Uint8Array | undefined,
  { unpack, toItem }: ItemFormat<T>,
): LaneItem<T>[] | undefined {
  if (value === undefined) return undefined;
  try {
    const { header, body } = splitRecord(value);
    const { counts } = header as Header;
    return unpack(body).map((payload, place) => toItem(payload, counts?.[place] ?? 1));
  } catch {
    return undefined;
  }
}
