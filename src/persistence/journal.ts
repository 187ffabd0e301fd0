/**
 * The journal: what came in since the last checkpoint, one entry per chunk read, in arrival order. For a source that can't be
 * read again this is the only copy, so nothing derived from a chunk is sent before the chunk is here. Entries share a record
 * while it waits to be written, and small entries join a record already written, which is then rewritten: a checkpoint has to
 * remove every record, which reads the beginning of each, so few records make it faster.
 */
import { keyNumber, type RecordChange, type SavedRecord, splitRecord } from '../model/record.js';
import type { LineBatch, SkippedLine, SourceLine } from '../model/source.js';
import { type StoreChange, valueBytes } from '../store/index.js';

/** A batch as it was applied. */
export interface JournalEntry {
  source: string;
  batch: LineBatch;
  /** When it was applied, in epoch milliseconds. */
  now_ms: number;
}

export const JOURNAL_PREFIX = 'journal/';

type Skipped = SkippedLine['skipped'];
type Line = SourceLine | SkippedLine;
type Header = Omit<JournalEntry, 'batch'> &
  Omit<LineBatch, 'lines' | 'kind' | 'receipt'> & {
    /** The number of the first line; `numbers` has those of all lines if they do not count up from it. */
    first: number;
    numbers?: number[];
    /** The length of each line in bytes, or why it was skipped. The body holds the lines, each followed by a line end. */
    lengths: (number | Skipped)[];
  };

const NEWLINE = Buffer.from('\n');

const isCountingUp = (lines: readonly Line[], first: number): boolean =>
  lines.every(({ number }, index) => number === first + index);

/** The lines with their line ends, in as few pieces as possible: most lines are adjacent views of one buffer. */
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
    // Whatever single byte lies between two lines takes the place of the line end.
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

/** Encodes an entry in pieces, which the store copies once. The receipt is left out: it is of use in this process only. */
export function encodeEntry({ source, batch, now_ms }: JournalEntry): Uint8Array[] {
  const { stream, end, lines, arrival_ms, position, since_ms, may_repeat } = batch;
  const first = lines[0]?.number ?? 0;
  // Naming each field is much faster than a rest spread of the batch; JSON leaves out undefined fields.
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

/** The entries of a record; each is preceded by its length. Throws if the record is not valid. */
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

/** Throws if the value is not a valid entry. */
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
   * Adds an entry of `bytes` bytes. `change` is present if this entry starts a new record or a rewrite of one; call it when the
   * store is about to write, so that entries added meanwhile are included, and copy its value at once. Without it, the entry is
   * in a record that already waits to be written.
   */
  add(entry: JournalEntry): { change: (() => StoreChange) | undefined; bytes: number };
  /** Empties the journal, and returns the changes that remove its records. */
  cut(): RecordChange[];
  /** Puts back the records of the last cut, which was not written. */
  undoCut(cut: RecordChange[]): void;
  /** The size of all entries in the journal. */
  bytes(): number;
}

/** The maximum size of a record; together with the store's overhead it fills whole pages of any size. */
const RECORD_BYTES = 512 * 1024 - 512;
/** Above this size a record that has been written is not rewritten to add entries. */
const SHARED_BYTES = 16 * 1024;

interface OpenRecord {
  key: string;
  memory: Buffer;
  bytes: number;
  is_waiting: boolean;
}

/** Creates a journal that holds the records of a previous process. */
export function createJournal(left: readonly SavedRecord[]): Journal {
  /** The last record, to which entries may still be added. */
  let open: OpenRecord | undefined;
  /** Buffers for the next records; as many as were waiting at the same time. */
  const free: Buffer[] = [];
  let keys = left.map(({ key }) => key);
  let bytes = left.reduce((total, { value }) => total + value.length, 0);
  /** The size of what the last cut removed. */
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
