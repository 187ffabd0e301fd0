/**
 * Everything that the correlator remembers, as plain data. Every collection has a bound, named here with the reason under
 * which what is over it is given up. What is written down of it for a next process is in `saved.ts`.
 */

import { type BoundedMap, enqueue, type Queue, setEntry, useEntry } from '../capture/bounded.js';
import type { IdSet } from '../capture/id-set.js';
import type { Tracker } from '../capture/tracked.js';
import { isThere, type TrackedMap } from '../capture/tracked-map.js';
import type { AgentEvent, ErrorDetail, EventOf } from '../model/event.js';
import type { Attributes, Emission, SpanEvent, SpanRecord, SpanReference } from '../model/telemetry.js';
import { type Few, fewOf, none } from './few.js';
import type { Waiting } from './heap.js';
import type { Seen } from './numbers.js';

/** The keys of the correlator's records begin so. */
export const STATE_PREFIX = 'state/';

/**
 * How long the correlator waits for what may still come, in milliseconds of the time that it is told, and how much it holds. What
 * is closed or given out because of a limit is counted under `given_up`; what is only remembered is forgotten over its bound.
 */
export interface Limits {
  /** A run without an event of its own or of its descendants is closed after this. */
  idle_ms: number;
  /** How long who can be heard again may take to tell what it has to tell: until then silence says nothing of a run. */
  return_ms: number;
  /** A run is closed when it is this old. */
  age_ms: number;
  /** How long a child waits for a parent that is not known. */
  hold_ms: number;
  /** How long a sub-agent that names only its parent session waits for the spawn that names the call. */
  link_ms: number;
  /** How long an ended run waits for the ends of its open calls. */
  settle_ms: number;
  /** How long an ended model call waits for its reasoning tokens, and a failed one for its message. */
  chat_hold_ms: number;
  /** How much longer it waits for its reasoning tokens while who could tell them can't be asked. */
  chat_patience_ms: number;
  /** Open runs; over it the oldest is closed, with error `given_up`. */
  open_runs: number;
  /** Open tool calls; over it the oldest is closed, with error `given_up`. */
  open_calls: number;
  /** Events of runs that are not open yet; over it the run that has waited longest is opened as it is. */
  held_events: number;
  /** Ended runs whose context is kept for late children. */
  ended_runs: number;
  /** Ids of ended spans and of seen events that are kept to know them again. */
  seen_ids: number;
  /** Model calls that were given out without their reasoning tokens, kept in case these come. */
  unreasoned_chats: number;
  /** Sessions whose id, agent, channel and latest runs are remembered. */
  sessions: number;
  /** Spawns of sub-agents that are remembered for runs that come later. */
  spawns: number;
}

/** Those of the limits that somebody sets. */
export type GivenLimits = { [K in keyof Limits]?: number | undefined };

/** What holds where nobody sets another limit. */
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
  /** Bytes of content that one attribute holds. */
  content_max_bytes: number;
  /** Give out copies of spans that are not final. */
  previews: boolean;
  logs: boolean;
  measurements: boolean;
  limits: Limits;
}

/** A tool call that has begun and not ended. */
export interface OpenCall {
  call_id: string;
  span_id: string;
  /** Orders open calls by their coming. */
  number: number;
  run_key: string;
  tool: string;
  start_ms: number;
  parent_call_id: string | undefined;
  arguments: { text: string; size_bytes: number } | undefined;
  events: readonly SpanEvent[];
  late: boolean;
  /** It counts as open. */
  is_open: boolean;
}

/** What tells a call from others: of one that is not open, the tool as far as it is known. */
export interface NamedCall extends Pick<OpenCall, 'call_id' | 'span_id'> {
  tool: string | undefined;
}

