/**
 * `validate FILE…`: checks every line and names each problem by file, line and field.
 */
import { describeProblem, type Problem, problemsOf, type SourceCounts } from '../intake.js';
import { SourceError } from '../model/source.js';
import type { Settings } from '../start/settings.js';
import { describeReasons, EXIT } from '../summary.js';
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

/** A type that is misspelt is no problem of its line, but it shows in what was ignored. */
function describeCounts({ lines, ignored, rejected }: SourceCounts): string {
  const parts = [describeReasons('bad', rejected) || 'no problems', describeReasons('ignored', ignored)];
  return `${counted(lines, 'line')}; ${parts.filter((part) => part !== '').join('; ')}`;
}

/** Prints an array, an element at a time: all of them together may be more than there is memory. */
function createArrayPrinter(write: (text: string) => void) {
  let count = 0;
  return {
    add(element: object): void {
      const text = JSON.stringify(element, undefined, 2).replaceAll('\n', '\n  ');
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
  /** Known when what was printed before has been written, or could not be. */
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
      // A reader that went away wants no more; the exit status is certain by then.
      isEnough: async () => !(await isRead()),
    });
    if (asJson) array.end();
    else if (await isRead()) process.stderr.write(`${describeCounts(counts)}\n`);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    if (asJson) array.end();
    // Nothing is said to a reader that went away before.
    return (await isRead()) ? failed(error.message) : { status: EXIT.failed };
  }
  return { status: count === 0 ? EXIT.ok : EXIT.failed };
}
