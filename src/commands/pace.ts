/**
 * The times of a replay: whether events keep the recording's own pace, and by how much their timestamps are shifted.
 */
import type { AgentEvent } from '../model/event.js';
import { sleep } from '../util/within.js';

/** Shifts every timestamp of an event. */
function shift(event: AgentEvent, by_ms: number): AgentEvent {
  const moved = { ...event, ts: event.ts + by_ms };
  if (moved.type === 'llm.tokens') {
    if (moved.started_at !== undefined) moved.started_at += by_ms;
    if (moved.ended_at !== undefined) moved.ended_at += by_ms;
  }
  return moved;
}

export interface PaceOptions {
  /** A multiple of the recording's own pace; absent: as fast as possible. */
  speed: number | undefined;
  /** By how much timestamps are shifted. */
  by_ms: number;
  now(): number;
  /** Ends the waiting; later events are not wanted any more. */
  signal: AbortSignal;
}

export type Pace = (event: AgentEvent) => Promise<AgentEvent | undefined> | AgentEvent | undefined;

/**
 * The start of a replay: the first event that comes, since a resumed replay does not wait again for what was already played.
 */
interface Beginning {
  at_ms: number;
  ts: number;
}

/** Creates the function that shifts and delays each event of a replay. */
export function createPace({ speed, by_ms, now, signal }: PaceOptions): Pace {
  let beginning: Beginning | undefined;
  return (event) => {
    beginning ??= { at_ms: now(), ts: event.ts };
    const { at_ms, ts } = beginning;
    const moved = by_ms === 0 ? event : shift(event, by_ms);
    if (speed === undefined) return moved;
    if (signal.aborted) return undefined;
    const wait_ms = at_ms + (event.ts - ts) / speed - now();
    return wait_ms <= 0 ? moved : sleep(wait_ms, signal).then(() => (signal.aborted ? undefined : moved));
  };
}
