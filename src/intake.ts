/**
 * From batches of lines to events: one decoder per stream, every line counted, every rejection said with its place and its
 * field. `run`, `replay`, `tree` and `validate` all read through here.
 */

import { countReason } from './counter.js';
import {
  createLineDecoder,
  type Dialect,
  type LineDecoder,
  type Rejection,
  type TranscriptIndex,
} from './decode/index.js';
import type { AgentEvent } from './model/event.js';
import type { LineBatch, SkippedLine } from './model/source.js';

export interface SourceCounts {
  lines: number;
  events: number;
  ignored: Record<string, number>;
  rejected: Record<string, number>;
}

/** A rejection and where its line stands. */
export interface Problem extends Rejection {
  stream: string;
  line: number;
}

export interface Intake {
  /** The events of a batch, in order. */
  take(batch: LineBatch): AgentEvent[];
  /** Ends the streams that have not ended by themselves: what their decoders held back. */
  end(): AgentEvent[];
  counts(): SourceCounts;
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
  `${stream}:${line}: ${path || '$'}: ${message}`;

/** A message may repeat a piece of a line, and that must not reach a terminal as a command. */
const withoutControls = (text: string): string => text.replaceAll(/\p{Cc}/gu, '\u{fffd}');

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

export function createIntake(options: IntakeOptions): Intake {
  const counts: SourceCounts = { lines: 0, events: 0, ignored: {}, rejected: {} };
  const decoders = new Map<string, LineDecoder>();

  function decoderOf({ stream, since_ms }: LineBatch): LineDecoder {
    const known = decoders.get(stream);
    if (known !== undefined) return known;
    const decoder = createLineDecoder(options.dialect, options.sessionsOf?.(stream), since_ms);
    decoders.set(stream, decoder);
    return decoder;
  }

  function problem(stream: string, line: number, rejection: Rejection): void {
    countReason(counts.rejected, rejection.reason);
    options.onProblem({ ...rejection, message: withoutControls(rejection.message), stream, line });
  }

  function takeLine(line: LineBatch['lines'][number], batch: LineBatch): AgentEvent[] {
    counts.lines++;
    if ('skipped' in line) {
      const message = skippedMessage(line.skipped, options.max_line_bytes);
      problem(batch.stream, line.number, { reason: line.skipped, path: '', message });
      return [];
    }
    const decoded = decoderOf(batch).decode(line.bytes, batch.arrival_ms);
    if (decoded.ignored !== undefined) countReason(counts.ignored, decoded.ignored);
    if (decoded.rejected !== undefined) problem(batch.stream, line.number, decoded.rejected);
    return decoded.events;
  }

  function endStream(stream: string): AgentEvent[] {
    const held = decoders.get(stream)?.end() ?? [];
    decoders.delete(stream);
    return held;
  }

  return {
    take(batch) {
      const { stream, lines, end } = batch;
      const events = lines.flatMap((line) => takeLine(line, batch));
      if (end) events.push(...endStream(stream));
      counts.events += events.length;
      return events;
    },
    end() {
      const events = [...decoders.keys()].flatMap(endStream);
      counts.events += events.length;
      return events;
    },
    counts: () => ({ ...counts, ignored: { ...counts.ignored }, rejected: { ...counts.rejected } }),
  };
}
