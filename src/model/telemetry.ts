/**
 * What the correlator says and the exporters send: spans, log records and measurements, as plain data under the names of
 * the current GenAI conventions (profile `latest`). A destination's profile renames them; nothing else does.
 */

/** What an attribute may hold. */
export type AttributeValue = string | number | boolean | string[];
/** What is undefined is not known, and is as if it were not there. */
export type Attributes = Record<string, AttributeValue | undefined>;

/** What names a span. */
export interface SpanReference {
  /** 32 lower-case hex digits. */
  trace_id: string;
  /** 16 lower-case hex digits. */
  span_id: string;
}

/** Something that happened within a span: a piece of a tool's or a sub-agent's output. */
export interface SpanEvent {
  /** `openclaw.tool_output`, `openclaw.subagent_output` */
  name: string;
  /** Epoch milliseconds. */
  ts_ms: number;
  attributes: Attributes;
}

/** A run of an agent, a tool call or a model call. */
export type SpanKind = 'run' | 'tool' | 'chat';

/** A span, open or ended: a run of an agent, a tool call or a model call. */
export interface SpanRecord extends SpanReference {
  kind: SpanKind;
  /** 16 lower-case hex digits; absent on the root of a trace. */
  parent_span_id?: string | undefined;
  /** `invoke_agent main`, `execute_tool exec`, `chat claude-opus-4-5` */
  name: string;
  /** Epoch milliseconds. */
  start_ms: number;
  /** Epoch milliseconds; absent while the span is open. */
  end_ms?: number | undefined;
  /** Present where the span ended in an error; also the status message, where there is one. */
  error?: { type: string; message?: string } | undefined;
  attributes: Attributes;
  /** On a run that reports on others: the spans of those. */
  links: SpanReference[];
  events: SpanEvent[];
  /** On every span of a sub-agent: the agent id of the run that it hangs under. */
  parent_agent_id?: string | undefined;
  /** On a run that goes on with a request after a yield. */
  is_continuation?: boolean | undefined;
}

/** The record of one event, on the span that it is about; both ids are empty where that is not known. */
export interface LogRecord extends SpanReference {
  /** `openclaw.tool_call`, `openclaw.agent_finished`, … */
  event_name: string;
  /** When it happened, epoch milliseconds. */
  ts_ms: number;
  /** When the bridge read it, epoch milliseconds. */
  observed_ms: number;
  severity: 'INFO' | 'ERROR';
  attributes: Attributes;
}

/** The counters and histograms that the correlator measures for. */
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
