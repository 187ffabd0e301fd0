/**
 * Stories of agents at work as catalog events, one at a time: runs with model calls, tools, nested tools and sub-agents.
 * The result of any prefix of a story is independent of the clock: no call is left open at the end of its run, none waits
 * for its reasoning tokens, and each parent is known before its child.
 */
import type { Random } from './random.js';

/** A catalog event without its timestamp. */
export type Told = { type: string } & Record<string, unknown>;

const USERS_CHANNELS = ['chat', 'mail'] as const;
const MODELS = ['model-a', 'model-b', 'model-c'] as const;
const TOOLS = ['exec', 'read', 'write'] as const;
const AGENTS = ['main', 'ops'] as const;
const LABELS = ['Reader', 'Writer'] as const;
const MAX_DEPTH = 2;

interface Run {
  session_key: string;
  run_id: string;
}

interface Teller {
  random: Random;
  /**
   * Whether events have sequence numbers, and all model calls response ids. A repeated event with neither is not
   * recognised, and would count twice.
   */
  is_numbered: boolean;
  /** A unique name. */
  name(what: string): string;
  tell(run: Run, type: string, fields?: Record<string, unknown>): Told;
}

function createTeller(random: Random, prefix: string): Teller {
  let names = 0;
  const sequence = new Map<string, number>();
  const is_numbered = random.chance(0.5);
  return {
    random,
    is_numbered,
    name: (what) => `${what}-${prefix}-${++names}`,
    tell(run, type, fields = {}) {
      const seq = (sequence.get(run.run_id) ?? 0) + 1;
      sequence.set(run.run_id, seq);
      return { type, ...run, ...(is_numbered ? { seq } : {}), ...fields };
    },
  };
}

function* think({ random, is_numbered, name, tell }: Teller, run: Run): Generator<Told> {
  const response = is_numbered || random.chance(0.5) ? { response_id: name('response') } : {};
  const model = { model: random.pick(MODELS), provider: 'provider' };
  const reasoning_tokens = random.int(0, 50);
  const has_step = random.chance(0.5);
  if (has_step) yield tell(run, 'agent.step_started', model);
  // Reasoning without a response id belongs to the run's current step.
  if ((has_step || 'response_id' in response) && random.chance(0.4))
    yield tell(run, 'llm.reasoning', { reasoning_tokens, ...response });
  yield tell(run, 'llm.tokens', {
    ...model,
    ...response,
    input_tokens: random.int(100, 5_000),
    output_tokens: random.int(50, 500),
    cache_read_tokens: random.int(0, 100),
    reasoning_tokens,
    // Multiples of 1/1024: their sums are exact, in whatever order they are added.
    cost_usd: random.int(1, 64) / 1_024,
  });
}

function* useTool(teller: Teller, run: Run, parent_call_id?: string): Generator<Told> {
  const { random, name, tell } = teller;
  const call_id = name('call');
  const parent = parent_call_id === undefined ? {} : { parent_call_id };
  yield tell(run, 'tool.call', { call_id, tool: random.pick(TOOLS), ...parent });
  if (random.chance(0.2)) yield tell(run, 'tool.output', { call_id, partial: true, output: 'half' });
  if (parent_call_id === undefined && random.chance(0.2)) yield* useTool(teller, run, call_id);
  if (random.chance(0.2))
    yield tell(run, 'tool.error', { call_id, error: { type: 'not_found', message: 'not there' } });
  else yield tell(run, 'tool.output', { call_id, exit_code: random.int(0, 1) });
}

function* spawnAgent(teller: Teller, parent: Run, depth: number): Generator<Told> {
  const { random, name, tell } = teller;
  const call_id = name('call');
  const child = { session_key: name('agent:main:subagent:crash'), run_id: name('run') };
  const origin = { parent_session_key: parent.session_key, parent_run_id: parent.run_id };
  yield tell(parent, 'tool.call', { call_id, tool: 'sessions_spawn' });
  yield { type: 'subagent.spawned', ...child, ...origin, call_id, label: random.pick(LABELS) };
  yield tell(parent, 'tool.output', { call_id });
  yield tell(child, 'agent.started', { agent_id: 'main', trigger: 'subagent', ...origin });
  yield* work(teller, child, depth + 1);
  yield tell(child, 'subagent.output', { output: 'done' });
  const ends = random.pick<readonly string[]>([
    ['agent.finished'],
    ['subagent.finished'],
    ['agent.finished', 'subagent.finished'],
  ]);
  for (const type of ends) yield tell(child, type, { status: 'ok' });
}

function* work(teller: Teller, run: Run, depth: number): Generator<Told> {
  const { random } = teller;
  for (let left = random.int(1, 5); left > 0; left--) {
    if (depth < MAX_DEPTH && random.chance(0.15)) yield* spawnAgent(teller, run, depth);
    else if (random.chance(0.5)) yield* think(teller, run);
    else yield* useTool(teller, run);
  }
}

/** One request from start to end. `prefix` makes its ids different from those of every other story. */
export function* tellStory(random: Random, prefix: string): Generator<Told> {
  const teller = createTeller(random, prefix);
  const run = { session_key: `agent:main:crash-${prefix}`, run_id: `run-${prefix}` };
  yield teller.tell(run, 'agent.started', {
    session_id: `session-${prefix}`,
    agent_id: random.pick(AGENTS),
    trigger: 'user',
    channel: random.pick(USERS_CHANNELS),
  });
  yield* work(teller, run, 0);
  const status = random.pick(['ok', 'ok', 'cancelled', 'error']);
  yield teller.tell(run, 'agent.finished', {
    status,
    stop_reason: 'stop',
    ...(status === 'error' ? { error: { type: 'overloaded', message: 'no more' } } : {}),
  });
}
