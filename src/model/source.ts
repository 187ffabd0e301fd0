/**
 * The contract between the edge where events come in and the pure stages: a source is an async iterable of batches of
 * lines. Back-pressure is the iteration itself: a source reads no further than it is pulled.
 */

/** One line of input, without its line end. `number` counts from 1 within its stream. */
export interface SourceLine {
  number: number;
  bytes: Buffer;
}

/** A line that was passed over: it is longer than the limit, or its connection broke off before its end came. */
export interface SkippedLine {
  number: number;
  skipped: 'line_too_long' | 'line_incomplete';
}

/** What is wrong with a line. */
export interface RejectedLine {
  /** Its number. */
  line: number;
  /** The field, in dotted form; empty for the line as a whole. */
  path: string;
  message: string;
}

/** Whoever sent a batch waits to be told what becomes of it. */
export interface Receipt {
  reject(line: RejectedLine): void;
  /** It has been applied. `is_kept`: a crash does not lose it any more, as far as anything is kept at all. */
  settle(is_kept: boolean): void;
}

/** The lines of one chunk that was read. */
export interface LineBatch {
  kind: 'lines';
  /** Which stream of the source (a file's path, a connection): decoders are kept per stream, line numbers count within it. */
  stream: string;
  /** True on a stream's last batch: nothing more of it ever comes. A source that is merely stopped ends no stream. */
  end: boolean;
  lines: (SourceLine | SkippedLine)[];
  /** When the chunk was read, epoch milliseconds. */
  arrival_ms: number;
  /** Of a stream that can be gone on with after a restart: from where, once this batch has been applied. Plain data. */
  position?: unknown;
  /** The stream is followed from this instant on: what was written in it before is there to be understood, not told. */
  since_ms?: number;
  /** Its sender sends again what it does not know to have arrived: a line that has come before is the same one. */
  may_repeat?: true;
  /** It is told once, when the batch is applied for the first time. */
  receipt?: Receipt;
}

/**
 * Where the streams of a source are to be gone on with, by their name: the last position of each that has not ended. A
 * source that is created with them gives nothing again that came before, and gives each stream its old name and numbers.
 */
export type Positions = Readonly<Record<string, unknown>>;

/**
 * What a source reports of itself, to be logged: `down` once when a connection is lost or refused, or who is at its other end
 * gives no answers, `up` when it stands and they come.
 */
export interface SourceStatus {
  kind: 'status';
  state: 'up' | 'down';
  message: string;
  /** It is up, and what it missed before is still to be told. */
  is_behind?: boolean;
}

/** Where lines come from. */
export interface Source {
  /** As the user named it: `stdin`, `file:events.ndjson`, `unix:/run/agent.sock`, … */
  name: string;
  /** What it reads stays where it is: with its position kept, it need not be kept itself. */
  is_rereadable?: true;
  /** Opens the source; throws a `SourceError` where it can't be opened at all. */
  open(): Promise<AsyncIterable<LineBatch | SourceStatus>>;
  /** Ends the iteration after what has been read; resolves when every handle is closed. */
  close(): Promise<void>;
}

/** A source can't be opened. The message says what is wrong, where, and what to do. */
export class SourceError extends Error {
  override name = 'SourceError';
}
