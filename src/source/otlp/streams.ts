/**
 * Turns the log records of a request into batches of lines: one stream per sender, in the order of the request. A stream
 * continues over requests and restarts, and ends when too many other senders have been heard from since.
 */
import type { LineBatch, Positions } from '../../model/source.js';
import { groupBy } from '../../util/group-by.js';
import { object } from '../../util/json.js';
import { createLineSplitter, type Line, type LineSplitter } from '../lines.js';
import { lineBatch } from '../reader.js';
import type { SentRecord } from './record.js';

/** A decoder is kept for each stream. */
const MAX_STREAMS = 512;

/** A batch is applied without a pause, so a large request is divided into several. */
const MAX_BATCH_LINES = 1_000;
const MAX_BATCH_BYTES = 1024 * 1024;

/** Bytes that are split into lines at a time: there may be as many lines as bytes. */
const SLICE_BYTES = 64 * 1024;

/** Where a stream resumes after a restart. */
export interface StreamPosition {
  next_line: number;
  /** When the sender was last heard from, epoch milliseconds. */
  heard_ms: number;
}

export interface Portion {
  batch: LineBatch;
  /** The record of each line, by line number. */
  record_of: ReadonlyMap<number, SentRecord>;
}

export interface Streams {
  /** Iterate it once, and before that of the next request: a batch may be the last of a stream that is not in use any more. */
  portions(records: readonly SentRecord[]): Iterable<Portion>;
}

export interface StreamsOptions {
  max_line_bytes: number;
  resume: Positions;
  max_streams?: number;
}

/** `name` is the source's. Streams of an earlier process are ordered by when they were last heard from. */
export function createStreams(
  name: string,
  { max_line_bytes, resume, max_streams = MAX_STREAMS }: StreamsOptions,
): Streams {
  const createSplitter = (number = 1): LineSplitter =>
    createLineSplitter({ max_line_bytes, from: { number, is_too_long: false } });

  /** The one not heard from for longest first. */
  const open = new Map(
    Object.entries(resume)
      .map(([stream, position]): [string, Partial<StreamPosition>] => [stream, object(position)])
      .sort(([, a], [, b]) => (a.heard_ms ?? 0) - (b.heard_ms ?? 0))
      .map(([stream, { next_line }]): [string, LineSplitter] => [stream, createSplitter(next_line)]),
  );

  function use(stream: string): LineSplitter {
    const splitter = open.get(stream) ?? createSplitter();
    open.delete(stream);
    open.set(stream, splitter);
    return splitter;
  }

  function* endOldest(): Generator<Portion> {
    for (const stream of open.keys()) {
      if (open.size <= max_streams) return;
      open.delete(stream);
      yield { batch: lineBatch(stream, [], true), record_of: new Map() };
    }
  }

  return {
    *portions(records) {
      for (const [origin, sent] of groupBy(records, (record) => record.origin)) {
        const stream = `${name}[${origin}]`;
        const splitter = use(stream);
        for (const { lines, record_of } of cut(sent, splitter)) {
          const batch = lineBatch(stream, lines, false);
          const position: StreamPosition = {
            next_line: splitter.place().number,
            heard_ms: batch.arrival_ms,
          };
          yield { batch: { ...batch, may_repeat: true, position }, record_of };
        }
        yield* endOldest();
      }
    },
  };
}

interface Cut {
  lines: Line[];
  record_of: Map<number, SentRecord>;
  bytes: number;
}

const emptyCut = (): Cut => ({ lines: [], record_of: new Map(), bytes: 0 });

function* cut(records: readonly SentRecord[], splitter: LineSplitter): Generator<Cut> {
  let current = emptyCut();
  for (const record of records) {
    for (const lines of split(record.body, splitter)) {
      for (const line of lines) {
        current.lines.push(line);
        current.record_of.set(line.number, record);
        current.bytes += 'bytes' in line ? line.bytes.length : 0;
      }
      if (current.lines.length < MAX_BATCH_LINES && current.bytes < MAX_BATCH_BYTES) continue;
      yield current;
      current = emptyCut();
    }
  }
  if (current.lines.length > 0) yield current;
}

function* split(body: Buffer, splitter: LineSplitter): Generator<Line[]> {
  for (let at = 0; at < body.length; at += SLICE_BYTES)
    yield splitter.push(body.subarray(at, at + SLICE_BYTES));
  yield splitter.end();
}
