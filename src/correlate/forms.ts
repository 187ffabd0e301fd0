/**
 * How runs, held runs and sessions are serialised: most fields as lists without names, which take a third of the time and space
 * of objects, the rest as it is. Each list is written and read by two literals that name the fields in the same order; those
 * that are read have their fields in the same order as new objects, so that both share a hidden class.
 */
import type { Form } from '../capture/tracked.js';
import {
  CALLS,
  CHATS,
  type Descent,
  EARLY_ENDS,
  EARLY_REASONING,
  type Ended,
  type EndedCall,
  emptyList,
  type HeldRun,
  NO_RARE_FIELDS,
  type OpenCall,
  type OpenStep,
  type RareFields,
  type Run,
  WRAPPED,
} from './run-state.js';
import { rangesOf, seenOf } from './sequence-numbers.js';
import { emptyMap, type SmallMap, type SmallMapOperations, sizeOf, valuesOf } from './small-map.js';
import type { Session } from './state.js';
import type { Wakeable } from './wake-heap.js';

// biome-ignore lint/suspicious/noExplicitAny: what was written down in this form.
type Saved = any[];

/** Reads the items of a list one by one. JSON saves undefined in a list as null; this reverses it. */
function readerOf(saved: Saved): () => Saved[number] {
  if (!Array.isArray(saved)) throw new TypeError('not a list');
  let at = 0;
  return () => saved[at++] ?? undefined;
}

/** JSON has no infinity. */
const saveWake = ({ wake_ms }: Pick<Wakeable, 'wake_ms'>): number | null =>
  Number.isFinite(wake_ms) ? wake_ms : null;

/** Not in the heap yet: it is added when everything is restored. */
const loadWake = (wake_ms: number | undefined): Pick<Wakeable, 'wake_ms' | 'heap_place'> => ({
  wake_ms: wake_ms ?? Infinity,
  heap_place: -1,
});

/** Null if the list is empty. */
const listIfAny = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list);

const loadList = <T>(saved: readonly T[] = emptyList()): readonly T[] => saved;

const loadSmallMap = <V>(saved: readonly V[] | undefined, { add }: SmallMapOperations<V>): SmallMap<V> =>
  (saved ?? []).reduce<SmallMap<V>>(add, emptyMap());

/** The fields of an ended call besides its end: null, only the start that its message stated, or all of them. */
const saveRest = ({ start_ms, is_message, seq, has_failed }: EndedCall): Saved | number | null =>
  seq === undefined && !has_failed && is_message === (start_ms !== undefined)
    ? (start_ms ?? null)
    : [start_ms, is_message, seq, has_failed];

function loadEndedCall(end_ms: number, rest: Saved | number | null): EndedCall {
  const next = readerOf(Array.isArray(rest) ? rest : [rest, rest !== null, undefined, false]);
  return { start_ms: next(), end_ms, is_message: next(), seq: next(), has_failed: next() };
}

/** One flat list: for each call its end, then the rest. */
const saveEndedCalls = ({ ended_calls }: Run): Saved | null =>
  listIfAny(ended_calls.flatMap((call) => [call.end_ms, saveRest(call)])) as Saved | null;

function loadEndedCalls(saved: Saved = []): readonly EndedCall[] {
  const calls: EndedCall[] = [];
  for (let at = 0; at < saved.length; at += 2) calls.push(loadEndedCall(saved[at], saved[at + 1]));
  return calls.length === 0 ? emptyList() : calls;
}

/** The call that ended a step is saved as its index among the ended calls; -1 is none. */
const saveSteps = ({ steps, ended_calls }: Run): Saved | null =>
  steps.length === 0
    ? null
    : steps.map((step) => [
        step.number,
        step.start_ms,
        step.model,
        step.provider,
        step.end_ms,
        step.error,
        step.superseded,
        step.taken,
        step.ended_by === undefined ? -1 : ended_calls.indexOf(step.ended_by),
        step.due_ms,
        step.reasoning,
        step.announced,
        step.failed_ms,
        step.seq,
      ]);

function loadStep(saved: Saved, ended_calls: readonly EndedCall[]): OpenStep {
  const next = readerOf(saved);
  return {
    number: next(),
    start_ms: next(),
    model: next(),
    provider: next(),
    end_ms: next(),
    error: next(),
    superseded: next(),
    taken: next(),
    ended_by: ended_calls[next()],
    due_ms: next(),
    reasoning: next(),
    announced: next(),
    failed_ms: next(),
    seq: next(),
  };
}

function loadMatched(ended: Saved | undefined, steps: Saved | undefined): Pick<Run, 'steps' | 'ended_calls'> {
  const ended_calls = loadEndedCalls(ended);
  return {
    steps: steps === undefined ? emptyList() : steps.map((step) => loadStep(step, ended_calls)),
    ended_calls,
  };
}

/** Without `run_key` and `is_open`, which follow from the record that holds the calls. */
const saveCalls = ({ calls }: Run): Saved | null =>
  sizeOf(calls) === 0
    ? null
    : valuesOf(calls).map((call) => [
        call.call_id,
        call.span_id,
        call.number,
        call.tool,
        call.start_ms,
        call.parent_call_id,
        call.arguments,
        listIfAny(call.events),
        call.is_late,
      ]);

function loadCall(saved: Saved, run_key: string): OpenCall {
  const next = readerOf(saved);
  return {
    call_id: next(),
    span_id: next(),
    number: next(),
    run_key,
    tool: next(),
    start_ms: next(),
    parent_call_id: next(),
    arguments: next(),
    events: loadList(next()),
    is_late: next(),
    is_open: false,
  };
}

