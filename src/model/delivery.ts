/**
 * The contract between the correlator's side and where telemetry goes: a destination takes what is emitted, delivers it in
 * its own time, and can say at any moment what became of it.
 */
import type { Emission } from './telemetry.js';

export const SIGNALS = ['traces', 'metrics', 'logs'] as const;
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

/** Counts of the signals that a destination takes. */
export type DestinationCounts = Partial<Record<Signal, SignalCounts>>;

export interface Destination {
  /** Its key in the summary. */
  name: string;
  accept(emission: Emission): void;
  /** Collects the metrics since the last time and queues them. */
  collectMetrics(): Promise<void>;
  summary(): DestinationCounts;
  /** Spans, data points and records that are not answered for yet. */
  pending(): number;
  /** Resolves when nothing is pending. */
  idle(): Promise<void>;
  /** Gives up what is in flight; what is pending stays counted as that. */
  close(): Promise<void>;
}
