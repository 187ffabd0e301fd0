/**
 * `validate FILE…`: checks every line and reports each problem with its file, line and field.
 */
import { describeProblem, type Problem, problemsOf, type SourceCounts } from '../intake.js';
import { SourceError } from '../model/source.js';
import type { Settings } from '../start/settings.js';
import { describeReasons, EXIT } from '../summary.js';
import { printableJson } from '../util/controls.js';
import { counted } from '../util/counted.js';
import { failed, type Outcome } from './outcome.js';
import { readThrough } from './read-through.js';

const toJson = ({ stream, line, path, reason, message }: Problem): object => ({
  file: stream,
  line,
  path,
  reason,
  message,
});

/** A misspelt type is no problem of its line, but it shows among the ignored lines. */
function describeCounts({ lines, ignored, rejected }: SourceCounts): string {
  const parts = [describeReasons('bad', rejected) || 'no problems', describeReasons('ignored', ignored)];
  return `${counted(lines, 'line')}; ${parts.filter((part) => part !== '').join('; ')}`;
}

/** Prints an array element by element: all elements together may not fit into memory. */
function createArrayPrinter(write: (text: string) => void) {
  let count = 0;
  return {
    add(element: object): void {
      const text = printableJson(element, 2).replaceAll('\n', '\n  ');
      write(`${count++ === 0 ? '[' : ','}\n  ${text}`);
    },
    end: (): void => write(count === 0 ? '[]\n' : '\n]\n'),
  };
}

export async function validate(
  files: string[],
  { dialect, limits }: Settings,
  asJson: boolean,
): Promise<Outcome> {
  let count = 0;
  let is_read = true;
  const write = (text: string): void => {
    process.stdout.write(text, (error) => {
      if (error) is_read = false;
    });
  };
  const array = createArrayPrinter(write);
  /** Resolves once earlier output has been written, or could not be: whether the reader is still there. */
  const isRead = (): Promise<boolean> =>
    new Promise((resolve) => {
      process.stdout.write('', () => resolve(is_read));
    });
  const onProblem = (problem: Problem): void => {
    count++;
    for (const each of problemsOf(problem)) {
      if (asJson) array.add(toJson(each));
      else write(`${describeProblem(each)}\n`);
    }
  };
  try {
    const counts = await readThrough(files, {
      dialect,
      max_line_bytes: limits.line_bytes,
      onProblem,
      // Once the reader has gone the rest is of no use; the exit status is certain by then.
      isEnough: async () => !(await isRead()),
    });
    if (asJson) array.end();
    else if (await isRead()) process.stderr.write(`${describeCounts(counts)}\n`);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    if (asJson) array.end();
    // A reader that has gone gets no message.
    return (await isRead()) ? failed(error.message) : { status: EXIT.failed };
  }
  return { status: count === 0 ? EXIT.ok : EXIT.failed };
}