/** A model call that has begun, or that failed, and whose message has not come. */
export interface OpenStep {
  /** Counts the steps of its run; 0 once a call is known by it. */
  number: number;
  /** Its start was told. Of others only a failure is known. */
  announced: boolean;
  start_ms: number;
  /** Of what told it, where it has one. */
  seq: number | undefined;
  model: string | undefined;
  provider: string | undefined;
  /** The end as far as it is known: a failure, the first call that came of it, the next step. */
  end_ms: number | undefined;
  error: ErrorDetail | undefined;
  /** When it failed, where that was told of it alone, and not of its run. */
  failed_ms: number | undefined;
  /** No longer the run's current step. */
  superseded: boolean;
  /** A call has ended it, as it looked when that came. */
  taken: boolean;
  /** The call that has ended it, as it looks now. */
  ended_by: EndedCall | undefined;
  due_ms: number | undefined;
  /** Absent where nothing was said. */
  reasoning: Reasoning | undefined;
}

/** A model call that has ended. */
export interface EndedCall {
  /** Known where it was told. */
  start_ms: number | undefined;
  end_ms: number;
  /** Its own message told that. */
  is_message: boolean;
  seq: number | undefined;
  has_failed: boolean;
}

/** What `llm.reasoning` events said of one model call. */
export interface Reasoning {
  tokens?: number | undefined;
  text?: string | undefined;
  /** Of the whole text. */
  size_bytes?: number | undefined;
  duration_ms?: number | undefined;
}

/** The same of a call whose tokens have not come. */
export interface EarlyReasoning extends Reasoning {
  response_id: string;
  /** Of the call that comes next, whichever that is: until when it is waited for once its run has ended. */
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
  /** Where it is waited for longer: when it is looked at again. */
  look_ms?: number;
}

/**
 * All fields are there from the beginning, and what is gone is undefined: objects of one form are read fast. Thousands are open,
 * so that what few runs have is apart, and instants count from the start: a small number takes no memory of its own. Lists are
 * shared by all runs that have nothing in them, see `added` and `few.ts`.
 */
export interface Run extends Waiting, Seen {
  /** Follows from its session and run id, and so names the run wherever one is named: `…_key` of a run is this. */
  span_id: string;
  /** Orders runs by their opening. */
  number: number;
  epoch: number;
  session_key: string;
  run_id: string;
  trace_id: string;
  agent_id: string;
  trigger: string | undefined;
  descent: Readonly<Descent> | undefined;
  start_ms: number;
  /** After the start: the latest instant that an event of it told, the latest sign of life of it or a descendant, its opening. */
  last_after_ms: number;
  active_after_ms: number;
  opened_after_ms: number;
  partial: boolean;
  /** Something of it was missed and could not be had again. */
  gap: boolean;
  calls: Few<OpenCall>;
  /** By their start. Some have been ended by a call: see `steps.ts`. */
  steps: readonly OpenStep[];
  /** The latest model calls that have ended, by their end. */
  ended_calls: readonly EndedCall[];
  /** By their span id, in the order of their deadlines. */
  chats: Few<HeldChat>;
  step_count: number;
  tool_count: number;
  call_count: number;
  /** The reasoning of the call that ended last has been counted. */
  is_reasoned: boolean;
  ended: Ended | undefined;
  aside: Readonly<Aside>;
}

/** Of a run that hangs under another span, or is said to. Replaced as a whole: a copy of its run shares it. */
export interface Descent {
  parent_span_id: string | undefined;
  /** The run that it hangs under. */
  parent_key: string | undefined;
  /** The nearest run above it that waits for its signs of life; those between have ended. */
  watching_key: string | undefined;
  /** Of a sub-agent: the agent that its first run hangs under. */
  parent_agent_id: string | undefined;
  parent_session_key: string | undefined;
  parent_run_id: string | undefined;
  /** It began after the end of the run above it, as far as that is known. */
  late: boolean;
}

