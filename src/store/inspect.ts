/**
 * Checks a data file page by page and record by record, without LMDB: that maps the file into memory, where a missing page or a
 * wild reference would crash the process. Also reads the sound records of a damaged file.
 */
import {
  type DataFile,
  HEADER_BYTES,
  type Meta,
  type Node,
  openDataFile,
  overflowPages,
  PAGE,
  parseNodes,
  readHeader,
  readMetas,
  readNumber,
  type Tree,
} from './file-format.js';
import { unframe } from './frame.js';

/** Receives a record; `value` is as stored, with its checksum. */
type Take = (key: Buffer, value: Buffer) => void;

interface Faults {
  first: string | undefined;
  count: number;
}

export interface Inspection {
  /** The first fault; undefined if the file is sound. */
  fault: string | undefined;
  faults: number;
  /** The number of sound records, and of further records that should exist. */
  sound: number;
  lost: number;
  /** The first parts of the keys of lost records, as far as they are known. */
  lost_kinds: string[];
  /** The raw meta pages, as in `Metas`. */
  metas: string;
}

interface Walk {
  file: DataFile;
  meta: Meta;
  /** The number of pages in the file; `reached` has a bit for each. */
  pages: number;
  reached: Uint8Array;
  faults: Faults;
  lost_kinds: Set<string>;
}

const DEPTH_MAX = 32;
/** The last page number may count pages that a transaction allocated and returned without writing them. */
const PAGES_BEHIND_MAX = 1_024;
const LOST_KINDS_MAX = 10;
const KIND = /^[a-z][a-z_-]{0,39}/;

function report({ faults }: Walk, fault: string): void {
  faults.first ??= fault;
  faults.count += 1;
}

function lose({ lost_kinds }: Walk, key: Buffer | undefined): void {
  const kind = key === undefined ? undefined : KIND.exec(key.toString('latin1'))?.[0];
  if (kind !== undefined && lost_kinds.size < LOST_KINDS_MAX) lost_kinds.add(kind);
}

/**
 * Marks a page as reached. False if there is no such page or it was reached before. The last free pages may lie beyond the end
 * of the file.
 */
function reach(walk: Walk, page: number): boolean {
  if (page < 2 || page > walk.meta.last_page) return false;
  if (page >= walk.pages) return true;
  const bit = 1 << (page & 7);
  const byte = walk.reached[page >> 3] ?? 0xff;
  if ((byte & bit) !== 0) return false;
  walk.reached[page >> 3] = byte | bit;
  return true;
}

/** Reads the pages of a value, or one page of a tree; undefined if they are not what they should be. */
function readPages(walk: Walk, page: number, count: number, flags: number): Buffer | undefined {
  const { file, meta } = walk;
  for (let each = page; each < page + count; each += 1) if (!reach(walk, each)) return undefined;
  const bytes = file.read(page * meta.page_size, count * meta.page_size);
  if (bytes === undefined) return undefined;
  const header = readHeader(bytes);
  const is_sound = header.page === page && header.flags === flags && header.txn > 0 && header.txn <= meta.txn;
  return is_sound && (flags !== PAGE.overflow || header.pages === count) ? bytes : undefined;
}

/** Reads a value. It may have more pages than it needs, if it was longer before. */
function readValue(walk: Walk, { counts }: TreeWalk, { is_big, data, length }: Node): Buffer | undefined {
  if (!is_big) return data;
  const [page, txn, count] = [readNumber(data, 0), readNumber(data, 8), readNumber(data, 16)];
  counts.overflows += count;
  if (txn > walk.meta.txn || count < overflowPages(length, walk.meta.page_size)) return undefined;
  return readPages(walk, page, count, PAGE.overflow)?.subarray(HEADER_BYTES, HEADER_BYTES + length);
}

interface Bounds {
  low: Buffer | undefined;
  high: Buffer | undefined;
}

type Compare = (one: Buffer, other: Buffer) => number;

