/**
 * Calls within calls: each is a child of the call that it names, and none is lost if the calls name each other in a cycle.
 */
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { SpanRecord } from '../../src/model/telemetry.js';
import { save, savedIn } from '../captures.js';
import { correlate, merge, NOW_MS } from '../helpers.js';

// biome-ignore lint/suspicious/noExplicitAny: a short way to write events; the types are checked where they are used
const event = (type: string, fields: any = {}): AgentEvent =>
  ({ type, ts: NOW_MS, session_key: 'agent:main:s', run_id: 'r', ...fields }) as AgentEvent;

const started = event('agent.started');
const call = (call_id: string, parent_call_id?: string): AgentEvent =>
  event('tool.call', { call_id, tool: call_id, parent_call_id });
const output = (call_id: string): AgentEvent => event('tool.output', { call_id });

/** The parent of each call: a call, the run, or 'nothing' if there is no such span. */
function parentsOf(spans: SpanRecord[]): Record<string, string> {
  const nameOf = new Map(
    spans.map((span) => [span.span_id, String(span.attributes['gen_ai.tool.call.id'] ?? 'the run')]),
  );
  return Object.fromEntries(
    spans
      .filter(({ kind }) => kind === 'tool')
      .map((span) => [nameOf.get(span.span_id), nameOf.get(span.parent_span_id ?? '') ?? 'nothing']),
  );
}

const parents = (events: AgentEvent[]): Record<string, string> =>
  parentsOf(correlate([started, ...events]).spans);

describe('calls that name each other', () => {
  const both = { x: 'the run', y: 'the run' };
  const x = call('x', 'y');
  const y = call('y', 'x');

  test.each([
    ['side by side', [x, y, output('x'), output('y')]],
    ['one after the other', [x, output('x'), y, output('y')]],
    ['ends first', [output('y'), output('x'), x, y]],
    ['without ends', [x, y]],
  ])('are children of the run: %s', (_, events) => {
    expect(parents(events)).toEqual(both);
  });

  test('keep other calls that name one of them as children', () => {
    expect(parents([x, call('z', 'x'), y, output('x'), output('y'), output('z')])).toEqual({
      ...both,
      z: 'x',
    });
  });

  test('do not lose a run that one of them spawned', () => {
    const child = { session_key: 'agent:main:subagent:c', run_id: 'c' };
    const spawn = { ...child, parent_session_key: 'agent:main:s', parent_run_id: 'r', call_id: 'x' };
    const { spans } = correlate([
      started,
      x,
      y,
      event('subagent.spawned', spawn),
      event('agent.started', child),
      ...[output('x'), output('y')],
      event('agent.finished', { ...child, status: 'ok' }),
    ]);
    const of_x = spans.find(({ name }) => name === 'execute_tool x');
    const of_child = spans.find(
      ({ kind, attributes }) => kind === 'run' && attributes['openclaw.run.id'] === 'c',
    );
    expect(of_child?.parent_span_id).toBe(of_x?.span_id);
    expect(parentsOf(spans)).toEqual(both);
  });
});

test('a call that begins twice before its parent call is one span', () => {
  const { spans } = correlate([started, call('x', 'w'), output('x'), call('x', 'w'), call('w')]);
  expect(parentsOf(spans)).toEqual({ x: 'w', w: 'the run' });
  expect(spans.filter(({ kind }) => kind === 'tool')).toHaveLength(2);
});

test('a call is a child of its parent call even if only the end of the parent comes', () => {
  const correlator = createCorrelator();
  const told = [started, output('w')].map((each) => correlator.apply(each, NOW_MS));
  const inner = [call('x', 'w'), output('x')].map((each) => correlator.apply(each, NOW_MS + 10_000));
  expect(merge(inner).spans).toEqual([]);
  const { spans } = merge([...told, correlator.expire(NOW_MS + 30_000)]);
  expect(parentsOf([...spans, ...correlator.close(NOW_MS + 30_000).spans])).toEqual({ x: 'w', w: 'the run' });
  expect(spans).toHaveLength(2);
});

