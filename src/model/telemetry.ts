/**
 * What the correlator says and the exporters send: spans, log records and measurements, as plain data under the names of
 * the current GenAI conventions (profile `latest`). A destination's profile renames them; nothing else does.
 */

export type AttributeValue = string | number | boolean | string[];
/** What is undefined is not known, and is as if it were not there. */
export type Attributes = Record<string, AttributeValue | undefined>;

/** 32 and 16 lower-case hex digits. */
export interface SpanReference {
  trace_id: string;
  span_id: string;
}

export interface SpanEvent {
  name: string;
  ts_ms: number;
  attributes: Attributes;
}

export type SpanKind = 'run' | 'tool' | 'chat';

export interface SpanRecord extends SpanReference {
  kind: SpanKind;
  parent_span_id?: string | undefined;
  name: string;
  start_ms: number;
  /** Absent while the span is open. */
  end_ms?: number | undefined;
  /** Present where the span ended in an error; also the status message, where there is one. */
  error?: { type: string; message?: string } | undefined;
  attributes: Attributes;
  links: SpanReference[];
  events: SpanEvent[];
  /** On every span of a sub-agent: the agent id of the run that it hangs under. */
  parent_agent_id?: string | undefined;
  /** On a run that goes on with a request after a yield. */
  is_continuation?: boolean | undefined;
}

export interface LogRecord extends SpanReference {
  /** `openclaw.tool_call`, `openclaw.agent_finished`, … */
  event_name: string;
  ts_ms: number;
  observed_ms: number;
  severity: 'INFO' | 'ERROR';
  attributes: Attributes;
}

export type InstrumentName =
  | 'gen_ai.client.inference.usage.input_tokens'
  | 'gen_ai.client.inference.usage.output_tokens'
  | 'gen_ai.client.inference.usage.cache_read.input_tokens'
  | 'gen_ai.client.inference.usage.cache_write.input_tokens'
  | 'gen_ai.client.inference.usage.reasoning.output_tokens'
  | 'gen_ai.client.inference.duration'
  | 'gen_ai.execute_tool.duration'
  | 'gen_ai.invoke_agent.duration'
  | 'gen_ai.invoke_agent.inference_calls'
  | 'gen_ai.invoke_agent.tool_calls'
  | 'openclaw.cost';

/** One `add` to a counter or one `record` to a histogram. Durations are seconds. */
export interface Measurement {
  instrument: InstrumentName;
  value: number;
  attributes: Attributes;
}

/** What one collection of the metrics tells, without the attributes. */
export interface MetricTotals {
  /** How many data points it has. */
  points: number;
  /** By the name of the instrument: what was added to a counter, how often a histogram was given a value. */
  totals: ReadonlyMap<string, number>;
}

/** What one call of the correlator gives out, in order. */
export interface Emission {
  /** Spans that have ended: each span id comes here once. */
  spans: SpanRecord[];
  /** Copies of spans that are not final yet (open, or ended with something still unknown), for destinations that replace by id. */
  previews: SpanRecord[];
  /** Ended spans, given out before, of which more has become known: for the same destinations. */
  corrections: SpanRecord[];
  logs: LogRecord[];
  measurements: Measurement[];
}
