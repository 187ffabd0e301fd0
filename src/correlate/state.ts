/**
 * The correlator's whole state, as plain data. Every collection has a limit, see `limits.ts`. `saved.ts` defines which parts are
 * persisted for the next process.
 */
import { type BoundedMap, enqueue, type Queue } from '../capture/bounded.js';
import type { IdSet } from '../capture/id-set.js';
import type { Tracker } from '../capture/tracked.js';
import type { TrackedMap } from '../capture/tracked-map.js';
import type { Emission } from '../model/telemetry.js';
import type { Limits } from './limits.js';
import type { EndedChat, HeldRun, OpenCall, Run } from './run-state.js';

/** Prefix of the keys of all the correlator's records. */
export const STATE_PREFIX = 'state/';

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

export function countGivenUp({ state }: Context, what: string): void {
  state.counts.given_up[what] = (state.counts.given_up[what] ?? 0) + 1;
}

export const nextNumber = ({ tracker }: State): number => tracker.next_number++;

export function addOpen(state: State, run: Run): void {
  state.open_count++;
  enqueue(state.open, run, state.open_count, ({ ended }) => ended === undefined);
}

export function addOpenCall(state: State, call: OpenCall): void {
  call.is_open = true;
  state.open_call_count++;
  enqueue(state.open_calls, call, state.open_call_count, ({ is_open }) => is_open);
}
