/**
 * The cheap guard passes exactly what the schema accepts unchanged, shown with events of every type with any value in any field.
 */
import { fc, test as property } from '@fast-check/vitest';
import { expect, expectTypeOf, test } from 'vitest';
import { type AgentEvent, agentEventSchema, EVENT_TYPES, normaliseInstants } from '../../src/model/event.js';
import { isPlainEvent } from '../../src/model/guard.js';
import { example, readLines } from '../helpers.js';

type Json = Record<string, unknown>;

const NOW_MS = 1_760_000_000_000;

/** One event per type with all fields of that type, so that every field can be made wrong. */
function fullEvents(): Json[] {
  const common = {
    ts: NOW_MS,
    session_key: 'agent:main:s',
    run_id: 'r',
    session_id: 'id',
    agent_id: 'main',
    seq: 3,
  };
  const more = { event_id: 'e', traceparent: 't', channel: 'c', gap: true };
  const error = { type: 'overloaded', message: 'no more' };
  const names = {
    parent_session_key: 'p',
    parent_run_id: 'q',
    call_id: 'c',
    tool: 'exec',
    parent_call_id: 'w',
  };
  const texts = { trigger: 'user', model: 'm', provider: 'p', stop_reason: 'stop', label: 'l', text: '' };
  const ids = { response_id: 'x', message_id: 'y', finish_reason: 'stop', status: 'error', error };
  const counts = { step: 1, exit_code: -1, input_tokens: 1, output_tokens: 0, cache_read_tokens: 2 };
  const numbers = { cache_write_tokens: 0, reasoning_tokens: 5, cost_usd: 0.25, duration_ms: 1.5 };
  const times = { started_at: NOW_MS + 0.5, ended_at: NOW_MS };
  const flags = { partial: false, yielded: true, settled: false, may_continue: true };
  const any = { input: { a: [1] }, output: 'o', ...flags };
  const all: Json = {
    ...common,
    ...more,
    ...names,
    ...texts,
    ...ids,
    ...counts,
    ...numbers,
    ...times,
    ...any,
  };
  return agentEventSchema.options.map(({ shape }) => ({
    ...Object.fromEntries(Object.keys(shape).map((key) => [key, all[key]])),
    type: shape.type.value,
  }));
}

const events = [
  ...fullEvents(),
  ...readLines(example('catalog.ndjson')).map((line): Json => JSON.parse(line)),
];

const oddValue = fc.oneof(
  fc.constantFrom<unknown>(null, '', 'ok', -1, 0, 1.5, 2 ** 53, 1.84e13, 1.85e13, NaN, Infinity, true),
  fc.constantFrom('2026-11-22T12:00:00Z', '2026-11-22', { message: 'm' }, { type: '', message: 'm' }, [], {}),
  fc.constantFrom({ type: 't', message: 'm', more: 1 }, { type: 't' }, { type: null, message: 'm' }),
  fc.jsonValue(),
);
const keys = [...new Set(events.flatMap(Object.keys)), 'unknown', '__proto__', 'toString'];
const mutation = fc.record({ key: fc.constantFrom(...keys), value: oddValue, is_removed: fc.boolean() });

function mutate(event: Json, mutations: { key: string; value: unknown; is_removed: boolean }[]): Json {
  const mutated = Object.entries(event);
  for (const { key, value, is_removed } of mutations) {
    const at = mutated.findIndex(([known]) => known === key);
    if (at !== -1) mutated.splice(at, 1);
    if (!is_removed) mutated.push([key, value]);
  }
  return Object.fromEntries(mutated);
}

/** Whether the schema accepts the value unchanged. A null means "absent" and is removed before, so that is a change. */
function isUnchanged(value: Json): boolean {
  if (Object.values(value).includes(null)) return false;
  const { data } = agentEventSchema.safeParse(value);
  const event: unknown = data && normaliseInstants(data);
  try {
    expect(event).toStrictEqual(value);
    return true;
  } catch {
    return false;
  }
}

test('an event of every type passes with all its fields', () => {
  const full = fullEvents();
  expect(full.map(({ type }) => type)).toEqual(EVENT_TYPES);
  for (const event of full) expect(isPlainEvent(event), JSON.stringify(event)).toBe(true);
});

property.prop([fc.constantFrom(...events), fc.array(mutation, { maxLength: 3 })], { numRuns: 5_000 })(
  'the guard passes exactly the values that the schema accepts and leaves unchanged',
  (event, mutations) => {
    const value = mutate(event, mutations);
    expect(isPlainEvent(value)).toBe(isUnchanged(value));
  },
);

test('the guard narrows a value to an event', () => {
  const value: Json = { ...events[0] };
  if (!isPlainEvent(value)) throw new Error('the guard rejects an event');
  expectTypeOf(value).toExtend<AgentEvent>();
});
