/**
 * From bytes to trees: any chunking of a file gives the same tree, and a bad line costs only itself.
 */
import { readFileSync } from 'node:fs';
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { createCorrelator } from '../src/correlate/index.js';
import { createIntake, createProblemLog, describeProblem, type Intake, type Problem } from '../src/intake.js';
import type { AgentEvent } from '../src/model/event.js';
import type { SavedRecord } from '../src/model/record.js';
import { createLineSplitter } from '../src/source/lines.js';
import { save, savedIn } from './captures.js';
import { correlate, decodeFile, example, fixture, identities, NOW_MS, readLines } from './helpers.js';

const MAX_LINE_BYTES = 1024 * 1024;

function readChunks(chunks: Buffer[], max_line_bytes = MAX_LINE_BYTES) {
  const problems: Problem[] = [];
  const events: AgentEvent[] = [];
  const splitter = createLineSplitter({ max_line_bytes });
  const intake = createIntake({
    dialect: 'auto',
    max_line_bytes,
    onProblem: (problem) => problems.push(problem),
  });
  const take = (lines: ReturnType<typeof splitter.push>, end = false): void => {
    events.push(...intake.take({ kind: 'lines', stream: 'f', end, lines, arrival_ms: 0 }));
  };
  for (const chunk of chunks) take(splitter.push(chunk));
  take(splitter.end(), true);
  return { events, problems, counts: intake.counts() };
}

/** Cuts bytes at the given offsets. */
function cutAt(bytes: Buffer, places: number[]): Buffer[] {
  const cuts = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return cuts.slice(1).map((to, index) => bytes.subarray(cuts[index], to));
}

describe('any chunking gives the same tree', () => {
  const catalog = readFileSync(example('catalog.ndjson'));
  const gateway = readFileSync(fixture('gateway/ask.ndjson'));

  property.prop([fc.array(fc.nat(), { maxLength: 200 })])('for catalog events', (places) => {
    const { events, problems } = readChunks(cutAt(catalog, places));
    expect(problems).toEqual([]);
    expect(identities(correlate(events).spans)).toEqual(
      identities(correlate(decodeFile(example('catalog.ndjson'))).spans),
    );
  });

  property.prop([fc.array(fc.nat(), { maxLength: 200 })], { numRuns: 30 })('for gateway frames', (places) => {
    expect(readChunks(cutAt(gateway, places)).events).toEqual(readChunks([gateway]).events);
  });

  test('byte by byte', () => {
    const bytes = Array.from(catalog, (_, index) => catalog.subarray(index, index + 1));
    expect(readChunks(bytes).events).toEqual(readChunks([catalog]).events);
  });
});

