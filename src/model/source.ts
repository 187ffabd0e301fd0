/**
 * The contract between the sources and the pure stages: a source is an async iterable of batches of lines. Back-pressure is the
 * iteration itself: a source reads no further than it is pulled.
 */

/** One line of input, without its line end. `number` counts from 1 within its stream. */
export interface SourceLine {
  number: number;
  bytes: Buffer;
}

/** A line that was skipped: it exceeds the limit, or its connection broke off before its end. */
export interface SkippedLine {
  number: number;
  skipped: 'line_too_long' | 'line_incomplete';
}

/** A problem with a line. */
export interface RejectedLine {
  /** The line's number in its stream. */
  line: number;
  /** The field, in dotted form; empty for the line as a whole. */
  path: string;
  message: string;
}

/** Reports to the sender of a batch what becomes of it. */
export interface Receipt {
  reject(line: RejectedLine): void;
  /** The batch has been applied. `is_recoverable`: a crash does not lose it, as far as anything is persisted at all. */
  settle(is_recoverable: boolean): void;
}

/** The lines of one chunk that was read. */
export interface LineBatch {
  kind: 'lines';
  /** The stream of the source (a file's path, a connection): each has its own decoder and line numbers. */
  stream: string;
  /** True on a stream's last batch: nothing more of it ever comes. A source that is merely stopped ends no stream. */
  end: boolean;
  lines: (SourceLine | SkippedLine)[];
  /** When the chunk was read, epoch milliseconds. */
  arrival_ms: number;
  /** For a stream that can be resumed after a restart: where to resume once this batch has been applied. Plain data. */
  position?: unknown;
  /**
   * Lines written before this time (epoch milliseconds) only rebuild the decoder's state: they give no events, except for the
   * start of a run that continues after it.
   */
  since_ms?: number;
  /** The sender repeats lines that it does not know to have arrived: identical lines are the same line. */
  may_repeat?: true;
  /** Called when the batch is applied for the first time, not when it is replayed. */
  receipt?: Receipt;
}

/**
 * Where to resume the streams of a source, by name: the last position of each that has not ended. A source that is created with
 * them emits no line a second time, and gives each stream its old name and line numbers.
 */
export type Positions = Readonly<Record<string, unknown>>;

/**
 * A source's report on itself, to be logged: `down` once when a connection is lost or refused or the other end gives no
 * answers, `up` when the connection is established and answers arrive.
 */
export interface SourceStatus {
  kind: 'status';
  state: 'up' | 'down';
  message: string;
  /** It is up, but has not reported yet what it missed. */
  is_behind?: boolean;
  /** Nothing that the user has to know: it is neither logged nor shown. */
  is_silent?: true;
}

/** A source of lines. */
export interface Source {
  /** As the user named it: `stdin`, `file:events.ndjson`, `unix:/run/agent.sock`, … */
  name: string;
  /** Its input can be read again, as a file can: if the position is saved, the lines need not be. */
  is_rereadable?: true;
  /** Opens the source; throws a `SourceError` if it can't be opened at all. */
  open(): Promise<AsyncIterable<LineBatch | SourceStatus>>;
  /** Ends the iteration after what has been read; resolves when every handle is closed. */
  close(): Promise<void>;
}

/** Thrown if a source can't be opened or read. The message says what is wrong, where, and what to do. */
export class SourceError extends Error {
  override name = 'SourceError';
}
