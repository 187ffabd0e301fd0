/**
 * What a check of `doctor` finds: one line, and what to do where something is wrong.
 */

/** `problem`: it would keep `run` from its work. */
export type Level = 'ok' | 'warning' | 'problem';

export interface Check {
  check: string;
  level: Level;
  /** What was found; never a secret. */
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
