/**
 * How runs, held runs and sessions are persisted. A store that an earlier version wrote must stay readable: the text of each
 * form is spelled out here, and no two fields of a value are alike.
 */
import { describe, expect, test } from 'vitest';
import type { Form } from '../../src/capture/tracked.js';
import { HELD_FORM, RUN_FORM, SESSION_FORM } from '../../src/correlate/forms.js';
import {
  type EndedCall,
  type EndedChat,
  type HeldRun,
  NO_RARE_FIELDS,
  type OpenCall,
  type OpenStep,
  type Run,
} from '../../src/correlate/run-state.js';
import type { Session } from '../../src/correlate/state.js';
import type { EventOf } from '../../src/model/event.js';

const BARE_RUN: Run = {
  span_id: 'span',
  number: 7,
  epoch: 0,
  session_key: 'session',
  run_id: 'run',
  first_seen: 0,
  last_seen: -1,
  seen_below: undefined,
  last_after_ms: 101,
  active_after_ms: 102,
  opened_after_ms: 103,
  start_ms: 100,
  descent: undefined,
  calls: [],
  steps: [],
  ended_calls: [],
  chats: [],
  step_count: 11,
  tool_count: 12,
  call_count: 13,
  is_reasoned: false,
  ended: undefined,
  rare: NO_RARE_FIELDS,
  wake_ms: Infinity,
  heap_place: -1,
  trace_id: 'trace',
  agent_id: 'agent',
  trigger: undefined,
  is_partial: true,
  has_gap: false,
};

const BARE_RUN_TEXT =
  '["span",7,"session","run",[],101,102,103,100,null,null,null,null,null,11,12,13,false,null,null,null,"trace","agent",null,true,false]';

const SPAN_EVENT = { name: 'event', ts_ms: 104, attributes: {} };

const CALL: OpenCall = {
  call_id: 'call',
  span_id: 'span-of-call',
  number: 21,
  run_key: 'span',
  tool: 'exec',
  start_ms: 105,
  parent_call_id: 'outer',
  arguments: { text: 'input', size_bytes: 5 },
  events: [SPAN_EVENT],
  is_late: true,
  is_open: false,
};

const BARE_CALL: OpenCall = {
  ...CALL,
  call_id: 'bare',
  parent_call_id: undefined,
  arguments: undefined,
  events: [],
  is_late: false,
};

/** One of each form: nothing but an end, the start that its message stated, everything. */
const ENDED_CALLS: EndedCall[] = [
  { start_ms: undefined, end_ms: 111, is_message: false, seq: undefined, has_failed: false },
  { start_ms: 112, end_ms: 113, is_message: true, seq: undefined, has_failed: false },
  { start_ms: 114, end_ms: 115, is_message: false, seq: 22, has_failed: true },
];

const STEP: OpenStep = {
  number: 23,
  start_ms: 121,
  model: 'model',
  provider: 'provider',
  end_ms: 122,
  error: { type: 'broken', message: 'it broke' },
  superseded: true,
  taken: false,
  ended_by: ENDED_CALLS[1],
  due_ms: 123,
  reasoning: { tokens: 24 },
  announced: true,
  failed_ms: 124,
  seq: 25,
};

const BARE_STEP: OpenStep = {
  number: 26,
  start_ms: 125,
  model: undefined,
  provider: undefined,
  end_ms: undefined,
  error: undefined,
  superseded: false,
  taken: true,
  ended_by: undefined,
  due_ms: undefined,
  reasoning: undefined,
  announced: false,
  failed_ms: undefined,
  seq: undefined,
};

const SPAN: EndedChat['span'] = {
  kind: 'chat',
  trace_id: 'trace',
  span_id: 'span-of-chat',
  parent_span_id: 'span',
  name: 'chat',
  start_ms: 131,
  end_ms: 132,
  attributes: {},
  error: undefined,
  links: [],
  events: [],
  parent_agent_id: undefined,
  is_continuation: undefined,
};

const SPAN_TEXT =
  '{"kind":"chat","trace_id":"trace","span_id":"span-of-chat","parent_span_id":"span","name":"chat","start_ms":131,"end_ms":132,"attributes":{},"links":[],"events":[]}';

const END: EventOf<'tool.output'> = {
  type: 'tool.output',
  ts: 141,
  session_key: 's',
  run_id: 'r',
  call_id: 'c',
};

const FULL_RUN: Run = {
  ...BARE_RUN,
  first_seen: 5,
  last_seen: 9,
  seen_below: [1, 2],
  descent: {
    parent_span_id: 'parent-span',
    parent_key: 'parent',
    watching_key: 'watching',
    parent_agent_id: 'parent-agent',
    parent_session_key: 'parent-session',
    parent_run_id: 'parent-run',
    is_late: true,
  },
  calls: [CALL, BARE_CALL],
  steps: [STEP, BARE_STEP],
  ended_calls: ENDED_CALLS,
  chats: [{ span: SPAN, metric_attributes: { model: 'm' }, due_ms: 133, is_reasoned: true, awaits_step: 7 }],
  is_reasoned: true,
  ended: {
    number: 27,
    end_ms: 134,
    arrival_ms: 135,
    yielded: false,
    settle_due_ms: 136,
    calls_error: 'run_ended',
    session_id: 'id',
  },
  rare: {
    input: { text: 'question', size_bytes: 8 },
    events: [SPAN_EVENT],
    reasoning: [{ response_id: 'response', tokens: 28 }],
    early_ends: [{ event: END, arrival_ms: 142 }],
    parked: [{ span: SPAN, parent_call_id: 'parking', due_ms: 143 }],
    cancelled_at_ms: 144,
    yielded_at_ms: 145,
    finishing: { end: { end_ms: 146 }, due_ms: 147 },
    wrapped: [{ call_id: 'inner', parent_call_id: 'wrapper' }],
    skips_numbers: true,
    session_id: 'own-id',
  },
  wake_ms: 148,
  trigger: 'cron',
  is_partial: false,
  has_gap: true,
};

