/**
 * The correlator's limits and their defaults: every wait has one, and every collection.
 */

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
  /** How long a run that has ended, but may continue, waits for more of it. */
  continue_ms: number;
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
  continue_ms: 120_000,
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
