/**
 * The event catalog, version 1: the eleven things that can happen to an agent, as one zod discriminated union.
 * Every decoder produces these, the correlator consumes them, sockets and files carry them as NDJSON, and the
 * JSON Schema in `schema/` is generated from here. Types come from this file and nowhere else.
 */
import { z } from 'zod';
import { MAX_EPOCH_MS } from '../util/units.js';

const NOT_A_TIME =
  'not a valid time: use epoch milliseconds, or RFC 3339 with an offset, such as 2026-11-22T12:00:00Z';

const name = z.string().min(1);
const TOO_EARLY = 'before 1970; use the time at which it happened';
const TOO_LATE = 'after 2554; use the time at which it happened, and milliseconds if it is a number';
const epochMs = z.number().min(0, TOO_EARLY).max(MAX_EPOCH_MS, TOO_LATE);
/** As zod has it, and with what RFC 3339 also allows: a `T` or `Z` in lower case, and leap seconds. */
const DATE_TIME = z.regexes
  .datetime({ offset: true })
  .source.replace('T', '[Tt]')
  .replace('Z', '[Zz]')
  .replace('[0-5]\\d(?:', '(?:[0-5]\\d|60)(?:');
const MINUTE_MS = 60_000;
/** Takes a leap second as the one after it, as epoch time has none. */
const parseDateTime = (text: string): number =>
  text.includes(':60') ? Date.parse(text.replace(':60', ':00')) + MINUTE_MS : Date.parse(text);
/** Not before 1970, like a number: `0001-01-01T00:00:00Z` is what some languages write for a time that was never set. */
const dateTime = z
  .string()
  .regex(new RegExp(DATE_TIME), NOT_A_TIME)
  .refine((text) => !(parseDateTime(text) < 0), TOO_EARLY)
  .refine((text) => !(parseDateTime(text) > MAX_EPOCH_MS), TOO_LATE)
  .meta({ format: 'date-time' });
/** Epoch milliseconds, or an RFC 3339 date-time, which `decode` converts to epoch milliseconds. */
const instant = z.union([epochMs, dateTime], { error: NOT_A_TIME });
const count = z.int().min(0);
/** US dollars. A larger value is a mistake, and a single one would make a sum of costs useless for good. */
const costUsd = z.number().min(0).max(1e12);
const anyJson = z.unknown();

const errorDetail = z.object({ type: name.optional(), message: z.string() });
const status = z.enum(['ok', 'error', 'cancelled', 'timeout']);

const common = {
  ts: instant,
  session_key: name,
  run_id: name,
  session_id: name.optional(),
  agent_id: name.optional(),
  seq: count.optional(),
  event_id: name.optional(),
  traceparent: z.string().optional(),
  channel: name.optional(),
  /** Part of this run was missed and could not be recovered. */
  gap: z.boolean().optional(),
};

/**
 * The zod schema of one event, as a line of catalog NDJSON has it, discriminated by `type`; docs/events.md explains each field.
 * Unknown fields are allowed, and removed from the result.
 */