/** Whether the keys ascend and stay within the bounds given by the page above; a branch's first key is meaningless. */
function areOrdered(nodes: Node[], { low, high }: Bounds, is_leaf: boolean, compare: Compare): boolean {
  const keys = nodes.slice(is_leaf ? 0 : 1).map(({ key }) => key);
  const [first] = keys;
  const last = keys.at(-1);
  if (first === undefined || last === undefined) return true;
  const ascend = keys.every((key, i) => i === 0 || compare(keys[i - 1] ?? key, key) < 0);
  const is_within =
    (low === undefined || compare(low, first) <= 0) && (high === undefined || compare(last, high) < 0);
  return ascend && is_within;
}

interface Counts {
  branches: number;
  leaves: number;
  overflows: number;
  entries: number;
}

interface TreeWalk {
  tree: Tree;
  counts: Counts;
  compare: Compare;
  take: Take;
}

function walkLeaf(walk: Walk, tree_walk: TreeWalk, nodes: Node[]): void {
  const { counts, take } = tree_walk;
  counts.leaves += 1;
  for (const node of nodes) {
    counts.entries += 1;
    const value = readValue(walk, tree_walk, node);
    if (value !== undefined) take(node.key, value);
    else {
      report(walk, 'the pages of a record are invalid');
      lose(walk, node.key);
    }
  }
}

/** Continues wherever possible: what is below a damaged page may be sound. */
function walkPage(walk: Walk, tree_walk: TreeWalk, page: number, depth: number, bounds: Bounds): void {
  const { tree, counts, compare } = tree_walk;
  const is_leaf = depth === tree.depth;
  const bytes = readPages(walk, page, 1, is_leaf ? PAGE.leaf : PAGE.branch);
  if (bytes === undefined) {
    report(walk, `page ${page} is invalid`);
    lose(walk, bounds.low);
    lose(walk, bounds.high);
    return;
  }
  const { nodes, is_sound } = parseNodes(bytes, is_leaf);
  if (!is_sound || !areOrdered(nodes, bounds, is_leaf, compare)) {
    report(walk, `the content of page ${page} is invalid`);
    lose(walk, nodes[0]?.key);
  }
  if (is_leaf) return walkLeaf(walk, tree_walk, nodes);
  counts.branches += 1;
  nodes.forEach(({ key, child }, i) => {
    walkPage(walk, tree_walk, child, depth + 1, {
      low: i === 0 ? bounds.low : key,
      high: nodes[i + 1]?.key ?? bounds.high,
    });
  });
}

function walkTree(walk: Walk, tree: Tree, compare: Compare, take: Take): void {
  const counts: Counts = { branches: 0, leaves: 0, overflows: 0, entries: 0 };
  if (tree.depth > DEPTH_MAX || (tree.root === undefined) !== (tree.depth === 0)) {
    return report(walk, 'the meta page is invalid');
  }
  if (tree.root !== undefined) {
    walkPage(walk, { tree, counts, compare, take }, tree.root, 1, { low: undefined, high: undefined });
  }
  const names = ['branches', 'leaves', 'overflows', 'entries'] as const;
  if (names.some((name) => counts[name] !== tree[name])) report(walk, 'pages or records are missing');
}

/** Compares 8-byte numbers in the machine's byte order. */
const compareNumbers: Compare = (one, other) =>
  one.length < 8 || other.length < 8 ? 0 : readNumber(one, 0) - readNumber(other, 0);

/**
 * Checks a list of free pages: a count, then that many numbers. Each is a page, a negative number whose absolute value is the
 * length of the run that begins at the next page listed, or zero. LMDB would overwrite a page that is listed and in use.
 */
function checkFreeList(walk: Walk, key: Buffer, list: Buffer): void {
  const count = list.length < 8 ? Number.POSITIVE_INFINITY : readNumber(list, 0);
  if (key.length !== 8 || readNumber(key, 0) > walk.meta.txn || 8 * (count + 1) > list.length) {
    return report(walk, 'a list of free pages is invalid');
  }
  let run = 1;
  for (let i = 1; i <= count; i += 1) {
    const number = Number(list.readBigInt64LE(8 * i));
    if (number < 0) run = -number;
    if (number <= 0) continue;
    for (let page = number; page < number + run; page += 1) {
      if (!reach(walk, page)) return report(walk, `page ${page} is wrongly listed as free`);
    }
    run = 1;
  }
}

