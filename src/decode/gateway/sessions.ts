/**
 * What the gateway decoder remembers of sessions and calls, because some frames omit what others have: session ids, labels,
 * which run is active, the arguments of a spawn call. All of it is bounded; the oldest is forgotten.
 */

import {
  type BoundedMap,
  createBoundedMap,
  deleteEntry,
  entriesOf,
  setEntry,
  useEntry,
} from '../../capture/bounded.js';

const MAX_SESSIONS = 10_000;
const MAX_CALLS = 20_000;

/** Never changed in place: replaced when something in it changes. */
export interface SessionMemory {
  session_id?: string;
  channel?: string;
  label?: string;
  parent_session_key?: string;
  /** The session's active run, else its latest one. */
  run_id?: string;
  /** When its run last had something for the model: its start, the announcement of a call, or the end of a tool call. */
  asked_ms?: number;
  /** The run of which something was missed and could not be recovered. */
  gap_run_id?: string;
  /** The latest model call of its run answered nothing: OpenClaw may call the model again after the end of the run. */
  is_unanswered?: boolean;
  /** The latest model call of its run failed, and its message says so. */
  has_failed?: boolean;
  /** When a message showed that its run has yielded. */
  yielded_ms?: number | undefined;
  /** The latest failure of its run says nothing of the run's liveness. */
  is_bare_failure?: boolean;
  /** The latest runs of this session whose spawn has been emitted, and the last label that was emitted with one. */
  spawns_told: readonly string[];
  label_told?: string;
}

const MAX_REPORTED_SPAWNS = 32;

/** Whether a run's spawn has been emitted with the label that is known now: a label may become known after the spawn. */
export const isSpawnReported = ({ spawns_told, label, label_told }: SessionMemory, run_id: string): boolean =>
  spawns_told.includes(run_id) && label === label_told;

export function rememberSpawn(
  memory: GatewayMemory,
  session_key: string,
  run_id: string,
  label: string | undefined,
): void {
  const { spawns_told } = memory.session(session_key);
  const others = spawns_told.filter((reported) => reported !== run_id);
  memory.update(session_key, {
    spawns_told: [...others, run_id].slice(-MAX_REPORTED_SPAWNS),
    ...(label === undefined ? {} : { label_told: label }),
  });
}

/** A map with a limit: when it is full, the entries that have not been used for longest are forgotten. */
export interface BoundedMemory<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
  entries(): [string, V][];
  map: BoundedMap<V>;
}

function createMemory<V>(max: number): BoundedMemory<V> {
  const map = createBoundedMap<V>(max);
  return {
    map,
    get: (key) => useEntry(map, key),
    set: (key, value) => setEntry(map, key, value),
    delete: (key) => deleteEntry(map, key),
    entries: () => entriesOf(map),
  };
}

/** The end of a call, held until the frame that completes it: in protocol 3 the exit code and the error come after the end. */
export interface HeldEnd {
  run_key: string;
  is_command: boolean;
  event: Record<string, unknown>;
}

/** A call that has ended, or that is made under the id of one that has. */
export interface CallMemory {
  /** How many calls of the run have been made under this id. */
  count: number;
  /** When the latest of them began, if it is not the first, and when it ended. */
  started_ms: number | undefined;
  ended_ms: number | undefined;
}

/** What identifies a run. */
export interface RunIdentity {
  session_key: string;
  run_id: string;
}

export interface GatewayMemory {
  session(key: string): SessionMemory;
  /** Adds to what is known of a session. */
  update(key: string, changes: Partial<SessionMemory>): SessionMemory;
  sessions: BoundedMemory<SessionMemory>;
  /** The label that a spawn call was given, by run and call. */
  labels: BoundedMemory<string>;
  /** Calls whose id may be reused, by run and call. */
  calls: BoundedMemory<CallMemory>;
  /** Calls that run a command, by run and call. */
  commands: BoundedMemory<true>;
  heldEnds: BoundedMemory<HeldEnd>;
  /** The ends of failed runs that may still be retried, by run: in protocol 3. */
  failures: BoundedMemory<Record<string, unknown>>;
  /** Runs that only their session reports, by run: in protocol 3. */
  reported: BoundedMemory<true>;
  /** The session of a run, by run id: in protocol 3, what follows the first end of a run does not name it. */
  owners: BoundedMemory<string>;
  /** The message that started a run, by run. */
  inputs: BoundedMemory<string>;
  /** The run that a run continues after the gateway restarted in the middle of it, by the later one. */
  resumes: BoundedMemory<string>;
  /** Schedules that are due, by job, or by session if the job has one: the next run there is theirs. */
  jobs: BoundedMemory<true>;
  /** The time of a run's first event, by run, while the run has not started. */
  unstarted: BoundedMemory<number>;
  /** The runs of model calls, by message id: the rows of a history name no session, and their run id may be masked. */
  messages: BoundedMemory<RunIdentity>;
  /** The first message of a run with a response id, by run and response id: some servers draw these ids from a few. */
  responses: BoundedMemory<string>;
}

export function createGatewayMemory(): GatewayMemory {
  const sessions = createMemory<SessionMemory>(MAX_SESSIONS);

  function remember(key: string, session: SessionMemory): SessionMemory {
    sessions.set(key, session);
    return session;
  }

  const session = (key: string): SessionMemory => sessions.get(key) ?? remember(key, { spawns_told: [] });

  return {
    session,
    update(key, changes) {
      const known = session(key);
      const names = Object.keys(changes) as (keyof SessionMemory)[];
      return names.every((name) => changes[name] === known[name])
        ? known
        : remember(key, { ...known, ...changes });
    },
    sessions,
    labels: createMemory(MAX_CALLS),
    calls: createMemory(MAX_CALLS),
    commands: createMemory(MAX_CALLS),
    heldEnds: createMemory(MAX_CALLS),
    failures: createMemory(MAX_SESSIONS),
    reported: createMemory(MAX_SESSIONS),
    owners: createMemory(MAX_SESSIONS),
    inputs: createMemory(MAX_SESSIONS),
    resumes: createMemory(MAX_SESSIONS),
    jobs: createMemory(MAX_SESSIONS),
    unstarted: createMemory(MAX_SESSIONS),
    messages: createMemory(MAX_CALLS),
    responses: createMemory(MAX_CALLS),
  };
}

/** Includes the session: clients choose the ids of runs, so two sessions may have runs with the same id. */
export const runKey = ({ session_key, run_id }: RunIdentity): string => `${session_key}\u0000${run_id}`;

export const callKey = (run: RunIdentity, call_id: string): string => `${runKey(run)}\u0000${call_id}`;
