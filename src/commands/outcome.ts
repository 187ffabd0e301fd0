/**
 * The outcome of a command: an exit status, and a message for the user if it could not do its work. Only `main.ts` exits.
 */
import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ComposedBridge } from '../bridge.js';
import type { Logger } from '../model/logger.js';
import type { SourceError } from '../model/source.js';
import { describeSummary, EXIT, exitStatus, type Summary } from '../summary.js';
import { printableJson } from '../util/controls.js';
import { errorReason } from '../util/errors.js';

export interface Outcome {
  status: number;
  /** What is wrong, where, and what to do; goes to stderr, in the format of the log. */
  error?: string;
}

export const failed = (error: string): Outcome => ({ status: EXIT.failed, error });
export const misused = (error: string): Outcome => ({ status: EXIT.usage, error });

const unwritable = (path: string, reason: string): string =>
  `can't write the summary to ${path}: ${reason}; choose a file that this user can write`;

/**
 * Why the summary can't be written at the end, as far as that can be checked at the start: reported only after a day of
 * running, it would come too late.
 */
export function summaryProblem(path: string | undefined): string | undefined {
  if (path === undefined || path === '-') return undefined;
  let checked = path;
  try {
    const target = statSync(path, { throwIfNoEntry: false });
    if (target?.isDirectory()) return unwritable(path, 'it is a directory');
    if (target === undefined) checked = dirname(path);
    accessSync(checked, constants.W_OK);
    return undefined;
  } catch (error) {
    const reason = errorReason(error);
    return unwritable(path, checked === path ? reason : `${checked}: ${reason}`);
  }
}

function writeSummary(summary: Summary, path: string): string | undefined {
  const text = `${printableJson(summary)}\n`;
  if (path === '-') {
    process.stdout.write(text);
    return undefined;
  }
  try {
    writeFileSync(path, text);
    return undefined;
  } catch (error) {
    return unwritable(path, errorReason(error));
  }
}

/** On a second signal: counts what is lost with the process, and reports what was done. */
export function abandon(
  bridge: Pick<ComposedBridge, 'dropUnstored' | 'summary'>,
  settings: Parameters<typeof conclude>[1],
  logger: Logger,
): void {
  bridge.dropUnstored();
  conclude({ summary: bridge.summary(), failures: [] }, settings, logger);
}

/**
 * Logs what was done, writes the summary if one is wanted, and returns the exit status. A source that failed (which has been
 * logged) is worse than something undelivered: what it still held was never read.
 */
export function conclude(
  { summary, failures }: { summary: Summary; failures: SourceError[] },
  { strict, summary: path }: { strict: boolean; summary?: string | undefined },
  logger: Logger,
): Outcome {
  for (const line of describeSummary(summary)) logger.info(line);
  const problem = path === undefined ? undefined : writeSummary(summary, path);
  if (problem !== undefined) return failed(problem);
  return { status: failures.length > 0 ? EXIT.failed : exitStatus(summary, strict) };
}
