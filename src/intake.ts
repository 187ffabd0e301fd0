/**
 * From batches of lines to events: one decoder per stream, every line counted, every rejection said with its place and its
 * field. `run`, `replay`, `tree` and `validate` all read through here.
 */
import { createHash } from 'node:crypto';
import { addMember, createBoundedSet, hasMember } from './capture/bounded.js';
import { numberText } from './capture/records.js';
import {
  beginCapture,
  type CaptureOptions,
  createTracker,
  restoreParts,
  type Tracked,
  type TrackedBounded,
} from './capture/tracked.js';
import { trackBounded } from './capture/tracked-bounded.js';
import { type Entry, TrackedMap } from './capture/tracked-map.js';
import { withoutControls } from './controls.js';
import { countReason } from './counter.js';
import {
  createLineDecoder,
  type Dialect,
  type LineDecoder,
  type Rejection,
  type TranscriptIndex,
} from './decode/index.js';
import type { AgentEvent } from './model/event.js';
import type { SavedRecord, StagedCapture } from './model/record.js';
import type { LineBatch, SkippedLine, SourceLine } from './model/source.js';

/** Lines, by what became of them: ignored and rejected ones by reason. Events are counted one by one. */
export interface SourceCounts {
  lines: number;
  events: number;
  ignored: Record<string, number>;
  rejected: Record<string, number>;
}

const noCounts = (): SourceCounts => ({ lines: 0, events: 0, ignored: {}, rejected: {} });

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

/** A rejection and where its line stands. */
export interface Problem extends Rejection {
  stream: string;
  line: number;
}

export interface Intake {
  /** The events of a batch of this source, in order. */
  take(batch: LineBatch, source?: string): AgentEvent[];
  /** Ends a stream that does not go on, or all of them: gives out what their decoders held, and forgets them. */
  end(stream?: string): AgentEvent[];
  /** The streams that have begun and not ended. */
  streams(): string[];
  counts(): SourceCounts;
  /** The same, by source. */
  countsBySource(): Record<string, SourceCounts>;
  /**
   * What has changed of the decoders' memory since the capture before, as records whose keys begin with `decode/`; in the
   * first one everything. A capture is to be complete before the next is taken. It keeps no changes before the first one.
   */
  capture(options?: CaptureOptions): StagedCapture;
  /** Of the records that it was restored from, the number that could not be used. The next capture removes them. */
  unusable_records: number;
}

export interface IntakeOptions {
  dialect: Dialect;
  max_line_bytes: number;
  onProblem(problem: Problem): void;
  /** Names the sessions of a transcript file; asked once per stream. */
  sessionsOf?(stream: string): TranscriptIndex | undefined;
}

/** Bad lines that are logged one by one. */
const MAX_LOGGED_PROBLEMS = 20;

/** `FILE:LINE: path: what is wrong`; `$` stands for the line as a whole. */
export const describeProblem = ({ stream, line, path, message }: Problem): string =>
  `${withoutControls(stream)}:${line}: ${path || '$'}: ${message}`;

/** One for each thing that is wrong with the line. */
export const problemsOf = ({ more = [], ...problem }: Problem): Problem[] => [
  problem,
  ...more.map(({ path, message }) => ({ ...problem, path, message: withoutControls(message) })),
];

const skippedMessage = (skipped: SkippedLine['skipped'], max_line_bytes: number): string =>
  skipped === 'line_too_long'
    ? `longer than ${max_line_bytes} bytes; split the event or raise limits.line_bytes`
    : 'it broke off before its end; write each event as a whole line';

/** Says the first bad lines one by one; the rest is only counted. */
export function createProblemLog(logger: { warn(message: string): void }): (problem: Problem) => void {
  let logged = 0;
  return (problem) => {
    if (++logged <= MAX_LOGGED_PROBLEMS) logger.warn(describeProblem(problem));
    if (logged === MAX_LOGGED_PROBLEMS) logger.warn('more bad lines are only counted; `validate` lists them');
  };
}

/** A stream that has begun and not ended. */
interface Stream extends Entry {
  key: string;
  since_ms: number | undefined;
  decoder: LineDecoder;
  /** Its decoder's maps, by name; with `auto` it has a decoder from its first object on. */
  parts?: Record<string, TrackedBounded>;
}

/** What the record of a stream says. */
interface SavedStream {
  key: string;
  number: number;
  since_ms: number | undefined;
  dialect: Dialect;
  state: unknown;
}

/** The keys of the decoders' records begin so. */
export const DECODE_PREFIX = 'decode/';

/** Where a number stands in the keys of a stream's records: no stream is numbered so. */
const LINES = 'lines';

