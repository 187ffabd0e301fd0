/**
 * From batches of lines to events: one decoder per stream, every line counted, every rejection reported with its line and
 * field. All commands that read events use it: `run`, `replay`, `tail`, `tree` and `validate`.
 */
import { createHash } from 'node:crypto';
import { addMember, createBoundedSet, hasMember } from './capture/bounded.js';
import {
  beginCapture,
  type CaptureOptions,
  createTracker,
  restoreParts,
  type Tracked,
} from './capture/tracked.js';
import { trackBounded } from './capture/tracked-bounded.js';
import type { Rejection } from './decode/index.js';
import type { AgentEvent } from './model/event.js';
import type { SavedRecord, StagedCapture } from './model/record.js';
import type { LineBatch, SkippedLine, SourceLine } from './model/source.js';
import { createStreams, type Stream, type StreamsOptions } from './streams.js';
import { withoutControls } from './util/controls.js';
import { countReason } from './util/counter.js';

/** Counts of lines, with ignored and rejected ones by reason, and of events, of which a line may hold several. */
export interface SourceCounts {
  lines: number;
  events: number;
  ignored: Record<string, number>;
  rejected: Record<string, number>;
}

export const noCounts = (): SourceCounts => ({ lines: 0, events: 0, ignored: {}, rejected: {} });

function addCounts(all: SourceCounts[]): SourceCounts {
  const total = noCounts();
  for (const { lines, events, ignored, rejected } of all) {
    total.lines += lines;
    total.events += events;
    for (const [reason, count] of Object.entries(ignored)) countReason(total.ignored, reason, count);
    for (const [reason, count] of Object.entries(rejected)) countReason(total.rejected, reason, count);
  }
  return total;
}

/** A rejection and the location of its line. */
export interface Problem extends Rejection {
  stream: string;
  line: number;
}

export interface Intake {
  /** Decodes a batch. Returns its events in order. */
  take(batch: LineBatch, source?: string): AgentEvent[];
  /** Ends one stream, or all: returns the events that their decoders held back, and discards the decoders. */
  end(stream?: string): AgentEvent[];
  /** The streams that have begun and not ended. */
  streams(): string[];
  counts(): SourceCounts;
  /** The counts by source. */
  countsBySource(): Record<string, SourceCounts>;
  /**
   * The changes of the decoders' memory since the previous capture, as records whose keys begin with `decode/`; everything in
   * the first one. A capture must be complete before the next is taken. Changes are only tracked from the first capture on.
   */
  capture(options?: CaptureOptions): StagedCapture;
  /** The number of saved records that could not be restored. The next capture removes them. */
  unusable_records: number;
}

export interface IntakeOptions extends StreamsOptions {
  max_line_bytes: number;
  onProblem(problem: Problem): void;
}

/** The number of bad lines that are logged individually. */
const MAX_LOGGED_PROBLEMS = 20;

/** `FILE:LINE: path: message`; the path `$` is the line as a whole. */
export const describeProblem = ({ stream, line, path, message }: Problem): string =>
  `${withoutControls(stream)}:${line}: ${path || '$'}: ${message}`;

/** One problem for each fault of the line. */
export const problemsOf = ({ more = [], ...problem }: Problem): Problem[] => [
  problem,
  ...more.map(({ path, message }) => ({ ...problem, path, message: withoutControls(message) })),
];

const skippedMessage = (skipped: SkippedLine['skipped'], max_line_bytes: number): string =>
  skipped === 'line_too_long'
    ? `longer than ${max_line_bytes} bytes; split the event or raise limits.line_bytes`
    : 'reading ended in the middle of this line; write each event as a whole line';

/** Logs the first bad lines individually; the rest are only counted. */
export function createProblemLog(logger: { warn(message: string): void }): (problem: Problem) => void {
  let logged = 0;
  return (problem) => {
    if (++logged <= MAX_LOGGED_PROBLEMS) logger.warn(describeProblem(problem));
    if (logged === MAX_LOGGED_PROBLEMS)
      logger.warn('further bad lines are only counted; run `validate` to list them');
  };
}

/** The prefix of the keys of the decoders' records. */
export const DECODE_PREFIX = 'decode/';

/** Takes the place of the stream's number in the keys of the remembered lines. */
const LINES = 'lines';

/** The maximum number of lines remembered of senders that may repeat them. */
const MAX_REMEMBERED_LINES = 200_000;

