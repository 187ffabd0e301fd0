/**
 * The journal: what came in since the last checkpoint, one record per chunk read, in the order in which it came. Of a source
 * that can't be read again this is the only copy, so that nothing that comes of a chunk is sent before the chunk is here.
 */
import { joinRecord, keyNumber, type RecordChange, type SavedRecord, splitRecord } from './model/record.js';
import type { LineBatch, SkippedLine, SourceLine } from './model/source.js';

/** A batch as it was applied. */
export interface JournalEntry {
  source: string;
  batch: LineBatch;
  /** When it was applied, epoch milliseconds. */
  now_ms: number;
}

export const JOURNAL_PREFIX = 'journal/';

type Skipped = SkippedLine['skipped'];
type Header = Omit<JournalEntry, 'batch'> &
  Omit<LineBatch, 'lines' | 'kind' | 'receipt'> & {
    /** Of each line its number, and how many bytes it has or why it was skipped. */
    lines: (number | Skipped)[];
  };

/** Who waits for a batch waits in this process alone. */
export function encodeEntry({ source, batch, now_ms }: JournalEntry): Uint8Array {
  const { lines, kind: _kind, receipt: _receipt, ...rest } = batch;
  const header: Header = {
    source,
    now_ms,
    ...rest,
    lines: lines.flatMap((line) => [line.number, 'bytes' in line ? line.bytes.length : line.skipped]),
  };
  // The one copy of a chunk that is made here: a second one cost as much again.
  return joinRecord(
    header,
    lines.flatMap((line) => ('bytes' in line ? line.bytes : [])),
  );
}

/** Throws where it is no entry. */
export function decodeEntry(value: Uint8Array): JournalEntry {
  const { header, body } = splitRecord(value);
  const { source, now_ms, lines: told, ...rest } = header as Header;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const lines: (SourceLine | SkippedLine)[] = [];
  let at = 0;
  for (let index = 0; index < told.length; index += 2) {
    const number = Number(told[index]);
    const length = told[index + 1];
    if (typeof length !== 'number') {
      lines.push({ number, skipped: length as Skipped });
      continue;
    }
    lines.push({ number, bytes: bytes.subarray(at, at + length) });
    at += length;
  }
  return { source, now_ms, batch: { kind: 'lines', ...rest, lines } };
}

export interface Journal {
  /** Takes an entry in; gives the record to be written. */
  add(entry: JournalEntry): RecordChange;
  /** What takes everything out that is in it now. */
  cut(): RecordChange[];
  /** A cut that was not written: everything is still in it. */
  undoCut(cut: RecordChange[]): void;
  /** What it holds. */
  bytes(): number;
}

/** A journal in which these records of an earlier process stand. */
export function createJournal(left: readonly SavedRecord[]): Journal {
  let keys = left.map(({ key }) => key);
  let bytes = left.reduce((total, { value }) => total + value.length, 0);
  let next = 1 + left.reduce((last, { key }) => Math.max(last, numberOf(key)), 0);
  return {
    add(entry) {
      const key = JOURNAL_PREFIX + keyNumber(next++);
      const value = encodeEntry(entry);
      keys.push(key);
      bytes += value.length;
      return { key, value };
    },
    cut() {
      const cut = keys.map((key) => ({ key }));
      keys = [];
      bytes = 0;
      return cut;
    },
    undoCut(cut) {
      keys = [...cut.map(({ key }) => key), ...keys];
    },
    bytes: () => bytes,
  };
}

const numberOf = (key: string): number => Number.parseInt(key.slice(JOURNAL_PREFIX.length), 16);
