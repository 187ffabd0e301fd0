/**
 * Recordings of the real gateway against an oracle that knows nothing of the decoder: it counts runs, calls and model calls
 * straight from the frames, and adds up the messages' tokens.
 */
import { describe, expect, test } from 'vitest';
import type { SpanRecord } from '../src/model/telemetry.js';
import {
  correlate,
  decodeFile,
  decodeLines,
  example,
  fixture,
  identities,
  readLines,
  sumOf,
} from './helpers.js';

// biome-ignore lint/suspicious/noExplicitAny: frames are of any shape, and the oracle looks at them as they are
type Frame = any;

const RECORDINGS = [
  example('sub-agents.ndjson'),
  example('tools.ndjson'),
  ...[
    'spawn',
    'plain',
    'plain-anthropic',
    'ask',
    'compact',
    'err500',
    'abort-tool',
    'progress',
    'shutdown-busy',
  ].map((name) => fixture(`gateway/${name}.ndjson`)),
  fixture('gateway/2026.4.29/plain.ndjson'),
  fixture('gateway/2026.4.29/tools.ndjson'),
];

interface Oracle {
  runs: Map<string, { start_ms: number; end_ms: number }>;
  calls: Map<string, { start_ms: number; end_ms: number }>;
  messages: Frame[];
  /** Model calls that began and have no message. */
  unstored: number;
}

const isModelCall = (message: Frame): boolean =>
  message.role === 'assistant' &&
  message.provider !== 'openclaw' &&
  !(message.stopReason === 'aborted' && message.usage.totalTokens === 0);

/** After a yield the gateway announces a model call that is never made. */
function countUnstored(frames: Frame[], messages: Frame[]): number {
  const yields = new Set<string>();
  let unstored = 0;
  for (const { event, payload } of frames) {
    if (event === 'session.tool' && payload.data.name === 'sessions_yield') yields.add(payload.runId);
    if (event !== 'agent' || payload.stream !== 'lifecycle' || payload.data.phase !== 'model') continue;
    if (payload.data.model === null || yields.has(payload.runId)) continue;
    const isStored = messages.some(
      (message) =>
        message.__openclaw.runId === payload.runId &&
        message.timestamp <= payload.ts &&
        payload.ts <= (message.__openclaw.recordTimestampMs ?? Number.POSITIVE_INFINITY),
    );
    if (!isStored) unstored++;
  }
  return unstored;
}

function lookAt(path: string): Oracle {
  const frames = readLines(path)
    .map((line) => JSON.parse(line).frame as Frame)
    .filter((frame) => frame?.type === 'event');
  const runs = new Map<string, { start_ms: number; end_ms: number }>();
  const calls = new Map<string, { start_ms: number; end_ms: number }>();
  for (const { payload } of frames) {
    const { runId, stream, data, ts } = payload;
    if (stream === 'lifecycle' && data.phase === 'start' && !runs.has(runId))
      runs.set(runId, { start_ms: ts, end_ms: 0 });
    const run = runs.get(runId);
    const isOver = data?.executionSettled === true || payload.agentId === undefined;
    if (run && stream === 'lifecycle' && ['end', 'error'].includes(data.phase) && isOver)
      run.end_ms ||= data.endedAt;
    if (stream !== 'tool') continue;
    const key = `${runId} ${data.toolCallId}`;
    if (data.phase === 'start') calls.set(key, { start_ms: ts, end_ms: 0 });
    const call = calls.get(key);
    if (call && data.phase === 'result') call.end_ms = ts;
  }
  const messages = frames
    .filter(({ event }) => event === 'session.message')
    .map(({ payload }) => payload.message)
    .filter(isModelCall);
  return { runs, calls, messages, unstored: countUnstored(frames, messages) };
}

const ofKind = (spans: SpanRecord[], kind: string): SpanRecord[] =>
  spans.filter((span) => span.kind === kind);
const TOLERANCE_MS = 50;

