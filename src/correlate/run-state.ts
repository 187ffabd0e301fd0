/**
 * The state of one run, open or held, as plain data: its calls and steps, what it waits for, and how these are accessed.
 */
import type { AgentEvent, ErrorDetail, EventOf } from '../model/event.js';
import type { Attributes, SpanEvent, SpanRecord, SpanReference } from '../model/telemetry.js';
import type { Seen } from './sequence-numbers.js';
import { emptyMap, type SmallMap, smallMapOf } from './small-map.js';
import type { Wakeable } from './wake-heap.js';

/** A tool call that has begun and not ended. */
export interface OpenCall {
  call_id: string;
  span_id: string;
  /** Orders open calls by arrival. */
  number: number;
  run_key: string;
  tool: string;
  start_ms: number;
  parent_call_id: string | undefined;
  arguments: { text: string; size_bytes: number } | undefined;
  events: readonly SpanEvent[];
  is_late: boolean;
  /** Whether the call is counted in `open_call_count`. */
  is_open: boolean;
}

/** The identity of a call; of one that is not open, `tool` is undefined if unknown. */
export interface NamedCall extends Pick<OpenCall, 'call_id' | 'span_id'> {
  tool: string | undefined;
}

/** A model call that has begun or failed and whose message has not arrived. */
export interface OpenStep {
  /** The number of the step in its run; 0 if a call already uses that number. */
  number: number;
  /** Its `agent.step_started` has arrived; otherwise only a failure is known. */
  announced: boolean;
  start_ms: number;
  /** Sequence number of the event that reported the step, if that has one. */
  seq: number | undefined;
  model: string | undefined;
  provider: string | undefined;
  /** The end as far as it is known: a failure, the first tool call it made, or the start of the next step. */
  end_ms: number | undefined;
  error: ErrorDetail | undefined;
  /** When it failed, if a failure of this step itself was reported, not only one of its run. */
  failed_ms: number | undefined;
  /** No longer the run's current step. */
  superseded: boolean;
  /** A call was matched with it on arrival; re-matching does not undo this. */
  taken: boolean;
  /** The call that it is matched with now. */
  ended_by: EndedCall | undefined;
  due_ms: number | undefined;
  /** When a step that is held beyond `due_ms` is checked again. */
  look_ms?: number;
  /** Undefined if no reasoning was reported. */
  reasoning: Reasoning | undefined;
}

/** A model call that has ended. */
export interface EndedCall {
  /** Undefined if the event does not state it. */
  start_ms: number | undefined;
  end_ms: number;
  /** The start comes from the call's own message. */
  is_message: boolean;
  seq: number | undefined;
  has_failed: boolean;
}

/** What `llm.reasoning` events reported about one model call. */
export interface Reasoning {
  tokens?: number | undefined;
  text?: string | undefined;
  /** Bytes of the whole text, before it was cut. */
  size_bytes?: number | undefined;
  duration_ms?: number | undefined;
}

/** The reasoning of a call whose tokens have not arrived. */
export interface EarlyReasoning extends Reasoning {
  response_id: string;
  /**
   * Only for the reasoning of the next call, whichever that is: how long to wait for that call once the run has ended.
   */
  due_ms?: number;
}

/** A model call that has ended without its reasoning tokens. */
export interface EndedChat {
  span: SpanRecord;
  metric_attributes: Attributes;
}

/** A model call that has ended and waits for its reasoning tokens, or for its step. */
export interface HeldChat extends EndedChat {
  due_ms: number;
  /** If it waits beyond `due_ms`: when to check it again. */
  look_ms?: number;
  /** Its reasoning has been counted, as far as there is any. */
  is_reasoned: boolean;
  /** Its sequence number, while the step with which it began may be among the events before it that are missing. */
  awaits_step: number | undefined;
}

/**
 * Every field exists from the start and is set to undefined, never deleted, so V8 keeps one hidden class. Thousands of runs can
 * be open, so rare fields are in `RareFields`, most times are offsets from `start_ms` (a small integer needs no heap memory), and
 * all empty lists are one shared list, see `added` and `small-map.ts`.
 */
