/**
 * How runs, held runs and sessions are written down: what most of them have as a list without names, which takes a third of the
 * time and the room of an object, and the rest as it is.
 */
import type { Form } from '../tracked.js';
import { type Few, fewOf, listOf, none } from './few.js';
import type { Waiting } from './heap.js';
import { rangesOf, seenOf } from './numbers.js';
import {
  type Aside,
  asideOf,
  type Descent,
  type EarlyEnd,
  type EarlyReasoning,
  type EndedCall,
  emptyList,
  type HeldChat,
  type HeldRun,
  NOTHING_ASIDE,
  type OpenCall,
  type OpenStep,
  type Run,
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

const loadCalls = (steps: SavedStep[], ended: readonly EndedCall[]): Pick<Run, 'steps' | 'ended_calls'> => {
  const ended_calls = loadList(ended);
  return { steps: loadSteps(steps, ended_calls), ended_calls };
};

/** By what the calls of a run are matched, and when that is to be let go of, as one text: it is hardly ever looked at again. */
export const saveMatching = (run: Run, due_ms: number[]): string | undefined =>
  run.steps.length + run.ended_calls.length === 0
    ? undefined
    : JSON.stringify([run.ended_calls, saveSteps(run), due_ms]);

/** Gives a run back what that text says, and when that is to be let go of. */
export function loadMatching(run: Run): number[] {
  const { matching } = run.aside;
  if (matching === undefined) return [];
  const [ended_calls, steps, due_ms] = JSON.parse(matching);
  Object.assign(run, loadCalls(steps, ended_calls));
  asideOf(run).matching = undefined;
  return due_ms;
}

// biome-ignore lint/suspicious/noExplicitAny: what was written down in this form.
type Saved = any[];

const listIfAny = <T>(list: readonly T[]): readonly T[] | null => (list.length === 0 ? null : list);

/** Null where there is nothing. */
function saveAside({ aside }: Run): Saved | null {
  if (aside === NOTHING_ASIDE) return null;
  const { input, events, reasoning, early_ends, parked, cancelled_at_ms, yielded_at_ms } = aside;
  return [
    input,
    events,
    listOf(reasoning),
    listOf(early_ends),
    parked,
    cancelled_at_ms,
    yielded_at_ms,
    aside.finishing,
    aside.matching,
  ];
}

function loadAside(saved: Saved | null): Readonly<Aside> {
  if (saved === null) return NOTHING_ASIDE;
  const [input, events, reasoning, early_ends, parked, cancelled_at_ms, yielded_at_ms, finishing, matching] =
    saved;
  return {
    input: input ?? undefined,
    events: loadList(events),
    reasoning: loadFew(reasoning, EARLY_REASONING),
    early_ends: loadFew(early_ends, EARLY_ENDS),
    parked: loadList(parked),
    cancelled_at_ms: cancelled_at_ms ?? undefined,
    yielded_at_ms: yielded_at_ms ?? undefined,
    finishing: finishing ?? undefined,
    matching: matching ?? undefined,
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
        descent.late,
      ];

function loadDescent(saved: Saved | null): Descent | undefined {
  if (saved === null) return undefined;
  const [parent_span_id, parent_key, watching_key, parent_agent_id, parent_session_key, parent_run_id, late] =
    saved.map((each) => each ?? undefined);
  return {
    parent_span_id,
    parent_key,
    watching_key,
    parent_agent_id,
    parent_session_key,
    parent_run_id,
    late,
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
    listIfAny(listOf(run.calls)),
    listIfAny(saveSteps(run)),
    listIfAny(run.ended_calls),
    listIfAny(listOf(run.chats)),
    run.step_count,
    run.tool_count,
    run.call_count,
    run.is_reasoned,
    run.ended,
    saveAside(run),
    saveWake(run),
    run.trace_id,
    run.agent_id,
    run.trigger,
    run.started,
    run.partial,
    run.gap,
  ];
}

/** In the order of a new run, so that both are of one form. */
function loadRun(saved: unknown): Run {
  let at = 0;
  const next = (): Saved[number] => (saved as Saved)[at++] ?? undefined;
  return {
    span_id: next(),
    number: next(),
    epoch: 0,
    session_key: next(),
    run_id: next(),
    ...seenOf(next()),
    last_after_ms: next(),
    active_after_ms: next(),
    opened_after_ms: next(),
    start_ms: next(),
    descent: loadDescent(next() ?? null),
    calls: loadFew(next() ?? [], CALLS),
    ...loadCalls(next() ?? [], next() ?? []),
    chats: loadFew(next() ?? [], CHATS),
    step_count: next(),
    tool_count: next(),
    call_count: next(),
    is_reasoned: next(),
    ended: next(),
    aside: loadAside(next() ?? null),
    ...loadWake(next()),
    trace_id: next(),
    agent_id: next(),
    trigger: next(),
    started: next(),
    partial: next(),
    gap: next(),
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
    const { seen, wake_ms, ...held } = saved as Saved[number];
    return { ...held, epoch: 0, ...seenOf(seen), ...loadWake(wake_ms) };
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
