/**
 * `validate FILE…`: checks every line and names each problem by file, line and field.
 */
import { describeProblem, type Problem, type SourceCounts } from '../intake.js';
import { SourceError } from '../model/source.js';
import type { Settings } from '../settings.js';
import { describeReasons, EXIT } from '../summary.js';
import { failed, type Outcome } from './outcome.js';
import { readThrough } from './read-through.js';

const toJson = ({ stream, line, path, reason, message }: Problem): object => ({
  file: stream,
  line,
  path,
  reason,
  message,
});

/** A type that is misspelt is no problem of its line, but it shows in what was ignored. */
function describeCounts({ lines, ignored, rejected }: SourceCounts): string {
  const parts = [describeReasons('bad', rejected) || 'no problems', describeReasons('ignored', ignored)];
  return `${lines} lines; ${parts.filter((part) => part !== '').join('; ')}`;
}

export async function validate(
  files: string[],
  { dialect, limits }: Settings,
  asJson: boolean,
): Promise<Outcome> {
  const problems: object[] = [];
  let count = 0;
  const onProblem = (problem: Problem): void => {
    count++;
    if (asJson) problems.push(toJson(problem));
    else process.stdout.write(`${describeProblem(problem)}\n`);
  };
  try {
    const counts = await readThrough(files, { dialect, max_line_bytes: limits.line_bytes, onProblem });
    if (asJson) process.stdout.write(`${JSON.stringify(problems, undefined, 2)}\n`);
    else process.stderr.write(`${describeCounts(counts)}\n`);
  } catch (error) {
    if (error instanceof SourceError) return failed(error.message);
    throw error;
  }
  return { status: count === 0 ? EXIT.ok : EXIT.failed };
}
