/**
 * The journal: what came in since the last checkpoint, an entry per chunk read, in the order in which it came. Of a source
 * that can't be read again this is the only copy, so that nothing that comes of a chunk is sent before the chunk is here.
 * Entries share a record while it waits to be written, and small ones join one that has been, which is then written anew: a
 * checkpoint has to take every record out again, and looks at the beginning of each for that.
 */
import { keyNumber, type RecordChange, type SavedRecord, splitRecord } from '../model/record.js';
import type { LineBatch, SkippedLine, SourceLine } from '../model/source.js';
import { type StoreChange, valueBytes } from '../store/index.js';

/** A batch as it was applied. */
export interface JournalEntry {
  source: string;
  batch: LineBatch;
  /** When it was applied, epoch milliseconds. */
  now_ms: number;
}

export const JOURNAL_PREFIX = 'journal/';

type Skipped = SkippedLine['skipped'];
type Line = SourceLine | SkippedLine;
type Header = Omit<JournalEntry, 'batch'> &
  Omit<LineBatch, 'lines' | 'kind' | 'receipt'> & {
    /** The number of the first line, and where others do not count up from it, those of all. */
    first: number;
    numbers?: number[];
    /** Of each line how many bytes it has, or why it was skipped. The body has the lines with a line end after each. */
    lengths: (number | Skipped)[];
  };

const NEWLINE = Buffer.from('\n');

const isCountingUp = (lines: readonly Line[], first: number): boolean =>
  lines.every(({ number }, index) => number === first + index);

/** The lines with the line ends after them, in as few pieces as there can be: most lines are one view beside the other. */
function piecesOf(lines: readonly Line[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let buffer: ArrayBufferLike | undefined;
  let from = 0;
  let to = 0;
  const endPiece = (): void => {
    if (buffer !== undefined) pieces.push(new Uint8Array(buffer, from, to - from), NEWLINE);
  };
  for (const line of lines) {
    if (!('bytes' in line)) continue;
    const { bytes } = line;
    const at = bytes.byteOffset;
    // One byte between the two, whatever it is, stands for the line end.
    if (bytes.buffer !== buffer || at !== to + 1) {
      endPiece();
      buffer = bytes.buffer;
      from = at;
    }
    to = at + bytes.length;
  }
  endPiece();
  return pieces;
}

/** Who waits for a batch waits in this process alone. In pieces, which the store copies once. */
export function encodeEntry({ source, batch, now_ms }: JournalEntry): Uint8Array[] {
  const { stream, end, lines, arrival_ms, position, since_ms, may_repeat } = batch;
  const first = lines[0]?.number ?? 0;
  // Each by its name, which is much faster than what is left of a batch; JSON leaves out what is undefined.
  const header: { [K in keyof Required<Header>]: Header[K] | undefined } = {
    source,
    now_ms,
    first,
    lengths: lines.map((line) => ('bytes' in line ? line.bytes.length : line.skipped)),
    stream,
    end,
    arrival_ms,
    position,
    since_ms,
    may_repeat,
    numbers: isCountingUp(lines, first) ? undefined : lines.map(({ number }) => number),
  };
  return [Buffer.from(`${JSON.stringify(header)}\n`), ...piecesOf(lines)];
}

const LENGTH_BYTES = 4;

/** The entries of a record, each behind its length. Throws where it is no such record. */
export function decodeEntries(value: Uint8Array): JournalEntry[] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const entries: JournalEntry[] = [];
  for (let at = 0; at < value.length; ) {
    const from = at + LENGTH_BYTES;
    at = from + view.getUint32(at);
    if (at > value.length) throw new Error('an entry is longer than its record');
    entries.push(decodeEntry(value.subarray(from, at)));
  }
  return entries;
}

function lengthOf(pieces: Uint8Array[]): Uint8Array {
  const length = Buffer.allocUnsafe(LENGTH_BYTES);
  length.writeUInt32BE(valueBytes(pieces));
  return length;
}

