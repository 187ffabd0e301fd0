/**
 * How runs, held runs and sessions are written down: what most of them have as a list without names, which takes a third of the
 * time and the room of an object, and the rest as it is.
 */
import type { Form } from '../tracked.js';
import { countOf, type Few, fewOf, listOf, none } from './few.js';
import type { Waiting } from './heap.js';
import { numbersOf, rangesOf } from './numbers.js';
import {
  type EarlyEnd,
  type EarlyReasoning,
  emptyList,
  type HeldChat,
  type HeldRun,
  type OpenCall,
  type OpenStep,
  type Run,
  runKey,
  type Session,
} from './state.js';

export const CALLS = fewOf<OpenCall>((call) => call.call_id);
export const CHATS = fewOf<HeldChat>((chat) => chat.span.span_id);
export const EARLY_ENDS = fewOf<EarlyEnd>((early) => early.event.call_id);
export const EARLY_REASONING = fewOf<EarlyReasoning>((early) => early.response_id);

/** JSON knows no infinity. */
const saveWake = ({ wake_ms }: Pick<Waiting, 'wake_ms'>): number | null =>
  Number.isFinite(wake_ms) ? wake_ms : null;

/** It takes its place in the heap with all others. */
const loadWake = (wake_ms: number | null | undefined): Pick<Waiting, 'wake_ms' | 'heap_place'> => ({
  wake_ms: wake_ms ?? Infinity,
  heap_place: -1,
});

/** The call that has ended a step is told by its place among the ended calls. */
type SavedStep = Omit<OpenStep, 'ended_by'> & { ended_by: number };

const saveSteps = ({ steps, ended_calls }: Run): SavedStep[] =>
  steps.map((step) => ({
    ...step,
    ended_by: step.ended_by === undefined ? -1 : ended_calls.indexOf(step.ended_by),
  }));

const loadSteps = (saved: SavedStep[], ended_calls: Run['ended_calls']): readonly OpenStep[] =>
  saved.length === 0 ? emptyList() : saved.map((step) => ({ ...step, ended_by: ended_calls[step.ended_by] }));

const loadList = <T>(saved: readonly T[]): readonly T[] => (saved.length === 0 ? emptyList() : saved);

const loadFew = <V>(saved: readonly V[], { add }: ReturnType<typeof fewOf<V>>): Few<V> =>
  saved.reduce<Few<V>>(add, none());

/** By what the calls of a run are matched, and when that is to be let go of, as one text: it is hardly ever looked at again. */
export const saveMatching = (run: Run, due_ms: number[]): string | undefined =>
  run.steps.length + run.ended_calls.length === 0
    ? undefined
    : JSON.stringify([run.ended_calls, saveSteps(run), due_ms]);

/** Gives a run back what that text says, and when that is to be let go of. */
export function loadMatching(run: Run): number[] {
  if (run.matching === undefined) return [];
  const [ended_calls, steps, due_ms] = JSON.parse(run.matching);
  run.ended_calls = loadList(ended_calls);
  run.steps = loadSteps(steps, run.ended_calls);
  run.matching = undefined;
  return due_ms;
}

/** What only a run has that is open, or that waits for something. */
function saveBusy(run: Run): unknown[] | null {
  const { calls, chats, reasoning, early_ends, parked, events, input, finishing } = run;
  const isIdle =
    countOf(calls) + countOf(chats) + countOf(reasoning) + countOf(early_ends) === 0 &&
    parked.length + events.length === 0 &&
    input === undefined &&
    finishing === undefined;
  if (isIdle) return null;
  return [
    listOf(calls),
    listOf(chats),
    listOf(reasoning),
    listOf(early_ends),
    parked,
    events,
    input,
    finishing,
  ];
}

type Busy = Pick<
  Run,
  'calls' | 'chats' | 'reasoning' | 'early_ends' | 'parked' | 'events' | 'input' | 'finishing'
>;

// biome-ignore lint/suspicious/noExplicitAny: what was written down in this form.
type Saved = any[];

