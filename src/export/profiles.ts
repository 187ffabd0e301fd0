/**
 * Profiles: the names that a backend reads, as tables. `latest` leaves everything as the correlator says it, under the
 * current GenAI conventions; `clawmetry` gives ClawMetry what its receiver understands. A destination has one profile.
 */
import type { Attributes, AttributeValue, LogRecord, SpanRecord } from '../model/telemetry.js';

/** What becomes of one attribute: another name, another value, or (`undefined`) nothing. */
interface AttributeRule<R> {
  name?: string;
  value?: (value: AttributeValue, record: R) => AttributeValue | undefined;
}

interface RecordTable<R> {
  /** Attributes that are not in the table pass as they are. */
  attributes: Record<string, AttributeRule<R>>;
  /** Attributes that are set whether or not the record has them, unless their value is `undefined`. */
  added: Record<string, (record: R) => AttributeValue | undefined>;
}

export interface Profile {
  span?: RecordTable<SpanRecord> & { name: (span: SpanRecord) => string };
  log?: RecordTable<LogRecord> & {
    /** The only event names that are sent. */
    events: ReadonlySet<string>;
    /** The most log records in one request. */
    batch_items: number;
  };
}

const AGENT_ID = 'gen_ai.agent.id';
const AGENT_NAME = 'gen_ai.agent.name';
const CONVERSATION = 'gen_ai.conversation.id';
const PROVIDER = 'gen_ai.provider.name';
const CACHE_READ = 'gen_ai.usage.cache_read.input_tokens';
const CACHE_WRITE = 'gen_ai.usage.cache_write.input_tokens';
const SESSION_KEY = 'openclaw.session.key';

/** Providers whose cached tokens ClawMetry prices beside the input, where the conventions count them inside it. */
const CACHE_BESIDE_INPUT: ReadonlySet<AttributeValue | undefined> = new Set(['anthropic']);

/** ClawMetry files a session id with a colon under the text before it, as a runtime of that name. */
const withoutColons = (value: AttributeValue): AttributeValue => String(value).replaceAll(':', '.');

/** The run that begins a sub-agent; one that only goes on after a yield spawns nothing. */
const isSpawnedRun = (span: SpanRecord): boolean =>
  span.kind === 'run' && span.parent_agent_id !== undefined && span.is_continuation !== true;

/** ClawMetry draws an edge from parent to child only where their agent ids differ. */
function ownAgentId(value: AttributeValue, span: SpanRecord): AttributeValue {
  if (value !== span.parent_agent_id) return value;
  const label = span.attributes[AGENT_NAME];
  return label === undefined || label === value ? 'subagent' : label;
}

/** ClawMetry takes any span with a model for a model call. */
const exceptOnRuns = (value: AttributeValue, span: SpanRecord): AttributeValue | undefined =>
  span.kind === 'run' ? undefined : value;

function billedInput(value: AttributeValue, { attributes }: SpanRecord): AttributeValue {
  if (!CACHE_BESIDE_INPUT.has(attributes[PROVIDER])) return value;
  return Math.max(
    0,
    Number(value) - Number(attributes[CACHE_READ] ?? 0) - Number(attributes[CACHE_WRITE] ?? 0),
  );
}

/** Tool logs under the spans' own session id would hide its trace, so they have a session of their own beside it. */
function liveSession({ attributes }: LogRecord): AttributeValue | undefined {
  const session = attributes[SESSION_KEY] ?? attributes[CONVERSATION];
  return session === undefined ? undefined : `${withoutColons(session)}.live`;
}

const CLAWMETRY: Profile = {
  span: {
    name: (span) => (isSpawnedRun(span) ? 'agent.spawn' : span.name),
    attributes: {
      [CONVERSATION]: { value: withoutColons },
      [AGENT_ID]: { value: ownAgentId },
      'gen_ai.request.model': { value: exceptOnRuns },
      'gen_ai.response.model': { value: exceptOnRuns },
      'gen_ai.usage.input_tokens': { value: billedInput },
      [CACHE_WRITE]: { name: 'gen_ai.usage.cache_creation.input_tokens' },
      'openclaw.cost_usd': { name: 'gen_ai.usage.cost_usd' },
    },
    added: {},
  },
  log: {
    attributes: {},
    // ClawMetry looks for a log's session first under the one name, then under the other; for spans it is the reverse.
    added: { [CONVERSATION]: liveSession, 'session.id': liveSession },
    events: new Set(['openclaw.tool_call', 'openclaw.tool_result']),
    batch_items: 16,
  },
};

export const PROFILE_NAMES = ['latest', 'clawmetry'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export const PROFILES: Readonly<Record<ProfileName, Profile>> = { latest: {}, clawmetry: CLAWMETRY };

function mapAttributes<R extends { attributes: Attributes }>(table: RecordTable<R>, record: R): Attributes {
  const mapped: Attributes = {};
  for (const key in record.attributes) {
    const value = record.attributes[key];
    if (value === undefined) continue;
    const rule = table.attributes[key];
    const new_value = rule?.value === undefined ? value : rule.value(value, record);
    if (new_value !== undefined) mapped[rule?.name ?? key] = new_value;
  }
  for (const key in table.added) {
    const value = table.added[key]?.(record);
    if (value !== undefined) mapped[key] = value;
  }
  return mapped;
}

/** The span as the profile's backend wants it; the record itself is left as it is. */
export function applyToSpan({ span: table }: Profile, span: SpanRecord): SpanRecord {
  if (table === undefined) return span;
  return { ...span, name: table.name(span), attributes: mapAttributes(table, span) };
}

/** The log record as the profile's backend wants it; the record itself is left as it is. */
export function applyToLog({ log: table }: Profile, log: LogRecord): LogRecord {
  return table === undefined ? log : { ...log, attributes: mapAttributes(table, log) };
}

/** Whether the profile's backend gets this log record at all. */
export const sendsLog = ({ log: table }: Profile, log: LogRecord): boolean =>
  table === undefined || table.events.has(log.event_name);
