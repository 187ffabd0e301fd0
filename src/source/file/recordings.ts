/**
 * A source of several recordings, read one after the other, each to its end; all are opened before the first is read. After a
 * restart reading resumes after the last line that was emitted. Once all has been read, a stream without lines has the
 * position, so that nothing is read twice while its results are still being delivered.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import {
  type LineBatch,
  type Positions,
  type Source,
  SourceError,
  type SourceStatus,
} from '../../model/source.js';
import { lineBatch } from '../reader.js';
import { createFileSource, openFile, readChunk, reading } from './file.js';

export interface RecordingsOptions {
  max_line_bytes: number;
  /** Whether each line is a batch of its own, for a consumer that takes time over each. */
  one_by_one: boolean;
  /** Positions of the streams of an earlier process. */
  resume: Positions;
}

/** Where reading resumes: in which of the recordings, and after which line of it. */
interface RecordingPosition {
  index: number;
  after_line: number;
  /** A hash of the recordings, by which others of the same names are noticed. */
  look: string;
}

type Item = LineBatch | SourceStatus;

/** The stream that begins when all has been read. */
const ALL_READ = 'all read';

/** The first bytes of a recording; none if it can't be read, which is reported when its turn comes. */
const beginningOf = (handle: FileHandle, path: string): Promise<Buffer> =>
  readChunk(handle, path, 0).catch(() => Buffer.alloc(0));

/** A hash of names, sizes and first bytes. Throws a `SourceError` if a recording can't be opened. */
async function identify(paths: string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) {
    const handle = await openFile(path);
    if ('message' in handle) throw new SourceError(handle.message);
    try {
      const { size } = await reading(path, handle.stat());
      hash.update(`${path}\0${size}\0`).update(await beginningOf(handle, path));
    } finally {
      await handle.close();
    }
  }
  return hash.digest('base64');
}

/** Why one of them can't be opened, as a message for the user; undefined if all can. */
export async function checkRecordings(paths: string[]): Promise<string | undefined> {
  for (const path of paths) {
    const handle = await openFile(path);
    if ('message' in handle) return handle.message;
    await handle.close();
  }
  return undefined;
}

/** The earliest position of an earlier process: there are two if it stopped between two streams. */
function earliest(resume: Positions): RecordingPosition | undefined {
  const positions = Object.values(resume) as RecordingPosition[];
  return positions.sort((a, b) => a.index - b.index)[0];
}

export const recordingsName = (paths: string[]): string => paths.join(', ');

/** Creates a source that is named after all recordings. Opening it throws a `SourceError` if one of them can't be opened. */
export function createRecordingsSource(paths: string[], options: RecordingsOptions): Source {
  const { resume, ...reading_options } = options;
  const left = earliest(resume);
  let sources: Source[] = [];

  /** A stream begins with its position alone, before the previous one ends: there is a position to resume from at any moment. */
  const beginning = (position: RecordingPosition): LineBatch => ({
    ...lineBatch(paths[position.index] ?? ALL_READ, [], false),
    position,
  });

  async function* readInTurn(opened: AsyncIterable<Item>[], from: RecordingPosition): AsyncGenerator<Item> {
    const { look } = from;
    yield beginning(from);
    for (const [nth, items] of opened.entries()) {
      const index = from.index + nth;
      let has_ended = false;
      for await (const item of items) {
        if (item.kind !== 'lines') yield item;
        else if (item.end) {
          has_ended = true;
          yield beginning({ index: index + 1, after_line: 0, look });
          yield item;
        } else {
          const after_line = item.lines.at(-1)?.number ?? 0;
          yield { ...item, position: { index, after_line, look } };
        }
      }
      if (!has_ended) return;
    }
  }

  async function* startAnew(items: AsyncIterable<Item>): AsyncGenerator<Item> {
    const message = `${paths.join(', ')}: changed since last read; reading from the beginning`;
    yield { kind: 'status', state: 'down', message };
    for (const stream of Object.keys(resume)) yield lineBatch(stream, [], true);
    yield* items;
  }

  return {
    name: recordingsName(paths),
    is_rereadable: true,
    async open() {
      const look = await identify(paths);
      const is_same = left?.look === look;
      const from = is_same ? left : { index: 0, after_line: 0, look };
      sources = paths.slice(from.index).map((path, nth) => {
        const after_line = nth === 0 ? from.after_line : 0;
        return createFileSource(path, path, { ...reading_options, after_line });
      });
      const opened = await Promise.all(sources.map((source) => source.open()));
      const items = readInTurn(opened, from);
      return left === undefined || is_same ? items : startAnew(items);
    },
    async close() {
      await Promise.all(sources.map((source) => source.close()));
    },
  };
}
