/** Whether output may contain escape sequences, for redrawing in place and for colours. */

import type { Variables } from '../util/variables.js';

/** True for a terminal, unless it is declared dumb, as an editor's shell is. */
export const takesEscapes = (stream: { isTTY?: boolean }, env: Variables): boolean =>
  stream.isTTY === true && env.TERM !== 'dumb';

/** https://no-color.org: an empty `NO_COLOR` counts as not set. */
export const supportsColor = (stream: { isTTY?: boolean }, env: Variables): boolean =>
  takesEscapes(stream, env) && (env.NO_COLOR ?? '') === '';
