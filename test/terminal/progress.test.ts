import { describe, expect, it } from 'vitest';
import { createProgress } from '../../src/terminal/progress.js';
import { printAbove } from '../../src/terminal/standing.js';
import { supportsUnicode } from '../../src/terminal/unicode.js';
import { FakeStream, screenOf } from './fake-terminal.js';

describe('createProgress', () => {
  it('draws a bar on a terminal and ends its line', () => {
    const stream = Object.assign(new FakeStream(), { columns: 100 });
    const signals = process.listenerCount('SIGINT');
    const progress = createProgress({ stream, total_bytes: 2_000_000 });
    progress.update(2_000_000, 12_345);
    expect(process.listenerCount('SIGINT')).toBe(signals);
    progress.stop();
    expect(stream.text).toContain('100%  2.0MB of 2.0MB  12.3k events');
    expect(stream.text.endsWith('\n')).toBe(true);
  });

  it('stays below lines that are printed meanwhile, and above those that follow', () => {
    const stream = Object.assign(new FakeStream(), { columns: 100 });
    const say = (text: string) => printAbove(() => stream.write(`${text}\n`));
    const progress = createProgress({ stream, total_bytes: 10 });
    say('first');
    progress.update(5, 1);
    say('second');
    progress.update(10, 2);
    progress.stop();
    say('last');
    expect(screenOf(stream.text)).toEqual([
      'first',
      'second',
      expect.stringMatching(/^█+ 100% {2}10B of 10B {2}2 events {2}\S+ left$/),
      'last',
    ]);
  });

  it('takes only one row of a narrower terminal', () => {
    const stream = Object.assign(new FakeStream(), { columns: 40 });
    createProgress({ stream, total_bytes: 10 }).stop();
    expect(stream.lines().map((line) => line.length)).toEqual([40]);
  });

  it.each([
    [40, /^█{5} 100% {2}10B of 10B {2}1 event {2}\S+ left$/],
    [30, /^100% {2}10B of 10B {2}1 event /],
  ])('of %i columns shows the numbers before the bar', (columns, line) => {
    const stream = Object.assign(new FakeStream(), { columns });
    const progress = createProgress({ stream, total_bytes: 10 });
    progress.update(10, 1);
    progress.stop();
    expect(screenOf(stream.text)).toEqual([expect.stringMatching(line)]);
  });
});

describe('supportsUnicode', () => {
  it.each([
    [{ TERM: 'xterm-256color' }, 'linux', true],
    [{}, 'linux', true],
    [{ TERM: 'linux' }, 'linux', false],
    [{ TERM: 'dumb' }, 'darwin', false],
    [{}, 'win32', false],
    [{ WT_SESSION: 'x' }, 'win32', true],
  ])('%j on %s: %s', (env, platform, expected) => {
    expect(supportsUnicode(env, platform)).toBe(expected);
  });
});