export interface Run extends Wakeable, Seen {
  /** Derived from session key and run id. It identifies the run: every `…_key` that refers to a run holds this. */
  span_id: string;
  /** Grows with each run that is opened or taken out of the archive. */
  number: number;
  epoch: number;
  session_key: string;
  run_id: string;
  trace_id: string;
  agent_id: string;
  trigger: string | undefined;
  descent: Readonly<Descent> | undefined;
  start_ms: number;
  /**
   * Three times in milliseconds after `start_ms`: the latest event, the latest activity of the run or a descendant, the
   * opening.
   */
  last_after_ms: number;
  active_after_ms: number;
  opened_after_ms: number;
  is_partial: boolean;
  /** Part of the run was missed and could not be recovered. */
  has_gap: boolean;
  calls: SmallMap<OpenCall>;
  /** Sorted by start. Some have been ended by a call: see `steps.ts`. */
  steps: readonly OpenStep[];
  /** The latest model calls that have ended, sorted by end. */
  ended_calls: readonly EndedCall[];
  /** By span id, in the order of their deadlines. */
  chats: SmallMap<HeldChat>;
  step_count: number;
  tool_count: number;
  call_count: number;
  /** The reasoning of the call that ended last has been counted. */
  is_reasoned: boolean;
  ended: Ended | undefined;
  rare: Readonly<RareFields>;
}

/**
 * The ancestry of a run that has a parent span, or whose start names a parent. Replaced as a whole, so a copy of the run can
 * share it.
 */
export interface Descent {
  parent_span_id: string | undefined;
  /** The run that its parent span belongs to. */
  parent_key: string | undefined;
  /** The nearest ancestor whose idle timer this run's activity extends; archived ancestors in between are skipped. */
  watching_key: string | undefined;
  /** Of a sub-agent: the agent of the run that spawned its first run. */
  parent_agent_id: string | undefined;
  parent_session_key: string | undefined;
  parent_run_id: string | undefined;
  /** The run began after its parent had ended, as far as is known. */
  is_late: boolean;
}

/** Fields that few runs use, or only for a short time. Runs that use none of them share one object. */
export interface RareFields {
  input: { text: string; size_bytes: number } | undefined;
  events: readonly SpanEvent[];
  /** By response id. */
  reasoning: SmallMap<EarlyReasoning>;
  /** Ends of tool calls that have not begun, by call id. */
  early_ends: SmallMap<EarlyEnd>;
  /** Ended spans of nested calls, and of sub-agents' runs, whose parent call has not been seen yet. */
  parked: readonly ParkedSpan[];
  cancelled_at_ms: number | undefined;
  yielded_at_ms: number | undefined;
  /** How it ends at that time: its `subagent.finished` has arrived, but not its own end, or its end, but it may continue. */
  finishing: { end: RunClosing; due_ms: number; may_continue?: true } | undefined;
  /** Ended calls with an outer call that had not been seen, by call id. */
  wrapped: SmallMap<WrappedCall>;
  /** Sequence numbers were missing that never came, so others are not waited for. */
  skips_numbers: boolean;
  /** The session's id as of this run, if the session has had another one since, for example because it was reset. */
  session_id: string | undefined;
}

/** A call and its parent call. */
export interface WrappedCall {
  call_id: string;
  parent_call_id: string;
}

export interface ParkedSpan {
  span: SpanRecord;
  parent_call_id: string;
  due_ms: number;
}

export interface Ended {
  /** Orders ended runs that still wait for something by when they began to wait; 0 before that. */
  number: number;
  end_ms: number;
  /** When the end arrived. */
  arrival_ms: number;
  yielded: boolean;
  settle_due_ms: number;
  calls_error: string;
  /** The session's id when the run ended: by the time of what comes later, the session may have been reset. */
  session_id: string | undefined;
}

