/**
 * The bridge and a real OpenClaw gateway with a scripted model. Several bridges follow the same runs: one undisturbed, each
 * of the others with a disturbance in the middle. What arrives is compared with a recording made by the tests' own client,
 * with what the gateway stored, and with the model's log.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { temporaryDirectory } from '../cli/program.js';
import type { Sink, Span } from '../cli/sink.js';
import { sumOf, type TreeSpan, treeOf } from './bridge.js';
import { isSkipped } from './installed.js';
import {
  type Client,
  connectClient,
  countOver,
  createWatch,
  type Json,
  type Watch,
} from './openclaw/client.js';
import { differences, outline } from './openclaw/differences.js';
import { createFollower, type Follower } from './openclaw/follower.js';
import { createGateway, DRIVER_SCOPES, type Gateway, type Started, startRun } from './openclaw/gateway.js';
import {
  type Model,
  type ModelCall,
  RUNS_OF_SPAWN,
  type Script,
  startModel,
  type Usage,
} from './openclaw/model.js';
import { soon } from './openclaw/soon.js';
import { SPAWN, SPAWN_INTERRUPTED, TOOLS, TOOLS_INTERRUPTED } from './openclaw/trees.js';

const FOLLOWING = /following the gateway at/;
const CAUGHT_UP = /backfilled a gap of \S+ s \(.+\) from ws:/;
const MESSAGE_LIMIT_MS = 15_000;
/** The interval at which a gateway that refuses the token is asked again. */
const TRIED_AGAIN_MS = 30_000;

/** The tolerance for the times of events that were recovered. */
const RECOVERED = { times_ms: 50 };
const ARRIVAL_LIMIT_MS = 20_000;

/** The scripts played while some bridges are disturbed; another one follows for the undisturbed bridge only. */
const TOGETHER = ['plain', 'tools', 'spawn', 'refused', 'aborted'] as const satisfies Script[];
const PLAYED = [...TOGETHER, 'silent'] as const;
type Played = (typeof PLAYED)[number];

/** Metrics and span attributes by the model's name for the quantity. */
const COUNTERS = {
  input: 'gen_ai.client.inference.usage.input_tokens',
  output: 'gen_ai.client.inference.usage.output_tokens',
  cached: 'gen_ai.client.inference.usage.cache_read.input_tokens',
  reasoning: 'gen_ai.client.inference.usage.reasoning.output_tokens',
};
const ATTRIBUTES = {
  input: 'gen_ai.usage.input_tokens',
  output: 'gen_ai.usage.output_tokens',
  cached: 'gen_ai.usage.cache_read.input_tokens',
  reasoning: 'gen_ai.usage.reasoning.output_tokens',
};

/** Whether all tools that this step requested together have started. */
function haveStarted(watch: Watch, calls: ModelCall[], script: Script, step: number): boolean {
  const call = calls.find((each) => each.script === script && each.step === step);
  const started = watch.events
    .filter(({ event, payload }) => event === 'session.tool' && payload.data.phase === 'start')
    .map(({ payload }) => payload.data.toolCallId);
  return call !== undefined && call.call_ids.length > 0 && call.call_ids.every((id) => started.includes(id));
}

const valuesOf = (spans: Span[], name: string): unknown[] => spans.map(({ attributes }) => attributes[name]);

/** Whether every model call whose response was read has a span. */
function hasAnswers({ sink }: Follower, calls: ModelCall[]): boolean {
  const arrived = new Set(valuesOf(sink.spans(), 'gen_ai.response.id'));
  return calls.every(({ usage, response_id }) => usage === undefined || arrived.has(response_id));
}

/** Waits without failing: for a missing span the tests' comparison says more than a timeout. */
async function untilArrived(sink: Sink, span_ids: string[]): Promise<void> {
  const hasAll = (): boolean => {
    const arrived = new Set(sink.spans().map(({ span_id }) => span_id));
    return span_ids.every((id) => arrived.has(id));
  };
  await soon('all spans', sink.until(hasAll), ARRIVAL_LIMIT_MS).catch(() => undefined);
}

/** The usage as summed by `sumOf`, quantity by quantity. */
const sumsBy = (names: Record<keyof Usage, string>, sumOf: (name: string) => number): Usage => ({
  input: sumOf(names.input),
  output: sumOf(names.output),
  cached: sumOf(names.cached),
  reasoning: sumOf(names.reasoning),
});

