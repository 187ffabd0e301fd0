/**
 * Generates the documentation of the profiles: from their tables, and from what the correlator, the profiles and the
 * instruments make of one event of each type.
 */
import { SpanKind } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { DataPointType, type MetricData } from '@opentelemetry/sdk-metrics';
import { createCorrelator } from '../../src/correlate/index.js';
import { collect, createMetricReader, createMetrics } from '../../src/export/metrics.js';
import { toReadableSpan } from '../../src/export/otlp/readable.js';
import { OTLP_PRESET_NAMES, PRESETS } from '../../src/export/presets.js';
import type { Instrument, RecordTable } from '../../src/export/profiles/table.js';
import {
  applyToLog,
  applyToSpan,
  PROFILE_NAMES,
  PROFILES,
  type ProfileName,
  sendsLog,
} from '../../src/export/profiles.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { Attributes, Emission, LogRecord, Measurement, SpanRecord } from '../../src/model/telemetry.js';
import { withoutUndefined } from '../../src/util/json.js';
import { merge } from '../helpers.js';
import { DOCUMENTED, type DocumentedEvent, FAILED } from './stories.js';

const RESOURCE = resourceFromAttributes({});

/** Longer than a span waits for late events, and shorter than the time after which an incomplete one is closed. */
const PATIENCE_MS = 6_000;

const OTHERS = PROFILE_NAMES.filter((name) => name !== 'latest');

