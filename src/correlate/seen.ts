/**
 * What has been seen before. The same event is the same `event_id`, or else the same number of the same run: a run has the
 * numbers of its own events with it. What is said about a sub-agent may come before it and from elsewhere, and is kept apart.
 */
import { addText } from '../capture/id-set.js';
import type { AgentEvent } from '../model/event.js';
import { addNumber, type Seen } from './numbers.js';
import type { Context } from './state.js';

const ABOUT_SUBAGENTS: ReadonlySet<AgentEvent['type']> = new Set([
  'subagent.spawned',
  'subagent.output',
  'subagent.finished',
]);

export const isAboutSubagent = ({ type }: AgentEvent): boolean => ABOUT_SUBAGENTS.has(type);

/** What an event is known by. */
const BY_ID = 1;
const BY_NUMBER = 2;

/** Whether an event comes for the first time; from here on it has been seen. `seen`: by the run that it is told of. */
export function isFirstSight({ state, options }: Context, event: AgentEvent, seen: Seen): boolean {
  const { event_id, seq, session_key, run_id } = event;
  const { seen_ids } = options.limits;
  if (event_id !== undefined) return addText(state.seen_events, event_id, BY_ID, seen_ids);
  if (seq === undefined) return true;
  if (!isAboutSubagent(event)) return addNumber(seen, seq);
  return addText(state.seen_events, `${session_key}\u0000${run_id}\u0000${seq}`, BY_NUMBER, seen_ids);
}