/** 22 base64 digits (132 bits) of a hash, so no two lines share one. */
const lineId = (stream: string, bytes: Buffer): string =>
  createHash('sha256').update(`${stream}\n`).update(bytes).digest('base64').slice(0, 22);

/** Creates an intake. With the saved records of another one, it resumes from that one's last capture. */
export function createIntake(options: IntakeOptions, saved?: Iterable<SavedRecord>): Intake {
  const by_source = new Map<string, SourceCounts>();
  const source_of = new Map<string, string>();
  const tracker = createTracker(DECODE_PREFIX);
  const streams = createStreams(options, tracker);
  const remembered = createBoundedSet(MAX_REMEMBERED_LINES);
  const remembered_lines = trackBounded(remembered, `${DECODE_PREFIX}${LINES}/`, tracker);
  const unusable_records = saved === undefined ? 0 : restoreParts(tracker, partOf, saved);
  streams.endRestore();

  function partOf(key: string): Tracked | undefined {
    const [, number = '', name] = key.split('/');
    return number === LINES ? remembered_lines : streams.partOf(number, name);
  }

  function endStream(key: string): AgentEvent[] {
    source_of.delete(key);
    return streams.end(key);
  }

  function countsOf(source: string): SourceCounts {
    const known = by_source.get(source) ?? noCounts();
    by_source.set(source, known);
    return known;
  }

  function problem(counts: SourceCounts, batch: LineBatch, line: number, rejection: Rejection): void {
    countReason(counts.rejected, rejection.reason);
    // The message may quote a piece of the line.
    const message = withoutControls(rejection.message);
    const { stream, receipt } = batch;
    options.onProblem({ ...rejection, message, stream, line });
    receipt?.reject({ path: rejection.path, message, line });
  }

  function skip({ skipped, number }: SkippedLine, batch: LineBatch, counts: SourceCounts): void {
    const message = skippedMessage(skipped, options.max_line_bytes);
    problem(counts, batch, number, { reason: skipped, path: '', message });
  }

  function takeLine(line: SourceLine, batch: LineBatch, stream: Stream, counts: SourceCounts): AgentEvent[] {
    const id = batch.may_repeat && lineId(batch.stream, line.bytes);
    if (id !== undefined && hasMember(remembered, id)) {
      countReason(counts.ignored, 'repeated');
      return [];
    }
    const { events, ignored, rejected } = stream.decoder.decode(line.bytes, batch.arrival_ms);
    // Some reasons are taken from the line.
    if (ignored !== undefined) countReason(counts.ignored, withoutControls(ignored));
    if (rejected !== undefined) problem(counts, batch, line.number, rejected);
    // A bad line that is repeated is rejected again, so that its sender gets the same answer.
    const isOfUse = rejected === undefined || events.length > 0;
    if (id !== undefined && isOfUse) addMember(remembered, id);
    return events;
  }

  function takeLines(batch: LineBatch, counts: SourceCounts): AgentEvent[] {
    const events: AgentEvent[] = [];
    let stream: Stream | undefined;
    for (const line of batch.lines) {
      if ('skipped' in line) {
        skip(line, batch, counts);
        continue;
      }
      stream ??= streams.of(batch);
      for (const event of takeLine(line, batch, stream, counts)) events.push(event);
    }
    counts.lines += batch.lines.length;
    if (stream !== undefined) streams.trackMaps(stream);
    return events;
  }

  return {
    take(batch, source = batch.stream) {
      const { stream, end } = batch;
      source_of.set(stream, source);
      const counts = countsOf(source);
      const events = takeLines(batch, counts);
      if (end) events.push(...endStream(stream));
      counts.events += events.length;
      return events;
    },
    end(stream) {
      const ended = stream === undefined ? [...streams.keys()] : [stream];
      return ended.flatMap((each) => {
        const counts = countsOf(source_of.get(each) ?? each);
        const events = endStream(each);
        counts.events += events.length;
        return events;
      });
    },
    streams: () => [...streams.keys()],
    capture(captureOptions) {
      const isWhole = captureOptions?.everything === true || tracker.epoch === 0;
      return beginCapture(tracker, [remembered_lines, ...streams.parts(isWhole)], captureOptions);
    },
    unusable_records,
    counts: () => addCounts([...by_source.values()]),
    countsBySource: () => Object.fromEntries(by_source),
  };
}
