/**
 * Profiles: the names that a backend reads, as tables (`profiles/`). A destination has one profile. The functions here apply it
 * to one record at a time, and do not modify the record.
 */
import type { Attributes, LogRecord, SpanRecord } from '../model/telemetry.js';
import { CLAWMETRY } from './profiles/clawmetry.js';
import { LATEST } from './profiles/latest.js';
import { LEGACY } from './profiles/legacy.js';
import type { Profile, RecordTable } from './profiles/table.js';

export type { Profile } from './profiles/table.js';

/** The naming of attributes and instruments: by the current GenAI conventions, the previous ones, or ClawMetry's receiver. */
export const PROFILE_NAMES = ['latest', 'legacy', 'clawmetry'] as const;
/** The name of a profile; docs/profiles.md shows what each makes of every event. */
export type ProfileName = (typeof PROFILE_NAMES)[number];

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  latest: LATEST,
  legacy: LEGACY,
  clawmetry: CLAWMETRY,
};

function mapAttributes<R extends { attributes: Attributes }>(table: RecordTable<R>, record: R): Attributes {
  const mapped: Attributes = {};
  for (const key in record.attributes) {
    const value = record.attributes[key];
    if (value === undefined) continue;
    const rule = table.attributes[key];
    const new_value = rule?.value === undefined ? value : rule.value.of(value, record);
    if (new_value !== undefined) mapped[rule?.name ?? key] = new_value;
  }
  for (const key in table.added) {
    const value = table.added[key]?.of(record);
    if (value !== undefined) mapped[key] = value;
  }
  return mapped;
}

/** The span as the profile's backend expects it; the record itself is not modified. */
export function applyToSpan({ span: table }: Profile, span: SpanRecord): SpanRecord {
  if (table === undefined) return span;
  return { ...span, name: table.name?.of(span) ?? span.name, attributes: mapAttributes(table, span) };
}

/** The log record as the profile's backend expects it; the record itself is not modified. */
export function applyToLog({ log: table }: Profile, log: LogRecord): LogRecord {
  return table === undefined ? log : { ...log, attributes: mapAttributes(table, log) };
}

/** Whether the log record is sent with this profile. */
export const sendsLog = ({ log: table }: Profile, log: LogRecord): boolean =>
  table?.events?.has(log.event_name) ?? true;
