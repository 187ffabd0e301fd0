/**
 * The contract between the correlator's side and where telemetry goes: a destination takes what is emitted, delivers it in
 * its own time, and can say at any moment what became of it.
 */
import type { Capture, RecordChange, SavedRecord } from './record.js';
import type { Emission } from './telemetry.js';

export const SIGNALS = ['traces', 'metrics', 'logs'] as const;
/** What is counted, and may be sent, apart from the others. */
export type Signal = (typeof SIGNALS)[number];

/**
 * Spans, metric data points or log records of one signal of one destination, over the life of the process.
 * At any moment `produced = delivered + pending + Σ rejected + Σ dropped`.
 */
export interface SignalCounts {
  produced: number;
  delivered: number;
  pending: number;
  /** Refused by the backend, by reason. */
  rejected: Record<string, number>;
  /** Given up by the bridge, by reason. */
  dropped: Record<string, number>;
}

/** Something that went wrong with a request; the message holds no secrets. */
export interface DeliveryProblem {
  /** Epoch milliseconds. */
  at_ms: number;
  message: string;
}

/** Counts of the signals that a destination takes. */
export type DestinationCounts = Partial<Record<Signal, SignalCounts>>;

/** The keys of what is pending begin so, then come the destination and the signal; and those of what was refused for good. */
export const OUTBOX_PREFIX = 'outbox/';
export const DEAD_LETTERS_PREFIX = 'dead/';

/** What was answered since the last checkpoint, of one signal of one destination. */
export interface Answers {
  /** Of items that no checkpoint holds: what tells them from others, in any process, each with its length behind it. */
  ids: Uint8Array;
  /** Of items that one does: their places in their record, by its key. */
  places: Record<string, number[]>;
}

/** What is to be written down between two checkpoints: records that are no longer wanted, and what has been answered. */
export interface Outgoing {
  changes: RecordChange[];
  answers: Answers;
}

/** What a destination keeps beyond its process, for whoever writes it down. */
export interface DestinationKeeping {
  /** The keys of its records begin so. */
  prefixes: string[];
  /** By signal. Not to be asked for while a capture goes on. */
  takeAnswers(): Partial<Record<Signal, Outgoing>>;
  /** Everything that is pending and not written down yet. `written` tells what became of it. */
  capture(): Capture & { written(ok: boolean): void };
  /** What an earlier process was answered for has come again, as far as it does. */
  endRestore(): void;
  /** What is written down takes up so many bytes. */
  bytes(): number;
  /** Gives up the oldest that is on the disk alone, of this destination's largest signal; false where there is none. */
  dropOldest(): boolean;
  /** What the smallest of its signals may hold in memory, in estimated bytes. */
  memory_limit_bytes: number;
  /** Whether anything can be written down from here on. Until it is told it can. */
  setWritable(is_writable: boolean): void;
  /** The process ends: what is in no record, and comes from nowhere again, is given up. */
  giveUpUnkept(message: string): void;
  /** Memory is short until the next checkpoint. */
  isPressed(): boolean;
  /** Epoch milliseconds since when the oldest of what is pending has been, by signal. */
  since(): Partial<Record<Signal, number>>;
}

/** Where telemetry goes. It keeps what it has accepted until it is answered for, or given up and counted. */
export interface Destination {
  /** Its key in the summary. */
  name: string;
  /** False where it makes no use of previews and corrections. */
  takes_previews?: boolean;
  /** False where it makes no use of log records. */
  takes_logs?: boolean;
  /** `is_kept`: the next process would give it out as well; default: true. */
  accept(emission: Emission, is_kept?: boolean): void;
  /** Collects the metrics since the last time. They are queued, and sent once `sendMetrics` allows it. */
  collectMetrics(is_kept?: boolean): Promise<void>;
  /** What was collected may be sent: from here on a crash would not count it a second time. */
  sendMetrics(): void;
  /** Absent where nothing is kept beyond the process. */
  keeping?: DestinationKeeping;
  summary(): DestinationCounts;
  /** The last thing that went wrong, by signal. */
  problems?(): Partial<Record<Signal, DeliveryProblem>>;
  /** Spans, data points and records that are not answered for yet. */
  pending(): number;
  /** More waits in memory than a backend that keeps up leaves there. */
  isCrowded?(): boolean;
  /** Resolves when nothing is pending. */
  idle(): Promise<void>;
  /** Gives up what is in flight; what is pending stays counted as that. */
  close(): Promise<void>;
}

/** What an earlier process left, for the destinations of this one. */
export interface SavedDeliveries {
  /** Under which its metrics were counted, and go on; absent where they are counted anew. */
  instance_id?: string | undefined;
  entries(prefix: string): Iterable<SavedRecord>;
  read(key: string): Uint8Array | undefined;
  answers(destination: string, signal: Signal): Answers;
}
