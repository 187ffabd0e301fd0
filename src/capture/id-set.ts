/**
 * A set of span ids, or of texts by their hashes, that discards the oldest, with two generations as in `bounded.ts`. Each id is
 * 64 bits, stored as two numbers in a typed array: a set of 200,000 takes 4 MB, whatever the length of the texts, and the
 * garbage collector never scans it.
 */
import { isTracked, type Tracking, turn } from './bounded.js';

/** The ids that were added during one generation. */
export interface IdGeneration {
  /** A hash table: the halves of each id, at the slot that follows from it or the next free one; both are 0 in a free slot. */
  table: Int32Array;
  size: number;
  /** Counts up from one generation to the next. */
  number: number;
  /** If the set is tracked: the halves of the ids that were added since the last capture. */
  added: number[];
  /** Keys of the records that hold this generation. */
  records: string[];
}

export interface IdSet extends Tracking {
  /** At least the latest `max / 2` ids and at most `max` are remembered. */
  max: number;
  young: IdGeneration;
  old: IdGeneration;
}

const FIRST_PLACES = 1_024;

const createGeneration = (number: number): IdGeneration => ({
  table: new Int32Array(2 * FIRST_PLACES),
  size: 0,
  number,
  added: [],
  records: [],
});

export const createIdSet = (max: number): IdSet => ({
  max,
  young: createGeneration(1),
  old: createGeneration(0),
});

const DIGITS_OF_HALF = 8;

/** The value of each hex digit, by its character code. */
const VALUES = new Uint8Array(128);
for (let value = 0; value < 16; value++) VALUES[value.toString(16).charCodeAt(0)] = value;

/** Half of an id: 8 of its 16 lower-case hex digits. */
function halfOf(id: string, from: number): number {
  let half = 0;
  for (let at = from; at < from + DIGITS_OF_HALF; at++) half = (half << 4) | (VALUES[id.charCodeAt(at)] ?? 0);
  return half;
}

/** The index of the id in the table, or of the free slot for it. */
function placeOf({ table }: IdGeneration, high: number, low: number): number {
  const mask = table.length / 2 - 1;
  let place = low & mask;
  // Ids are digests, so any of their bits are as good as random.
  while (table[2 * place] !== high || table[2 * place + 1] !== low) {
    if (table[2 * place] === 0 && table[2 * place + 1] === 0) break;
    place = (place + 1) & mask;
  }
  return 2 * place;
}

const isAt = ({ table }: IdGeneration, place: number): boolean =>
  table[place] !== 0 || table[place + 1] !== 0;

const isIn = (generation: IdGeneration, high: number, low: number): boolean =>
  isAt(generation, placeOf(generation, high, low));

function grow(generation: IdGeneration): void {
  const { table } = generation;
  generation.table = new Int32Array(2 * table.length);
  for (let at = 0; at < table.length; at += 2) {
    const [high = 0, low = 0] = [table[at], table[at + 1]];
    if (high === 0 && low === 0) continue;
    const place = placeOf(generation, high, low);
    generation.table[place] = high;
    generation.table[place + 1] = low;
  }
}

/** Adds an id by its halves; false if it was there already. */
export function addHalves(generation: IdGeneration, high: number, low: number): boolean {
  // A table that is more than half full has long probe sequences.
  if (4 * generation.size >= generation.table.length) grow(generation);
  const place = placeOf(generation, high, low);
  if (isAt(generation, place)) return false;
  generation.table[place] = high;
  generation.table[place + 1] = low;
  generation.size++;
  return true;
}

/** Begins a generation; the one before the last is discarded. */
export const beginIdGeneration = (set: IdSet, number: number): void => turn(set, createGeneration(number));

/** False if the young generation had it already. */
function add(set: IdSet, high: number, low: number): boolean {
  if (set.young.size >= set.max / 2) {
    if (isIn(set.young, high, low)) return false;
    beginIdGeneration(set, set.young.number + 1);
  }
  if (!addHalves(set.young, high, low)) return false;
  if (isTracked(set)) set.young.added.push(high, low);
  return true;
}

/** Adds an id of 16 lower-case hex digits. */
export function addId(set: IdSet, id: string): void {
  add(set, halfOf(id, 0), halfOf(id, DIGITS_OF_HALF));
}

export function hasId({ young, old }: IdSet, id: string): boolean {
  const high = halfOf(id, 0);
  const low = halfOf(id, DIGITS_OF_HALF);
  return isIn(young, high, low) || isIn(old, high, low);
}

/** Odd numbers with evenly spread bits: multiplied by one of them, every bit of a number affects those above it. */
const MIX_HIGH = 0x85ebca6b;
const MIX_LOW = 0xc2b2ae35;

/** Lets every bit affect those below it as well. */
function spread(hash: number, factor: number): number {
  const spreading = Math.imul(hash ^ (hash >>> 16), factor);
  return spreading ^ (spreading >>> 13);
}

/**
 * Adds a text; false if it was there already. It is identified by two independent 32-bit hashes: with 200,000 texts remembered,
 * about one new text in 10^14 is mistaken for one of them. `kind`: texts of different kinds are different.
 */
export function addText(set: IdSet, text: string, kind: number): boolean {
  let high = kind;
  let low = text.length;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    high = Math.imul(high ^ code, MIX_HIGH);
    high = (high << 13) | (high >>> 19);
    low = Math.imul(low ^ code, MIX_LOW);
    low = (low << 17) | (low >>> 15);
  }
  high = spread(high, MIX_LOW);
  // Two halves of 0 mark a free slot, so this one is never 0.
  low = spread(low, MIX_HIGH) || 1;
  return !isIn(set.old, high, low) && add(set, high, low);
}

/** The halves of all ids of a generation, in no particular order. */
export function halvesOf({ table }: IdGeneration): number[] {
  const halves: number[] = [];
  for (let at = 0; at < table.length; at += 2) {
    const [high = 0, low = 0] = [table[at], table[at + 1]];
    if (high !== 0 || low !== 0) halves.push(high, low);
  }
  return halves;
}
