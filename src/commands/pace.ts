/**
 * The time of a replay: whether events keep the recording's own pace, and whether their times are moved so that the
 * recording ends when its replay does.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEvent } from '../model/event.js';

/** First and last instant that a recording's events tell, epoch milliseconds. */
export interface Span {
  first_ms: number;
  last_ms: number;
}

export const NO_SPAN: Span = { first_ms: Infinity, last_ms: -Infinity };

export const widen = (span: Span, events: AgentEvent[]): Span =>
  events.reduce(
    ({ first_ms, last_ms }, { ts }) => ({ first_ms: Math.min(first_ms, ts), last_ms: Math.max(last_ms, ts) }),
    span,
  );

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
  /** Move the times. */
  rebase: boolean;
  now(): number;
  /** Ends the waiting; events that come after are not wanted any more. */
  signal: AbortSignal;
}

export type Pace = (event: AgentEvent) => Promise<AgentEvent | undefined> | AgentEvent | undefined;

/** What to do with each event of a replay that begins now. */
export function createPace(span: Span, { speed, rebase, now, signal }: PaceOptions): Pace {
  const start_ms = now();
  const length_ms = Math.max(0, span.last_ms - span.first_ms);
  const end_ms = start_ms + (speed === undefined ? 0 : length_ms / speed);
  const by_ms = rebase && Number.isFinite(span.last_ms) ? Math.round(end_ms - span.last_ms) : 0;
  return (event) => {
    const moved = by_ms === 0 ? event : shift(event, by_ms);
    if (speed === undefined) return moved;
    if (signal.aborted) return undefined;
    const wait_ms = start_ms + (event.ts - span.first_ms) / speed - now();
    return wait_ms <= 0 ? moved : sleep(wait_ms, moved, { signal }).catch(() => undefined);
  };
}
