/**
 * The time of a replay: whether events keep the recording's own pace, and whether their times are moved so that the
 * recording ends when its replay does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEvent } from '../model/event.js';

/** Moves every instant of an event. */
function shift(event: AgentEvent, by_ms: number): AgentEvent {
  const moved = { ...event, ts: event.ts + by_ms };
  if (moved.type === 'llm.tokens') {
    if (moved.started_at !== undefined) moved.started_at += by_ms;
    if (moved.ended_at !== undefined) moved.ended_at += by_ms;
  }
  return moved;
}

export interface PaceOptions {
  /** Times the recording's own pace; absent: as fast as possible. */
  speed: number | undefined;
  /** The last instant that the recording tells, where its times are to be moved. */
  last_ms: number | undefined;
  now(): number;
  /** Ends the waiting; events that come after are not wanted any more. */
  signal: AbortSignal;
}

export type Pace = (event: AgentEvent) => Promise<AgentEvent | undefined> | AgentEvent | undefined;

/** Where a replay begins: at the first event that comes, since one that goes on does not wait again for what was played. */
interface Beginning {
  at_ms: number;
  ts: number;
  /** By how much times are moved. */
  by_ms: number;
}

/** What to do with each event of a replay. */
export function createPace({ speed, last_ms, now, signal }: PaceOptions): Pace {
  let beginning: Beginning | undefined;

  function begin({ ts }: AgentEvent): Beginning {
    const at_ms = now();
    if (last_ms === undefined) return { at_ms, ts, by_ms: 0 };
    const end_ms = at_ms + (speed === undefined ? 0 : (last_ms - ts) / speed);
    return { at_ms, ts, by_ms: Math.round(end_ms - last_ms) };
  }

  return (event) => {
    beginning ??= begin(event);
    const { at_ms, ts, by_ms } = beginning;
    const moved = by_ms === 0 ? event : shift(event, by_ms);
    if (speed === undefined) return moved;
    if (signal.aborted) return undefined;
    const wait_ms = at_ms + (event.ts - ts) / speed - now();
    return wait_ms <= 0 ? moved : sleep(wait_ms, moved, { signal }).catch(() => undefined);
  };
}