/** How a run ends. */
export interface RunClosing {
  end_ms: number;
  error?: ErrorDetail | undefined;
  yielded?: boolean;
  stop_reason?: string | undefined;
  output?: { text: string; size_bytes: number } | undefined;
}

export interface HeldEvent {
  event: AgentEvent;
  arrival_ms: number;
}

export interface EarlyEnd {
  event: EventOf<'tool.output'> | EventOf<'tool.error'>;
  arrival_ms: number;
}

/** The data known about a run before it opens. */
export interface Origin extends Seen {
  session_key: string;
  run_id: string;
  span_id: string;
  /** Its `agent.started`, once seen; the earliest one if there are several. */
  started: EventOf<'agent.started'> | undefined;
  /** The earliest timestamp of its events, spawns excepted; `Infinity` if there are none. */
  first_ms: number;
}

/** A run that is not open, with its events: its start has not been seen, or its parent is not known. */
export interface HeldRun extends Origin, Wakeable {
  /** Orders held runs by arrival. */
  number: number;
  epoch: number;
  events: HeldEvent[];
  /** Reported by a duplicate event, which is not among `events`. */
  gap?: true;
  /** When it is opened unconditionally. */
  due_ms: number;
  /** When it is opened with the best parent known by then. */
  soft_due_ms?: number;
  waits_for: string[];
  /** Orders held runs that wait for the same thing. */
  wait_number: number;
}

const NO_LIST: readonly never[] = [];

/** The initial `rare` of every run. */
export const NO_RARE_FIELDS: Readonly<RareFields> = Object.freeze({
  input: undefined,
  events: NO_LIST,
  reasoning: emptyMap<EarlyReasoning>(),
  early_ends: emptyMap<EarlyEnd>(),
  parked: NO_LIST,
  cancelled_at_ms: undefined,
  yielded_at_ms: undefined,
  finishing: undefined,
  wrapped: emptyMap<WrappedCall>(),
  skips_numbers: false,
  session_id: undefined,
});

/** Access to a run's collections by the id of their entries. */
export const CALLS = smallMapOf<OpenCall>((call) => call.call_id);
export const CHATS = smallMapOf<HeldChat>((chat) => chat.span.span_id);
export const EARLY_ENDS = smallMapOf<EarlyEnd>((early) => early.event.call_id);
export const EARLY_REASONING = smallMapOf<EarlyReasoning>((early) => early.response_id);
export const WRAPPED = smallMapOf<WrappedCall>((call) => call.call_id);

/** The run's `rare` as a mutable object: the shared one is copied first. */
export function rareFieldsOf(run: Run): RareFields {
  if (run.rare === NO_RARE_FIELDS) run.rare = { ...NO_RARE_FIELDS };
  return run.rare;
}

/** The initial value of every list of a run: one shared, empty list. */
export const emptyList = <T>(): readonly T[] => NO_LIST;

/** Appends an item. It may change the given list in place, but never an empty one: assign the result. */
export function added<T>(list: readonly T[], item: T): readonly T[] {
  if (list.length === 0) return [item];
  (list as T[]).push(item);
  return list;
}

/** The end of a run that may continue; undefined if it has continued since, or has no such end. */
export const possibleEndMs = ({ finishing }: Readonly<RareFields>): number | undefined =>
  finishing?.may_continue ? finishing.end.end_ms : undefined;

/** The latest timestamp of the run's events, in epoch milliseconds. */
export const lastEventMs = (run: Run): number => run.start_ms + run.last_after_ms;

/** Whether the run had ended before this time: then a call that begins there is late. */
export const hasEndedBefore = ({ ended }: Run, ms: number): boolean =>
  ended !== undefined && ended.end_ms < ms;

/** Drops what model calls are matched by: an ended run is only remembered for late children, and this takes memory. */
export function forgetCalls(run: Run): void {
  run.steps = emptyList();
  run.ended_calls = emptyList();
}

export const runReference = (run: Run): SpanReference => ({ trace_id: run.trace_id, span_id: run.span_id });
