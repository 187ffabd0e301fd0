/**
 * LMDB's file, data format 2, as far as needed to read it without LMDB: two meta pages, of which the newer one names the roots
 * of two trees (free pages and records), branch and leaf pages, and runs of overflow pages for values that do not fit a leaf.
 * Nothing read from the file is trusted: every reference is bounds-checked.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

export const HEADER_BYTES = 24;
/** Page number, transaction, and number of pages, 8 bytes each. */
const BIG_REFERENCE_BYTES = 24;
const NODE_HEADER_BYTES = 8;
const META_BYTES = 168;

const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const PAGE_SIZES = [4_096, 8_192, 16_384, 32_768, 65_536];
/** The root of a tree without records. */
const NO_ROOT = 0xffff_ffff_ffff_ffffn;

export const PAGE = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const;
/** The flag of a leaf node whose value is on overflow pages. */
const BIG = 1;
const INTEGER_KEYS = 8;

/** The number of pages of each kind, and of the entries on them. */
export interface Tree {
  flags: number;
  depth: number;
  branches: number;
  leaves: number;
  overflows: number;
  entries: number;
  root: number | undefined;
}

export interface Meta {
  page_size: number;
  last_page: number;
  txn: number;
  free: Tree;
  records: Tree;
}

export interface Node {
  key: Buffer;
  /** In a branch: the page below. */
  child: number;
  /** In a leaf: the value's length, and the value or a reference to its pages. */
  length: number;
  is_big: boolean;
  data: Buffer;
}

export interface DataFile {
  size: number;
  /** Undefined beyond the end of the file. */
  read(position: number, length: number): Buffer | undefined;
  close(): void;
}

export function openDataFile(path: string): DataFile {
  const fd = openSync(path, 'r');
  const { size } = fstatSync(fd);
  return {
    size,
    read(position, length) {
      if (position + length > size) return undefined;
      const found = Buffer.allocUnsafe(length);
      return readSync(fd, found, 0, length, position) === length ? found : undefined;
    },
    close: () => closeSync(fd),
  };
}

/** Exact up to 2^53, which no number in our files exceeds. */
export const readNumber = (bytes: Buffer, offset: number): number =>
  bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 2 ** 32;

function readTree(bytes: Buffer, offset: number): Tree {
  return {
    flags: bytes.readUInt16LE(offset + 4),
    depth: bytes.readUInt16LE(offset + 6),
    branches: readNumber(bytes, offset + 8),
    leaves: readNumber(bytes, offset + 16),
    overflows: readNumber(bytes, offset + 24),
    entries: readNumber(bytes, offset + 32),
    root: bytes.readBigUInt64LE(offset + 40) === NO_ROOT ? undefined : readNumber(bytes, offset + 40),
  };
}

function parseMeta(bytes: Buffer): Meta | undefined {
  const meta = {
    page_size: bytes.readUInt32LE(48),
    last_page: readNumber(bytes, 144),
    txn: readNumber(bytes, 152),
    free: readTree(bytes, 48),
    records: readTree(bytes, 96),
  };
  const is_sound =
    bytes.readUInt16LE(18) === PAGE.meta &&
    bytes.readUInt32LE(24) === MAGIC &&
    bytes.readUInt32LE(28) === DATA_VERSION &&
    PAGE_SIZES.includes(meta.page_size) &&
    meta.free.flags === INTEGER_KEYS &&
    bytes.readUInt32LE(96) === 0 &&
    meta.records.flags === 0;
  return is_sound ? meta : undefined;
}

export interface Metas {
  /** The sound meta pages, the newer one first. */
  found: Meta[];
  /** What is wrong with the meta pages. */
  fault?: string;
  /** The raw bytes of both, to detect changes of the file. */
  bytes: string;
}

/**
 * Reads both meta pages. Transaction N writes meta page N modulo 2, so the two belong to consecutive transactions. If they do
 * not, the pages of the trees, each of which names the transaction that wrote it, show which meta page is wrong.
 */
