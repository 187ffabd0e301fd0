import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatCost,
  formatCount,
  formatDuration,
  formatShare,
} from '../../src/terminal/units.js';

describe('formatDuration', () => {
  it.each([
    [-5, '0 ms'],
    [0.4, '0 ms'],
    [850, '850 ms'],
    [999.6, '1.0 s'],
    [2400, '2.4 s'],
    [59_949, '59.9 s'],
    [59_950, '1 m 00 s'],
    [192_400, '3 m 12 s'],
    [3_599_600, '1 h 00 m'],
    [7_500_000, '2 h 05 m'],
    [86_399_000, '1 d 00 h'],
    [273_600_000, '3 d 04 h'],
  ])('writes %d as %s', (duration_ms, text) => {
    expect(formatDuration(duration_ms)).toBe(text);
  });
});

describe('formatBytes', () => {
  it.each([
    [0, '0 KB'],
    [1, '1 KB'],
    [16_384, '16 KB'],
    [999 * 1024, '999 KB'],
    [999 * 1024 + 1, '1.0 MB'],
    [1_363_149, '1.3 MB'],
    [2 ** 31, '2048.0 MB'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe('formatCount', () => {
  it.each([
    [0, '0'],
    [999, '999'],
    [1000, '1.0k'],
    [1234, '1.2k'],
    [45_060, '45.1k'],
    [99_949, '99.9k'],
    [99_950, '100k'],
    [999_499, '999k'],
    [999_500, '1.0M'],
    [1_234_567, '1.2M'],
    [2 ** 53, '9.0P'],
    [1e30, '1e+30'],
  ])('writes %d as %s', (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  it('is short for any count', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (count) => formatCount(count).length <= 5),
    );
  });
});

describe('formatShare and formatCost', () => {
  it('never shows a non-zero value as zero', () => {
    expect(formatShare(0, 10)).toBe('0%');
    expect(formatShare(1, 1000)).toBe('<1%');
    expect(formatShare(617, 1000)).toBe('62%');
    expect(formatCost(0.00001)).toBe('<$0.0001');
    expect(formatCost(0.0042)).toBe('$0.0042');
    expect(formatCost(1.256)).toBe('$1.26');
    expect(formatCost(12_345)).toBe('$12.3k');
  });
});
