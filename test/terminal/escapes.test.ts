import { describe, expect, it } from 'vitest';
import { supportsColor, takesEscapes } from '../../src/terminal/escapes.js';

describe('takesEscapes', () => {
  it.each([
    [{ isTTY: true }, {}, true],
    [{ isTTY: true }, { TERM: 'xterm' }, true],
    [{ isTTY: true }, { TERM: 'dumb' }, false],
    [{ isTTY: false }, { TERM: 'xterm' }, false],
    [{}, {}, false],
  ])('%j with %j: %s', (stream, env, expected) => {
    expect(takesEscapes(stream, env)).toBe(expected);
  });
});

describe('supportsColor', () => {
  it.each([
    [{ isTTY: true }, {}, true],
    [{ isTTY: true }, { NO_COLOR: '' }, true],
    [{ isTTY: true }, { NO_COLOR: '0' }, false],
    [{ isTTY: true }, { TERM: 'dumb' }, false],
    [{ isTTY: false }, {}, false],
    [{}, {}, false],
  ])('%j with %j: %s', (stream, env, expected) => {
    expect(supportsColor(stream, env)).toBe(expected);
  });
});
