/**
 * Laws of the correlator, on random stories: what it gives out depends on what happened, and not on the order, the number of
 * times or the pieces in which it was told.
 */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, vi } from 'vitest';
import { type Correlator, type CorrelatorSnapshot, createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import { correlate, identities, merge, NOW_MS, sumOf } from '../helpers.js';
import { requests } from './stories.js';

const RUNS = { numRuns: 300 };
// Many random cases need their time on a slow machine.
vi.setConfig({ testTimeout: 60_000 });

/** The same events in another order. */
const shuffled = requests.chain((events) =>
  fc.tuple(fc.constant(events), fc.shuffledSubarray(events, { minLength: events.length })),
);

const typesOf = (events: AgentEvent[], type: string): number =>
  events.filter((event) => event.type === type).length;

describe('stories told in order', () => {
  test.prop([requests], RUNS)('one span a run, a call and a model call; one trace a request', (events) => {
    const { spans } = correlate(events);
    const ofKind = (kind: string): number => spans.filter((span) => span.kind === kind).length;
    expect(ofKind('run')).toBe(typesOf(events, 'agent.started'));
    expect(ofKind('tool')).toBe(typesOf(events, 'tool.call'));
    expect(ofKind('chat')).toBe(typesOf(events, 'llm.tokens'));
    const roots = spans.filter((span) => span.parent_span_id === undefined);
    expect(new Set(spans.map((span) => span.trace_id)).size).toBe(roots.length);
    expect(roots).toHaveLength(
      new Set(events.map((event) => event.session_key).filter((key) => !key.includes('subagent'))).size,
    );
  });

  test.prop([requests], RUNS)('every parent is there, and begins no later than its child', (events) => {
    const { spans } = correlate(events);
    const byId = new Map(spans.map((span) => [span.span_id, span]));
    expect(byId.size).toBe(spans.length);
    for (const span of spans) {
      if (span.parent_span_id === undefined) continue;
      const parent = byId.get(span.parent_span_id);
      expect(parent?.start_ms).toBeLessThanOrEqual(span.start_ms);
      expect(parent?.trace_id).toBe(span.trace_id);
    }
  });

  test.prop([requests], RUNS)('reasoning counts once a call, however often it is told', (events) => {
    const calls = events.filter((event) => event.type === 'llm.tokens');
    const reasoned = calls.filter(
      (call) =>
        call.reasoning_tokens !== undefined ||
        events.some((event) => event.type === 'llm.reasoning' && event.response_id === call.response_id),
    );
    const emission = correlate(events);
    expect(sumOf(emission, 'gen_ai.client.inference.usage.reasoning.output_tokens')).toBe(
      5 * reasoned.length,
    );
    expect(sumOf(emission, 'gen_ai.client.inference.usage.output_tokens')).toBe(20 * calls.length);
    const onSpans = emission.spans.map((span) =>
      Number(span.attributes['gen_ai.usage.reasoning.output_tokens'] ?? 0),
    );
    expect(onSpans.reduce((total, each) => total + each, 0)).toBe(5 * reasoned.length);
  });

  test.prop([requests], RUNS)(
    'a log record for each event that is not a duplicate, partial outputs aside',
    (events) => {
      const partial = events.filter((event) => event.type === 'tool.output' && event.partial === true).length;
      expect(correlate(events).logs).toHaveLength(events.length - partial);
    },
  );

  test.prop([requests], RUNS)('every log record points at a span', (events) => {
    const { spans, logs } = correlate(events);
    const ids = new Set(spans.map((span) => `${span.trace_id} ${span.span_id}`));
    for (const log of logs) expect(ids).toContain(`${log.trace_id} ${log.span_id}`);
  });
});

describe('order', () => {
  test.prop([shuffled], RUNS)('any order within the window gives the same tree', ([events, mixed]) => {
    expect(identities(correlate(mixed).spans)).toEqual(identities(correlate(events).spans));
  });

  test.prop([shuffled], RUNS)('any order gives the same token sums', ([events, mixed]) => {
    const [one, other] = [correlate(events), correlate(mixed)];
    for (const name of ['input_tokens', 'output_tokens', 'reasoning.output_tokens']) {
      const instrument = `gen_ai.client.inference.usage.${name}`;
      expect(sumOf(other, instrument)).toBe(sumOf(one, instrument));
    }
  });

  test.prop([requests], RUNS)('children before parents give the same tree', (events) => {
    expect(identities(correlate(events.toReversed()).spans)).toEqual(identities(correlate(events).spans));
  });
});

describe('repetition', () => {
  test.prop([requests, fc.infiniteStream(fc.boolean())], RUNS)(
    'what is told twice counts once',
    (events, again) => {
      const stuttered = events.flatMap((event) => (again.next().value ? [event, event] : [event]));
      const [once, twice] = [correlate(events), correlate(stuttered)];
      expect(identities(twice.spans)).toEqual(identities(once.spans));
      const instrument = 'gen_ai.client.inference.usage.input_tokens';
      expect(sumOf(twice, instrument)).toBe(sumOf(once, instrument));
    },
  );

  test.prop([requests], RUNS)('a whole story told again adds nothing', (events) => {
    expect(identities(correlate([...events, ...events]).spans)).toEqual(identities(correlate(events).spans));
  });
});

describe('snapshots', () => {
  /** Everything, copied; and what is written down every few seconds, which is everything while that is little. */
  describe.each<[string, (correlator: Correlator) => CorrelatorSnapshot]>([
    ['a snapshot', (correlator) => correlator.snapshot()],
    ['what is recent', (correlator) => structuredClone(correlator.recent())],
  ])('%s', (_, take) => {
    test.prop([requests, fc.nat()], RUNS)(
      'a correlator that is restored goes on as if nothing had been',
      (events, at) => {
        const cut = at % (events.length + 1);
        const first = createCorrelator();
        const before = events.slice(0, cut).map((event) => first.apply(event, NOW_MS));
        const second = createCorrelator({}, take(first));
        const after = events.slice(cut).map((event) => second.apply(event, NOW_MS));
        const whole = merge([...before, ...after, second.close(NOW_MS)]);
        expect(whole).toEqual(correlate(events));
      },
    );
  });
});

describe('time', () => {
  test.prop([requests, fc.integer({ min: 1, max: 100_000 })], RUNS)(
    'after every deadline nothing waits, and nothing is lost',
    (events, pause_ms) => {
      const correlator = createCorrelator();
      let now_ms = NOW_MS;
      const emissions = events.map((event) => {
        now_ms += pause_ms;
        const due = correlator.expire(now_ms);
        return merge([due, correlator.apply(event, now_ms)]);
      });
      for (let due_ms = correlator.nextDeadline(); due_ms !== undefined; due_ms = correlator.nextDeadline()) {
        emissions.push(correlator.expire(due_ms));
      }
      const ids = merge(emissions).spans.map((span) => span.span_id);
      expect(new Set(ids).size).toBe(ids.length);
      expect(ids.sort()).toEqual(
        correlate(events)
          .spans.map((span) => span.span_id)
          .sort(),
      );
      const { runs_opened, runs_ended, runs_open } = correlator.counts();
      expect(runs_opened).toBe(runs_ended);
      expect(runs_open).toBe(0);
    },
  );
});
