/**
 * The bridge and a real OpenClaw gateway with a scripted model. Several bridges follow the same runs: one undisturbed, the
 * others each with a disturbance in the middle of them. What arrives is compared with a recording that a client of the tests'
 * own has made, with what the gateway has stored, and with the model's log.
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
const CAUGHT_UP = /asked ws:\S+ for what was missed/;
const MESSAGE_LIMIT_MS = 15_000;
/** How often a gateway that refuses the token is asked again. */
const TRIED_AGAIN_MS = 30_000;

/** What comes again under the same ids may be late by this much, or early. */
const RECOVERED = { times_ms: 50 };
const ARRIVAL_LIMIT_MS = 20_000;

/** What is played while some are disturbed; after that one more, for the undisturbed one alone. */
const TOGETHER = ['plain', 'tools', 'spawn', 'refused', 'aborted'] as const satisfies Script[];
const PLAYED = [...TOGETHER, 'silent'] as const;
type Played = (typeof PLAYED)[number];

/** Metrics and span attributes by what the model calls it. */
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

/** Whether the tools of this step, which were asked for together, have all started. */
function haveStarted(watch: Watch, calls: ModelCall[], script: Script, step: number): boolean {
  const call = calls.find((each) => each.script === script && each.step === step);
  const started = watch.events
    .filter(({ event, payload }) => event === 'session.tool' && payload.data.phase === 'start')
    .map(({ payload }) => payload.data.toolCallId);
  return call !== undefined && call.call_ids.length > 0 && call.call_ids.every((id) => started.includes(id));
}

const valuesOf = (spans: Span[], name: string): unknown[] => spans.map(({ attributes }) => attributes[name]);

/** Whether every model call of which the answer was taken has its span. */
function hasAnswers({ sink }: Follower, calls: ModelCall[]): boolean {
  const arrived = new Set(valuesOf(sink.spans(), 'gen_ai.response.id'));
  return calls.every(({ usage, response_id }) => usage === undefined || arrived.has(response_id));
}

/** What never comes is found missing by the tests, which tell more than a timeout does. */
async function untilArrived(sink: Sink, span_ids: string[]): Promise<void> {
  const hasAll = (): boolean => {
    const arrived = new Set(sink.spans().map(({ span_id }) => span_id));
    return span_ids.every((id) => arrived.has(id));
  };
  await soon('all spans', sink.until(hasAll), ARRIVAL_LIMIT_MS).catch(() => undefined);
}

/** The sums of each part of the usage, as told by `sumOf`. */
const sumsBy = (names: Record<keyof Usage, string>, sumOf: (name: string) => number): Usage => ({
  input: sumOf(names.input),
  output: sumOf(names.output),
  cached: sumOf(names.cached),
  reasoning: sumOf(names.reasoning),
});