const NO_LISTS: Saved = [[], [], [], [], [], []];

function loadBusy(saved: Saved | null): Busy {
  const [calls, chats, reasoning, early_ends, parked, events, input, finishing] = saved ?? NO_LISTS;
  return {
    calls: loadFew(calls, CALLS),
    chats: loadFew(chats, CHATS),
    reasoning: loadFew(reasoning, EARLY_REASONING),
    early_ends: loadFew(early_ends, EARLY_ENDS),
    parked: loadList(parked),
    events: loadList(events),
    input: input ?? undefined,
    finishing: finishing ?? undefined,
  };
}

function saveRun(run: Run): Saved {
  return [
    run.number,
    run.session_key,
    run.run_id,
    rangesOf(run.seen_numbers),
    run.trace_id,
    run.span_id,
    run.parent_span_id,
    run.parent_key,
    run.watching_key,
    run.parent_agent_id,
    run.is_continuation,
    run.start_ms,
    run.agent_id,
    run.started,
    run.partial,
    run.late,
    run.gap,
    run.trigger,
    run.parent_session_key,
    run.parent_run_id,
    run.remote_parent_span_id,
    run.last_ts_ms,
    run.active_ms,
    run.opened_ms,
    run.cancelled_at_ms,
    run.yielded_at_ms,
    run.step_count,
    run.tool_count,
    run.ended_calls,
    saveSteps(run),
    run.call_count,
    run.is_reasoned,
    run.ended,
    run.matching,
    saveWake(run),
    saveBusy(run),
  ];
}

function loadRun(saved: unknown): Run {
  let at = 0;
  const next = (): Saved[number] => (saved as Saved)[at++] ?? undefined;
  const number = next();
  const session_key = next();
  const run_id = next();
  const key = runKey(session_key, run_id);
  const told = {
    key,
    number,
    epoch: 0,
    session_key,
    run_id,
    seen_numbers: numbersOf(next()),
    trace_id: next(),
    span_id: next(),
    parent_span_id: next(),
    parent_key: next(),
    watching_key: next(),
    parent_agent_id: next(),
    is_continuation: next(),
    start_ms: next(),
    agent_id: next(),
    started: next(),
    partial: next(),
    late: next(),
    gap: next(),
    trigger: next(),
    parent_session_key: next(),
    parent_run_id: next(),
    remote_parent_span_id: next(),
    last_ts_ms: next(),
    active_ms: next(),
    opened_ms: next(),
    cancelled_at_ms: next(),
    yielded_at_ms: next(),
    step_count: next(),
    tool_count: next(),
  };
  const ended_calls = loadList<Run['ended_calls'][number]>(next());
  const steps = loadSteps(next(), ended_calls);
  const rest = {
    call_count: next(),
    is_reasoned: next(),
    ended: next(),
    matching: next(),
    ...loadWake(next()),
  };
  return { ...told, ...rest, steps, ended_calls, ...loadBusy(next() ?? null) };
}

export const RUN_FORM: Form<Run> = { save: saveRun, load: loadRun };

export const HELD_FORM: Form<HeldRun> = {
  save: ({ key: _key, epoch: _epoch, heap_place: _heap_place, seen_numbers, ...held }) => ({
    ...held,
    seen_numbers: rangesOf(seen_numbers),
    wake_ms: saveWake(held),
  }),
  load(saved) {
    const { seen_numbers, wake_ms, ...held } = saved as Saved[number];
    const key = runKey(held.session_key, held.run_id);
    return { ...held, key, epoch: 0, seen_numbers: numbersOf(seen_numbers), ...loadWake(wake_ms) };
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
    const [runs, session_id, agent_id, channel, label, spawn] = saved as Saved;
    return {
      runs: loadList(runs),
      session_id: session_id ?? undefined,
      agent_id: agent_id ?? undefined,
      channel: channel ?? undefined,
      label: label ?? undefined,
      spawn: spawn ?? undefined,
      latest: undefined,
    };
  },
};
