/**
 * What a profile is made of: tables from the names that the correlator uses to those that a backend reads, for spans, log
 * records and measurements. A rule that is more than another name says so in words, too: the documentation is made of them.
 */
import type { ValueType } from '@opentelemetry/api';
import type {
  Attributes,
  AttributeValue,
  InstrumentName,
  LogRecord,
  SpanRecord,
} from '../../model/telemetry.js';

/** Something worked out from a record, and in words how. */
export interface Derived<R, V> {
  of: (record: R) => V;
  says: string;
}

/** What becomes of one attribute: another name, another value, or (`undefined`) nothing. */
export interface AttributeRule<R> {
  name?: string;
  value?: { of: (value: AttributeValue, record: R) => AttributeValue | undefined; says: string };
}

export interface RecordTable<R> {
  /** Attributes that are not in the table pass as they are. */
  attributes: Readonly<Record<string, AttributeRule<R>>>;
  /** Attributes that are set whether or not the record has them, unless their value is `undefined`. */
  added?: Readonly<Record<string, Derived<R, AttributeValue | undefined>>>;
}

export interface SpanTable extends RecordTable<SpanRecord> {
  /** Absent: the correlator's. */
  name?: Derived<SpanRecord, string>;
}

export interface LogTable extends RecordTable<LogRecord> {
  /** The only event names that are sent; absent: all are. */
  events?: ReadonlySet<string>;
  /** The most log records in one request. */
  batch_items?: number;
}

/** What a measurement is recorded with. Several measurements may share an instrument, told apart by what is added. */
export interface Instrument {
  name: string;
  unit: string;
  description: string;
  value_type: ValueType;
  /** The bounds of a histogram's buckets; a counter has none. */
  buckets?: number[];
  /** Attributes of each point, beside those of the measurement. */
  added?: Attributes;
}

export interface MetricTable {
  instruments: Readonly<Record<InstrumentName, Instrument>>;
  /** Other names of attributes. */
  attributes: Readonly<Record<string, string>>;
}

export interface Profile {
  /** Absent: spans, and log records, are what the correlator says. */
  span?: SpanTable;
  log?: LogTable;
  metrics: MetricTable;
}
