import { describe, expect, it } from 'vitest';
import { createTraceBuffer, MAX_HELD_SPANS, SETTLE_MS, type Trace } from '../../src/terminal/trace-buffer.js';
import { emission, run, tool } from './spans.js';

const trace = (trace_id: string, id = trace_id) => run(id, trace_id, { trace_id });
const idsOf = (traces: Trace[]): string[][] => traces.map((spans) => spans.map(({ span_id }) => span_id));

describe('createTraceBuffer', () => {
  it('returns a trace once, when it has not changed for a while', () => {
    const buffer = createTraceBuffer();
    buffer.add(emission([trace('a')]), 0);
    buffer.add(emission([trace('a', 'more')]), 1000);
    expect(buffer.deadline()).toBe(1000 + SETTLE_MS);
    expect(buffer.take(999 + SETTLE_MS)).toEqual([]);
    expect(idsOf(buffer.take(1000 + SETTLE_MS))).toEqual([['a', 'more']]);
    expect(buffer.take(10 * SETTLE_MS)).toEqual([]);
    expect(buffer.size()).toBe(0);
  });

  it('waits for open spans, and for ended ones that are not final', () => {
    const buffer = createTraceBuffer();
    const root = trace('a');
    buffer.add(emission([tool('t', 'exec', { trace_id: 'a' })], [root]), 0);
    expect(buffer.take(100 * SETTLE_MS)).toEqual([]);
    expect([buffer.deadline(), buffer.hasOpen()]).toEqual([undefined, true]);
    buffer.add(emission([root]), 100 * SETTLE_MS);
    expect(buffer.hasOpen()).toBe(false);
    buffer.add(emission([], [trace('a', 'again')]), 101 * SETTLE_MS - 1);
    expect([buffer.deadline(), buffer.hasOpen()]).toEqual([undefined, true]);
    expect(buffer.take(200 * SETTLE_MS)).toEqual([]);
    buffer.add(emission([trace('a', 'again')]), 200 * SETTLE_MS);
    expect(idsOf(buffer.take(201 * SETTLE_MS))).toEqual([['a', 't', 'again']]);
  });

  it('measures open spans up to the time of the events, and never beyond the present', () => {
    const buffer = createTraceBuffer();
    buffer.add(emission([], [run('past', 'a', { start_ms: 1_000, end_ms: undefined })]), 5_000);
    expect(buffer.reached(5_300)).toBe(1_300);
    buffer.add(emission([], [run('ahead', 'a', { start_ms: 9_000, end_ms: undefined })]), 6_000);
    expect(buffer.reached(6_300)).toBe(6_300);
  });

  it('does not replace a final span by a late copy', () => {
    const buffer = createTraceBuffer();
    buffer.add(emission([trace('a')]), 0);
    buffer.add(emission([], [run('a', 'copy', { trace_id: 'a', end_ms: undefined })]), 1);
    expect(buffer.takeAll()).toEqual([[trace('a')]]);
  });

  it('holds a limited number of spans: the trace seen first is evicted, open or not', () => {
    const buffer = createTraceBuffer();
    buffer.add(emission([], [trace('first')]), 0);
    const spans = Array.from({ length: MAX_HELD_SPANS }, (_, index) => trace('second', `s${index}`));
    buffer.add(emission(spans), 1);
    expect(buffer.isOverfull()).toBe(true);
    expect(idsOf(buffer.take(1))).toEqual([['first']]);
    expect(buffer.isOverfull()).toBe(false);
    expect(buffer.size()).toBe(1);
  });

  it('chooses the latest traces that fit, including one that fits only in part', () => {
    const buffer = createTraceBuffer();
    const sized = (name: string, size: number) =>
      Array.from({ length: size }, (_, index) => trace(name, `${name}${index}`));
    buffer.add(emission([...sized('a', 1), ...sized('b', 6), ...sized('c', 2)]), 0);
    const names = (room: number) => buffer.latest(room).map((spans) => spans[0]?.trace_id);
    expect(names(9)).toEqual(['a', 'b', 'c']);
    expect(names(8)).toEqual(['b', 'c']);
    expect(names(5)).toEqual(['b', 'c']);
    expect(names(4)).toEqual(['c']);
    expect(names(1)).toEqual(['c']);
  });
});
