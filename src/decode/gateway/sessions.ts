/**
 * What the gateway decoder remembers of sessions and calls, because some frames leave out what others told: session ids,
 * labels, which run is active, what a spawn call's arguments were. Everything is bounded; the oldest is forgotten.
 */

const MAX_SESSIONS = 10_000;
const MAX_CALLS = 20_000;

export interface SessionMemory {
  session_id?: string;
  channel?: string;
  label?: string;
  parent_session_key?: string;
  /** The session's active run, else its latest one. */
  run_id?: string;
  /** The run that its spawn started, from the task that the gateway keeps of it. */
  spawned_run_id?: string;
  /** Runs of this session whose spawn has been given out already. */
  spawns_told: string[];
}

/** A map that forgets its oldest entry when it is full. */
export interface BoundedMap<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
  values(): IterableIterator<V>;
}

export function createBoundedMap<V>(max: number): BoundedMap<V> {
  const map = new Map<string, V>();
  return {
    get: (key) => map.get(key),
    delete: (key) => void map.delete(key),
    values: () => map.values(),
    set(key, value) {
      map.delete(key);
      map.set(key, value);
      if (map.size > max) for (const oldest of map.keys()) return void map.delete(oldest);
    },
  };
}

/** The end of a call, held until the frame that completes it: in protocol 3 the exit code and the error come after it. */
export interface HeldEnd {
  run_key: string;
  is_command: boolean;
  event: Record<string, unknown>;
}

export interface GatewayMemory {
  session(key: string): SessionMemory;
  /** Label that a spawn call was given, by run and call. */
  labels: BoundedMap<string>;
  /** Calls of protocol 3 that run a command, by run and call. */
  commands: BoundedMap<true>;
  heldEnds: BoundedMap<HeldEnd>;
  /** The message that a run answers, by run. */
  inputs: BoundedMap<string>;
  /** Session keys by message that told of a model call: the rows of a history name neither, but the message. */
  sessionsOfMessages: BoundedMap<string>;
}

export function createGatewayMemory(): GatewayMemory {
  const sessions = createBoundedMap<SessionMemory>(MAX_SESSIONS);
  return {
    session(key) {
      const known = sessions.get(key) ?? { spawns_told: [] };
      sessions.set(key, known);
      return known;
    },
    labels: createBoundedMap(MAX_CALLS),
    commands: createBoundedMap(MAX_CALLS),
    heldEnds: createBoundedMap(MAX_CALLS),
    inputs: createBoundedMap(MAX_SESSIONS),
    sessionsOfMessages: createBoundedMap(MAX_CALLS),
  };
}

export const callKey = (run_id: string, call_id: string): string => `${run_id}\u0000${call_id}`;
