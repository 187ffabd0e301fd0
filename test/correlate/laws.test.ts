/**
 * Laws of the correlator, on random stories: what it emits depends on what happened, and not on the order of the events, on
 * repetitions or on restarts.
 */
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { type Correlator, createCorrelator, type Limits } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import type { SpanRecord } from '../../src/model/telemetry.js';
import { expectUndisturbed, moves, type Play, save, savedIn } from '../captures.js';
import { correlate, identities, merge, NOW_MS, sumOf } from '../helpers.js';
import { repeatsOf, requests } from './stories.js';

const RUNS = { numRuns: 300 };
/** The same events in another order. */
const shuffled = requests.chain((events) =>
  fc.tuple(fc.constant(events), fc.shuffledSubarray(events, { minLength: events.length })),
);

const OF_ANY = ['openclaw.session.key', 'openclaw.run.id', 'gen_ai.conversation.id'];
const OF_KIND: Readonly<Record<string, string[]>> = {
  tool: ['gen_ai.tool.name', 'gen_ai.tool.call.id'],
  chat: ['gen_ai.provider.name', 'gen_ai.request.model'],
};

const typesOf = (events: AgentEvent[], type: string): number =>
  events.filter((event) => event.type === type).length;

describe('stories in order', () => {
  test.prop([requests], RUNS)(
    'give one span per run, tool call and model call, and one trace per request',
    (events) => {
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
    },
  );

  test.prop([requests], RUNS)('have every parent, which begins no later than its child', (events) => {
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

  test.prop([requests], RUNS)('count reasoning once per call, however often it is reported', (events) => {
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
    'give a log record for each event that is not a duplicate, except for partial outputs',
    (events) => {
      const partial = events.filter((event) => event.type === 'tool.output' && event.partial === true).length;
      expect(correlate(events).logs).toHaveLength(events.length - partial);
    },
  );

  test.prop([requests], RUNS)('give only log records that refer to an existing span', (events) => {
    const { spans, logs } = correlate(events);
    const ids = new Set(spans.map((span) => `${span.trace_id} ${span.span_id}`));
    for (const log of logs) expect(ids).toContain(`${log.trace_id} ${log.span_id}`);
  });

  test.prop([requests], RUNS)('give log records with the attributes that identify their spans', (events) => {
    const { spans, logs } = correlate(events);
    const byId = new Map(spans.map((span) => [span.span_id, span]));
    for (const log of logs) {
      const span = byId.get(log.span_id);
      // Reasoning that comes before the tokens of its call is not yet known to be of this model.
      const isEarly = log.event_name === 'openclaw.llm_reasoning' && log.ts_ms < (span?.end_ms ?? 0);
      for (const name of isEarly ? OF_ANY : [...OF_ANY, ...(OF_KIND[span?.kind ?? ''] ?? [])])
        expect(`${log.event_name} ${name} ${log.attributes[name]}`).toBe(
          `${log.event_name} ${name} ${span?.attributes[name]}`,
        );
    }
  });
});

/** What a span says besides its identity. Whether all of its partial outputs came before its end depends on the order. */
const contentsOf = (spans: SpanRecord[]) =>
  new Map(spans.map(({ span_id, events: _events, ...span }) => [span_id, span]));

describe('order', () => {
  test.prop([shuffled], RUNS)('any order within the window gives the same tree', ([events, mixed]) => {
    expect(identities(correlate(mixed).spans)).toEqual(identities(correlate(events).spans));
  });

  test.prop([shuffled], RUNS)('any order gives the same times and attributes', ([events, mixed]) => {
    const [one, other] = [correlate(events), correlate(mixed)];
    expect(contentsOf(other.spans)).toEqual(contentsOf(one.spans));
    for (const what of ['client.inference', 'execute_tool', 'invoke_agent']) {
      const instrument = `gen_ai.${what}.duration`;
      expect(sumOf(other, instrument)).toBeCloseTo(sumOf(one, instrument));
    }
  });

  test.prop([shuffled], RUNS)('any order gives the same token sums', ([events, mixed]) => {
    const [one, other] = [correlate(events), correlate(mixed)];
    for (const name of ['input_tokens', 'output_tokens', 'reasoning.output_tokens']) {
      const instrument = `gen_ai.client.inference.usage.${name}`;
      expect(sumOf(other, instrument)).toBe(sumOf(one, instrument));
    }
  });

  test.prop([shuffled], RUNS)('no order makes a run late', ([, mixed]) => {
    const runs = correlate(mixed).spans.filter(({ kind }) => kind === 'run');
    for (const { attributes } of runs) expect(attributes['openclaw.late']).toBeUndefined();
  });

  test.prop([requests], RUNS)('the reverse order, children before parents, gives the same tree', (events) => {
    expect(identities(correlate(events.toReversed()).spans)).toEqual(identities(correlate(events).spans));
  });
});

describe('repetition', () => {
  test.prop([requests, fc.infiniteStream(fc.boolean())], RUNS)(
    'events that come twice count once',
    (events, again) => {
      const stuttered = events.flatMap((event) => (again.next().value ? [event, event] : [event]));
      const [once, twice] = [correlate(events), correlate(stuttered)];
      expect(identities(twice.spans)).toEqual(identities(once.spans));
      const instrument = 'gen_ai.client.inference.usage.input_tokens';
      expect(sumOf(twice, instrument)).toBe(sumOf(once, instrument));
    },
  );

  test.prop([requests], RUNS)('a whole story that comes twice adds no spans', (events) => {
    expect(identities(correlate([...events, ...events]).spans)).toEqual(identities(correlate(events).spans));
  });
});

/** Limits so small that everything that can be forgotten is forgotten early. */
const TINY: Partial<Limits> = {
  open_runs: 3,
  open_calls: 3,
  held_events: 6,
  ended_runs: 3,
  seen_ids: 8,
  unreasoned_chats: 2,
  sessions: 4,
  spawns: 2,
};

/** Applies a story with a pause between events, lets every timeout pass, and then closes the correlator. */
function playOf(events: AgentEvent[], pause_ms: number, limits: Partial<Limits>): Play<Correlator> {
  const told_ms = NOW_MS + events.length * pause_ms;
  const waits_ms = [1_000, 5_000, 30_000, 60_000, 86_400_000].map((wait_ms) => told_ms + wait_ms);
  return {
    length: events.length + waits_ms.length + 1,
    create: (saved) => createCorrelator({ limits }, saved),
    step(correlator, index) {
      const event = events[index];
      const now_ms = event === undefined ? waits_ms[index - events.length] : NOW_MS + index * pause_ms;
      if (now_ms === undefined) return correlator.close(NOW_MS);
      const due = correlator.expire(now_ms);
      return event === undefined ? due : merge([due, correlator.apply(event, now_ms)]);
    },
  };
}

/** Stories in order, out of order, or with their starts and ends repeated at the end. */
const told = fc.oneof(
  requests,
  shuffled.map(([, mixed]) => mixed),
  requests.map((events) => [...events, ...repeatsOf(events)]),
);

const pauses = fc.constantFrom(0, 10, 700, 20_000);

describe('captures', () => {
  test.prop([told, pauses, moves], RUNS)(
    'a restored correlator continues as if there had been no restart',
    (events, pause_ms, next) => expectUndisturbed(playOf(events, pause_ms, {}), next),
  );

  test.prop([told, pauses, moves], RUNS)(
    'a restored correlator with tiny limits forgets what it would have forgotten without a restart',
    (events, pause_ms, next) => expectUndisturbed(playOf(events, pause_ms, TINY), next),
  );

  test.prop([requests, requests, fc.nat(), fc.infiniteStream(fc.nat(9)), fc.constantFrom({}, TINY)], RUNS)(
    'damaged or missing records cost only their own content',
    (before, after, at, damage, limits) => {
      const first = createCorrelator({ limits });
      for (const event of before.slice(0, at % (before.length + 1))) first.apply(event, NOW_MS);
      const records = save(first);
      let damaged = 0;
      for (const [key, value] of records) {
        const kind = damage.next().value;
        if (kind === 0) records.delete(key);
        if (kind !== 1 || value.length === 0) continue;
        const place = damage.next().value * 1_009;
        value[place % value.length] = (value[place % value.length] ?? 0) ^ (1 << (place % 8));
        damaged++;
      }
      const second = createCorrelator({ limits }, savedIn(records));
      expect(second.unusable_records).toBe(damaged);
      const emissions = [...before, ...after].map((event) => second.apply(event, NOW_MS));
      // The unusable records are gone, and the saved state is sound again.
      expect(createCorrelator({ limits }, savedIn(save(second, records))).unusable_records).toBe(0);
      for (const span of merge([...emissions, second.expire(NOW_MS + 60_000), second.close(NOW_MS)]).spans) {
        expect(span.trace_id).toMatch(/^[0-9a-f]{32}$/);
        expect(span.span_id).toMatch(/^[0-9a-f]{16}$/);
        // Repeated events may give a state that lost records a span that ends before it starts: export clamps that.
        expect(Number.isFinite(span.start_ms) && Number.isFinite(span.end_ms)).toBe(true);
      }
    },
  );
});

describe('time', () => {
  test.prop([requests, fc.integer({ min: 1, max: 100_000 })], RUNS)(
    'after the last deadline no run is open, and no span is lost',
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
