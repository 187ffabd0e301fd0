/**
 * Golden pairs: real recordings, and the trees and sums that they give. Each was checked by eye once, against the frames.
 */
import { describe, expect, test } from 'vitest';
import type { Emission, SpanRecord } from '../src/model/telemetry.js';
import { correlate, decodeFile, example, fixture } from './helpers.js';

const CASES: Record<string, string[]> = {
  'sub-agents': [example('sub-agents.ndjson')],
  tools: [example('tools.ndjson')],
  catalog: [example('catalog.ndjson')],
  ...Object.fromEntries(
    [
      'spawn',
      'plain',
      'plain-anthropic',
      'ollama',
      'claude-cli',
      'ask',
      'compact',
      'err500',
      'abort-tool',
      'reused-call-id',
      'resumed-child',
      'woken-children',
      'progress',
      'reconnect',
      'shutdown-busy',
      '2026.4.29/plain',
      '2026.4.29/tools',
      '2026.5.28/spawn-fail',
      '2026.6.35/spawn-fail',
      '2026.6.35/tools',
      '2026.8.2/abort-tool',
    ].map((name) => [`gateway/${name}`, [fixture(`gateway/${name}.ndjson`)]]),
  ),
  transcripts: [
    '502afadc-c6ea-4f42-91c0-c82f3d7863b4',
    '63b94a7b-8d26-41a2-8495-59116b76affe',
    '01e9fca5-ef39-4f46-8578-475529e4dfc4',
    '6b93b108-b764-4051-9b5f-8041fe5c7a73',
    'a4425e10-d1c8-4e63-8210-e22b8dfea6db',
  ].map((id) => fixture(`transcripts/${id}.jsonl`)),
};

const VARYING = new Set([
  'openclaw.session.key',
  'openclaw.run.id',
  'gen_ai.conversation.id',
  'gen_ai.operation.name',
]);

/** One line per span, indented under its parent: name, times from the trace's start, ids, error, links, events, attributes. */
function drawSpans({ spans }: Emission): string {
  const ids = new Set(spans.map((span) => span.span_id));
  const start_ms = Math.min(...spans.map((span) => span.start_ms));
  const sorted = spans.toSorted((a, b) => a.start_ms - b.start_ms || a.span_id.localeCompare(b.span_id));
  const lines: string[] = [];
  const draw = (span: SpanRecord, depth: number): void => {
    const facts = Object.entries(span.attributes).filter(
      ([name, value]) => value !== undefined && !VARYING.has(name),
    );
    lines.push(
      [
        '  '.repeat(depth) + span.name,
        `${span.start_ms - start_ms}..${(span.end_ms ?? Number.NaN) - start_ms}`,
        `${span.trace_id.slice(0, 8)}/${span.span_id}`,
        ...(span.error ? [`ERROR ${span.error.type}`] : []),
        ...span.links.map((link) => `link ${link.span_id}`),
        ...span.events.map((event) => `event ${event.name}@${event.ts_ms - start_ms}`),
        ...facts.map(([name, value]) => `${name}=${JSON.stringify(value)}`),
      ].join(' | '),
    );
    for (const child of sorted.filter((each) => each.parent_span_id === span.span_id)) draw(child, depth + 1);
  };
  for (const root of sorted.filter((span) => !ids.has(span.parent_span_id ?? ''))) draw(root, 0);
  return `${lines.join('\n')}\n`;
}

function drawSums({ measurements, logs }: Emission): string {
  const sums = new Map<string, number>();
  const add = (key: string, value: number): void => void sums.set(key, (sums.get(key) ?? 0) + value);
  for (const { instrument, value, attributes } of measurements) {
    add(`${instrument} ${JSON.stringify(attributes)}`, value);
  }
  for (const { event_name } of logs) add(`log ${event_name}`, 1);
  const rounded = [...sums].map(([key, value]) => `${key} ${Math.round(value * 1e6) / 1e6}`);
  return `${rounded.sort().join('\n')}\n`;
}

describe.each(Object.entries(CASES))('%s', (name, files) => {
  const emission = correlate(files.flatMap(decodeFile));

  test('gives its tree', async () => {
    await expect(drawSpans(emission)).toMatchFileSnapshot(`golden/${name}/traces.txt`);
  });

  test('gives its sums and log records', async () => {
    await expect(drawSums(emission)).toMatchFileSnapshot(`golden/${name}/sums.txt`);
  });
});
