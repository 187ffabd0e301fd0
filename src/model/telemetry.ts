/**
 * What the correlator emits and the exporters send: spans, log records and measurements, as plain data under the names of the
 * current GenAI conventions (profile `latest`). A destination's profile renames them; nothing else does.
 */

/** The value of an attribute. */
export type AttributeValue = string | number | boolean | string[];
/** An undefined value is not known, and treated as absent. */
export type Attributes = Record<string, AttributeValue | undefined>;

/** Identifies a span. */
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
  /** Present if the span ended in an error; `message`, if there is one, is the status message. */
  error?: { type: string; message?: string } | undefined;
  attributes: Attributes;
  /** On a run that reports on others: their spans. */
  links: SpanReference[];
  events: SpanEvent[];
  /** On every span of a sub-agent: the agent id of its parent run. */
  parent_agent_id?: string | undefined;
  /** On a run that continues a request after a yield. */
  is_continuation?: boolean | undefined;
}

/** The log record of one event, on the span that it is about; both ids are empty if that is not known. */
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

/** The counters and histograms that the correlator records. */
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

/** The sums of one collection of the metrics, over all attributes. */
export interface MetricTotals {
  /** Number of data points. */
  points: number;
  /** By instrument name: the sum of a counter, or the number of values in a histogram. */
  totals: ReadonlyMap<string, number>;
}

/** The output of one call of the correlator, in order. */
export interface Emission {
  /** Ended spans: each span id appears here once. */
  spans: SpanRecord[];
  /** Copies of spans that are not final yet (open, or ended with something still unknown), for destinations that replace by id. */
  previews: SpanRecord[];
  /** Ended spans, emitted before, of which more has become known: for the same destinations. */
  corrections: SpanRecord[];
  logs: LogRecord[];
  measurements: Measurement[];
}
