/**
 * The instruments about the bridge itself. They observe its own counts at each collection, so that metrics, summary and log
 * never disagree.
 */
import type {
  BatchObservableResult,
  Meter,
  ObservableCounter,
  ObservableUpDownCounter,
} from '@opentelemetry/api';
import { ValueType } from '@opentelemetry/api';
import { SIGNALS, type Signal, type SignalCounts } from '../model/delivery.js';

/** The counts that become metrics; a part of the summary. */
export interface BridgeSnapshot {
  source: { events: number; rejected: Record<string, number> };
  /** By destination. */
  destinations: Record<string, Partial<Record<Signal, SignalCounts>>>;
}

interface BridgeInstruments {
  events: ObservableCounter;
  rejected: ObservableCounter;
  produced: ObservableCounter;
  delivered: ObservableCounter;
  dropped: ObservableCounter;
  pending: ObservableUpDownCounter;
}

export function registerBridgeInstruments(meter: Meter, snapshot: () => BridgeSnapshot): void {
  const define = (name: string, unit: string, description: string) =>
    [`openclaw_otel_bridge.${name}`, { unit, description, valueType: ValueType.INT }] as const;
  const instruments: BridgeInstruments = {
    events: meter.createObservableCounter(...define('events', '{event}', 'Events that were decoded.')),
    rejected: meter.createObservableCounter(
      ...define('rejected', '{item}', 'Invalid input lines, and items that a destination rejected.'),
    ),
    produced: meter.createObservableCounter(
      ...define('produced', '{item}', 'Spans, data points and log records for a destination.'),
    ),
    delivered: meter.createObservableCounter(
      ...define('delivered', '{item}', 'Items that a destination has acknowledged.'),
    ),
    dropped: meter.createObservableCounter(
      ...define('dropped', '{item}', 'Items that were dropped before a destination accepted them.'),
    ),
    pending: meter.createObservableUpDownCounter(
      ...define('pending', '{item}', 'Items that are pending for a destination.'),
    ),
  };
  meter.addBatchObservableCallback(
    (result) => observe(result, instruments, snapshot()),
    Object.values(instruments),
  );
}

function observe(
  result: BatchObservableResult,
  instruments: BridgeInstruments,
  { source, destinations }: BridgeSnapshot,
): void {
  result.observe(instruments.events, source.events);
  for (const [reason, count] of Object.entries(source.rejected)) {
    result.observe(instruments.rejected, count, { reason });
  }
  for (const [destination, summary] of Object.entries(destinations)) {
    for (const signal of SIGNALS) {
      const counts = summary[signal];
      if (counts !== undefined) observeCounts(result, instruments, counts, { signal, destination });
    }
  }
}

function observeCounts(
  result: BatchObservableResult,
  instruments: BridgeInstruments,
  counts: SignalCounts,
  attributes: { signal: Signal; destination: string },
): void {
  for (const name of ['produced', 'delivered', 'pending'] as const) {
    result.observe(instruments[name], counts[name], attributes);
  }
  for (const name of ['rejected', 'dropped'] as const) {
    for (const [reason, count] of Object.entries(counts[name])) {
      result.observe(instruments[name], count, { ...attributes, reason });
    }
  }
}
