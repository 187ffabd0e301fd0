import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import type { LineBatch, SkippedLine, SourceLine } from '../../src/model/source.js';
import { createJournal, decodeEntries, decodeEntry, encodeEntry } from '../../src/persistence/journal.js';
import { createLineSplitter, type Line } from '../../src/source/lines.js';
import type { StoreChange, StoredValue } from '../../src/store/store.js';

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

/** Lines with their bytes as text, so that equal bytes in different buffers compare as equal. */
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
    'has the lines of a chunk as the splitter returned them',
    ({ chunks, max_line_bytes }) => {
      const splitter = createLineSplitter({ max_line_bytes });
      for (const chunk of chunks) expectSame(batchOf(splitter.push(Buffer.from(chunk))));
      expectSame(batchOf(splitter.abort(), { end: true }));
    },
  );

  test.prop({ given: fc.array(fc.tuple(fc.nat(99), fc.uint8Array({ maxLength: 9 })), { maxLength: 9 }) })(
    'has any lines that a source may emit',
    ({ given }) => {
      const lines = given.map(([number, bytes]) => ({ number, bytes: Buffer.from(bytes) }));
      expectSame(batchOf(lines, { position: { at: 1 }, since_ms: 3, may_repeat: true }));
    },
  );

  test('has the text of a chunk in one piece', () => {
    const lines = createLineSplitter().push(Buffer.from('one\n{"two": 2}\nthree\n'));
    const [, ...pieces] = encodeEntry({ source: 'socket', batch: batchOf(lines), now_ms: 8 });
    expect(pieces.map((piece) => Buffer.from(piece).toString())).toEqual(['one\n{"two": 2}\nthree', '\n']);
  });

  test('is not decoded if its header has another form', () => {
    const header = { source: 's', now_ms: 8, stream: 's', end: false, arrival_ms: 7, lines: [1, 2] };
    expect(() => decodeEntry(Buffer.from(`${JSON.stringify(header)}\nab`))).toThrow();
  });
});

/** A copy of a value, as the store makes it. */
const copyOf = (value: StoredValue = []): Buffer =>
  value instanceof Uint8Array ? Buffer.from(value) : Buffer.concat(value);

describe('a journal', () => {
  const entryOf = (bytes: number) => ({
    source: 'socket',
    batch: batchOf([{ number: 1, bytes: Buffer.alloc(bytes, 'x') }]),
    now_ms: bytes,
  });

  const size = fc.oneof(fc.nat(20_000), fc.nat(600_000));
  const adding = fc.record({ size, write_first: fc.boolean() });

  test.prop({ added: fc.array(adding, { maxLength: 40 }), cut_at: fc.nat(40) })(
    'has every entry since the last cut in order, whichever entries share a record and whenever they are written',
    ({ added, cut_at }) => {
      const journal = createJournal([]);
      const records = new Map<string, Buffer>();
      const waiting: (() => StoreChange)[] = [];
      const write = (): void => {
        for (const change of waiting.splice(0)) {
          const { key, value } = change();
          records.set(key, copyOf(value));
        }
      };
      added.forEach(({ size, write_first }, at) => {
        if (write_first || at === cut_at) write();
        if (at === cut_at) for (const { key } of journal.cut()) records.delete(key);
        const { change } = journal.add(entryOf(size));
        if (change !== undefined) waiting.push(change);
      });
      write();
      const sizes = added.map(({ size }) => size);
      const inOrder = [...records].sort(([a], [b]) => (a < b ? -1 : 1));
      const entries = inOrder.flatMap(([, value]) => decodeEntries(value));
      const wanted = cut_at < sizes.length ? sizes.slice(cut_at) : sizes;
      expect(entries.map(({ now_ms }) => now_ms)).toEqual(wanted);
      expect(journal.cut().map(({ key }) => key)).toEqual(inOrder.map(([key]) => key));
    },
  );

  test('puts many small entries into few records', () => {
    const journal = createJournal([]);
    for (let entry = 0; entry < 1_000; entry++) journal.add(entryOf(500)).change?.();
    expect(journal.cut().length).toBeLessThan(60);
  });

  test('adds entries to a record that waits to be written', () => {
    const journal = createJournal([]);
    const changes = [30_000, 40_000, 50_000].map((bytes) => journal.add(entryOf(bytes)).change);
    expect(changes).toEqual([expect.any(Function), undefined, undefined]);
    const { key, value } = changes[0]?.() ?? {};
    expect(decodeEntries(copyOf(value)).map(({ now_ms }) => now_ms)).toEqual([30_000, 40_000, 50_000]);
    expect(journal.add(entryOf(1)).change?.().key).not.toBe(key);
  });

  test('has no record that is much longer than a chunk, however much waits to be written', () => {
    const journal = createJournal([]);
    const changes = Array.from({ length: 100 }, () => journal.add(entryOf(30_000)).change);
    const records = changes.flatMap((change) => (change === undefined ? [] : [copyOf(change().value)]));
    expect(records.flatMap(decodeEntries)).toHaveLength(100);
    expect(Math.max(...records.map(({ length }) => length))).toBeLessThan(512 * 1024);
  });

  test('regains its size if a cut was not written, plus that of what came since', () => {
    const journal = createJournal([]);
    const [before, since] = [journal.add(entryOf(30_000)).bytes, journal.add(entryOf(20_000)).bytes];
    expect(journal.bytes()).toBe(before + since);
    const cut = journal.cut();
    expect(journal.bytes()).toBe(0);
    journal.add(entryOf(20_000)).change?.();
    journal.undoCut(cut);
    expect(journal.bytes()).toBe(before + since + since);
    expect(journal.cut()).toEqual([...cut, { key: expect.any(String) }]);
    expect(journal.cut()).toEqual([]);
  });

  test('continues after the records of an earlier process', () => {
    const before = createJournal([]);
    const left = Array.from({ length: 20 }, () => {
      const { key, value } = before.add(entryOf(20_000)).change?.() ?? expect.fail();
      return { key, value: copyOf(value) };
    });
    const journal = createJournal(left);
    expect(journal.bytes()).toBe(before.bytes());
    const { key } = journal.add(entryOf(1)).change?.() ?? expect.fail();
    const keys = left.map((record) => record.key);
    expect([...keys, key].sort()).toEqual([...keys, key]);
    expect(keys).not.toContain(key);
    expect(journal.cut().map((change) => change.key)).toEqual([...keys, key]);
  });

  test('rejects a truncated record', () => {
    const value = copyOf(createJournal([]).add(entryOf(100)).change?.().value);
    expect(() => decodeEntries(value.subarray(0, value.length - 1))).toThrow();
  });
});
