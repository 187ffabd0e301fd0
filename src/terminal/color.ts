/** Whether what is written has colours: https://no-color.org. */

/** A terminal has, unless `NO_COLOR` is set; an empty one counts as not set. */
export const supportsColor = (
  stream: { isTTY?: boolean },
  env: Record<string, string | undefined>,
): boolean => stream.isTTY === true && (env.NO_COLOR ?? '') === '';
