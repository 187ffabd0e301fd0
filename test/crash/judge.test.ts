/**
 * The crash test has to fail for each kind of loss, change or double count by itself.
 */
import { expect, test } from 'vitest';
import { DURABLE_MS, type Line } from './feeder.js';
import { checkReference, compareItems, compareSums, findSurvivors } from './judge.js';
import { checkLedger, undelivered } from './program.js';
import { createReceived, type Item, type Received } from './received.js';

const ENDED_MS = 100_000;
const IN_FLIGHT_MS = ENDED_MS - DURABLE_MS + 1;
const CERTAIN_MS = ENDED_MS - DURABLE_MS;

const line = (ts_ms: number, more: Partial<Line> = {}): Line => ({
  source: 'bridge',
  life: 0,
  ts_ms,
  written_ms: IN_FLIGHT_MS,
  text: '',
  event: { type: 'llm.tokens' },
  is_marked: true,
  ...more,
});

/** A backend with the log records of these lines. */
function withLogs(...lines: Line[]): Received {
  const received = createReceived();
  for (const { ts_ms } of lines) received.logs.set(`${ts_ms}000000`, item('log'));
  return received;
}

const item = (text: string): Item => ({ text, copies: 1, contradictions: [] });

const items = (...texts: string[]): Map<string, Item> =>
  new Map(texts.map((text) => [text.split(' ')[0] ?? '', item(text)]));

test('the last lines may be lost if they were in flight', () => {
  const lines = [line(1), line(2), line(3)];
  const survivors = findSurvivors(lines, [ENDED_MS], [withLogs(...lines.slice(0, 1))]);
  expect(survivors).toEqual({ lines: lines.slice(0, 1), lost_in_flight: 2, problems: [] });
});

test('a line written long enough before the end may not be lost', () => {
  const lines = [line(1, { written_ms: CERTAIN_MS }), line(2)];
  const { problems } = findSurvivors(lines, [ENDED_MS], [withLogs()]);
  expect(problems).toEqual([`lost, though written ${DURABLE_MS} ms before the end: ${describe(1)}`]);
});

test('a line before one that survived may not be lost', () => {
  const lines = [line(1), line(2), line(3)];
  const survivors = findSurvivors(lines, [ENDED_MS], [withLogs(line(1), line(3))]);
  expect(survivors.problems).toEqual([`lost, though a later line was not: ${describe(2)}`]);
  expect(survivors.lines).toEqual([line(1), line(3)]);
});

const describe = (ts_ms: number): string => `llm.tokens ${ts_ms} (socket bridge, process 0)`;

test('each socket and each process has its own last lines', () => {
  const lines = [line(1), line(2, { source: 'feeder' }), line(3, { life: 1 })];
  const survivors = findSurvivors(lines, [ENDED_MS, ENDED_MS], [withLogs(line(3))]);
  expect(survivors).toMatchObject({ lost_in_flight: 2, problems: [] });
});

test('a line that survived for one backend is expected in all', () => {
  const survivors = findSurvivors([line(1)], [ENDED_MS], [withLogs(), withLogs(line(1))]);
  expect(survivors.lines).toEqual([line(1)]);
});

test('a line without a log record has survived if all lines before it have, or if it was written long enough ago', () => {
  const silent = line(1, { is_marked: false });
  const certain = line(3, { is_marked: false, written_ms: CERTAIN_MS });
  const in_flight = line(3, { is_marked: false });
  const marked = line(2);
  const linesOf = (...lines: Line[]): Line[] => findSurvivors(lines, [ENDED_MS], [withLogs(marked)]).lines;
  expect(linesOf(silent, marked, certain)).toEqual([silent, marked, certain]);
  expect(linesOf(silent, marked, in_flight)).toEqual([silent, marked]);
});

test('missing, changed, unexpected and contradictory items fail, and identical copies do not', () => {
  const compare = (actual: Map<string, Item>) => compareItems('span', items('a 1', 'b 1'), actual);
  expect(compare(items('a 1', 'b 1'))).toMatchObject({ expected: 2, right: 2, missing: 0, problems: [] });
  expect(compare(items('a 1'))).toMatchObject({ right: 1, missing: 1, problems: ['span missing: b 1'] });
  expect(compare(items('a 1', 'b 2')).problems).toEqual(['span is not as it should be: b 2; expected: b 1']);
  expect(compare(items('a 1', 'b 1', 'c 1')).problems).toEqual(['span that nobody expects: c 1']);

  const again = items('a 1', 'b 1').set('a', { text: 'a 1', copies: 3, contradictions: [] });
  expect(compare(again)).toMatchObject({ again: 2, problems: [] });
  const changed = items('a 1', 'b 1').set('a', { text: 'a 1', copies: 2, contradictions: ['a 2'] });
  expect(compare(changed).problems).toEqual(['span comes again as another: a 1, then a 2']);
});

test('sums are compared up to the rounding of another order of addition', () => {
  const compare = (sum: number, count = 1) =>
    compareSums(new Map([['s', { sum: 0.3, count: 1 }]]), new Map([['s', { sum, count }]])).problems;
  expect(compare(0.1 + 0.2)).toEqual([]);
  expect(compare(0.300001)).toHaveLength(1);
  expect(compare(0.3, 2)).toHaveLength(1);
});

test('the uninterrupted run is checked against its lines', () => {
  const reference = withLogs(line(1));
  const call = { input_tokens: 7, output_tokens: 0, cache_read_tokens: 0, reasoning_tokens: 0, cost_usd: 0 };
  const lines = [
    line(1, { event: { type: 'llm.tokens', ...call } }),
    line(2, { event: { type: 'tool.call' } }),
  ];
  expect(checkReference(lines, reference)).toEqual([
    'the uninterrupted run: gen_ai.client.inference.usage.input_tokens: 0, where the lines tell 7',
    'the uninterrupted run: 1 log records of 2 lines',
  ]);
});

test('counts that do not add up are found, and so is undelivered data', () => {
  const counts = { produced: 5, delivered: 2, pending: 1, rejected: { http_400: 1 }, dropped: {} };
  const summary = (dropped: Record<string, number>) => ({
    destinations: { otlp: { traces: { ...counts, dropped } } },
  });
  expect(checkLedger(summary({ memory_full: 1 }))).toEqual({ checked: 1, problems: [] });
  expect(checkLedger(summary({})).problems).toEqual([
    expect.stringContaining('the ledger of otlp traces does not add up'),
  ]);
  expect(undelivered(summary({}))).toHaveLength(1);
});