/** What few runs have, or for a short time: all that have none of it share one. */
export interface Aside {
  input: { text: string; size_bytes: number } | undefined;
  events: readonly SpanEvent[];
  /** By response id. */
  reasoning: Few<EarlyReasoning>;
  /** Ends of calls that have not begun, by call id. */
  early_ends: Few<EarlyEnd>;
  /** Spans of nested calls whose outer call is not known yet. */
  parked: readonly ParkedSpan[];
  cancelled_at_ms: number | undefined;
  yielded_at_ms: number | undefined;
  /** Its task is over; its own end is waited for. */
  finishing: { end: RunClosing; due_ms: number } | undefined;
  /** Ended calls within calls of which one was not known, by call id. */
  wrapped: Few<WrappedCall>;
}

/** A call, and the call that it was made within. */
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
  /** Orders ended runs that still wait for something by their coming to that; 0 before. */
  number: number;
  end_ms: number;
  /** When that was told. */
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

/** What is known of a run before it opens. */
export interface Origin extends Seen {
  session_key: string;
  run_id: string;
  span_id: string;
  /** Its start, once that has been seen; of several the first. */
  started: EventOf<'agent.started'> | undefined;
  /** The earliest instant that its own events tell; `Infinity` where only a spawn tells of it. */
  first_ms: number;
}

/** Events of a run that is not open: its start has not been seen, or its parent is not known. */
export interface HeldRun extends Origin, Waiting {
  /** Orders held runs by their coming. */
  number: number;
  epoch: number;
  events: HeldEvent[];
  /** Said by an event that has been seen before. */
  gap?: true;
  /** When it is opened, come what may. */
  due_ms: number;
  /** When it is opened with the parent that is known by then. */
  soft_due_ms?: number;
  waits_for: string[];
  /** Orders those that wait for the same. */
  wait_number: number;
}

/** What ties a child's run under its parent. */
export interface Spawn {
  parent_session_key: string;
  parent_run_id?: string;
  call_id?: string;
}

/** Replaced as a whole where something in it changes, but for `latest`. */
export interface Session {
  /** Keys of its latest runs, oldest first. */
  runs: readonly string[];
  session_id: string | undefined;
  agent_id: string | undefined;
  channel: string | undefined;
  label: string | undefined;
  /** A spawn that named no run: it holds for the session. */
  spawn: Spawn | undefined;
  /** The last of its runs, where it is at hand: most events are about that one. Not written down. */
  latest: Run | undefined;
}

export interface State {
  tracker: Tracker;
  /** Open ones, and those that have ended and still wait for something. */
  runs: TrackedMap<Run>;
  /** Those that have ended and wait for nothing, see `archive.ts`. */
  archive: BoundedMap<Run>;
  /** Ended runs that still wait for something, oldest first; some do no longer. */
  ended: Queue<Pick<Run, 'span_id' | 'number'>>;
  /** Open runs, oldest first, with some that have ended; and how many are open. */
  open: Queue<Run>;
  open_count: number;
  /** The same of calls. */
  open_calls: Queue<OpenCall>;
  open_call_count: number;
  held: TrackedMap<HeldRun>;
  /** Held runs in the order in which they came; some are held no longer. */
  held_order: Queue<Pick<HeldRun, 'span_id' | 'number'>>;
  held_events: number;
  /** Keys of held runs by what they wait for: a session (`s:`) or a run (`r:`). */
  waiting: Map<string, Set<string>>;
  sessions: BoundedMap<Session>;
  /** The session that was looked at last in this call, and its key: nearly all of a call is about one. */
  recent_key: string | undefined;
  recent_session: Session | undefined;
  /** By the child's run. */
  spawns: BoundedMap<Spawn>;
  /** Latest run of a run id, for the ids that announce runs name. */
  by_run_id: BoundedMap<string>;
  /** Ids of events, and numbers of those about sub-agents; of all others their run knows the number. */
  seen_events: IdSet;
  ended_spans: IdSet;
  /** Ended model calls whose reasoning nobody has told. */
  unreasoned: BoundedMap<EndedChat>;
  /** A heap of those that are to be woken, see `heap.ts`. */
  waking: (Run | HeldRun)[];
  counts: CorrelatorCounts;
}