test('a call that names itself is a child of the run, and does not wait', () => {
  const correlator = createCorrelator();
  const emissions = [started, call('x', 'x'), output('x')].map((each) => correlator.apply(each, NOW_MS));
  const { spans, previews } = merge(emissions);
  expect(spans).toMatchObject([{ kind: 'tool', parent_span_id: previews[0]?.span_id }]);
});

test('calls are nested up to 1,000 deep, and a deeper one is a child of the run', () => {
  const ids = Array.from({ length: 1_100 }, (_, depth) => `${depth}`);
  const chain = ids.map((call_id, depth) => call(call_id, ids[depth - 1]));
  const found = parents([...chain, ...ids.map(output)]);
  expect(found['1000']).toBe('999');
  expect(found['1001']).toBe('the run');
  expect(found['1002']).toBe('1001');
});

test('of more than 1,000 ended calls within unknown ones, the rest is not remembered and is a child of the run', () => {
  const correlator = createCorrelator();
  const nested = Array.from({ length: 1_001 }, (_, number) => `${number}`).flatMap((call_id) => [
    call(call_id, 'w'),
    output(call_id),
  ]);
  const { spans } = merge([started, ...nested].map((each) => correlator.apply(each, NOW_MS)));
  expect(spans).toMatchObject([{ name: 'execute_tool 1000' }]);
  expect(correlator.counts().given_up).toEqual({ wrapped_calls: 1 });
  correlator.apply(call('w'), NOW_MS);
  expect(parentsOf([...spans, ...correlator.close(NOW_MS).spans])).toEqual({ 1000: 'the run', w: 'the run' });
});

const IDS = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Whether the chain of parents of a call leads back to it. */
function isInCircle(named: Record<string, string | undefined>, call_id: string): boolean {
  let at = named[call_id];
  for (let depth = 0; depth < IDS.length && at !== call_id && at !== undefined; depth++) at = named[at];
  return at === call_id;
}

/** Calls whose parent is any of them, one that never comes, or none; their starts and ends in any order. */
const nests = fc
  .tuple(...IDS.map(() => fc.constantFrom(...IDS, 'never', undefined)))
  .map((named) => Object.fromEntries(IDS.map((id, index) => [id, named[index]])))
  .chain((named) => {
    const events = IDS.flatMap((id) => [call(id, named[id]), output(id)]);
    return fc.record({
      named: fc.constant(named),
      events: fc.shuffledSubarray(events, { minLength: events.length }),
      restart_after: fc.nat(events.length),
    });
  });

test.prop([nests], { numRuns: 300 })(
  'whatever parents they name, in any order and with a restart anywhere, all calls are below the run in the end',
  ({ named, events, restart_after }) => {
    const all = [started, ...events];
    const before = createCorrelator();
    const emissions = all.slice(0, restart_after).map((each) => before.apply(each, NOW_MS));
    const after = createCorrelator({}, savedIn(save(before)));
    emissions.push(...all.slice(restart_after).map((each) => after.apply(each, NOW_MS)));
    const { spans } = merge([...emissions, after.close(NOW_MS)]);
    expect(spans).toEqual(correlate(all).spans);
    const found = parentsOf(spans);
    expect(Object.keys(found).sort()).toEqual(IDS);
    for (const id of IDS) {
      const wanted = named[id] === 'never' ? 'the run' : (named[id] ?? 'the run');
      // Some calls of a cycle may have been emitted before it was complete.
      if (isInCircle(named, id)) expect([wanted, 'the run']).toContain(found[id]);
      else expect(found[id]).toBe(wanted);
      let top: string | undefined = id;
      for (let depth = 0; depth <= IDS.length && top !== 'the run'; depth++) top = found[top ?? ''];
      expect(top).toBe('the run');
    }
  },
);