/** What the model has counted. A silent answer is pushed to nobody. */
function usageOf(calls: ModelCall[]): Usage {
  const told = calls.flatMap(({ script, usage }) => (script === 'silent' || !usage ? [] : [usage]));
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

/** The trace that began with this run. */
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
  /** It was there before the gateway. */
  let early: Follower;
  /** It has a wrong token. */
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

  /** The first run of a gateway is slow; by it all are seen to follow. */
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

  /** Plays scripts at a time, and disturbs three of the bridges while `tools` and `spawn` are in the middle. */
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
    // Reasoning tokens that are not known within some seconds are given up, and this gap may last longer.
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
    // And the one before all others.
    const count = 1 + (TOGETHER.length - 1) + RUNS_OF_SPAWN;
    // It may go on with a request more often than that.
    await soon(
      'the end of all runs',
      watch.until(() => countOver(watch) >= count && countOver(watch) === watch.runs.size),
    );
  }

  /** What the recording so far is, with the reasoning tokens. */
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
    await end('undisturbed', PLAYED);
    calls = [...model.log];
  });
  afterAll(async () => {
    for (const client of [observer, driver]) client?.close();
    await gateway?.remove();
    await model?.stop();
  });

  const arrived = (name: keyof typeof followers, script: Played): Span[] =>
    spansOfTrace(followers[name], expected[script][0]?.trace_id);

  test.each(PLAYED)('%s arrives as its recording is replayed', (script) => {
    expect(expected[script].length).toBeGreaterThan(0);
    expect(differences(expected[script], arrived('undisturbed', script), { times_ms: 1 })).toEqual([]);
  });

  test.each([
    ['tools', TOOLS],
    ['spawn', SPAWN],
  ] as const)('%s is one tree', (script, tree) => {
    expect(`\n${outline(arrived('undisturbed', script)).join('\n')}`).toBe(tree);
  });

  test('each run, and no other, is a trace', () => {
    const traces = new Set(followers.undisturbed.sink.spans().map(({ trace_id }) => trace_id));
    // And the one before all others.
    expect(traces.size).toBe(PLAYED.length + 1);
  });

  test('each tool call of the model has its span', () => {
    const asked = calls.flatMap(({ call_ids }) => call_ids);
    const told = valuesOf(followers.undisturbed.sink.spans(), 'gen_ai.tool.call.id');
    expect(told.filter((id) => asked.includes(String(id))).sort()).toEqual(asked.sort());
  });

  test('the spans add up to what the model has counted', () => {
    const spans = followers.undisturbed.sink.spans();
    expect(sumsBy(ATTRIBUTES, (name) => sumOf(spans, name))).toEqual(usageOf(calls));
  });

  test.each(['undisturbed', 'cut', 'stopped', 'killed'] as const)(
    'and so do the counters of the one %s',
    (name) => {
      expect(sumsBy(COUNTERS, followers[name].sink.totalOf)).toEqual(usageOf(calls));
    },
  );

  describe.each(['cut', 'stopped', 'killed'] as const)('the one %s in the middle', (name) => {
    test.each(['plain', 'tools', 'spawn'] as const)('has all of %s', (script) => {
      const tolerance = { ...RECOVERED, may_repeat: name === 'killed' };
      expect(differences(expected[script], arrived(name, script), tolerance)).toEqual([]);
    });

    test('knows what was aborted meanwhile', () => {
      expect(outline(withoutCopies(arrived(name, 'aborted')))).toEqual([
        'invoke_agent main: cancelled',
        '  chat scripted',
        '  execute_tool exec: cancelled',
      ]);
    });
  });

  test('each ends with nothing left', () => {
    expect(statuses).toEqual({ undisturbed: 0, cut: 0, stopped: 0, killed: 0 });
  });

  test('a wrong token is told once, and not asked with again and again', () => {
    expect(unwelcome.output().match(/refuses the token; set OPENCLAW_GATEWAY_TOKEN/g)).toHaveLength(1);
    const tries = 1 + (Date.now() - unwelcome_since_ms) / TRIED_AGAIN_MS;
    expect(unwelcome.way.count()).toBeLessThanOrEqual(Math.ceil(tries));
    expect(unwelcome.sink.spans()).toEqual([]);
  });

  test('nobody says a token', () => {
    for (const { output } of [...Object.values(followers), early, unwelcome]) {
      expect(output()).not.toMatch(new RegExp(`${gateway.token}|wrong-token`));
    }
  });

  describe('killed and started again', () => {
    const interrupted = {} as Record<'tools' | 'spawn', Started>;
    /** What it has stored of them. */
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

    /** OpenClaw takes up the request by itself, in a run of its own. */
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
      // It may have to wait half a minute before it tries again.
      const hasAll = (): boolean => hasAnswers(early, wanted);
      await soon('the answers', early.sink.until(hasAll)).catch(() => undefined);
      await early.end();
    });

    test.each([
      ['tools', TOOLS_INTERRUPTED],
      ['spawn', SPAWN_INTERRUPTED],
    ] as const)('%s is one tree', (script, tree) => {
      expect(`\n${outline(traceOf(early, interrupted[script])).join('\n')}`).toBe(tree);
    });

    test('each stored answer is there once, with its tokens', () => {
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