/** The usage that the model counted. */
function usageOf(calls: ModelCall[]): Usage {
  const told = calls.flatMap(({ usage }) => usage ?? []);
  const total = (part: keyof Usage): number => told.reduce((sum, usage) => sum + usage[part], 0);
  return {
    input: total('input'),
    output: total('output'),
    cached: total('cached'),
    reasoning: total('reasoning'),
  };
}

const spansOfTrace = ({ sink }: Follower, trace_id: string | undefined): Span[] =>
  sink.spans().filter((span) => span.trace_id === trace_id);

const withoutCopies = (spans: Span[]): Span[] => [
  ...new Map(spans.map((span) => [span.span_id, span])).values(),
];

/** The trace that begins with this run. */
function traceOf(follower: Follower, { run_id }: Started): Span[] {
  const spans = follower.sink.spans();
  const root = spans.find(
    ({ name, attributes }) => name.startsWith('invoke_agent') && attributes['openclaw.run.id'] === run_id,
  );
  return spansOfTrace(follower, root?.trace_id);
}

describe.skipIf(isSkipped('openclaw'))('a real gateway', () => {
  let model: Model;
  let gateway: Gateway;
  let watch: Watch;
  let observer: Client;
  let driver: Client;
  let followers: Record<'undisturbed' | 'cut' | 'stopped' | 'killed', Follower>;
  /** A bridge that was started before the gateway. */
  let early: Follower;
  /** A bridge with a wrong token. */
  let unwelcome: Follower;
  let unwelcome_since_ms: number;
  let calls: ModelCall[];
  const started = {} as Record<Played, Started>;
  const expected = {} as Record<Played, TreeSpan[]>;
  const statuses: Record<string, number | null> = {};

  async function connect(): Promise<void> {
    observer = await watch.connect();
    driver = await connectClient(gateway, { scopes: DRIVER_SCOPES });
  }

  async function startGateway(): Promise<void> {
    model = await startModel();
    gateway = await createGateway(model.url);
    early = await createFollower(gateway);
    early.start();
    await soon('a message of the early one', early.said(/can't be reached/), MESSAGE_LIMIT_MS);
    await gateway.start();
    watch = createWatch(gateway);
    await connect();
  }

  /** A gateway's first run is slow; once it arrives, all bridges are following. */
  async function startFollowers(): Promise<void> {
    const create = () => createFollower(gateway);
    const [undisturbed, cut, stopped, killed] = [
      await create(),
      await create(),
      await create(),
      await create(),
    ];
    followers = { undisturbed, cut, stopped, killed };
    unwelcome = await createFollower({ ...gateway, token: 'wrong-token' });
    unwelcome_since_ms = Date.now();
    for (const follower of [undisturbed, cut, stopped, killed, unwelcome]) follower.start();
    const all = Object.values(followers);
    await soon('following', Promise.all(all.map((follower) => follower.said(FOLLOWING))));
    await soon('a refusal', unwelcome.said(/OPENCLAW_GATEWAY_TOKEN/), MESSAGE_LIMIT_MS);
    await startRun(driver, 'plain');
    await soon(
      'a first run',
      watch.until(() => countOver(watch) === 1),
    );
    await untilAnswersArrived(all);
  }

  async function untilAnswersArrived(all: Follower[], since = 0): Promise<void> {
    const calls = model.log.slice(since);
    for (const follower of all) {
      await soon(
        'the answers so far',
        follower.sink.until(() => hasAnswers(follower, calls)),
      );
    }
  }

  /** Plays scripts at the same time, and disturbs three bridges in the middle of `tools` and `spawn`. */
  async function playTogether(): Promise<void> {
    const { cut, stopped, killed } = followers;
    const disturbed = [cut, stopped, killed];
    const before = model.hold('tools 1', 'child-a 0', 'child-b 0');
    const after = model.hold('tools 6', 'grandchild 1');
    for (const script of TOGETHER) started[script] = await startRun(driver, script);
    await soon('the middle', before.reached);
    await soon(
      'a tool to abort',
      watch.until(() => haveStarted(watch, model.log, 'aborted', 0)),
    );
    // The wait for missing reasoning tokens ends after some seconds, and this gap may last longer.
    await untilAnswersArrived(disturbed);
    cut.way.cut();
    await Promise.all([stopped.end(), killed.end('SIGKILL')]);
    before.release();
    const { session_key, run_id } = started.aborted;
    await driver.call('chat.abort', { sessionKey: session_key, runId: run_id });
    await soon(
      'tools side by side',
      watch.until(() => haveStarted(watch, model.log, 'tools', 5)),
    );
    cut.way.mend();
    stopped.start();
    killed.start();
    await soon('the last answers', after.reached);
    await soon('catching up', Promise.all(disturbed.map((follower) => follower.said(CAUGHT_UP))));
    after.release();
    // Including the first run.
    const count = 1 + (TOGETHER.length - 1) + RUNS_OF_SPAWN;
    // A request may be continued in more runs than that.
    await soon(
      'the end of all runs',
      watch.until(() => countOver(watch) >= count && countOver(watch) === watch.runs.size),
    );
  }

  /** Reads the expected spans from the recording so far, including reasoning tokens. */
  async function readRecording(scripts: readonly Played[]): Promise<void> {
    const keys = new Set([...watch.runs.values()].map(({ session_key }) => session_key));
    for (const key of keys) await observer.call('sessions.get', { key, limit: 200 });
    const path = join(temporaryDirectory(), 'recording.ndjson');
    await writeFile(path, watch.recording());
    const spans = await treeOf(path);
    for (const script of scripts) {
      const root = spans.find(({ attributes }) => attributes['openclaw.run.id'] === started[script].run_id);
      expected[script] = spans.filter(({ trace_id }) => trace_id === root?.trace_id);
    }
  }

  async function end(name: keyof typeof followers, scripts: readonly Played[]): Promise<void> {
    const span_ids = scripts.flatMap((script) => expected[script].map(({ span_id }) => span_id));
    await untilArrived(followers[name].sink, span_ids);
    statuses[name] = await followers[name].end();
  }

  beforeAll(async () => {
    await startGateway();
    await startFollowers();
    await playTogether();
    await readRecording(TOGETHER);
    await Promise.all((['cut', 'stopped', 'killed'] as const).map((name) => end(name, ['tools', 'spawn'])));
    const over = countOver(watch);
    started.silent = await startRun(driver, 'silent');
    await soon(
      'the end of a silent run',
      watch.until(() => countOver(watch) > over),
    );
    await readRecording(['silent']);
    // Its answers are not in the recording, since they are not pushed.
    await untilAnswersArrived([followers.undisturbed]);
    await end('undisturbed', TOGETHER);
    calls = [...model.log];
  });
  afterAll(async () => {
    for (const client of [observer, driver]) client?.close();
    await gateway?.remove();
    await model?.stop();
  });

  const arrived = (name: keyof typeof followers, script: Played): Span[] =>
    spansOfTrace(followers[name], expected[script][0]?.trace_id);

  test.each(TOGETHER)('%s arrives as in a replay of its recording', (script) => {
    expect(expected[script].length).toBeGreaterThan(0);
    expect(differences(expected[script], arrived('undisturbed', script), { times_ms: 1 })).toEqual([]);
  });

  test('silent answers, whose messages the gateway does not push, are there with their tokens', () => {
    const asked = calls.filter(({ script }) => script === 'silent');
    const chats = arrived('undisturbed', 'silent').filter(({ name }) => name.startsWith('chat'));
    const answered = valuesOf(chats, 'gen_ai.response.id');
    expect(answered.sort()).toEqual(asked.map(({ response_id }) => response_id).sort());
    expect(sumsBy(ATTRIBUTES, (name) => sumOf(chats, name))).toEqual(usageOf(asked));
  });

  test.each([
    ['tools', TOOLS],
    ['spawn', SPAWN],
  ] as const)('%s is one tree', (script, tree) => {
    expect(`\n${outline(arrived('undisturbed', script)).join('\n')}`).toBe(tree);
  });

  test('each run is a trace, and there are no others', () => {
    const traces = new Set(followers.undisturbed.sink.spans().map(({ trace_id }) => trace_id));
    // Including the first run.
    expect(traces.size).toBe(PLAYED.length + 1);
  });

  test('each tool call of the model has a span', () => {
    const asked = calls.flatMap(({ call_ids }) => call_ids);
    const told = valuesOf(followers.undisturbed.sink.spans(), 'gen_ai.tool.call.id');
    expect(told.filter((id) => asked.includes(String(id))).sort()).toEqual(asked.sort());
  });

  test('the spans add up to the usage that the model counted', () => {
    const spans = followers.undisturbed.sink.spans();
    expect(sumsBy(ATTRIBUTES, (name) => sumOf(spans, name))).toEqual(usageOf(calls));
  });

  test.each(['undisturbed', 'cut', 'stopped', 'killed'] as const)(
    'the counters of the bridge that was %s add up to the usage that the model counted',
    (name) => {
      // The others had ended before the silent answers.
      const counted = name === 'undisturbed' ? calls : calls.filter(({ script }) => script !== 'silent');
      const { totalOf, totalOnceOf } = followers[name].sink;
      // A request whose response had not been stored at the kill is sent again, byte for byte.
      expect(sumsBy(COUNTERS, name === 'killed' ? totalOnceOf : totalOf)).toEqual(usageOf(counted));
    },
  );

  describe.each(['cut', 'stopped', 'killed'] as const)('the bridge that was %s in the middle', (name) => {
    test.each(['plain', 'tools', 'spawn'] as const)('has all of %s', (script) => {
      const tolerance = { ...RECOVERED, may_repeat: name === 'killed' };
      expect(differences(expected[script], arrived(name, script), tolerance)).toEqual([]);
    });

    test('has the run that was aborted meanwhile', () => {
      expect(outline(withoutCopies(arrived(name, 'aborted')))).toEqual([
        'invoke_agent main: cancelled',
        '  chat scripted',
        '  execute_tool exec: cancelled',
      ]);
    });
  });

  test('each bridge exits with status 0', () => {
    expect(statuses).toEqual({ undisturbed: 0, cut: 0, stopped: 0, killed: 0 });
  });

  test('a wrong token is reported once, and not tried again and again', () => {
    expect(unwelcome.output().match(/rejected the token; set OPENCLAW_GATEWAY_TOKEN/g)).toHaveLength(1);
    const tries = 1 + (Date.now() - unwelcome_since_ms) / TRIED_AGAIN_MS;
    expect(unwelcome.way.count()).toBeLessThanOrEqual(Math.ceil(tries));
    expect(unwelcome.sink.spans()).toEqual([]);
  });

  test('no token is printed', () => {
    for (const { output } of [...Object.values(followers), early, unwelcome]) {
      expect(output()).not.toMatch(new RegExp(`${gateway.token}|wrong-token`));
    }
  });

  describe('a gateway that was killed and restarted', () => {
    const interrupted = {} as Record<'tools' | 'spawn', Started>;
    /** The stored answers of the interrupted runs. */
    let rows: Json[];

    async function interrupt(): Promise<void> {
      await soon('the early one', early.said(FOLLOWING));
      const hold = model.hold('tools 2', 'child-a 0', 'child-b 0');
      for (const script of ['tools', 'spawn'] as const) interrupted[script] = await startRun(driver, script);
      await soon('the middle', hold.reached);
      await untilAnswersArrived([early], calls.length);
      await gateway.kill();
      await gateway.start();
      await connect();
      hold.release();
    }

    /** Whether OpenClaw has resumed and finished the request in another run, which it does by itself. */
    const isTakenUp = (): boolean =>
      [...watch.runs].some(
        ([run_id, run]) =>
          run.session_key === interrupted.tools.session_key &&
          run_id !== interrupted.tools.run_id &&
          run.is_over,
      );

    beforeAll(async () => {
      const seen = new Set(watch.runs.keys());
      await interrupt();
      await soon('the end of what was taken up', watch.until(isTakenUp));
      const runs = [...watch.runs].filter(([run_id]) => !seen.has(run_id)).map(([, run]) => run);
      const keys = [...new Set(runs.map(({ session_key }) => session_key))];
      const answers = await Promise.all(
        keys.map((key) => observer.call('sessions.get', { key, limit: 200 })),
      );
      rows = answers.flatMap(({ messages }) => messages).filter(({ role }) => role === 'assistant');
      const wanted = model.log.filter(({ response_id }) =>
        rows.some((row) => row.responseId === response_id),
      );
      // It may wait half a minute before it tries again.
      const hasAll = (): boolean => hasAnswers(early, wanted);
      await soon('the answers', early.sink.until(hasAll)).catch(() => undefined);
      await early.end();
    });

    test.each([
      ['tools', TOOLS_INTERRUPTED],
      ['spawn', SPAWN_INTERRUPTED],
    ] as const)('shows %s as one tree', (script, tree) => {
      expect(`\n${outline(traceOf(early, interrupted[script])).join('\n')}`).toBe(tree);
    });

    test('shows each stored answer once, with its tokens', () => {
      const stored = rows.filter(({ responseId }) => responseId !== undefined);
      expect(stored.length).toBeGreaterThan(0);
      for (const { responseId, usage } of stored) {
        const chats = early.sink
          .spans()
          .filter(({ attributes }) => attributes['gen_ai.response.id'] === responseId);
        expect(
          chats.map(({ attributes }) => attributes[ATTRIBUTES.output]),
          responseId,
        ).toEqual([usage.output]);
        expect(sumOf(chats, ATTRIBUTES.reasoning), responseId).toBe(usage.reasoningTokens);
      }
    });
  });
});
