/**
 * The form of a profile: tables that map the correlator's names to a backend's, for spans, log records and measurements. A rule
 * that does more than rename also describes itself in words, from which the documentation is made.
 */
import type { ValueType } from '@opentelemetry/api';
import type {
  Attributes,
  AttributeValue,
  InstrumentName,
  LogRecord,
  SpanRecord,
} from '../../model/telemetry.js';

/** A value derived from a record, and a description of how. */
export interface Derived<R, V> {
  of: (record: R) => V;
  says: string;
}

/** Renames an attribute, changes its value, or removes it (`undefined`). */
export interface AttributeRule<R> {
  name?: string;
  value?: { of: (value: AttributeValue, record: R) => AttributeValue | undefined; says: string };
}

export interface RecordTable<R> {
  /** Attributes that are not in the table stay unchanged. */
  attributes: Readonly<Record<string, AttributeRule<R>>>;
  /** Attributes that are set even if the record does not have them, unless their value is `undefined`. */
  added?: Readonly<Record<string, Derived<R, AttributeValue | undefined>>>;
}

export interface SpanTable extends RecordTable<SpanRecord> {
  /** If absent, the correlator's name is used. */
  name?: Derived<SpanRecord, string>;
}

export interface LogTable extends RecordTable<LogRecord> {
  /** The event names to send; if absent, all are sent. */
  events?: ReadonlySet<string>;
  /** The most log records in one request. */
  batch_items?: number;
}

/** The instrument of a measurement. Several measurements may share one, and differ in what is added. */
export interface Instrument {
  name: string;
  unit: string;
  description: string;
  value_type: ValueType;
  /** The bucket boundaries of a histogram; absent for a counter. */
  buckets?: number[];
  /** Attributes of each point, besides those of the measurement. */
  added?: Attributes;
}

export interface MetricTable {
  instruments: Readonly<Record<InstrumentName, Instrument>>;
  /** New names of attributes. */
  attributes: Readonly<Record<string, string>>;
}

export interface Profile {
  /** If absent, spans, or log records, are sent as the correlator emits them. */
  span?: SpanTable;
  log?: LogTable;
  metrics: MetricTable;
}