const loadCalls = (saved: Saved | undefined, run_key: string): SmallMap<OpenCall> =>
  loadSmallMap(
    saved?.map((call) => loadCall(call, run_key)),
    CALLS,
  );

const saveEnded = ({ ended }: Run): Saved | null =>
  ended === undefined
    ? null
    : [
        ended.number,
        ended.end_ms,
        ended.arrival_ms,
        ended.yielded,
        ended.settle_due_ms,
        ended.calls_error,
        ended.session_id,
      ];

function loadEnded(saved: Saved | undefined): Ended | undefined {
  if (saved === undefined) return undefined;
  const next = readerOf(saved);
  return {
    number: next(),
    end_ms: next(),
    arrival_ms: next(),
    yielded: next(),
    settle_due_ms: next(),
    calls_error: next(),
    session_id: next(),
  };
}

/** Null if there is nothing to save. */
function saveRareFields({ rare }: Run): Saved | null {
  if (rare === NO_RARE_FIELDS) return null;
  const saved = [
    rare.input,
    listIfAny(rare.events),
    listIfAny(valuesOf(rare.reasoning)),
    listIfAny(valuesOf(rare.early_ends)),
    listIfAny(rare.parked),
    rare.cancelled_at_ms,
    rare.yielded_at_ms,
    rare.finishing,
    listIfAny(valuesOf(rare.wrapped)),
    rare.skips_numbers || null,
    rare.session_id,
  ];
  return saved.every((each) => each === null || each === undefined) ? null : saved;
}

function loadRareFields(saved: Saved | undefined): Readonly<RareFields> {
  if (saved === undefined) return NO_RARE_FIELDS;
  const next = readerOf(saved);
  return {
    input: next(),
    events: loadList(next()),
    reasoning: loadSmallMap(next(), EARLY_REASONING),
    early_ends: loadSmallMap(next(), EARLY_ENDS),
    parked: loadList(next()),
    cancelled_at_ms: next(),
    yielded_at_ms: next(),
    finishing: next(),
    wrapped: loadSmallMap(next(), WRAPPED),
    skips_numbers: next() ?? false,
    session_id: next(),
  };
}

const saveDescent = ({ descent }: Run): Saved | null =>
  descent === undefined
    ? null
    : [
        descent.parent_span_id,
        descent.parent_key,
        descent.watching_key,
        descent.parent_agent_id,
        descent.parent_session_key,
        descent.parent_run_id,
        descent.is_late,
      ];

function loadDescent(saved: Saved | undefined): Descent | undefined {
  if (saved === undefined) return undefined;
  const next = readerOf(saved);
  return {
    parent_span_id: next(),
    parent_key: next(),
    watching_key: next(),
    parent_agent_id: next(),
    parent_session_key: next(),
    parent_run_id: next(),
    is_late: next(),
  };
}

function saveRun(run: Run): Saved {
  return [
    run.span_id,
    run.number,
    run.session_key,
    run.run_id,
    rangesOf(run),
    run.last_after_ms,
    run.active_after_ms,
    run.opened_after_ms,
    run.start_ms,
    saveDescent(run),
    saveCalls(run),
    saveEndedCalls(run),
    saveSteps(run),
    listIfAny(valuesOf(run.chats)),
    run.step_count,
    run.tool_count,
    run.call_count,
    run.is_reasoned,
    saveEnded(run),
    saveRareFields(run),
    saveWake(run),
    run.trace_id,
    run.agent_id,
    run.trigger,
    run.is_partial,
    run.has_gap,
  ];
}

function loadRun(content: unknown): Run {
  const next = readerOf(content as Saved);
  const span_id = next();
  return {
    span_id,
    number: next(),
    epoch: 0,
    session_key: next(),
    run_id: next(),
    ...seenOf(next()),
    last_after_ms: next(),
    active_after_ms: next(),
    opened_after_ms: next(),
    start_ms: next(),
    descent: loadDescent(next()),
    calls: loadCalls(next(), span_id),
    ...loadMatched(next(), next()),
    chats: loadSmallMap(next(), CHATS),
    step_count: next(),
    tool_count: next(),
    call_count: next(),
    is_reasoned: next(),
    ended: loadEnded(next()),
    rare: loadRareFields(next()),
    ...loadWake(next()),
    trace_id: next(),
    agent_id: next(),
    trigger: next(),
    is_partial: next(),
    has_gap: next(),
  };
}

export const RUN_FORM: Form<Run> = { save: saveRun, load: loadRun };

export const HELD_FORM: Form<HeldRun> = {
  save: ({ epoch: _epoch, heap_place: _heap_place, first_seen, last_seen, seen_below, ...held }) => ({
    ...held,
    seen: rangesOf({ first_seen, last_seen, seen_below }),
    wake_ms: saveWake(held),
  }),
  load(saved) {
    const { seen, wake_ms, first_ms, ...held } = saved as Saved[number];
    return {
      ...held,
      first_ms: first_ms ?? Infinity,
      epoch: 0,
      ...seenOf(seen),
      ...loadWake(wake_ms ?? undefined),
    };
  },
};

export const SESSION_FORM: Form<Session> = {
  save: ({ runs, session_id, agent_id, channel, label, spawn }) => [
    runs,
    session_id,
    agent_id,
    channel,
    label,
    spawn,
  ],
  load(saved) {
    const next = readerOf(saved as Saved);
    return {
      runs: loadList(next()),
      session_id: next(),
      agent_id: next(),
      channel: next(),
      label: next(),
      spawn: next(),
      latest: undefined,
    };
  },
};