const code = (text: unknown): string => `\`${typeof text === 'string' ? text : JSON.stringify(text)}\``;
const list = (names: string[]): string => names.map(code).join(', ');
const row = (cells: string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
const table = (head: string[], rows: string[][]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');

const NOTHING: Emission = { spans: [], previews: [], corrections: [], logs: [], measurements: [] };

const SAME = 'same';
const NOT_SENT = 'not sent';

/** A row in which a cell that equals the first profile's says only that. */
const compared = (what: string, [first = '', ...others]: string[]): string[] => [
  what,
  first,
  ...others.map((cell) => (cell === first && cell !== '' ? SAME : cell)),
];

/** What an event emits, as far as that depends on nothing later; plus the spans that show its effect with `seen_with`. */
function emissionOf({ event, before, seen_with }: DocumentedEvent): Emission {
  const correlator = createCorrelator();
  const apply = (each: AgentEvent): Emission => {
    const emissions = [correlator.apply(each, each.ts)];
    const until_ms = each.ts + PATIENCE_MS;
    for (let due_ms = correlator.nextDeadline() ?? Infinity; due_ms <= until_ms; ) {
      emissions.push(correlator.expire(due_ms));
      due_ms = correlator.nextDeadline() ?? Infinity;
    }
    return merge(emissions);
  };
  for (const each of before) correlator.apply(each, each.ts);
  const emission = apply(event);
  if (seen_with === undefined) return emission;
  const { previews, spans } = apply(seen_with);
  return merge([emission, { ...NOTHING, previews, spans }]);
}

/** The last copy of each span, and its state. */
function spansOf({ previews, spans, corrections }: Emission): { span: SpanRecord; state: string }[] {
  const last = new Map([...previews, ...spans, ...corrections].map((span) => [span.span_id, span]));
  return [...last.values()].map((span) => ({ span, state: span.end_ms === undefined ? 'open' : 'ended' }));
}

/** A record under each profile; undefined if the profile does not send it. */
type Told = (Pick<SpanRecord, 'attributes'> | undefined)[];
type Tables = (RecordTable<never> | undefined)[];

/** An attribute under each profile, as `name` = `value`; empty if the record is not sent. */
function attributeCells(name: string, tables: Tables, told: Told): string[] {
  return told.map((record, index) => {
    if (record === undefined) return '';
    const shown_name = tables[index]?.attributes[name]?.name ?? name;
    const value = record.attributes[shown_name];
    return value === undefined ? NOT_SENT : `${code(shown_name)} = ${code(value)}`;
  });
}

/** A row for each attribute that differs between profiles, and one for all others. */
function attributeRows(original: Attributes, tables: Tables, told: Told): string[][] {
  const added = told.flatMap((record, index) => (record ? Object.keys(tables[index]?.added ?? {}) : []));
  const names = [...new Set([...Object.keys(withoutUndefined(original)), ...added])];
  const is_same = (name: string): boolean =>
    new Set(attributeCells(name, tables, told).filter((cell) => cell !== '')).size === 1;
  const common = names.filter(is_same);
  return [
    ...names
      .filter((name) => !is_same(name))
      .map((name) => compared('attribute', attributeCells(name, tables, told))),
    compared(
      'others',
      told.map((record) => (record === undefined ? '' : list(common))),
    ),
  ];
}

function spanRows({ span, state }: { span: SpanRecord; state: string }): string[][] {
  const told = PROFILE_NAMES.map((name) => applyToSpan(PROFILES[name], span));
  const kind = SpanKind[toReadableSpan(span, RESOURCE).kind];
  const head = compared(
    `**span**, ${state}`,
    told.map(({ name }) => `${code(name)}, ${kind}`),
  );
  const error =
    span.error === undefined
      ? []
      : [
          compared(
            'status',
            told.map(() => `ERROR, ${code('error.type')} = ${code(span.error?.type)}`),
          ),
        ];
  const events = span.events.map((each) =>
    compared(
      'span event',
      told.map(() => code(each.name)),
    ),
  );
  const tables = PROFILE_NAMES.map((name) => PROFILES[name].span);
  return [head, ...attributeRows(span.attributes, tables, told), ...error, ...events];
}

function logRows(log: LogRecord): string[][] {
  const told = PROFILE_NAMES.map((name) =>
    sendsLog(PROFILES[name], log) ? applyToLog(PROFILES[name], log) : undefined,
  );
  const head = compared(
    '**log record**',
    told.map((each) => (each === undefined ? NOT_SENT : code(each.event_name))),
  );
  const tables = PROFILE_NAMES.map((name) => PROFILES[name].log);
  return [head, ...attributeRows(log.attributes, tables, told)];
}

const KINDS: Partial<Record<DataPointType, string>> = {
  [DataPointType.SUM]: 'counter',
  [DataPointType.HISTOGRAM]: 'histogram',
};

/** The metric of a measurement under each profile. */
async function metricRow(measurement: Measurement): Promise<string[]> {
  const readers = PROFILE_NAMES.map((name) => createMetricReader('cumulative', name));
  createMetrics(readers, () => ({ source: { events: 0, rejected: {} }, destinations: {} })).record([
    measurement,
  ]);
  const cells = readers.map(async (reader) => {
    const { scopeMetrics } = await collect(reader, RESOURCE);
    return scopeMetrics
      .flatMap(({ metrics }) => metrics)
      .filter(({ descriptor }) => !descriptor.name.startsWith('openclaw_otel_bridge.'))
      .map(describeMetric)
      .join();
  });
  return compared('**metric**', await Promise.all(cells));
}

function describeMetric({ descriptor, dataPointType, dataPoints }: MetricData): string {
  const told = Object.entries(dataPoints[0]?.attributes ?? {}).filter(([name]) =>
    name.startsWith('gen_ai.token.'),
  );
  const extra = told.map(([name, value]) => `, ${code(name)} = ${code(value)}`);
  return `${code(descriptor.name)}, ${KINDS[dataPointType]}, ${code(descriptor.unit)}${extra.join('')}`;
}

async function eventSection(documented: DocumentedEvent): Promise<string> {
  const { event, remark } = documented;
  const emission = emissionOf(documented);
  const rows = [
    ...spansOf(emission).flatMap(spanRows),
    ...(await Promise.all(emission.measurements.map(metricRow))),
    ...emission.logs.flatMap(logRows),
  ];
  const { ts: _, ...told } = event;
  return [
    `### ${code(event.type)}${remark === undefined ? '' : `, ${remark}`}`,
    `\`\`\`json\n${JSON.stringify(told)}\n\`\`\``,
    table(['', ...PROFILE_NAMES.map(code)], rows),
  ].join('\n\n');
}

/** The rules of a table for attributes, one row each. */
function ruleRows({ attributes, added = {} }: RecordTable<never>): string[][] {
  const rules = Object.entries(attributes).map(([name, rule]) => [
    code(name),
    code(rule.name ?? name),
    rule.value?.says ?? '',
  ]);
  return [...rules, ...Object.entries(added).map(([name, { says }]) => ['', code(name), says])];
}

function recordSection(what: string, record: RecordTable<never> | undefined, remarks: string[]): string[] {
  if (record === undefined) return [`${what}: unchanged.`];
  const rows = ruleRows(record);
  const text = [[`${what}.`, ...remarks].join(' ')];
  return rows.length === 0 ? text : [...text, table(['attribute', 'sent as', 'value'], rows)];
}

function profileSection(name: ProfileName): string {
  const { span, log } = PROFILES[name];
  const span_remarks = span?.name === undefined ? [] : [`The name is ${span.name.says}.`];
  const log_remarks = [
    ...(log?.events === undefined ? [] : [`Only ${list([...log.events])} are sent.`]),
    ...(log?.batch_items === undefined ? [] : [`A request has at most ${log.batch_items} records.`]),
  ];
  return [
    `### ${code(name)}`,
    ...recordSection('Spans', span, span_remarks),
    ...recordSection('Log records', log, log_remarks),
  ].join('\n\n');
}

const describeInstrument = ({ name, unit, buckets, added = {} }: Instrument): string => {
  const extra = Object.entries(added).map(([key, value]) => `, ${code(key)} = ${code(value)}`);
  return `${code(name)}, ${buckets === undefined ? 'counter' : 'histogram'}, ${code(unit)}${extra.join('')}`;
};

/** The attribute names of each instrument's measurements from the documented events. */
function attributesByInstrument(): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  const measurements = [...DOCUMENTED, ...FAILED].flatMap((each) => emissionOf(each).measurements);
  for (const { instrument, attributes } of measurements) {
    const known = names.get(instrument) ?? new Set();
    names.set(instrument, new Set([...known, ...Object.keys(withoutUndefined(attributes))]));
  }
  return names;
}

function instrumentsTable(): string {
  const attributes = attributesByInstrument();
  const rows = Object.keys(PROFILES.latest.metrics.instruments).map((measured) => {
    const cells = PROFILE_NAMES.map((profile) =>
      describeInstrument(PROFILES[profile].metrics.instruments[measured as Measurement['instrument']]),
    );
    const [, ...compared_cells] = compared('', cells);
    return [...compared_cells, list([...(attributes.get(measured) ?? [])])];
  });
  return table([...PROFILE_NAMES.map(code), 'attributes'], rows);
}

function bucketsTable(): string {
  const all = PROFILE_NAMES.flatMap((name) => Object.values(PROFILES[name].metrics.instruments));
  const bounds = new Map<string, Set<string>>();
  for (const { name, buckets } of all) {
    if (buckets === undefined) continue;
    const key = buckets.join(', ');
    bounds.set(key, (bounds.get(key) ?? new Set()).add(name));
  }
  return table(
    ['histograms', 'bucket bounds'],
    [...bounds].map(([key, names]) => [list([...names]), key]),
  );
}

const renamedInMetrics = (name: ProfileName): string[] =>
  Object.entries(PROFILES[name].metrics.attributes).map(
    ([from, to]) => `In ${code(name)}, the metric attribute ${code(from)} is called ${code(to)}.`,
  );

const presetsOf = (name: ProfileName): string =>
  list(OTLP_PRESET_NAMES.filter((preset) => PRESETS[preset].profile === name)) || 'none';

const INTRODUCTION = `# Profiles

A profile defines the names of the spans, metrics and log records that a destination receives. Each destination has one profile:
its preset's, unless the configuration file sets another, for example \`profile: legacy\`. This page is generated from the code's
tables and from the output of the code for one event of each type ([how to regenerate it](../CONTRIBUTING.md#golden-files)), so it
can't be out of date.

- \`latest\`: the names of OpenTelemetry's GenAI conventions as of November 2026. Names that the conventions do not define begin
  with \`openclaw.\`.
- \`legacy\`: the earlier names of those conventions, up to about version 1.36, for backends and dashboards that still use them.
  Anything that had no name then keeps its current one. Reasoning tokens are therefore a separate counter and not a
  \`gen_ai.token.type\`, which has only the values \`input\` and \`output\`: reasoning is a part of output, and would be counted twice.
- \`clawmetry\`: the names that ClawMetry's receiver understands. ClawMetry adds up values from several signals, so tokens and cost
  are sent on chat spans only.`;

const ON_EVENTS = `## Telemetry of each event

The tables show a span after the event has been applied and all its waits are over, or as soon as the event has changed the span.
Open spans are sent only to destinations with \`open_spans: replace\` (ClawMetry), which replace them later. *Same* means the same as
under \`latest\`. *Others* are attributes with the same name and value in every profile. Ids and times do not depend on the profile.
The tables show telemetry without \`--content\`: no inputs and outputs are sent. [With \`--content\`](events.md#content), there are a
few more attributes.`;

const ON_METRICS = `## Metrics

Each row is one measurement, with its name in each profile and its attributes. \`error.type\` is present only on failures. The
temporality is that of the destination. The bridge's own metrics, \`openclaw_otel_bridge.*\`, have the same names in all profiles.`;

/** Returns the whole page. */
export async function profilesPage(): Promise<string> {
  const sections = await Promise.all(DOCUMENTED.map(eventSection));
  const defaults = PROFILE_NAMES.map((name) => [code(name), presetsOf(name)]);
  return `${[
    INTRODUCTION,
    table(['profile', 'default for the presets'], defaults),
    ON_EVENTS,
    ...sections,
    '## Spans and log records',
    'Anything that is not in a table is sent unchanged.',
    ...PROFILE_NAMES.map(profileSection),
    ON_METRICS,
    instrumentsTable(),
    ...OTHERS.flatMap(renamedInMetrics),
    bucketsTable(),
  ].join('\n\n')}\n`;
}
