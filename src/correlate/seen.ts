/**
 * What has been seen before. The same event is the same `event_id`, or else the same number of the same run: a run has the
 * numbers of its own events with it. What is said about a sub-agent may come before it and from elsewhere, and is kept apart.
 */
import { addMember, hasMember } from '../bounded.js';
import type { AgentEvent } from '../model/event.js';
import { digestOf } from './ids.js';
import { addNumber, type Seen } from './numbers.js';
import type { Step } from './state.js';

const ABOUT_SUBAGENTS: ReadonlySet<AgentEvent['type']> = new Set([
  'subagent.spawned',
  'subagent.output',
  'subagent.finished',
]);

export const isAboutSubagent = ({ type }: AgentEvent): boolean => ABOUT_SUBAGENTS.has(type);

/** Over it an id is remembered by its digest: whoever sends it says how long it is, and many are remembered. */
const MAX_ID_LENGTH = 64;

function isFirstId(step: Step, told: string): boolean {
  const id = told.length > MAX_ID_LENGTH ? digestOf(told) : told;
  if (hasMember(step.state.seen_events, id)) return false;
  addMember(step.state.seen_events, id, step.options.limits.seen_ids);
  return true;
}

/** Whether an event comes for the first time; from here on it has been seen. `seen`: by the run that it is told of. */
export function isFirstSight(step: Step, event: AgentEvent, seen: Seen): boolean {
  const { event_id, seq, session_key, run_id } = event;
  if (event_id !== undefined) return isFirstId(step, `e\u0000${event_id}`);
  if (seq === undefined) return true;
  if (!isAboutSubagent(event)) return addNumber(seen, seq);
  return isFirstId(step, `s\u0000${session_key}\u0000${run_id}\u0000${seq}`);
}