export function readMetas(file: DataFile): Metas {
  const first = file.read(0, META_BYTES);
  const page_size = first?.readUInt32LE(48) ?? 0;
  const sizes = PAGE_SIZES.includes(page_size) ? [page_size] : PAGE_SIZES;
  const seconds = sizes.map((size) => file.read(size, META_BYTES));
  const second = seconds.find((bytes) => bytes !== undefined && parseMeta(bytes) !== undefined) ?? seconds[0];
  const metas = [first, second].map((bytes) => (bytes === undefined ? undefined : parseMeta(bytes)));
  const found = metas.filter((meta) => meta !== undefined).sort((one, other) => other.txn - one.txn);
  const bytes = [first, second].map((each) => each?.toString('latin1')).join();
  const [newer, older] = found;
  if (newer === undefined) return { found, bytes, fault: 'both meta pages are damaged' };
  if (older === undefined) return { found, bytes, fault: 'one of the two meta pages is damaged' };
  const is_first_commit = newer.txn === 0;
  const is_consistent =
    (is_first_commit || newer.txn - older.txn === 1) &&
    metas.every((meta, index) => meta?.txn === 0 || (meta?.txn ?? 0) % 2 === index) &&
    newer.page_size === older.page_size;
  return is_consistent
    ? { found, bytes }
    : { found, bytes, fault: 'the two meta pages contradict each other' };
}

export interface PageHeader {
  page: number;
  txn: number;
  flags: number;
  /** The number of pages in a run of overflow pages. */
  pages: number;
}

export const readHeader = (bytes: Buffer): PageHeader => ({
  page: readNumber(bytes, 0),
  txn: readNumber(bytes, 8),
  flags: bytes.readUInt16LE(18),
  pages: bytes.readUInt32LE(20),
});

const even = (size: number): number => size + (size & 1);

function parseNode(bytes: Buffer, offset: number, is_leaf: boolean): (Node & { size: number }) | undefined {
  if (offset < HEADER_BYTES || offset + NODE_HEADER_BYTES > bytes.length) return undefined;
  const low = bytes.readUInt32LE(offset);
  const flags = bytes.readUInt16LE(offset + 4);
  const key_start = offset + NODE_HEADER_BYTES;
  const key_end = key_start + bytes.readUInt16LE(offset + 6);
  const is_big = is_leaf && flags === BIG;
  const data_end = key_end + (is_leaf ? (is_big ? BIG_REFERENCE_BYTES : low) : 0);
  if (data_end > bytes.length || (is_leaf && !is_big && flags !== 0)) return undefined;
  return {
    key: bytes.subarray(key_start, key_end),
    child: low + flags * 2 ** 32,
    length: low,
    is_big,
    data: bytes.subarray(key_end, data_end),
    size: even(data_end - offset),
  };
}

/** The readable nodes, and whether they fill the page as LMDB fills it: adjacent, without a gap. */
export function parseNodes(bytes: Buffer, is_leaf: boolean): { nodes: Node[]; is_sound: boolean } {
  const lower = bytes.readUInt16LE(20);
  const upper = bytes.readUInt16LE(22);
  const count = Math.min(lower, bytes.length - HEADER_BYTES) >> 1;
  const offsets = Array.from(
    { length: count },
    (_, i) => HEADER_BYTES + bytes.readUInt16LE(HEADER_BYTES + 2 * i),
  );
  const parsed = offsets.map((offset) => ({ offset, node: parseNode(bytes, offset, is_leaf) }));
  const nodes = parsed.flatMap(({ node }) => (node === undefined ? [] : [node]));
  let end = HEADER_BYTES + upper;
  for (const { offset, node } of parsed.sort((one, other) => one.offset - other.offset)) {
    if (offset !== end || node === undefined) return { nodes, is_sound: false };
    end += node.size;
  }
  const is_sound = lower % 2 === 0 && lower <= upper && end === bytes.length && count >= (is_leaf ? 1 : 2);
  return { nodes, is_sound };
}

export const overflowPages = (length: number, page_size: number): number =>
  Math.floor((HEADER_BYTES - 1 + length) / page_size) + 1;
