/**
 * How a command ends: an exit status, and where it could not do its work a message for the user. Only `main.ts` exits.
 */
import { writeFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { describeSummary, EXIT, exitStatus, type Summary } from '../summary.js';

export interface Outcome {
  status: number;
  /** What is wrong, where, and what to do; goes to stderr. */
  error?: string;
}

export const failed = (error: string): Outcome => ({ status: EXIT.failed, error });
export const misused = (error: string): Outcome => ({ status: EXIT.usage, error });

function writeSummary(summary: Summary, path: string): string | undefined {
  const text = `${JSON.stringify(summary)}\n`;
  if (path === '-') {
    process.stdout.write(text);
    return undefined;
  }
  try {
    writeFileSync(path, text);
    return undefined;
  } catch (error) {
    return `can't write the summary to ${path}: ${(error as NodeJS.ErrnoException).code}; check the path`;
  }
}

/** Says what was done, writes the summary where it is wanted, and finds the exit status. */
export function conclude(
  summary: Summary,
  { strict, summary: path }: { strict: boolean; summary?: string | undefined },
  logger: Logger,
): Outcome {
  for (const line of describeSummary(summary)) logger.info(line);
  const problem = path === undefined ? undefined : writeSummary(summary, path);
  return problem === undefined ? { status: exitStatus(summary, strict) } : failed(problem);
}
