/**
 * The result of a check of `doctor`: one line, and advice if something is wrong.
 */

/** `problem`: it would prevent `run` from working. */
export type Level = 'ok' | 'warning' | 'problem';

export interface Check {
  check: string;
  level: Level;
  /** The finding; never contains a secret. */
  found: string;
  advice?: string;
}

type Make = (check: string, found: string, advice?: string) => Check;

const at =
  (level: Level): Make =>
  (check, found, advice) => ({ check, level, found, ...(advice === undefined ? {} : { advice }) });

export const ok = at('ok');
export const warning = at('warning');
export const problem = at('problem');
