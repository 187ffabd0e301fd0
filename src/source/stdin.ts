/**
 * The source `stdin`: reads standard input to its end. A last line without a line end counts.
 */
import { fstatSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type Source, SourceError } from '../model/source.js';
import { errorReason } from '../util/errors.js';
import { createReaderSource } from './reader.js';
import { readLines } from './stream.js';

const NAME = 'stdin';

export interface StdinOptions {
  max_line_bytes: number;
  /** `process.stdin`, except in tests. */
  input: Readable & { fd?: number };
}

const failure = (reason: string): SourceError =>
  new SourceError(`can't read stdin: ${reason}; pipe or redirect NDJSON into it`);

/** Node.js gives a directory as a stream that is empty, and not as one that fails. */
const isDirectory = ({ fd }: StdinOptions['input']): boolean =>
  fd !== undefined && fstatSync(fd).isDirectory();

/** Opening it, or the iteration, throws a `SourceError` if standard input can't be read. */
export function createStdinSource({ max_line_bytes, input }: StdinOptions): Source {
  return createReaderSource(NAME, async (push, stop) => {
    if (isDirectory(input)) throw failure('it is a directory');
    return async () => {
      const end = await readLines(
        input,
        { stream: NAME, max_line_bytes, keep_unended_line: true },
        push,
        stop,
      );
      if (end.kind === 'failed') throw failure(errorReason(end.error));
    };
  });
}
