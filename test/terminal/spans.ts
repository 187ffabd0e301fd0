/** Spans to draw: short constructors, and one request with sub-agents, failures and announce runs. */
import type { Attributes, Emission, LogRecord, SpanKind, SpanRecord } from '../../src/model/telemetry.js';

export const TRACE = 'a'.repeat(32);

/** `end_ms: undefined` makes an open span. */
type Fields = Partial<Omit<SpanRecord, 'attributes' | 'end_ms'>> & { end_ms?: number | undefined };

/** A span of 100 ms, unless `fields` has an end. */
export function span(
  kind: SpanKind,
  id: string,
  fields: Fields = {},
  attributes: Attributes = {},
): SpanRecord {
  const { start_ms = 0, end_ms, ...rest } = fields;
  const made: SpanRecord = {
    trace_id: TRACE,
    links: [],
    events: [],
    name: id,
    ...rest,
    start_ms,
    kind,
    span_id: id,
    attributes,
  };
  if (!('end_ms' in fields)) made.end_ms = start_ms + 100;
  else if (end_ms !== undefined) made.end_ms = end_ms;
  return made;
}

export function run(id: string, agent: string, fields: Fields = {}, more: Attributes = {}): SpanRecord {
  const name = `invoke_agent ${agent}`;
  return span(
    'run',
    id,
    { name, ...fields },
    {
      'gen_ai.agent.name': agent,
      'openclaw.session.key': `agent:main:${agent}`,
      ...more,
    },
  );
}

export function tool(id: string, name: string, fields: Fields = {}, more: Attributes = {}): SpanRecord {
  return span('tool', id, { name: `execute_tool ${name}`, ...fields }, { 'gen_ai.tool.name': name, ...more });
}

/** `tokens`: input, cached, output and reasoning tokens. */
export function chat(id: string, fields: Fields = {}, tokens: number[] = [], cost_usd?: number): SpanRecord {
  const names = ['input_tokens', 'cache_read.input_tokens', 'output_tokens', 'reasoning.output_tokens'];
  const usage = tokens.map((count, index) => [`gen_ai.usage.${names[index]}`, count] as const);
  return span(
    'chat',
    id,
    { name: 'chat gpt-5.1', ...fields },
    {
      'gen_ai.request.model': 'gpt-5.1',
      ...Object.fromEntries(usage),
      ...(cost_usd === undefined ? {} : { 'openclaw.cost_usd': cost_usd }),
    },
  );
}

const between = (parent_span_id: string, start_ms: number, end_ms: number): Fields => ({
  parent_span_id,
  start_ms,
  end_ms,
});

const link = (span_id: string) => ({ trace_id: TRACE, span_id });

/** `main` spawns Child A and Child B, B spawns Grandchild, whose `exec` fails; B and `main` continue after the reports. */
export function request(): SpanRecord[] {
  const failed = { error: { type: 'exit_code' } };
  return [
    run('m', 'main', { start_ms: 0, end_ms: 2900 }),
    chat('m1', between('m', 50, 1290), [4210, 2048, 310, 128], 0.0042),
    tool('ms1', 'sessions_spawn', between('m', 1300, 1345)),
    run('a', 'Child A', between('ms1', 1360, 5440)),
    chat('a1', between('a', 1400, 2580), [1510, 0, 210, 96], 0.0021),
    tool('ax', 'exec', between('a', 2590, 3694), { 'openclaw.tool.exit_code': 0 }),
    tool('ms2', 'sessions_spawn', between('m', 1350, 1388)),
    run('b', 'Child B', between('ms2', 1400, 3700)),
    chat('b1', between('b', 1450, 2750), [1530, 0, 240, 64], 0.0023),
    tool('bs', 'sessions_spawn', between('b', 2800, 2851)),
    run('g', 'Grandchild', between('bs', 2880, 6300)),
    chat('g1', between('g', 2900, 3800), [1480, 0, 150, 0], 0.0018),
    tool('gx', 'exec', { ...between('g', 3820, 4140), ...failed }, { 'openclaw.tool.exit_code': 7 }),
    tool('by', 'sessions_yield', between('b', 3600, 3603)),
    run('b2', 'Child B', { ...between('b', 6400, 8600), links: [link('g')] }),
    chat('b3', between('b2', 6420, 8520), [1900, 1536, 120]),
    run('m2', 'main', { ...between('m', 8700, 200_700), links: [link('a'), link('b2')] }),
    tool('mw', 'web_search', { ...between('m2', 12_200, 20_234), error: { type: 'timeout' } }),
    chat('m3', between('m2', 20_300, 22_900), [5630, 4096, 712, 340], 0.0071),
  ];
}

/** An emission of ended spans and copies of open ones. */
export function emission(spans: SpanRecord[], previews: SpanRecord[] = []): Emission {
  return { spans, previews, corrections: [], logs: [], measurements: [] };
}

export const log = (event: string): LogRecord => ({
  trace_id: TRACE,
  span_id: 'm',
  event_name: `openclaw.${event}`,
  ts_ms: 0,
  observed_ms: 0,
  severity: 'INFO',
  attributes: {},
});