export const sessionWait = (session_key: string): string => `s:${session_key}`;
export const runWait = (run_id: string): string => `r:${run_id}`;

/** A held run is found by its own session and id too: a spawn may come for it, or another held run wait for it. */
export const childWait = (session_key: string): string => `c:${session_key}`;
export const ownWait = (run_id: string): string => `i:${run_id}`;

/** Over the life of the correlator. */
export interface CorrelatorCounts {
  runs_opened: number;
  runs_ended: number;
  /** Runs of which something was missed and could not be had again. */
  runs_with_gap: number;
  duplicates: number;
  /** What was closed or let go because of a bound. */
  given_up: Record<string, number>;
}

/** Of one call of the correlator: what it knows, when it is, and what it gives out. */
export interface Context {
  state: State;
  options: Options;
  now_ms: number;
  out: Emission;
  /** What has come that held runs may wait for, and has not been looked at yet. */
  arrived: string[];
  /** Until then nobody could be heard: ended model calls are held for their reasoning tokens, and no run counts as idle. */
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

/** What every run begins with. */
export const NOTHING_ASIDE: Readonly<Aside> = Object.freeze({
  input: undefined,
  events: NO_LIST,
  reasoning: none<EarlyReasoning>(),
  early_ends: none<EarlyEnd>(),
  parked: NO_LIST,
  cancelled_at_ms: undefined,
  yielded_at_ms: undefined,
  finishing: undefined,
  wrapped: none<WrappedCall>(),
});

/** What tells the entries of a run's collections apart. */
export const CALLS = fewOf<OpenCall>((call) => call.call_id);
export const CHATS = fewOf<HeldChat>((chat) => chat.span.span_id);
export const EARLY_ENDS = fewOf<EarlyEnd>((early) => early.event.call_id);
export const EARLY_REASONING = fewOf<EarlyReasoning>((early) => early.response_id);
export const WRAPPED = fewOf<WrappedCall>((call) => call.call_id);

/** What a run has aside, to be changed. */
export function asideOf(run: Run): Aside {
  if (run.aside === NOTHING_ASIDE) run.aside = { ...NOTHING_ASIDE };
  return run.aside;
}

/** What every run begins with: nothing. */
export const emptyList = <T>(): readonly T[] => NO_LIST;

/** The list with one more at its end. It may change the one that it is given, but never an empty one: assign what it returns. */
export function added<T>(list: readonly T[], item: T): readonly T[] {
  if (list.length === 0) return [item];
  (list as T[]).push(item);
  return list;
}

/** The latest instant that an event of the run told. */
export const lastTold = (run: Run): number => run.start_ms + run.last_after_ms;

/** An ended run is remembered for late children; what its calls were matched by is not worth its memory. */
export function forgetCalls(run: Run): void {
  run.steps = emptyList();
  run.ended_calls = emptyList();
}

export const runReference = (run: Run): SpanReference => ({ trace_id: run.trace_id, span_id: run.span_id });

export function giveUp({ state }: Context, what: string): void {
  state.counts.given_up[what] = (state.counts.given_up[what] ?? 0) + 1;
}

/** Runs that a session remembers: enough to find who was active when a child started. */
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

/** A call of the correlator begins: what was looked at before may have been forgotten since. */
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

/** The run, where it is the latest of its session and at hand, to be changed: so most are found, and need no key. */
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
 * A run that is open, or that waits for something: to be changed. From here on it is at hand, where it is the latest of the session
 * that was looked at last.
 */
export function liveRun({ state }: Context, key: string): Run | undefined {
  const run = state.runs.get(key);
  const session = state.recent_session;
  if (run !== undefined && session?.runs.at(-1) === key) session.latest = run;
  return run;
}
