/**
 * Recognises duplicates. Two events are the same if they have the same `event_id`, or else the same sequence number in the same
 * run. A run stores the numbers of its own events. Events about a sub-agent may precede its run and have another source, so
 * their numbers are stored separately.
 */
import { addText } from '../capture/id-set.js';
import type { AgentEvent } from '../model/event.js';
import { addNumber, type Seen } from './sequence-numbers.js';
import type { Context } from './state.js';

const ABOUT_SUBAGENTS: ReadonlySet<AgentEvent['type']> = new Set([
  'subagent.spawned',
  'subagent.output',
  'subagent.finished',
]);

export const isAboutSubagent = ({ type }: AgentEvent): boolean => ABOUT_SUBAGENTS.has(type);

/** Kinds of texts in `seen_events`. */
const BY_ID = 1;
const BY_NUMBER = 2;

/** Whether an event arrives for the first time; records it as seen. `seen`: the sequence numbers of its run. */
export function isFirstSight({ state }: Context, event: AgentEvent, seen: Seen): boolean {
  const { event_id, seq, session_key, run_id } = event;
  if (event_id !== undefined) return addText(state.seen_events, event_id, BY_ID);
  if (seq === undefined) return true;
  if (!isAboutSubagent(event)) return addNumber(seen, seq);
  return addText(state.seen_events, `${session_key}\u0000${run_id}\u0000${seq}`, BY_NUMBER);
}