describe.each(RECORDINGS)('%s', (path) => {
  const oracle = lookAt(path);
  const emission = correlate(decodeFile(path));
  const { spans } = emission;

  test('one span a run, at its times', () => {
    const runs = ofKind(spans, 'run');
    expect(runs.map((span) => span.attributes['openclaw.run.id']).sort()).toEqual(
      [...oracle.runs.keys()].sort(),
    );
    for (const run of runs) {
      const { start_ms, end_ms } = oracle.runs.get(String(run.attributes['openclaw.run.id']))!;
      expect(Math.abs(run.start_ms - start_ms)).toBeLessThanOrEqual(TOLERANCE_MS);
      expect(Math.abs(run.end_ms! - end_ms)).toBeLessThanOrEqual(TOLERANCE_MS);
    }
  });

  test('one span a tool call, at its times', () => {
    const calls = ofKind(spans, 'tool');
    const keyOf = ({ attributes }: SpanRecord): string =>
      `${attributes['openclaw.run.id']} ${attributes['gen_ai.tool.call.id']}`;
    expect(calls.map(keyOf).sort()).toEqual([...oracle.calls.keys()].sort());
    for (const call of calls) {
      const { start_ms, end_ms } = oracle.calls.get(keyOf(call))!;
      expect(Math.abs(call.start_ms - start_ms)).toBeLessThanOrEqual(TOLERANCE_MS);
      expect(Math.abs(call.end_ms! - end_ms)).toBeLessThanOrEqual(TOLERANCE_MS);
    }
  });

  test('one span a model call, and token sums equal to the messages', () => {
    expect(ofKind(spans, 'chat')).toHaveLength(oracle.messages.length + oracle.unstored);
    const total = (pick: (usage: Frame) => number): number =>
      oracle.messages.reduce((sum, { usage }) => sum + pick(usage), 0);
    const input = total(({ input, cacheRead, cacheWrite }) => input + cacheRead + cacheWrite);
    expect(sumOf(emission, 'gen_ai.client.inference.usage.input_tokens')).toBe(input);
    expect(sumOf(emission, 'gen_ai.client.inference.usage.output_tokens')).toBe(
      total(({ output }) => output),
    );
    const onSpans = ofKind(spans, 'chat').map((span) =>
      Number(span.attributes['gen_ai.usage.input_tokens'] ?? 0),
    );
    expect(onSpans.reduce((sum, each) => sum + each, 0)).toBe(input);
  });

  test('no span id twice, and every parent is there', () => {
    const ids = new Set(spans.map((span) => span.span_id));
    expect(ids.size).toBe(spans.length);
    for (const { parent_span_id } of spans) if (parent_span_id) expect(ids).toContain(parent_span_id);
  });

  test('the same file twice gives the same spans', () => {
    const once = decodeFile(path);
    expect(identities(correlate([...once, ...decodeFile(path)]).spans)).toEqual(identities(spans));
  });
});

test('a request with sub-agents is one trace, with the announce runs linked', () => {
  const { spans } = correlate(decodeFile(fixture('gateway/spawn.ndjson')));
  expect(new Set(spans.map((span) => span.trace_id)).size).toBe(1);
  const byId = new Map(spans.map((span) => [span.span_id, span]));
  const path = (span: SpanRecord): string =>
    [span.parent_span_id ? path(byId.get(span.parent_span_id)!) : '', span.name.replace(/^\w+ /, '')].join(
      '/',
    );
  const runs = ofKind(spans, 'run');
  expect(runs.map(path).sort()).toEqual([
    '/main',
    '/main/main',
    '/main/tool_call/sessions_spawn/Child A',
    '/main/tool_call/sessions_spawn/Child B',
    '/main/tool_call/sessions_spawn/Child B/Child B',
    '/main/tool_call/sessions_spawn/Child B/tool_call/sessions_spawn/Grandchild',
  ]);
  const linked = runs.filter((run) => run.links.length > 0);
  expect(linked.map((run) => run.links.map((link) => path(byId.get(link.span_id)!)))).toEqual([
    ['/main/tool_call/sessions_spawn/Child B/tool_call/sessions_spawn/Grandchild'],
    ['/main/tool_call/sessions_spawn/Child A', '/main/tool_call/sessions_spawn/Child B/Child B'],
  ]);
});

test('lines of independent runs, shuffled within a window, give the same spans', () => {
  const files = ['plain', 'ask', 'err500', 'progress', 'shutdown-busy'].map((name) =>
    fixture(`gateway/${name}.ndjson`),
  );
  const apart = files.flatMap((file) => correlate(decodeFile(file)).spans);
  const queues = files.map(readLines);
  const mixed: string[] = [];
  for (let turn = 0; queues.some((queue) => queue.length > 0); turn++) {
    mixed.push(...queues[(turn * 7) % queues.length]!.splice(0, 1 + (turn % 5)));
  }
  expect(identities(correlate(decodeLines(mixed)).spans)).toEqual(identities(apart));
});

test('reasoning tokens that the gateway is asked for are on their calls, and are not added to output', () => {
  const emission = correlate(decodeFile(example('sub-agents.ndjson')));
  expect(sumOf(emission, 'gen_ai.client.inference.usage.reasoning.output_tokens')).toBe(28);
  expect(sumOf(emission, 'gen_ai.client.inference.usage.output_tokens')).toBe(359);
});