/** Lines remembered of senders that may send one twice, so many at most. */
const MAX_REMEMBERED_LINES = 200_000;

/** 128 bits: no two lines have the same. */
const lineId = (stream: string, bytes: Buffer): string =>
  createHash('sha256').update(`${stream}\n`).update(bytes).digest('base64').slice(0, 22);

/** An intake; with what another one's captures gave it goes on where that one was captured last. */
export function createIntake(options: IntakeOptions, saved?: Iterable<SavedRecord>): Intake {
  const by_source = new Map<string, SourceCounts>();
  const source_of = new Map<string, string>();
  const tracker = createTracker(DECODE_PREFIX);
  const streams = new TrackedMap<Stream>({
    tracker,
    prefix: DECODE_PREFIX,
    keyOf: ({ key }) => key,
    save: saveStream,
    load: loadStream,
  });
  const remembered = createBoundedSet();
  const remembered_lines = trackBounded(remembered, `${DECODE_PREFIX}${LINES}/`, tracker);
  /** While they are restored: by the number in their records' keys. */
  const restored = new Map<string, Stream>();
  const unusable_records = saved === undefined ? 0 : restoreParts(tracker, partOf, saved);
  restored.clear();

  function saveStream({ key, number, since_ms, decoder }: Stream): SavedStream {
    return { key, number, since_ms, dialect: decoder.dialect(), state: decoder.memory().state?.save() };
  }

  function loadStream(content: unknown): Stream | undefined {
    const { key, number, since_ms, dialect, state } = content as SavedStream;
    if (options.dialect !== 'auto' && dialect !== options.dialect) return undefined;
    const stream = createStream(key, number, since_ms, dialect);
    stream.decoder.memory().state?.restore(state);
    restored.set(numberText(number), stream);
    return stream;
  }

  function partOf(key: string): Tracked | undefined {
    const [, number = '', name] = key.split('/');
    if (number === LINES) return remembered_lines;
    return name === undefined ? streams : restored.get(number)?.parts?.[name];
  }

  function createStream(key: string, number: number, since_ms: number | undefined, dialect: Dialect): Stream {
    const decoder = createLineDecoder(dialect, options.sessionsOf?.(key), since_ms);
    const stream: Stream = { key, number, epoch: 0, since_ms, decoder };
    trackMaps(stream);
    return stream;
  }

  function trackMaps(stream: Stream): void {
    const { decoder, number, parts } = stream;
    if (parts !== undefined || decoder.dialect() === 'auto') return;
    const prefix = `${DECODE_PREFIX}${numberText(number)}/`;
    stream.parts = Object.fromEntries(
      Object.entries(decoder.memory().maps ?? {}).map(([name, map]) => [
        name,
        trackBounded(map, `${prefix}${name}/`, tracker),
      ]),
    );
  }

  function streamOf({ stream: key, since_ms }: LineBatch): Stream {
    const known = streams.get(key);
    if (known !== undefined) return known;
    const stream = createStream(key, tracker.next_number++, since_ms, options.dialect);
    streams.set(key, stream);
    return stream;
  }

  function endStream(key: string): AgentEvent[] {
    source_of.delete(key);
    const stream = streams.get(key);
    streams.delete(key);
    for (const part of Object.values(stream?.parts ?? {})) part.drop();
    return stream?.decoder.end() ?? [];
  }

  function countsOf(source: string): SourceCounts {
    const known = by_source.get(source) ?? noCounts();
    by_source.set(source, known);
    return known;
  }

  function problem(counts: SourceCounts, batch: LineBatch, line: number, rejection: Rejection): void {
    countReason(counts.rejected, rejection.reason);
    // It may repeat a piece of the line.
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
    // Some are taken from the line.
    if (ignored !== undefined) countReason(counts.ignored, withoutControls(ignored));
    if (rejected !== undefined) problem(counts, batch, line.number, rejected);
    // A bad line that comes again is rejected again, so that its sender has the same answer.
    const isOfUse = rejected === undefined || events.length > 0;
    if (id !== undefined && isOfUse) addMember(remembered, id, MAX_REMEMBERED_LINES);
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
      stream ??= streamOf(batch);
      for (const event of takeLine(line, batch, stream, counts)) events.push(event);
    }
    counts.lines += batch.lines.length;
    if (stream !== undefined) trackMaps(stream);
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
      const changed = [...(isWhole ? streams.values() : streams.changed())];
      const maps = changed.flatMap(({ parts = {} }) => Object.values(parts));
      return beginCapture(tracker, [streams, remembered_lines, ...maps], captureOptions);
    },
    unusable_records,
    counts: () => addCounts([...by_source.values()]),
    countsBySource: () => Object.fromEntries(by_source),
  };
}
