/** Recordings of the real gateway, compared with an oracle that counts straight from the frames. */
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
import { lookAt, treeIn, usageOf } from './oracle.js';

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

const ofKind = (spans: SpanRecord[], kind: string): SpanRecord[] =>
  spans.filter((span) => span.kind === kind);
const TOLERANCE_MS = 50;

describe.each(RECORDINGS)('%s', (path) => {
  const oracle = lookAt(path);
  const emission = correlate(decodeFile(path));
  const { spans } = emission;

  test('gives one span per run, with its times', () => {
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

  test('gives one span per tool call, with its times', () => {
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

  test('gives one span per model call, and token sums equal to the messages', () => {
    expect(ofKind(spans, 'chat')).toHaveLength(oracle.messages.length + oracle.unstored.length);
    const usage = usageOf(oracle);
    const used = (kind: string): number => sumOf(emission, `gen_ai.client.inference.usage.${kind}`);
    expect(used('input_tokens')).toBe(usage.input_tokens);
    expect(used('output_tokens')).toBe(usage.output_tokens);
    expect(used('cache_read.input_tokens')).toBe(usage.cached_tokens);
    expect(used('reasoning.output_tokens')).toBe(usage.reasoning_tokens ?? 0);
    expect(sumOf(emission, 'openclaw.cost')).toBeCloseTo(usage.cost_usd, 9);
    const onSpans = ofKind(spans, 'chat').map((span) =>
      Number(span.attributes['gen_ai.usage.input_tokens'] ?? 0),
    );
    expect(onSpans.reduce((sum, each) => sum + each, 0)).toBe(usage.input_tokens);
  });

  test('gives the ids that follow from the frames, each under its parent', () => {
    const { parents, links } = treeIn(oracle);
    expect(Object.fromEntries(spans.map((span) => [span.span_id, span.parent_span_id]))).toEqual(parents);
    const linked = spans.filter((span) => span.links.length > 0);
    expect(
      Object.fromEntries(
        linked.map((span) => [span.span_id, span.links.map(({ span_id }) => span_id).sort()]),
      ),
    ).toEqual(links);
  });

  test('gives each span id once, and every parent', () => {
    const ids = new Set(spans.map((span) => span.span_id));
    expect(ids.size).toBe(spans.length);
    for (const { parent_span_id } of spans) if (parent_span_id) expect(ids).toContain(parent_span_id);
  });

  test('gives the same spans if it is read twice', () => {
    const once = decodeFile(path);
    expect(identities(correlate([...once, ...decodeFile(path)]).spans)).toEqual(identities(spans));
  });
});

test('a request with sub-agents is one trace, with links from the announce runs', () => {
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

test('interleaved lines of independent runs give the same spans', () => {
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

test("reasoning tokens from the gateway's history are on their calls, and not added to the output tokens", () => {
  const emission = correlate(decodeFile(example('sub-agents.ndjson')));
  expect(sumOf(emission, 'gen_ai.client.inference.usage.reasoning.output_tokens')).toBe(28);
  expect(sumOf(emission, 'gen_ai.client.inference.usage.output_tokens')).toBe(359);
});
