/**
 * `replay` of every recording: all of it arrives, under ids that follow from the published formula, and replaying it a
 * second time adds nothing.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { test } from './concurrent.js';
import { spanId, traceId } from './ids.js';
import { pathOf, runForSummary } from './program.js';
import { type Sink, type Span, startSink } from './sink.js';

const recordingsIn = (directory: string): string[] =>
  readdirSync(pathOf(directory))
    .filter((name) => /\.(ndjson|jsonl)$/.test(name))
    .map((name) => pathOf(`${directory}/${name}`));

interface Recording {
  name: string;
  files: string[];
}

/** Transcripts are one file per session, so all of them are replayed together. */
const RECORDINGS: Recording[] = [
  ...[
    'examples',
    ...['', '/2026.4.29', '/2026.5.28', '/2026.6.35'].map((version) => `test/fixtures/gateway${version}`),
  ]
    .flatMap(recordingsIn)
    .map((file) => ({ name: file.slice(pathOf('').length), files: [file] })),
  { name: 'test/fixtures/transcripts', files: recordingsIn('test/fixtures/transcripts') },
];

/** All strings in a recording: the id of each model call is one of them. */
function textsIn(files: string[]): Set<string> {
  const texts = new Set<string>();
  const look = (value: unknown): void => {
    if (typeof value === 'string') texts.add(value);
    else if (typeof value === 'object' && value !== null) for (const each of Object.values(value)) look(each);
  };
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  for (const line of lines) if (line !== '') look(JSON.parse(line));
  return texts;
}

const STEPS = Array.from({ length: 100 }, (_, index) => String(index + 1));

function expectSpanId({ span_id, attributes }: Span, texts: Set<string>): void {
  const session_key = String(attributes['openclaw.session.key']);
  const run_id = String(attributes['openclaw.run.id']);
  const idOf = (kind: 'run' | 'tool' | 'chat', own_id: string): string =>
    spanId(kind, session_key, run_id, own_id);
  const response_id = attributes['gen_ai.response.id'];
  switch (attributes['gen_ai.operation.name']) {
    case 'invoke_agent':
      return expect(span_id).toBe(idOf('run', ''));
    case 'execute_tool':
      return expect(span_id).toBe(idOf('tool', String(attributes['gen_ai.tool.call.id'])));
    case 'chat':
      if (response_id !== undefined) return expect(span_id).toBe(idOf('chat', String(response_id)));
      return expect([...texts, ...STEPS].map((own_id) => idOf('chat', own_id))).toContain(span_id);
    default:
      throw new Error(`unknown operation: ${JSON.stringify(attributes)}`);
  }
}

function expectTraceIds(spans: Span[]): void {
  const roots = spans.filter(({ parent_span_id }) => parent_span_id === '');
  const expected = roots.map(({ attributes }) =>
    traceId(String(attributes['openclaw.session.key']), String(attributes['openclaw.run.id'])),
  );
  expect(roots.map(({ trace_id }) => trace_id)).toEqual(expected);
  expect(new Set(spans.map(({ trace_id }) => trace_id))).toEqual(new Set(expected));
  const ids = new Set(spans.map(({ trace_id, span_id }) => `${trace_id} ${span_id}`));
  expect(ids.size).toBe(spans.length);
  for (const { trace_id, parent_span_id } of spans)
    if (parent_span_id !== '') expect(ids).toContain(`${trace_id} ${parent_span_id}`);
}

const identities = (sink: Sink): string[] =>
  sink
    .spans()
    .map(({ trace_id, span_id, parent_span_id, name }) => [trace_id, span_id, parent_span_id, name].join(' '))
    .sort();

test.each(RECORDINGS)('$name arrives completely, with the published ids', async ({ files }) => {
  const sink = await startSink();
  const { status, stdout, summary } = await runForSummary(['replay', ...files, '--to', `otlp=${sink.url}`]);
  expect(status).toBe(0);
  expect(stdout).toBe('');
  const spans = sink.spans();
  expect(spans.length).toBeGreaterThan(0);
  const { traces, logs } = summary.destinations.otlp ?? {};
  expect(traces).toMatchObject({ produced: spans.length, delivered: spans.length });
  expect(logs).toMatchObject({ produced: sink.logs().length, delivered: sink.logs().length });
  expect(summary.source.rejected).toEqual({});
  expect(summary.runs.open).toBe(0);
  const texts = textsIn(files);
  for (const span of spans) expectSpanId(span, texts);
  expectTraceIds(spans);
  const ids = new Set(spans.map(({ span_id }) => span_id));
  for (const log of sink.logs()) expect(ids).toContain(log.span_id);
});

test.each(RECORDINGS.filter(({ name }) => /sub-agents|catalog|transcripts/.test(name)))(
  '$name gives the same spans if it is replayed twice in one command',
  async ({ files }) => {
    const [once, twice] = [await startSink(), await startSink()];
    await runForSummary(['replay', ...files, '--to', `otlp=${once.url}`]);
    const { status } = await runForSummary(['replay', ...files, ...files, '--to', `otlp=${twice.url}`]);
    expect(status).toBe(0);
    expect(identities(twice)).toEqual(identities(once));
  },
);
