/**
 * Finds sessions and their runs. Most events are about the same session as the event before, and about its last run, so both
 * are cached.
 */
import { setEntry, useEntry } from '../capture/bounded.js';
import { isThere } from '../capture/tracked-map.js';
import type { AgentEvent } from '../model/event.js';
import { emptyList, type Run, rareFieldsOf } from './run-state.js';
import type { Context, Session, State } from './state.js';

/** Runs remembered per session: enough to find the one that was active when a child started. */
const RUNS_OF_A_SESSION = 32;

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

export function sessionOf(context: Context, session_key: string): Session {
  const { state } = context;
  if (state.recent_session !== undefined && state.recent_key === session_key) return state.recent_session;
  const known = useEntry(state.sessions, session_key);
  if (known !== undefined) return keepRecent(state, session_key, known);
  return setSession(context, session_key, { ...UNKNOWN_SESSION });
}

export function setSession({ state }: Context, session_key: string, session: Session): Session {
  setEntry(state.sessions, session_key, session);
  return keepRecent(state, session_key, session);
}

/** Called before a session gets another id, for example because it was reset: its open runs keep the one that they had. */
export function keepSessionId({ state }: Context, { runs, session_id }: Session, event: AgentEvent): void {
  for (const key of runs) {
    const known = state.runs.peek(key);
    const isAbout = known?.run_id === event.run_id;
    if (known === undefined || isAbout || known.ended !== undefined || known.rare.session_id !== undefined)
      continue;
    const run = state.runs.get(key);
    if (run !== undefined) rareFieldsOf(run).session_id = session_id;
  }
}

export function addRunToSession(context: Context, run: Run): void {
  const session = sessionOf(context, run.session_key);
  const runs = session.runs.slice(1 - RUNS_OF_A_SESSION).concat(run.span_id);
  setSession(context, run.session_key, { ...session, runs, latest: run });
  setEntry(context.state.by_run_id, run.run_id, run.span_id);
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