describe('bad lines', () => {
  const good = (run_id: string): string =>
    JSON.stringify({ type: 'agent.started', ts: 1, session_key: 's', run_id });
  const bad: [string, string | Buffer, string][] = [
    ['broken JSON', '{"type":"agent.started",', 'f:2: $: not JSON'],
    ['a string', '"agent.started"', 'f:2: $: not a JSON object'],
    ['null', 'null', 'f:2: $: not a JSON object'],
    ['an array', '[{"type":"agent.started"}]', 'f:2: $: not a JSON object'],
    ['invalid UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 'f:2: $: not valid UTF-8'],
    ['NUL bytes', Buffer.from('{"type":"agent.started"\0}'), 'f:2: $: not JSON'],
    ['a line over the limit', `{"x":"${'y'.repeat(MAX_LINE_BYTES)}"}`, 'f:2: $: longer than 1048576 bytes'],
    ['no type', '{"ts":1}', 'f:2: type: missing'],
    ['a wrong time', good('b').replace('"ts":1', '"ts":"soon"'), 'f:2: ts: '],
    ['a missing session', good('b').replace('"session_key":"s",', ''), 'f:2: session_key: '],
    [
      'a nested wrong type',
      '{"type":"tool.error","ts":1,"session_key":"s","run_id":"b","call_id":"c","error":{"type":"t","message":7}}',
      'f:2: error.message: ',
    ],
    [
      'a fractional count',
      '{"type":"llm.tokens","ts":1,"session_key":"s","run_id":"b","model":"m","provider":"p","input_tokens":1.5,"output_tokens":1}',
      'f:2: input_tokens: ',
    ],
  ];

  test.each(bad)(
    '%s: reported with its place and field, and the lines around it are decoded',
    (_, line, start) => {
      const bytes = Buffer.concat([
        Buffer.from(`${good('a')}\n`),
        Buffer.from(line),
        Buffer.from(`\n${good('z')}\n`),
      ]);
      const { events, problems, counts } = readChunks([bytes]);
      expect(events.map((event) => event.run_id)).toEqual(['a', 'z']);
      expect(problems.map(describeProblem)).toEqual([expect.stringContaining(start)]);
      expect(counts.lines).toBe(3);
      expect(Object.values(counts.rejected)).toEqual([1]);
    },
  );

  test.each([
    ['a BOM', `\ufeff${good('a')}\n`],
    ['CRLF', `${good('a')}\r\n`],
    ['no newline at the end', good('a')],
    ['empty lines', `\n\r\n${good('a')}\n\n`],
    ['a null in an optional field', `${good('a').replace('}', ',"agent_id":null,"extra":null}')}\n`],
  ])('%s is no problem', (_, text) => {
    const { events, problems } = readChunks([Buffer.from(text)]);
    expect(events.map((event) => event.run_id)).toEqual(['a']);
    expect(problems).toEqual([]);
  });

  test('unknown types are counted and ignored', () => {
    const { events, counts } = readChunks([Buffer.from(`{"type":"agent.dreamt","ts":1}\n${good('a')}\n`)]);
    expect(events).toHaveLength(1);
    expect(counts.ignored).toEqual({ unknown_type: 1 });
  });

  test('lone surrogates are replaced', () => {
    const { events } = readChunks([
      Buffer.from('{"type":"agent.started","ts":1,"session_key":"a\\ud800b","run_id":"r"}'),
    ]);
    expect(events[0]?.session_key).toBe('a\ufffdb');
  });
});

describe('an event that a decoder holds back', () => {
  const frame = (stream: string, data: object) => ({
    type: 'event',
    event: 'agent',
    payload: { runId: 'r', sessionKey: 'agent:main:s', stream, ts: 1, data },
  });
  const call = frame('tool', { phase: 'start', name: 'exec', toolCallId: 'c', args: {} });
  const result = frame('tool', { phase: 'result', name: 'exec', toolCallId: 'c', result: {} });

  function takeHeld() {
    const intake = createIntake({ dialect: 'gateway', max_line_bytes: MAX_LINE_BYTES, onProblem: () => {} });
    const lines = [call, result].map((each, index) => ({
      number: index + 1,
      bytes: Buffer.from(JSON.stringify(each)),
    }));
    const events = intake.take({ kind: 'lines', stream: 'f', end: false, lines, arrival_ms: 0 }, 'file:f');
    expect(events.map(({ type }) => type)).toEqual(['tool.call']);
    return intake;
  }

  test('is given when its stream ends', () => {
    const intake = takeHeld();
    const events = intake.take({ kind: 'lines', stream: 'f', end: true, lines: [], arrival_ms: 0 }, 'file:f');
    expect(events.map(({ type }) => type)).toEqual(['tool.output']);
    expect(intake.end()).toEqual([]);
    expect(intake.counts().events).toBe(2);
  });

  test('is given once, and counted, when all streams end', () => {
    const intake = takeHeld();
    expect(intake.end().map(({ type }) => type)).toEqual(['tool.output']);
    expect(intake.end()).toEqual([]);
    expect(intake.counts().events).toBe(2);
    expect(intake.countsBySource()).toEqual({ 'file:f': intake.counts() });
  });
});

test('a value that is nested too deep to be saved is cut, and nothing else is lost', () => {
  const of = { session_key: 'agent:main:s', run_id: 'r' };
  const output = `${'['.repeat(9_000)}1${']'.repeat(9_000)}`;
  const lines = [
    JSON.stringify({ type: 'agent.started', ts: NOW_MS, ...of }),
    JSON.stringify({ type: 'tool.call', ts: NOW_MS, ...of, call_id: 'known', tool: 'exec' }),
    // Its call has not been seen, so the event itself is held in its run.
    `{"type":"tool.output","ts":${NOW_MS},"session_key":"agent:main:s","run_id":"r","call_id":"other","output":${output}}`,
  ];
  const { events, problems } = readChunks([Buffer.from(lines.join('\n'))]);
  expect(problems).toEqual([]);
  const before = createCorrelator();
  for (const event of events) before.apply(event, NOW_MS);
  const after = createCorrelator({}, savedIn(save(before)));
  expect(identities(after.close(NOW_MS).spans)).toEqual(identities(before.close(NOW_MS).spans));
  expect(JSON.stringify(events[2])).toContain('[nested too deep]');
});

test('a line that its sender sends again counts once, and a bad one is told again what is wrong with it', () => {
  const told: [string, number][] = [];
  const intake = createIntake({ dialect: 'catalog', max_line_bytes: MAX_LINE_BYTES, onProblem: () => {} });
  const send = (stream: string, ...texts: string[]): number =>
    intake.take({
      kind: 'lines',
      stream,
      end: false,
      lines: texts.map((text, nth) => ({ number: nth + 1, bytes: Buffer.from(text) })),
      arrival_ms: 0,
      may_repeat: true,
      receipt: { reject: ({ path, line }) => void told.push([path, line]), settle: () => undefined },
    }).length;
  const good = '{"type":"agent.started","ts":1,"session_key":"s","run_id":"r"}';
  const bad = good.replace('"run_id":"r"', '"run_id":7');
  const unknown = '{"type":"agent.dreamt"}';
  expect(send('one', good, bad, unknown)).toBe(1);
  expect(send('one', good, bad, unknown)).toBe(0);
  expect(intake.counts()).toMatchObject({
    lines: 6,
    events: 1,
    ignored: { repeated: 2, unknown_type: 1 },
    rejected: { invalid_event: 2 },
  });
  expect(told).toEqual([
    ['run_id', 2],
    ['run_id', 2],
  ]);
  // What another sender sends is its own.
  expect(send('other', good)).toBe(1);
});

test('bad lines are said one by one up to a number, and that there are more once', () => {
  const said: string[] = [];
  const log = createProblemLog({ warn: (message) => void said.push(message) });
  for (let line = 1; line <= 50; line++)
    log({ stream: 'f', line, path: '', reason: 'invalid_json', message: 'not JSON' });
  expect(said).toHaveLength(21);
  expect(said[19]).toBe('f:20: $: not JSON');
  expect(said[20]).toMatch(/^further bad lines are only counted/);
});

test('what a stream had before a time gives no events, also after a restart', () => {
  const lines = readLines(fixture('transcripts/01e9fca5-ef39-4f46-8578-475529e4dfc4.jsonl'));
  const create = (saved?: SavedRecord[]) =>
    createIntake({ dialect: 'auto', max_line_bytes: MAX_LINE_BYTES, onProblem: () => expect.fail() }, saved);
  const take = (intake: Intake, texts: string[], more: object) =>
    intake.take({
      kind: 'lines',
      stream: 's.jsonl',
      end: false,
      lines: texts.map((text, index) => ({ number: index + 1, bytes: Buffer.from(text) })),
      arrival_ms: 0,
      ...more,
    }).length;
  const intake = create();
  expect(take(intake, lines.slice(0, 3), { since_ms: NOW_MS })).toBe(0);
  expect(take(create(savedIn(save(intake))), lines.slice(3, -1), {})).toBe(0);
  expect(take(create(), lines.slice(0, -1), {})).toBeGreaterThan(0);
});
