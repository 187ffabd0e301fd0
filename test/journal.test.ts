import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { createJournal, decodeEntries, decodeEntry, encodeEntry } from '../src/journal.js';
import type { LineBatch, SkippedLine, SourceLine } from '../src/model/source.js';
import { createLineSplitter, type Line } from '../src/source/lines.js';

const batchOf = (lines: Line[], more: Partial<LineBatch> = {}): LineBatch => ({
  kind: 'lines',
  stream: 'socket#1',
  end: false,
  lines,
  arrival_ms: 7,
  ...more,
});

const encode = (batch: LineBatch): Buffer =>
  Buffer.concat(encodeEntry({ source: 'socket', batch, now_ms: 8 }));

/** The same bytes, wherever they stand. */
const plain = (lines: readonly (SourceLine | SkippedLine)[]) =>
  lines.map((line) =>
    'bytes' in line ? { number: line.number, text: line.bytes.toString('latin1') } : line,
  );

function expectSame(batch: LineBatch): void {
  const decoded = decodeEntry(encode(batch));
  const { lines, ...rest } = decoded.batch;
  const { lines: given, receipt: _receipt, ...expected } = batch;
  expect(rest).toEqual(expected);
  expect(plain(lines)).toEqual(plain(given));
}

const text = fc.stringMatching(/^(?:[a-c]{0,6}\r?\n?){0,12}$/);

describe('an entry of the journal', () => {
  test.prop({ chunks: fc.array(text, { maxLength: 6 }), max_line_bytes: fc.integer({ min: 2, max: 8 }) })(
    'has the lines of a chunk as the splitter gave them',
    ({ chunks, max_line_bytes }) => {
      const splitter = createLineSplitter({ max_line_bytes });
      for (const chunk of chunks) expectSame(batchOf(splitter.push(Buffer.from(chunk))));
      expectSame(batchOf(splitter.abort(), { end: true }));
    },
  );

  test.prop({ given: fc.array(fc.tuple(fc.nat(99), fc.uint8Array({ maxLength: 9 })), { maxLength: 9 }) })(
    'has whatever lines a source gives',
    ({ given }) => {
      const lines = given.map(([number, bytes]) => ({ number, bytes: Buffer.from(bytes) }));
      expectSame(batchOf(lines, { position: { at: 1 }, since_ms: 3, may_repeat: true }));
    },
  );

  test('has a chunk in one piece', () => {
    const lines = createLineSplitter().push(Buffer.from('one\n{"two": 2}\nthree\n'));
    const [, ...pieces] = encodeEntry({ source: 'socket', batch: batchOf(lines), now_ms: 8 });
    expect(pieces.map((piece) => Buffer.from(piece).toString())).toEqual(['one\n{"two": 2}\nthree', '\n']);
  });

  test('of another form is none', () => {
    const header = { source: 's', now_ms: 8, stream: 's', end: false, arrival_ms: 7, lines: [1, 2] };
    expect(() => decodeEntry(Buffer.from(`${JSON.stringify(header)}\nab`))).toThrow();
  });
});

describe('a journal', () => {
  const entryOf = (bytes: number) => ({
    source: 'socket',
    batch: batchOf([{ number: 1, bytes: Buffer.alloc(bytes, 'x') }]),
    now_ms: bytes,
  });

  test.prop({ sizes: fc.array(fc.nat(20_000), { maxLength: 40 }), cut_at: fc.nat(40) })(
    'has every entry in its order, whatever shares a record, since it was cut',
    ({ sizes, cut_at }) => {
      const journal = createJournal([]);
      const records = new Map<string, Buffer>();
      sizes.forEach((size, at) => {
        if (at === cut_at) for (const { key } of journal.cut()) records.delete(key);
        const { change } = journal.add(entryOf(size));
        records.set(change.key, Buffer.concat(change.value as Uint8Array[]));
      });
      const inOrder = [...records].sort(([a], [b]) => (a < b ? -1 : 1));
      const entries = inOrder.flatMap(([, value]) => decodeEntries(value));
      const wanted = cut_at < sizes.length ? sizes.slice(cut_at) : sizes;
      expect(entries.map(({ now_ms }) => now_ms)).toEqual(wanted);
      expect(journal.cut().map(({ key }) => key)).toEqual(inOrder.map(([key]) => key));
    },
  );

  test('has few records of many small entries', () => {
    const journal = createJournal([]);
    for (let entry = 0; entry < 1_000; entry++) journal.add(entryOf(500));
    expect(journal.cut().length).toBeLessThan(60);
  });

  test('leaves out no more than a record that ends too early', () => {
    const { change } = createJournal([]).add(entryOf(100));
    const value = Buffer.concat(change.value as Uint8Array[]);
    expect(() => decodeEntries(value.subarray(0, value.length - 1))).toThrow();
  });
});