function reading<T>(path: string, read: (file: DataFile) => T): T {
  const file = openDataFile(path);
  try {
    return read(file);
  } finally {
    file.close();
  }
}

interface Walked {
  meta: Meta;
  faults: Faults;
  sound: number;
  lost_kinds: Set<string>;
}

function walkFile(file: DataFile, meta: Meta, take: Take): Walked {
  const pages = Math.floor(file.size / meta.page_size);
  const faults: Faults = { first: undefined, count: 0 };
  const walked = { meta, faults, sound: 0, lost_kinds: new Set<string>() };
  const walk: Walk = { ...walked, file, pages, reached: new Uint8Array((pages >> 3) + 1) };
  if (meta.last_page > pages + PAGES_BEHIND_MAX) report(walk, 'the file ends before its last page');
  walkTree(walk, meta.records, Buffer.compare, (key, value) => {
    if (unframe(key, value) === undefined) {
      report(walk, 'a record does not match its checksum');
      return lose(walk, key);
    }
    walked.sound += 1;
    take(key, value);
  });
  walkTree(walk, meta.free, compareNumbers, (key, list) => checkFreeList(walk, key, list));
  return walked;
}

const lostOf = ({ meta, sound }: Walked): number => Math.max(meta.records.entries - sound, 0);

/**
 * Picks the state with the fewest lost records: if the newer one is damaged, the one before may be whole, since later changes
 * are on other pages.
 */
function walkBest(file: DataFile, metas: Meta[]): Walked | undefined {
  let best: Walked | undefined;
  for (const meta of metas) {
    const walked = walkFile(file, meta, () => {});
    if (best === undefined || lostOf(walked) < lostOf(best)) best = walked;
    if (best.faults.count === 0) break;
  }
  return best;
}

export const inspect = (path: string): Inspection =>
  reading(path, (file) => {
    const { found, fault, bytes: metas } = readMetas(file);
    const best = walkBest(file, found);
    if (best === undefined) return { fault, faults: 1, sound: 0, lost: 0, lost_kinds: [], metas };
    const { faults } = best;
    const meta_fault = fault ?? (best.meta === found[0] ? undefined : "the last changes can't be read");
    return {
      fault: meta_fault ?? faults.first,
      faults: faults.count + (meta_fault === undefined ? 0 : 1),
      sound: best.sound,
      lost: lostOf(best),
      lost_kinds: [...best.lost_kinds].sort(),
      metas,
    };
  });

/** Calls `take` with every sound record. */
export const readSound = (path: string, take: Take): void =>
  reading(path, (file) => {
    const best = walkBest(file, readMetas(file).found);
    if (best !== undefined) walkFile(file, best.meta, take);
  });

/** Reads one record of a file that its owner may be changing; undefined if it can't be found. */
export const lookUp = (path: string, key: Buffer): { value: Uint8Array | undefined; metas: string } =>
  reading(path, (file) => {
    const { found, bytes } = readMetas(file);
    const [meta] = found;
    const framed = meta === undefined ? undefined : find(file, meta, key);
    return { value: framed === undefined ? undefined : unframe(key, framed), metas: bytes };
  });

function find(file: DataFile, meta: Meta, key: Buffer): Buffer | undefined {
  const { page_size, records } = meta;
  let page = records.root;
  for (let depth = 1; page !== undefined && depth <= Math.min(records.depth, DEPTH_MAX); depth += 1) {
    const bytes = file.read(page * page_size, page_size);
    if (bytes === undefined) return undefined;
    const is_leaf = depth === records.depth;
    const { nodes } = parseNodes(bytes, is_leaf);
    if (is_leaf)
      return readFramed(
        file,
        meta,
        nodes.find((node) => node.key.equals(key)),
      );
    page = nodes.findLast((node, i) => i === 0 || Buffer.compare(node.key, key) <= 0)?.child;
  }
  return undefined;
}

function readFramed(file: DataFile, { page_size }: Meta, node: Node | undefined): Buffer | undefined {
  if (node === undefined || !node.is_big) return node?.data;
  return file.read(readNumber(node.data, 0) * page_size + HEADER_BYTES, node.length);
}
