/**
 * Whether a terminal can be expected to show more than ASCII. It can't be queried, so this depends on its environment.
 */

import type { Variables } from '../util/variables.js';

/** False for the Linux console, for `TERM=dumb`, and for Windows' old console; true for everything else. */
export function supportsUnicode(env: Variables, platform: string): boolean {
  if (platform !== 'win32') return env.TERM !== 'linux' && env.TERM !== 'dumb';
  return env.WT_SESSION !== undefined || env.TERM_PROGRAM !== undefined || env.TERM !== undefined;
}
