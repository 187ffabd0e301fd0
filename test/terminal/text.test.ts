import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanText, fitText, textWidth } from '../../src/terminal/text.js';

describe('cleanText', () => {
  it.each([
    ['an escape sequence', '\x1b[31mred\x1b[0m', 'red'],
    ['a title set by OSC', 'a\x1b]0;pwned\x07b', 'ab'],
    ['an escape that begins nothing', 'a\x1b\x1b', 'a'],
    ['an 8-bit CSI', 'a\x9b2Jb', 'ab'],
    ['line breaks, tabs and bells', 'a\r\n\tb\x07\u2028c', 'a b c'],
    ['a switch of the writing direction', 'exe\u202egpj.sh', 'exegpj.sh'],
    ['a lone surrogate', 'a\ud800b', 'ab'],
    ['joined emoji', '👩🏽‍💻', '👩💻'],
    ['an emoji by selector', '❤\ufe0f', '❤'],
  ])('removes %s', (_, dirty, clean) => {
    expect(cleanText(dirty)).toBe(clean);
  });

  it('leaves nothing that controls a terminal, for any text', () => {
    const nasty = fc.string({
      unit: fc.oneof(
        fc.constantFrom('\x1b', '[', ']', '\x9b', '\x07', '\u202e', 'm', '1'),
        fc.string({ unit: 'binary' }),
      ),
    });
    fc.assert(fc.property(nasty, (text) => !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(cleanText(text))));
  });

  it('reads only the beginning of an endless name', () => {
    expect(cleanText('x'.repeat(10_000_000)).length).toBeLessThan(1000);
  });
});

describe('textWidth', () => {
  it.each([
    ['plain', 5],
    ['é', 1],
    ['e\u0301', 1],
    ['日本語', 6],
    ['한국', 4],
    ['🌐', 2],
    ['🇫🇷', 2],
    ['ｆｕｌｌ', 8],
    ['✓ →', 3],
  ])('is right for %s: %i', (text, width) => {
    expect(textWidth(text)).toBe(width);
  });
});

describe('fitText', () => {
  it('leaves a text that fits unchanged, and shortens one that does not', () => {
    expect(fitText('sessions_spawn', 14, '…')).toBe('sessions_spawn');
    expect(fitText('sessions_spawn', 9, '…')).toBe('sessions…');
    expect(fitText('日本語', 5, '…')).toBe('日本…');
    expect(fitText('日本語', 4, '…')).toBe('日…');
    expect(fitText('a b', 0, '…')).toBe('');
  });

  it('never exceeds the given number of cells', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(20), (text, width) => {
        expect(textWidth(fitText(cleanText(text), width, '…'))).toBeLessThanOrEqual(width);
      }),
    );
  });
});
