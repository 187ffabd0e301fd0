/**
 * How the crash test's backend handles requests that come once, twice, and changed.
 */
import { expect, test } from 'vitest';
import { createReceived } from './received.js';

interface Point {
  start?: number;
  time: number;
  value: number;
}

const INPUT = 'gen_ai.client.inference.usage.input_tokens';
const SERIES = `${INPUT} {"model":"a"}`;
const ATTRIBUTES = [{ key: 'model', value: { stringValue: 'a' } }];

const inScope = (resource: string, scope: string, content: object): string =>
  JSON.stringify({ [resource]: [{ [scope]: [content] }] });

const times = ({ start = 0, time }: Point): object => ({
  startTimeUnixNano: String(start),
  timeUnixNano: String(time),
  attributes: ATTRIBUTES,
});

const counter = (temporality: 'delta' | 'cumulative', ...points: Point[]): string =>
  inScope('resourceMetrics', 'scopeMetrics', {
    metrics: [
      {
        name: INPUT,
        sum: {
          aggregationTemporality: temporality === 'delta' ? 1 : 2,
          dataPoints: points.map((point) => ({ ...times(point), asInt: String(point.value) })),
        },
      },
    ],
  });

const histogram = (time: number, bucketCounts: string[], sum: number): string =>
  inScope('resourceMetrics', 'scopeMetrics', {
    metrics: [
      {
        name: 'gen_ai.execute_tool.duration',
        histogram: {
          aggregationTemporality: 1,
          dataPoints: [{ ...times({ time, value: 0 }), count: '2', sum, bucketCounts }],
        },
      },
    ],
  });

const span = (name: string): string =>
  inScope('resourceSpans', 'scopeSpans', {
    spans: [{ traceId: 't', spanId: 's', name, attributes: ATTRIBUTES, status: { code: 0 } }],
  });

test('delta points are added up, and a repeated request adds nothing', () => {
  const received = createReceived();
  for (const body of [
    counter('delta', { time: 1, value: 5 }),
    counter('delta', { start: 1, time: 2, value: 3 }),
  ])
    for (const _ of [1, 2]) received.take('metrics', body);
  expect(received.sums()).toEqual(new Map([[SERIES, { sum: 8 }]]));
  expect(received.contradictions).toEqual([]);
});

test('a repeated point with the same times and another value is a contradiction', () => {
  const received = createReceived();
  received.take('metrics', counter('delta', { time: 1, value: 5 }));
  received.take('metrics', counter('delta', { time: 1, value: 6 }));
  expect(received.contradictions).toEqual([expect.stringContaining(SERIES)]);
});

test('the last cumulative point of each start time counts, in whatever order they come', () => {
  const received = createReceived();
  received.take('metrics', counter('cumulative', { start: 10, time: 30, value: 9 }));
  received.take('metrics', counter('cumulative', { start: 10, time: 20, value: 5 }));
  received.take('metrics', counter('cumulative', { start: 40, time: 50, value: 2 }));
  expect(received.sums()).toEqual(new Map([[SERIES, { sum: 11 }]]));
});

test('histograms are added up bucket by bucket', () => {
  const received = createReceived();
  received.take('metrics', histogram(1, ['1', '1', '0'], 0.5));
  received.take('metrics', histogram(2, ['0', '1', '1'], 0.25));
  expect([...received.sums().values()]).toEqual([{ sum: 0.75, count: 4, buckets: [1, 2, 1] }]);
});

test("the bridge's own instruments are ignored, since they belong to a single process", () => {
  const received = createReceived();
  received.take(
    'metrics',
    counter('delta', { time: 1, value: 5 }).replace(INPUT, 'openclaw_otel_bridge.events'),
  );
  expect(received.sums().size).toBe(0);
});

test('copies of a span are counted, and differing ones are recorded', () => {
  const received = createReceived();
  for (const name of ['chat', 'chat', 'chat again']) received.take('traces', span(name));
  expect(received.spans.get('s')).toMatchObject({
    copies: 3,
    contradictions: [expect.stringContaining('chat again')],
  });
});
