/**
 * What the next process needs to know of this one: what goes on, and what was over just before. It is small whatever the
 * correlator remembers, so that it can be written down every few seconds. Up to its bounds it is the whole.
 */
import { type BoundedMap, type BoundedSet, createBoundedMap, createBoundedSet } from '../bounded.js';
import type { HeldRun, Run, Session, State } from './state.js';

/** Ended runs that are kept for children that come, and for runs that go on with their request. */
const ENDED_RUNS = 1_000;
/** Ids that are kept to know spans and events again. */
const SEEN_IDS = 20_000;
const SPAWNS = 2_000;
const UNREASONED_CHATS = 500;

function latestMembers({ old, young }: BoundedSet): BoundedSet {
  return { ...createBoundedSet(), young: new Set([...old, ...young].slice(-SEEN_IDS)) };
}

function entriesWhere<V>(
  { old, young }: BoundedMap<V>,
  isWanted: (value: V, key: string) => boolean,
  max = Infinity,
): BoundedMap<V> {
  const wanted = [...old, ...young].filter(([key, value]) => isWanted(value, key));
  return { ...createBoundedMap<V>(), young: new Map(max === Infinity ? wanted : wanted.slice(-max)) };
}

/** The runs that go on, those that ended last, and the runs above them, in their order. */
function recentRuns({ runs, open, ended }: State): Map<string, Run> {
  const wanted = new Set<string>();
  for (const key of [...ended.keys.slice(ended.head).slice(-ENDED_RUNS), ...open]) {
    for (let at = runs.get(key); at !== undefined && !wanted.has(at.key); ) {
      wanted.add(at.key);
      at = at.parent_key === undefined ? undefined : runs.get(at.parent_key);
    }
  }
  return wanted.size === runs.size ? runs : new Map([...runs].filter(([key]) => wanted.has(key)));
}

const hasWork = (session: Session): boolean => session.runs.length === 0 || session.spawn !== undefined;

const sessionsOf = (items: Iterable<Run | HeldRun>): Set<string> =>
  new Set([...items].map(({ session_key }) => session_key));

/** Shares its parts with the state: it is to be copied before the next event. */
export function recentState(state: State): State {
  const runs = recentRuns(state);
  const sessions = sessionsOf([...runs.values(), ...state.held.values()]);
  return {
    ...state,
    // Counts are of a process: for the next one, what goes on is what it begins with.
    counts: { runs_opened: state.open.size, runs_ended: 0, runs_with_gap: 0, duplicates: 0, given_up: {} },
    runs,
    ended: { keys: state.ended.keys.slice(state.ended.head).filter((key) => runs.has(key)), head: 0 },
    sessions: entriesWhere(state.sessions, (session, key) => sessions.has(key) || hasWork(session)),
    spawns: entriesWhere(state.spawns, () => true, SPAWNS),
    by_run_id: entriesWhere(state.by_run_id, (key) => runs.has(key)),
    seen_events: latestMembers(state.seen_events),
    ended_spans: latestMembers(state.ended_spans),
    unreasoned: entriesWhere(state.unreasoned, () => true, UNREASONED_CHATS),
    // In the order of their instants, which any heap may have.
    timers: state.timers
      .filter(({ key }) => runs.has(key) || state.held.has(key))
      .sort((a, b) => a.due_ms - b.due_ms),
  };
}
