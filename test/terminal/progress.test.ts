import { describe, expect, it } from 'vitest';
import { createProgress } from '../../src/terminal/progress.js';
import { supportsUnicode } from '../../src/terminal/unicode.js';
import { FakeStream } from './fake-terminal.js';

describe('createProgress', () => {
  it('draws a bar on a terminal and ends its line', () => {
    const stream = Object.assign(new FakeStream(), { isTTY: true, columns: 100 });
    const signals = process.listenerCount('SIGINT');
    const progress = createProgress({ stream, total_bytes: 2_000_000 });
    progress.update(2_000_000, 12_345);
    expect(process.listenerCount('SIGINT')).toBe(signals);
    progress.stop();
    expect(stream.text).toContain('100%  2.0MB of 2.0MB  12.3k events');
    expect(stream.text.endsWith('\n')).toBe(true);
  });

  it('does nothing elsewhere', () => {
    const stream = new FakeStream();
    const progress = createProgress({ stream, total_bytes: 10 });
    progress.update(5, 1);
    progress.stop();
    expect(stream.writes).toBe(0);
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
