/**
 * Random stories of agents at work, as catalog events in the order in which they happened: requests with model calls,
 * tools, nested tools, sub-agents of any depth, yields and the announce runs that continue after them.
 */
import fc from 'fast-check';
import type { AgentEvent, EventOf, EventType } from '../../src/model/event.js';

/** An action of an agent. */
type Action =
  | { do: 'think'; reasoning: 'none' | 'tokens' | 'before' | 'both'; step: boolean }
  | { do: 'tool'; fails: boolean; partial: boolean; nested: boolean }
  | { do: 'fail' }
  | { do: 'spawn'; named: 'run' | 'session'; call: boolean; tells_parent: boolean; child: Story };

export interface Story {
  actions: Action[];
  yields: boolean;
  /** Its last event doesn't say for certain that it is the end. */
  may_continue: boolean;
}

const leaf = fc.oneof(
  fc.record({
    do: fc.constant('think' as const),
    reasoning: fc.constantFrom('none' as const, 'tokens' as const, 'before' as const, 'both' as const),
    step: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('tool' as const),
    fails: fc.boolean(),
    partial: fc.boolean(),
    nested: fc.boolean(),
  }),
  fc.constant({ do: 'fail' as const }),
);

export const story: fc.Arbitrary<Story> = fc.letrec<{ story: Story; action: Action }>((tie) => ({
  story: fc.record({
    actions: fc.array(tie('action'), { maxLength: 4 }),
    yields: fc.boolean(),
    may_continue: fc.boolean(),
  }),
  action: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.record({
      do: fc.constant('spawn' as const),
      named: fc.constantFrom('run' as const, 'session' as const),
      call: fc.boolean(),
      tells_parent: fc.boolean(),
      child: tie('story'),
    }),
  ),
})).story;

type Fields<T extends EventType> = Omit<EventOf<T>, 'type' | 'ts' | 'session_key' | 'run_id' | 'seq'>;

/** Turns stories into events with timestamps and sequence numbers. `names_parents`: spawns name the run that made them. */
function createTeller(names_parents: boolean) {
  const events: AgentEvent[] = [];
  let now_ms = 1_700_000_000_000;
  let ids = 0;
  const sequence = new Map<string, number>();
  const id = (what: string): string => `${what}-${++ids}`;

  function tell<T extends EventType>(type: T, session_key: string, run_id: string, fields: Fields<T>): void {
    const seq = (sequence.get(run_id) ?? 0) + 1;
    sequence.set(run_id, seq);
    now_ms += 10;
    events.push({ type, ts: now_ms, session_key, run_id, seq, ...fields } as unknown as AgentEvent);
  }

  function think(session: string, run: string, { reasoning, step }: Extract<Action, { do: 'think' }>): void {
    const response_id = id('response');
    const model = { model: 'm', provider: 'p' };
    if (step) tell('agent.step_started', session, run, model);
    if (reasoning === 'before' || reasoning === 'both') {
      tell('llm.reasoning', session, run, { reasoning_tokens: 5, response_id });
    }
    const told = reasoning === 'tokens' || reasoning === 'both' ? { reasoning_tokens: 5 } : {};
    tell('llm.tokens', session, run, {
      ...model,
      input_tokens: 100,
      output_tokens: 20,
      response_id,
      ...told,
    });
  }

  function tool(session: string, run: string, action: Extract<Action, { do: 'tool' }>): void {
    const call_id = id('call');
    tell('tool.call', session, run, { call_id, tool: 'exec' });
    if (action.nested) {
      const inner = id('call');
      tell('tool.call', session, run, { call_id: inner, tool: 'read', parent_call_id: call_id });
      tell('tool.output', session, run, { call_id: inner });
    }
    if (action.partial) tell('tool.output', session, run, { call_id, partial: true });
    if (action.fails)
      tell('tool.error', session, run, { call_id, error: { type: 'broken', message: 'broken' } });
    else tell('tool.output', session, run, { call_id, exit_code: 0 });
  }

  function spawn(session: string, run: string, action: Extract<Action, { do: 'spawn' }>): string {
    const call_id = id('call');
    const child = id('agent:main:subagent:child');
    const child_run = id('run');
    tell('tool.call', session, run, { call_id, tool: 'sessions_spawn' });
    const call = action.call ? { call_id } : {};
    const parent = { parent_session_key: session, ...(names_parents ? { parent_run_id: run } : {}) };
    const link = { ...parent, label: `Agent ${child}`, ...call };
    if (action.named === 'run') tell('subagent.spawned', child, child_run, link);
    else {
      tell('subagent.spawned', child, child_run, link);
      delete (events.at(-1) as { run_id?: string }).run_id;
      // Its sequence number belonged to the run that it no longer names.
      delete (events.at(-1) as { seq?: number }).seq;
    }
    tell('tool.output', session, run, { call_id });
    perform(child, child_run, action.child, action.tells_parent ? session : undefined);
    return child_run;
  }

  /** A failure after which the run goes on. */
  const fail = (session: string, run: string): void =>
    tell('agent.finished', session, run, {
      status: 'error',
      error: { type: 'error', message: 'overloaded' },
      may_continue: true,
    });

  /** One run, its sub-agents, and the announce run if it yields. */
  function perform(session: string, run: string, story: Story, parent?: string): void {
    const { actions, yields, may_continue } = story;
    tell('agent.started', session, run, parent === undefined ? {} : { parent_session_key: parent });
    const children: string[] = [];
    for (const action of actions) {
      if (action.do === 'think') think(session, run, action);
      else if (action.do === 'tool') tool(session, run, action);
      else if (action.do === 'fail') fail(session, run);
      else children.push(spawn(session, run, action));
    }
    const waits = yields && children.length > 0;
    tell('agent.finished', session, run, {
      status: 'ok',
      ...(waits ? { yielded: true } : {}),
      ...(may_continue ? { may_continue } : {}),
    });
    if (!waits) return;
    const announce = `announce:requester-settle:main:${session}:${children.toSorted().join(',')}:yield-1`;
    tell('agent.started', session, announce, { trigger: 'announce' });
    think(session, announce, { do: 'think', reasoning: 'tokens', step: true });
    tell('agent.finished', session, announce, { status: 'ok' });
  }

  return { events, perform };
}

/** The events of several requests, each in a session of its own. */
export function tellStories(stories: Story[]): AgentEvent[] {
  const { events, perform } = createTeller(true);
  stories.forEach((each, index) => {
    perform(`agent:main:session-${index}`, `run-root-${index}`, each);
  });
  return events;
}

const stories = fc.array(story, { minLength: 1, maxLength: 3 });

export const requests: fc.Arbitrary<AgentEvent[]> = stories.map(tellStories);

/** Consecutive requests of one session, whose spawns name their parent session and perhaps the call, but never the run. */
export const requestsOfASession: fc.Arbitrary<AgentEvent[]> = stories.map((each) => {
  const { events, perform } = createTeller(false);
  each.forEach((one, index) => {
    perform('agent:main:session', `run-root-${index}`, one);
  });
  return events;
});

const STARTS_AND_ENDS: ReadonlySet<EventType> = new Set([
  'agent.started',
  'agent.finished',
  'tool.call',
  'tool.output',
  'tool.error',
  'llm.tokens',
]);

/** A repetition of each start and end, as a distinct event. */
export const repeatsOf = (events: AgentEvent[]): AgentEvent[] =>
  events
    .filter((event) => STARTS_AND_ENDS.has(event.type) && !('partial' in event))
    .map((event) => ({ ...event, seq: (event.seq ?? 0) + 1_000 }));
