/**
 * The traces that are not complete yet. A trace is complete when none of its spans is open and nothing new has come for a
 * while, since a run that yielded is continued by another a moment later. Pure: the time is passed in.
 */
import type { Emission, SpanRecord } from '../model/telemetry.js';

/** How long a trace without open spans waits for a run that continues it. An announce run comes within a second or so. */
export const SETTLE_MS = 5000;

/** Above this many spans the oldest trace is released as it is; later spans of it form a separate tree. */
export const MAX_HELD_SPANS = 50_000;

/** The fewest lines worth showing of a trace: its root, how much is hidden, and its latest span. */
const LEAST_ROOM = 3;

/** The spans of one trace. */
export type Trace = readonly SpanRecord[];

interface HeldTrace {
  spans: Map<string, SpanRecord>;
  /** The ids of the spans that are not final. */
  awaited: Set<string>;
  changed_ms: number;
}

export interface TraceBuffer {
  add(emission: Emission, now_ms: number): void;
  /** Removes and returns the traces that are complete, and those for which there is no room. */
  take(now_ms: number): Trace[];
  /** Removes and returns all traces. */
  takeAll(): Trace[];
  /** When the next trace is complete, if nothing more comes for it; undefined if all have open spans. */
  deadline(): number | undefined;
  hasOpen(): boolean;
  isOverfull(): boolean;
  size(): number;
  /**
   * The time up to which an open span is measured: now, or, for events reported long after they happened, such as a recording,
   * their latest timestamp plus the time since it was reported.
   */
  reached(now_ms: number): number;
  /**
   * The latest traces, in the order in which they were first seen, to be shown in `max_spans` lines. Only the first of them may
   * have more spans than there is room for; it has room for `LEAST_ROOM` lines or for all.
   */
  latest(max_spans: number): Trace[];
}

export function createTraceBuffer(): TraceBuffer {
  /** In the order in which they were first seen. */
  const held = new Map<string, HeldTrace>();
  /** Traces without open spans, the longest unchanged first. */
  const quiet = new Map<string, HeldTrace>();
  let span_count = 0;
  let latest_ms = -Infinity;
  let latest_arrival_ms = 0;

  function noteTime(ts_ms: number, now_ms: number): void {
    if (ts_ms <= latest_ms) return;
    latest_ms = ts_ms;
    latest_arrival_ms = now_ms;
  }

  function put(span: SpanRecord, final: boolean, now_ms: number): void {
    const { trace_id, span_id } = span;
    noteTime(span.end_ms ?? span.start_ms, now_ms);
    const trace = held.get(trace_id) ?? { spans: new Map(), awaited: new Set(), changed_ms: now_ms };
    held.set(trace_id, trace);
    if (!trace.spans.has(span_id)) span_count += 1;
    else if (!final && !trace.awaited.has(span_id)) return;
    trace.spans.set(span_id, span);
    trace.changed_ms = now_ms;
    if (final) trace.awaited.delete(span_id);
    else trace.awaited.add(span_id);
    quiet.delete(trace_id);
    if (trace.awaited.size === 0) quiet.set(trace_id, trace);
  }

  function release(trace_id: string, trace: HeldTrace): Trace {
    held.delete(trace_id);
    quiet.delete(trace_id);
    span_count -= trace.spans.size;
    return [...trace.spans.values()];
  }

  return {
    add(emission, now_ms) {
      for (const span of emission.previews) put(span, false, now_ms);
      for (const span of emission.spans) put(span, true, now_ms);
      for (const { ts_ms } of emission.logs) noteTime(ts_ms, now_ms);
    },
    take(now_ms) {
      const taken: Trace[] = [];
      for (const [trace_id, trace] of quiet) {
        if (now_ms - trace.changed_ms < SETTLE_MS) break;
        taken.push(release(trace_id, trace));
      }
      for (const [trace_id, trace] of held) {
        if (span_count <= MAX_HELD_SPANS) break;
        taken.push(release(trace_id, trace));
      }
      return taken;
    },
    takeAll: () => [...held].map(([trace_id, trace]) => release(trace_id, trace)),
    deadline() {
      const [longest] = quiet.values();
      return longest === undefined ? undefined : longest.changed_ms + SETTLE_MS;
    },
    hasOpen: () => held.size > quiet.size,
    isOverfull: () => span_count > MAX_HELD_SPANS,
    size: () => held.size,
    reached: (now_ms) => Math.min(now_ms, latest_ms + now_ms - latest_arrival_ms),
    latest(max_spans) {
      const chosen: Trace[] = [];
      let room = max_spans;
      for (const trace of [...held.values()].reverse()) {
        if (chosen.length > 0 && room < Math.min(trace.spans.size, LEAST_ROOM)) break;
        room -= trace.spans.size;
        chosen.unshift([...trace.spans.values()]);
      }
      return chosen;
    },
  };
}
