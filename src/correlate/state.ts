/**
 * The correlator's whole state, as plain data. Every collection has a limit, named here with the reason under which items over
 * it are counted. `saved.ts` defines which parts are persisted for the next process.
 */

import { type BoundedMap, enqueue, type Queue, setEntry, useEntry } from '../capture/bounded.js';
import type { IdSet } from '../capture/id-set.js';
import type { Tracker } from '../capture/tracked.js';
import { isThere, type TrackedMap } from '../capture/tracked-map.js';
import type { AgentEvent, ErrorDetail, EventOf } from '../model/event.js';
import type { Attributes, Emission, SpanEvent, SpanRecord, SpanReference } from '../model/telemetry.js';
import type { Seen } from './sequence-numbers.js';
import { emptyMap, type SmallMap, smallMapOf } from './small-map.js';
import type { Wakeable } from './wake-heap.js';

/** Prefix of the keys of all the correlator's records. */
export const STATE_PREFIX = 'state/';

/**
 * How long the correlator waits for events that may still arrive, in milliseconds of the time passed to it, and how much it
 * holds. Runs, calls and events that are closed or emitted early because of a limit are counted under `given_up`; remembered
 * ids and contexts over their limit are evicted.
 */
export interface Limits {
  /** A run without activity of its own or of its descendants is closed after this time. */
  idle_ms: number;
  /** How long a source that is back may take to report what it missed; until then silence does not make a run idle. */
  return_ms: number;
  /** A run is closed when it has been open for this long. */
  age_ms: number;
  /** How long a child waits for a parent that is not known. */
  hold_ms: number;
  /** How long a sub-agent that names only its parent session waits for the spawn that names the call. */
  link_ms: number;
  /** How long an ended run waits for the ends of its open calls. */
  settle_ms: number;
  /** How long an ended model call waits for its reasoning tokens, and a failed one for its message. */
  chat_hold_ms: number;
  /** How much longer an ended model call waits for its reasoning tokens while their source can't be asked. */
  chat_patience_ms: number;
  /** Open runs; over it the oldest is closed, with error `given_up`. */
  open_runs: number;
  /** Open tool calls; over it the oldest is closed, with error `given_up`. */
  open_calls: number;
  /** Events of runs that are not open yet; over it the run that has waited longest is opened as it is. */
  held_events: number;
  /** Ended runs whose context is remembered for late children. */
  ended_runs: number;
  /** Ids of ended spans, and of seen events, that are remembered to recognise duplicates. */
  seen_ids: number;
  /** Model calls emitted without their reasoning tokens that are remembered in case the tokens arrive. */
  unreasoned_chats: number;
  /** Sessions whose id, agent, channel and latest runs are remembered. */
  sessions: number;
  /** Spawns of sub-agents that are remembered for runs that start later. */
  spawns: number;
}

/** The limits that a user sets. */
export type GivenLimits = { [K in keyof Limits]?: number | undefined };

/** The limits that apply where the user sets none. */
export const DEFAULT_LIMITS: Limits = {
  idle_ms: 30 * 60_000,
  return_ms: 120_000,
  age_ms: 24 * 3_600_000,
  hold_ms: 30_000,
  link_ms: 1_000,
  settle_ms: 1_000,
  chat_hold_ms: 5_000,
  chat_patience_ms: 120_000,
  open_runs: 50_000,
  open_calls: 100_000,
  held_events: 100_000,
  ended_runs: 50_000,
  seen_ids: 200_000,
  unreasoned_chats: 10_000,
  sessions: 50_000,
  spawns: 50_000,
};

export interface Options {
  /** Record inputs, outputs and reasoning text. */
  content: boolean;
  /** Maximum bytes of content in one attribute. */
  content_max_bytes: number;
  /** Emit copies of spans that are not final. */
  previews: boolean;
  logs: boolean;
  measurements: boolean;
  limits: Limits;
}

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
  late: boolean;
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