export const agentEventSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('agent.started'),
    ...common,
    parent_session_key: name.optional(),
    parent_run_id: name.optional(),
    trigger: name.optional(),
    model: name.optional(),
    provider: name.optional(),
    input: anyJson.optional(),
  }),
  z.object({
    type: z.literal('agent.step_started'),
    ...common,
    step: count.optional(),
    model: name.optional(),
    provider: name.optional(),
  }),
  z.object({
    type: z.literal('agent.finished'),
    ...common,
    status,
    error: errorDetail.optional(),
    stop_reason: name.optional(),
    output: anyJson.optional(),
    /** The run ended by yielding: a later run of its session continues the same request. */
    yielded: z.boolean().optional(),
    /** False: the run was ordered to end and its last events are still to come; its end is another `agent.finished`. */
    settled: z.boolean().optional(),
    /** The run may go on, for example with a retry: this is only its end if nothing more of it arrives for a while. */
    may_continue: z.boolean().optional(),
  }),
  z.object({
    type: z.literal('tool.call'),
    ...common,
    call_id: name,
    tool: name,
    input: anyJson.optional(),
    parent_call_id: name.optional(),
  }),
  z.object({
    type: z.literal('tool.output'),
    ...common,
    call_id: name,
    output: anyJson.optional(),
    partial: z.boolean().optional(),
    exit_code: z.int().optional(),
    /** The tool's name, for an end whose `tool.call` was never seen. */
    tool: name.optional(),
  }),
  z.object({
    type: z.literal('tool.error'),
    ...common,
    call_id: name,
    error: z.object({ type: name, message: z.string() }),
    tool: name.optional(),
  }),
  z.object({
    type: z.literal('subagent.spawned'),
    ...common,
    /** The child's run, if it is known. */
    run_id: name.optional(),
    parent_session_key: name,
    parent_run_id: name.optional(),
    call_id: name.optional(),
    label: name.optional(),
  }),
  z.object({ type: z.literal('subagent.output'), ...common, output: anyJson.optional() }),
  z.object({
    type: z.literal('subagent.finished'),
    ...common,
    status,
    error: errorDetail.optional(),
  }),
  z.object({
    type: z.literal('llm.tokens'),
    ...common,
    model: name,
    provider: name,
    /** All input, cached input included. */
    input_tokens: count,
    output_tokens: count,
    cache_read_tokens: count.optional(),
    cache_write_tokens: count.optional(),
    /** A part of `output_tokens`, never to be added to it. */
    reasoning_tokens: count.optional(),
    cost_usd: costUsd.optional(),
    response_id: name.optional(),
    message_id: name.optional(),
    started_at: instant.optional(),
    ended_at: instant.optional(),
    finish_reason: name.optional(),
    /** The call failed. Without `response_id` and `message_id` the run's open step failed. */
    error: errorDetail.optional(),
  }),
  z.object({
    type: z.literal('llm.reasoning'),
    ...common,
    reasoning_tokens: count.optional(),
    text: z.string().optional(),
    duration_ms: z.number().min(0).optional(),
    response_id: name.optional(),
  }),
]);

/** An event in its wire form: times may still be text. */
export type WireEvent = z.infer<typeof agentEventSchema>;
/** `agent.started`, `tool.call`, … */
export type EventType = WireEvent['type'];
/** All types of the catalog, in its order. */
export const EVENT_TYPES: readonly EventType[] = agentEventSchema.options.map(
  (option) => option.shape.type.value,
);

type Normalised<E> = E extends WireEvent
  ? Omit<E, 'ts' | 'started_at' | 'ended_at'> & {
      ts: number;
    } & ('started_at' extends keyof E ? { started_at?: number; ended_at?: number } : unknown)
  : never;

/** An event inside the bridge: every time is in epoch milliseconds. */
export type AgentEvent = Normalised<WireEvent>;
/** The events of one type. */
export type EventOf<T extends EventType> = Extract<AgentEvent, { type: T }>;
export type ErrorDetail = z.infer<typeof errorDetail>;

const toEpochMs = (value: number | string): number =>
  typeof value === 'number' ? value : parseDateTime(value);

/** Converts the times of a valid event to epoch milliseconds. */
export function normaliseInstants(event: WireEvent): AgentEvent {
  const normal: Record<string, unknown> = { ...event, ts: toEpochMs(event.ts) };
  if (event.type === 'llm.tokens') {
    if (event.started_at !== undefined) normal.started_at = toEpochMs(event.started_at);
    if (event.ended_at !== undefined) normal.ended_at = toEpochMs(event.ended_at);
  }
  return normal as AgentEvent;
}

/** The JSON Schema (draft 2020-12) of one line of catalog NDJSON; unknown fields are allowed and ignored. */
export function eventJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(agentEventSchema, { io: 'input' });
  return { $schema, title: 'openclaw-otel-bridge event, catalog version 1', ...schema };
}
