import { expect, test } from 'vitest';
import { supportsColor } from '../../src/terminal/color.js';

test.each([
  [{ isTTY: true }, {}, true],
  [{ isTTY: true }, { NO_COLOR: '' }, true],
  [{ isTTY: true }, { NO_COLOR: '0' }, false],
  [{ isTTY: false }, {}, false],
  [{}, {}, false],
])('%j with %j: %s', (stream, env, expected) => {
  expect(supportsColor(stream, env)).toBe(expected);
});