/** A model call that has ended and waits for its reasoning tokens. */
export interface HeldChat extends EndedChat {
  due_ms: number;
  /** If it waits beyond `due_ms`: when to check it again. */
  look_ms?: number;
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
  partial: boolean;
  /** Part of the run was missed and could not be recovered. */
  gap: boolean;
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
  late: boolean;
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
  /** Its `subagent.finished` has arrived; its own `agent.finished` is awaited. */
  finishing: { end: RunClosing; due_ms: number } | undefined;
  /** Ended calls with an outer call that had not been seen, by call id. */
  wrapped: SmallMap<WrappedCall>;
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

/** Links a child's run to its parent. */
export interface Spawn {
  parent_session_key: string;
  parent_run_id?: string;
  call_id?: string;
}

/** Replaced as a whole when anything but `latest` changes. */
export interface Session {
  /** Keys of its latest runs, oldest first. */
  runs: readonly string[];
  session_id: string | undefined;
  agent_id: string | undefined;
  channel: string | undefined;
  label: string | undefined;
  /** A spawn that named no run: it applies to any run of the session. */
  spawn: Spawn | undefined;
  /** Its last run, if that is live: a cache, since most events are about that run. Not persisted. */
  latest: Run | undefined;
}

export interface State {
  tracker: Tracker;
  /** Open runs, and ended runs that still wait for something. */
  runs: TrackedMap<Run>;
  /** Ended runs that wait for nothing, see `archive.ts`. */
  archive: BoundedMap<Run>;
  /** Ended runs that still wait for something, oldest first; some of them no longer do. */
  ended: Queue<Pick<Run, 'span_id' | 'number'>>;
  /** Open runs, oldest first, and some that have ended; `open_count` counts only open ones. */
  open: Queue<Run>;
  open_count: number;
  /** The same for tool calls. */
  open_calls: Queue<OpenCall>;
  open_call_count: number;
  held: TrackedMap<HeldRun>;
  /** Held runs in order of arrival; some of them are no longer held. */
  held_order: Queue<Pick<HeldRun, 'span_id' | 'number'>>;
  held_events: number;
  /**
   * Keys of held runs by what they wait for: a session (`s:`) or a run (`r:`); and by their own session (`c:`) and run id
   * (`i:`).
   */
  waiting: Map<string, Set<string>>;
  sessions: BoundedMap<Session>;
  /**
   * The session that was looked up last in the current call of the correlator, and its key: most lookups of a call repeat it.
   */
  recent_key: string | undefined;
  recent_session: Session | undefined;
  /** By the child's run key. */
  spawns: BoundedMap<Spawn>;
  /** Key of the latest run with each run id; announce runs name others by run id. */
  by_run_id: BoundedMap<string>;
  /**
   * Event ids, and sequence numbers of events about sub-agents; all other sequence numbers are recorded in their run.
   */
  seen_events: IdSet;
  ended_spans: IdSet;
  /** Ended model calls that were emitted without reasoning tokens, by span id. */
  unreasoned: BoundedMap<EndedChat>;
  /** A heap of runs and held runs, ordered by wake-up time, see `wake-heap.ts`. */
  waking: (Run | HeldRun)[];
  counts: CorrelatorCounts;
}

export const sessionWait = (session_key: string): string => `s:${session_key}`;
export const runWait = (run_id: string): string => `r:${run_id}`;

/**
 * A held run is indexed by its own session and run id too, so that a spawn, or another held run that waits for it, finds it.
 */
export const childWait = (session_key: string): string => `c:${session_key}`;
export const ownWait = (run_id: string): string => `i:${run_id}`;

/** Counts over the life of the correlator. */
export interface CorrelatorCounts {
  runs_opened: number;
  runs_ended: number;
  /** Runs of which part was missed and could not be recovered. */
  runs_with_gap: number;
  duplicates: number;
  /** Runs, calls and events that were closed or dropped because of a limit, by limit. */
  given_up: Record<string, number>;
}

/** The context of one call of the correlator: state, options, time and output. */
export interface Context {
  state: State;
  options: Options;
  now_ms: number;
  out: Emission;
  /** Wait keys that held runs may wait for, that have become available and have not been processed yet. */
  arrived: string[];
  /**
   * No source could be heard before this time: ended model calls are held for their reasoning tokens, and no run counts as
   * idle.
   */
  patient_until_ms: number;
}

export const emptyEmission = (): Emission => ({
  spans: [],
  previews: [],
  corrections: [],
  logs: [],
  measurements: [],
});

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

/** The latest timestamp of the run's events, in epoch milliseconds. */
export const lastEventMs = (run: Run): number => run.start_ms + run.last_after_ms;

/** Drops what model calls are matched by: an ended run is only remembered for late children, and this takes memory. */
export function forgetCalls(run: Run): void {
  run.steps = emptyList();
  run.ended_calls = emptyList();
}

export const runReference = (run: Run): SpanReference => ({ trace_id: run.trace_id, span_id: run.span_id });

export function countGivenUp({ state }: Context, what: string): void {
  state.counts.given_up[what] = (state.counts.given_up[what] ?? 0) + 1;
}

/** Runs remembered per session: enough to find the one that was active when a child started. */
const RUNS_OF_A_SESSION = 32;

export const nextNumber = ({ tracker }: State): number => tracker.next_number++;

const UNKNOWN_SESSION: Session = {
  runs: emptyList(),
  session_id: undefined,
  agent_id: undefined,
  channel: undefined,
  label: undefined,
  spawn: undefined,
  latest: undefined,
};

function keepRecent(state: State, session_key: string, session: Session): Session {
  state.recent_key = session_key;
  state.recent_session = session;
  return session;
}

/** Clears the cache at the start of each call of the correlator, since the session may have been evicted meanwhile. */
export function forgetRecent(state: State): void {
  state.recent_key = undefined;
  state.recent_session = undefined;
}

export function sessionOf({ state, options }: Context, session_key: string): Session {
  if (state.recent_session !== undefined && state.recent_key === session_key) return state.recent_session;
  const known = useEntry(state.sessions, session_key, options.limits.sessions);
  if (known !== undefined) return keepRecent(state, session_key, known);
  return setSession({ state, options }, session_key, { ...UNKNOWN_SESSION });
}

export function setSession(
  { state, options }: Pick<Context, 'state' | 'options'>,
  session_key: string,
  session: Session,
): Session {
  setEntry(state.sessions, session_key, session, options.limits.sessions);
  return keepRecent(state, session_key, session);
}

export function addRunToSession(context: Context, run: Run): void {
  const session = sessionOf(context, run.session_key);
  const runs = session.runs.slice(1 - RUNS_OF_A_SESSION).concat(run.span_id);
  setSession(context, run.session_key, { ...session, runs, latest: run });
  setEntry(context.state.by_run_id, run.run_id, run.span_id, context.options.limits.ended_runs);
}

export function addOpen(state: State, run: Run): void {
  state.open_count++;
  enqueue(state.open, run, state.open_count, ({ ended }) => ended === undefined);
}

export function addOpenCall(state: State, call: OpenCall): void {
  call.is_open = true;
  state.open_call_count++;
  enqueue(state.open_calls, call, state.open_call_count, ({ is_open }) => is_open);
}

/**
 * The run, to be changed, if it is the cached latest run of its session. This finds most runs without deriving a key.
 */
export function latestRun({ state }: Context, session_key: string, run_id: string): Run | undefined {
  const { sessions, runs } = state;
  const session = sessions.young.entries.get(session_key);
  if (session !== undefined) keepRecent(state, session_key, session);
  const latest = session?.latest;
  if (latest === undefined || latest.run_id !== run_id || !isThere(latest)) return undefined;
  runs.touch(latest);
  return latest;
}

/**
 * A live run (open, or waiting for something), to be changed. If it is the last run of the session that was looked up last, it
 * is cached there as `latest`.
 */
export function liveRun({ state }: Context, key: string): Run | undefined {
  const run = state.runs.get(key);
  const session = state.recent_session;
  if (run !== undefined && session?.runs.at(-1) === key) session.latest = run;
  return run;
}
