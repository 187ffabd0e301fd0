/**
 * The contract between the pipeline and the destinations of telemetry: a destination accepts emissions, delivers them in its
 * own time, and can report at any moment what became of them.
 */
import type { Capture, RecordChange, SavedRecord } from './record.js';
import type { Emission } from './telemetry.js';

export const SIGNALS = ['traces', 'metrics', 'logs'] as const;
/** Signals are counted separately, and can be sent separately. */
export type Signal = (typeof SIGNALS)[number];

/** What the items of a signal are called in messages. */
export const ITEM_NOUNS: Readonly<Record<Signal, string>> = {
  traces: 'span',
  metrics: 'data point',
  logs: 'log record',
};

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
  /** Dropped by the bridge, by reason. */
  dropped: Record<string, number>;
}

/** Something that went wrong with a request. The message holds no secrets. */
export interface DeliveryProblem {
  /** Epoch milliseconds. */
  at_ms: number;
  message: string;
}

/** Counts of the signals that a destination takes. */
export type DestinationCounts = Partial<Record<Signal, SignalCounts>>;

/** Key prefixes of the records of pending items, followed by destination and signal, and of dead letters. */
export const OUTBOX_PREFIX = 'outbox/';
export const DEAD_LETTERS_PREFIX = 'dead/';

/** Items of one signal of one destination that were acknowledged since the last checkpoint. */
export interface Answers {
  /**
   * Identities of acknowledged items that are in no checkpoint, each followed by its length. They are the same in any process.
   */
  ids: Uint8Array;
  /** Indexes of acknowledged items within their checkpoint record, by record key. */
  places: Record<string, number[]>;
}

/** Changes to be written between two checkpoints: obsolete records, dead letters, and acknowledgements. */
export interface Outgoing {
  changes: RecordChange[];
  answers: Answers;
}

/** How much of a signal waits to be sent. */
export interface SignalLoad {
  /** Whether more waits in memory than a backend that keeps up would leave there. */
  is_crowded: boolean;
  /** The size of what is in the store or yet to be stored, in bytes; 0 if nothing is persisted. */
  stored_bytes: number;
}

/** The part of a destination that persists its pending items, for the module that writes them. */
export interface DestinationOutbox {
  /** Prefixes of the keys of its records. */
  prefixes: string[];
  /** By signal. Must not be called while a capture is running. */
  takeAnswers(): Partial<Record<Signal, Outgoing>>;
  /** Everything that is pending and not persisted yet. `written` reports whether the capture was committed. */
  capture(): Capture & { written(ok: boolean): void };
  /** Replay is over: unmatched acknowledgements of the previous process can be forgotten. */
  endRestore(): void;
  /** Size of its records in the store, in bytes. */
  bytes(): number;
  /** The estimated size of what is pending and in none of them, in bytes. */
  unsavedBytes(): number;
  /** Drops the oldest items that are only on the disk, of the largest signal that has any; false if none has. */
  dropOldest(): boolean;
  /** The smallest memory limit of its signals, in estimated bytes. */
  memory_limit_bytes: number;
  /** Reports whether the store is writable. Assumed to be until called. */
  setWritable(is_writable: boolean): void;
  /** The process ends: drops the items that are in no record and that no later process can produce again. */
  dropUnstored(message: string): void;
  /** Whether a checkpoint is needed: memory is short, or parts of a divided item wait to be persisted. */
  isPressed(): boolean;
  /** By signal, when the oldest pending item was accepted, in epoch milliseconds. */
  since(): Partial<Record<Signal, number>>;
}

/** A destination of telemetry. It holds what it has accepted until that is acknowledged, or rejected or dropped and counted. */
export interface Destination {
  /** Its key in the summary. */
  name: string;
  /** False if it does not use previews and corrections. Default: true. */
  takes_previews?: boolean;
  /** False if it does not use log records. Default: true. */
  takes_logs?: boolean;
  /** `is_recoverable`: the next process could produce the emission again. Default: true. */
  accept(emission: Emission, is_recoverable?: boolean): void;
  /** Collects the metrics since the last collection. They are queued until `sendMetrics` is called. */
  collectMetrics(is_recoverable?: boolean): Promise<void>;
  /** Allows collected metrics to be sent: from now on a crash would not count them twice. */
  sendMetrics(): void;
  /** Absent if nothing is persisted. */
  outbox?: DestinationOutbox;
  summary(): DestinationCounts;
  /** The last problem of each signal. */
  problems?(): Partial<Record<Signal, DeliveryProblem>>;
  /** Number of spans, data points and log records that are neither delivered, rejected nor dropped yet. */
  pending(): number;
  /** How much waits to be sent, by signal. */
  load?(): Partial<Record<Signal, SignalLoad>>;
  /** Resolves when nothing is pending. */
  idle(): Promise<void>;
  /** Aborts requests in flight; what is pending stays counted as pending. */
  close(): Promise<void>;
}

/** The previous process's saved state, for the destinations of this one. */
export interface SavedDeliveries {
  /** The instance id under which the previous process counted its metrics, which continue; undefined if they start anew. */
  instance_id?: string | undefined;
  entries(prefix: string): Iterable<SavedRecord>;
  read(key: string): Uint8Array | undefined;
  answers(destination: string, signal: Signal): Answers;
}