/** Throws where it is no entry. */
export function decodeEntry(value: Uint8Array): JournalEntry {
  const { header, body } = splitRecord(value);
  const { source, now_ms, first, numbers, lengths, ...rest } = header as Header;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  let at = 0;
  const lines = lengths.map((length, index): Line => {
    const number = numbers?.[index] ?? first + index;
    if (typeof length !== 'number') return { number, skipped: length };
    const from = at;
    at += length + NEWLINE.length;
    return { number, bytes: bytes.subarray(from, from + length) };
  });
  return { source, now_ms, batch: { kind: 'lines', ...rest, lines } };
}

export interface Journal {
  /**
   * Takes an entry in; `bytes`: its length. Where it begins a record that is to be written, there is a `change`: to be asked for when
   * the store is about to write it, and copied at once, since it has all that was added to the record by then. Else the entry goes
   * with a record that waits to be written already.
   */
  add(entry: JournalEntry): { change: (() => StoreChange) | undefined; bytes: number };
  /** What takes everything out that is in it now. */
  cut(): RecordChange[];
  /** The last cut was not written: everything is still in it. */
  undoCut(cut: RecordChange[]): void;
  /** What it holds. */
  bytes(): number;
}

/** A record that waits is not joined by another entry beyond this; with what the store adds it fills pages of any size. */
const RECORD_BYTES = 512 * 1024 - 512;
/** A record that has been written is not written anew beyond this. */
const SHARED_BYTES = 16 * 1024;

interface OpenRecord {
  key: string;
  memory: Buffer;
  bytes: number;
  is_waiting: boolean;
}

/** A journal in which these records of an earlier process stand. */
export function createJournal(left: readonly SavedRecord[]): Journal {
  /** The last record, where another entry may join. */
  let open: OpenRecord | undefined;
  /** Memory for the records that come next: as much as has waited at once. */
  const free: Buffer[] = [];
  let keys = left.map(({ key }) => key);
  let bytes = left.reduce((total, { value }) => total + value.length, 0);
  /** What the last cut took out. */
  let cut_bytes = 0;
  let next = 1 + left.reduce((last, { key }) => Math.max(last, numberOf(key)), 0);

  function nextKey(): string {
    const key = JOURNAL_PREFIX + keyNumber(next++);
    keys.push(key);
    return key;
  }

  function endRecord(): void {
    if (open?.is_waiting === false) free.push(open.memory);
    open = undefined;
  }

  function recordFor(added: number): OpenRecord {
    if (open !== undefined && open.bytes + added > (open.is_waiting ? RECORD_BYTES : SHARED_BYTES))
      endRecord();
    open ??= {
      key: nextKey(),
      memory: free.pop() ?? Buffer.allocUnsafeSlow(RECORD_BYTES),
      bytes: 0,
      is_waiting: false,
    };
    return open;
  }

  function take(record: OpenRecord): StoreChange {
    record.is_waiting = false;
    const value = record.memory.subarray(0, record.bytes);
    if (record !== open) free.push(record.memory);
    else if (record.bytes > SHARED_BYTES) endRecord();
    return { key: record.key, value };
  }

  return {
    add(entry) {
      const pieces = encodeEntry(entry);
      const value = [lengthOf(pieces), ...pieces];
      const added = valueBytes(value);
      bytes += added;
      if (added > RECORD_BYTES) {
        endRecord();
        const key = nextKey();
        return { change: () => ({ key, value }), bytes: added };
      }
      const record = recordFor(added);
      for (const piece of value) {
        record.memory.set(piece, record.bytes);
        record.bytes += piece.length;
      }
      const change = record.is_waiting ? undefined : () => take(record);
      record.is_waiting = true;
      return { change, bytes: added };
    },
    cut() {
      endRecord();
      const cut = keys.map((key) => ({ key }));
      keys = [];
      cut_bytes = bytes;
      bytes = 0;
      return cut;
    },
    undoCut(cut) {
      keys = [...cut.map(({ key }) => key), ...keys];
      bytes += cut_bytes;
    },
    bytes: () => bytes,
  };
}

const numberOf = (key: string): number => Number.parseInt(key.slice(JOURNAL_PREFIX.length), 16);
