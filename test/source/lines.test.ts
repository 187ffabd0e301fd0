import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLineSplitter, DEFAULT_MAX_LINE_BYTES, type Line } from '../../src/source/lines.js';
import { lineText } from './helpers.js';

const BOM = [0xef, 0xbb, 0xbf];

/** The bytes without the zeros at their beginning. */
function withoutHole(bytes: Buffer): Buffer {
  const hole_bytes = bytes.findIndex((byte) => byte !== 0);
  return bytes.subarray(hole_bytes === -1 ? bytes.length : hole_bytes);
}

/** The expected lines, computed from all bytes at once: the oracle of the splitter. */
function linesOf(bytes: Buffer, max_line_bytes: number, ended: boolean): { number: number; text: string }[] {
  const content = withoutHole(bytes);
  const marked = content.subarray(0, 3).equals(Buffer.from(BOM)) ? content.subarray(3) : content;
  const raw = marked.toString('latin1').split('\n');
  const last = raw.length;
  return raw.flatMap((line, index) => {
    const number = index + 1;
    const text = line.endsWith('\r') ? line.slice(0, -1) : line;
    if (number === last && !ended) return [];
    if (text.length > max_line_bytes) return [{ number, text: 'line_too_long' }];
    return text === '' ? [] : [{ number, text }];
  });
}

function plain(lines: Line[]): { number: number; text: string }[] {
  return lines.map((line) => ({
    number: line.number,
    text: 'bytes' in line ? line.bytes.toString('latin1') : line.skipped,
  }));
}

function split(chunks: Buffer[], max_line_bytes: number): Line[] {
  const splitter = createLineSplitter({ max_line_bytes });
  const lines = chunks.flatMap((chunk) => splitter.push(chunk));
  return [...lines, ...splitter.end()];
}

function cut(bytes: Buffer, sizes: number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let start = 0;
  for (const size of sizes) {
    chunks.push(bytes.subarray(start, start + size));
    start += size;
  }
  return [...chunks, bytes.subarray(start)];
}

/** Bytes with many line ends, carriage returns, zeros and pieces of byte order marks. */
const bytesArbitrary = fc
  .tuple(
    fc.constantFrom([], BOM, BOM.slice(0, 2), [0, 0], [0, ...BOM]),
    fc.array(fc.constantFrom(0x0a, 0x0a, 0x0d, 0x00, 0x61, 0x62, 0xc3, ...BOM), { maxLength: 60 }),
  )
  .map(([start, rest]) => Buffer.from([...start, ...rest]));

describe('the line splitter', () => {
  test('gives the same lines for every chunking', () => {
    fc.assert(
      fc.property(
        bytesArbitrary,
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.nat({ max: 9 })),
        (bytes, max_line_bytes, sizes) => {
          const expected = linesOf(bytes, max_line_bytes, true);
          expect(plain(split(cut(bytes, sizes), max_line_bytes))).toEqual(expected);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('gives the same lines byte by byte', () => {
    fc.assert(
      fc.property(bytesArbitrary, fc.integer({ min: 1, max: 12 }), (bytes, max_line_bytes) => {
        const single = [...bytes].map((byte) => Buffer.from([byte]));
        expect(plain(split(single, max_line_bytes))).toEqual(linesOf(bytes, max_line_bytes, true));
      }),
      { numRuns: 500 },
    );
  });

  test('reports a line that breaks off as incomplete, and the lines before it as usual', () => {
    fc.assert(
      fc.property(bytesArbitrary, fc.array(fc.nat({ max: 9 })), (bytes, sizes) => {
        const splitter = createLineSplitter({ max_line_bytes: 100 });
        const lines = cut(bytes, sizes).flatMap((chunk) => splitter.push(chunk));
        expect(plain(lines)).toEqual(linesOf(bytes, 100, false));
        const content = withoutHole(bytes);
        const rest = content.length - (content.lastIndexOf(0x0a) + 1);
        expect(splitter.abort().map(lineText)).toEqual(rest > 0 ? ['line_incomplete'] : []);
      }),
    );
  });

  test('counts the lines that it skips', () => {
    const lines = split([Buffer.from('\n\r\none\n\n12345\ntwo')], 4);
    expect(plain(lines)).toEqual([
      { number: 3, text: 'one' },
      { number: 5, text: 'line_too_long' },
      { number: 6, text: 'two' },
    ]);
  });

  test('accepts a line of exactly the limit, with a byte order mark and a CRLF around it', () => {
    const bytes = Buffer.from('\ufeff1234\r\n1234\r\n12345\r\n');
    for (const chunks of [[bytes], [...bytes].map((byte) => Buffer.from([byte]))]) {
      expect(split(chunks, 4).map(lineText)).toEqual(['1234', '1234', 'line_too_long']);
    }
  });

  test('reports that a line is too long before its end has come', () => {
    const splitter = createLineSplitter();
    const piece = Buffer.alloc(64 * 1024, 'x');
    const lines = Array.from({ length: 80 }, () => splitter.push(piece)).flat();
    expect(lines).toEqual([{ number: 1, skipped: 'line_too_long' }]);
    expect(splitter.push(Buffer.from('x\nnext\n')).map(lineText)).toEqual(['next']);
    expect(DEFAULT_MAX_LINE_BYTES).toBe(1048576);
  });

  test('gives the same lines if other splitters resume at its places', () => {
    fc.assert(
      fc.property(bytesArbitrary, fc.array(fc.integer({ min: 1, max: 20 })), (bytes, sizes) => {
        let splitter = createLineSplitter({ max_line_bytes: 6 });
        const lines: Line[] = [];
        let position = 0;
        for (const size of sizes) {
          lines.push(...splitter.push(bytes.subarray(position, position + size)));
          const { unended_bytes, ...from } = splitter.place();
          position = Math.min(bytes.length, position + size) - unended_bytes;
          splitter = createLineSplitter({ max_line_bytes: 6, from });
        }
        lines.push(...splitter.push(bytes.subarray(position)), ...splitter.end());
        expect(plain(lines)).toEqual(linesOf(bytes, 6, true));
      }),
    );
  });

  test('does not report a line that is too long twice if another splitter resumes in it', () => {
    const splitter = createLineSplitter({ max_line_bytes: 4 });
    expect(splitter.push(Buffer.from('one\n1234567890')).map(lineText)).toEqual(['one', 'line_too_long']);
    const { unended_bytes, ...from } = splitter.place();
    expect(unended_bytes).toBe(0);
    const next = createLineSplitter({ max_line_bytes: 4, from });
    expect(next.push(Buffer.from('123\n1234\n'))).toMatchObject([{ number: 3, bytes: Buffer.from('1234') }]);
  });

  test('holds no reference to a chunk, and does not overwrite a line with the next one', () => {
    const splitter = createLineSplitter();
    const chunk = Buffer.from('one\ntw');
    splitter.push(chunk);
    chunk.fill('?');
    const [two] = splitter.push(Buffer.from('o\nthr'));
    const [three] = splitter.push(Buffer.from('ee\n'));
    expect([two, three].map((line) => line && lineText(line))).toEqual(['two', 'three']);
  });
});