const SPAN_EVENT_TEXT = '{"name":"event","ts_ms":104,"attributes":{}}';

const FULL_RUN_TEXT = [
  '["span",7,"session","run",[1,2,5,9],101,102,103,100',
  '["parent-span","parent","watching","parent-agent","parent-session","parent-run",true]',
  `[["call","span-of-call",21,"exec",105,"outer",{"text":"input","size_bytes":5},[${SPAN_EVENT_TEXT}],true]`,
  '["bare","span-of-call",21,"exec",105,null,null,null,false]]',
  '[111,null,113,112,115,[114,false,22,true]]',
  '[[23,121,"model","provider",122,{"type":"broken","message":"it broke"},true,false,1,123,{"tokens":24},true,124,25]',
  '[26,125,null,null,null,null,false,true,-1,null,null,false,null,null]]',
  `[{"span":${SPAN_TEXT},"metric_attributes":{"model":"m"},"due_ms":133,"is_reasoned":true,"awaits_step":7}]`,
  '11,12,13,true',
  '[27,134,135,false,136,"run_ended","id"]',
  `[{"text":"question","size_bytes":8},[${SPAN_EVENT_TEXT}],[{"response_id":"response","tokens":28}]`,
  '[{"event":{"type":"tool.output","ts":141,"session_key":"s","run_id":"r","call_id":"c"},"arrival_ms":142}]',
  `[{"span":${SPAN_TEXT},"parent_call_id":"parking","due_ms":143}]`,
  '144,145,{"end":{"end_ms":146},"due_ms":147},[{"call_id":"inner","parent_call_id":"wrapper"}],true,"own-id"]',
  '148,"trace","agent","cron",false,true]',
].join();

const BARE_HELD: HeldRun = {
  number: 31,
  epoch: 0,
  events: [],
  started: undefined,
  first_ms: Infinity,
  due_ms: 151,
  waits_for: [],
  wait_number: 32,
  wake_ms: Infinity,
  heap_place: -1,
  session_key: 'session',
  run_id: 'run',
  span_id: 'span',
  first_seen: 0,
  last_seen: -1,
  seen_below: undefined,
};

const STARTED: EventOf<'agent.started'> = { type: 'agent.started', ts: 152, session_key: 's', run_id: 'r' };
const STARTED_TEXT = '{"type":"agent.started","ts":152,"session_key":"s","run_id":"r"}';

const FULL_HELD: HeldRun = {
  ...BARE_HELD,
  events: [{ event: STARTED, arrival_ms: 153 }],
  started: STARTED,
  first_ms: 154,
  waits_for: ['s:parent'],
  wake_ms: 155,
  first_seen: 3,
  last_seen: 4,
  gap: true,
  soft_due_ms: 156,
};

const BARE_SESSION: Session = {
  runs: [],
  session_id: undefined,
  agent_id: undefined,
  channel: undefined,
  label: undefined,
  spawn: undefined,
  latest: undefined,
};

const FULL_SESSION: Session = {
  runs: ['first', 'second'],
  session_id: 'id',
  agent_id: 'agent',
  channel: 'channel',
  label: 'label',
  spawn: { parent_session_key: 'parent', call_id: 'call' },
  latest: undefined,
};

function expectForm<V>({ save, load }: Form<V>, value: V, text: string): void {
  expect(JSON.stringify(save(value))).toBe(text);
  expect(load(JSON.parse(text))).toEqual(value);
}

describe('the persisted form', () => {
  test('of a run that has just opened', () => expectForm(RUN_FORM, BARE_RUN, BARE_RUN_TEXT));

  test('of a run with everything that a run can have', () => expectForm(RUN_FORM, FULL_RUN, FULL_RUN_TEXT));

  test('of a held run of which nothing but a spawn has been seen', () =>
    expectForm(
      HELD_FORM,
      BARE_HELD,
      '{"number":31,"events":[],"first_ms":null,"due_ms":151,"waits_for":[],"wait_number":32,"wake_ms":null,"session_key":"session","run_id":"run","span_id":"span","seen":[]}',
    ));

  test('of a held run with everything that one can have', () =>
    expectForm(
      HELD_FORM,
      FULL_HELD,
      `{"number":31,"events":[{"event":${STARTED_TEXT},"arrival_ms":153}],"started":${STARTED_TEXT},"first_ms":154,"due_ms":151,"waits_for":["s:parent"],"wait_number":32,"wake_ms":155,"session_key":"session","run_id":"run","span_id":"span","gap":true,"soft_due_ms":156,"seen":[3,4]}`,
    ));

  test('of a session that only its key is known of', () =>
    expectForm(SESSION_FORM, BARE_SESSION, '[[],null,null,null,null,null]'));

  test('of a session with everything that one can have', () =>
    expectForm(
      SESSION_FORM,
      FULL_SESSION,
      '[["first","second"],"id","agent","channel","label",{"parent_session_key":"parent","call_id":"call"}]',
    ));
});

test('a record with another content is not taken for a run or a session', () => {
  for (const content of [null, 5, true, {}])
    for (const { load } of [RUN_FORM, SESSION_FORM]) expect(() => load(content)).toThrow(TypeError);
});
