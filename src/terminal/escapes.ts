/** Whether what is written may have escapes in it: to redraw it in place, and to colour it. */

type Environment = Record<string, string | undefined>;

/** A terminal takes them, but for one that is said to be dumb, as an editor's shell is. */
export const takesEscapes = (stream: { isTTY?: boolean }, env: Environment): boolean =>
  stream.isTTY === true && env.TERM !== 'dumb';

/** https://no-color.org: an empty `NO_COLOR` counts as not set. */
export const supportsColor = (stream: { isTTY?: boolean }, env: Environment): boolean =>
  takesEscapes(stream, env) && (env.NO_COLOR ?? '') === '';
