/** The bridge and a real Jaeger. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type EndedBridge,
  EXAMPLE,
  isRun,
  lawBreakers,
  parentsOf,
  replay,
  type TreeSpan,
  treeOf,
} from './bridge.js';
import { isSkipped } from './installed.js';
import { type Jaeger, type JaegerSpan, startJaeger } from './jaeger.js';

const referencesOf = (span: JaegerSpan, type: 'CHILD_OF' | 'FOLLOWS_FROM'): string[] =>
  span.references
    .filter(({ refType }) => refType === type)
    .map(({ spanID }) => spanID)
    .sort();

describe.skipIf(isSkipped('jaeger'))('Jaeger', () => {
  let jaeger: Jaeger;
  let expected: TreeSpan[];
  let ended: EndedBridge;
  let spans: JaegerSpan[];

  beforeAll(async () => {
    [jaeger, expected] = await Promise.all([startJaeger(), treeOf(EXAMPLE)]);
    ended = await replay(`jaeger=${jaeger.otlp_url}`, EXAMPLE);
    spans = await jaeger.spans(expected[0]?.trace_id ?? '');
  });
  afterAll(() => jaeger?.stop());

  test('takes traces and nothing else, and all of them', () => {
    expect(ended.status).toBe(0);
    expect(lawBreakers(ended.summary)).toEqual([]);
    expect(ended.summary.destinations).toEqual({
      jaeger: { traces: { produced: 27, delivered: 27, pending: 0, rejected: {}, dropped: {} } },
    });
  });

  test('has the whole tree', () => {
    expect(spans).toHaveLength(27);
    const parents = spans.map((span) => [span.spanID, referencesOf(span, 'CHILD_OF')[0]]);
    expect(Object.fromEntries(parents)).toEqual(parentsOf(expected));
  });

  test('has nothing to say against any span', () => {
    expect(
      spans.flatMap(({ operationName, warnings }) => (warnings ?? []).map((text) => [operationName, text])),
    ).toEqual([]);
  });

  test('links the runs that go on with a request to the runs that they report on', () => {
    const links = new Map(spans.map((span) => [span.spanID, referencesOf(span, 'FOLLOWS_FROM')]));
    const announced = expected.filter(
      (span) => isRun(span) && span.attributes['openclaw.trigger'] === 'announce',
    );
    expect(announced.map((span) => links.get(span.span_id)?.length)).toEqual([1, 2]);
    for (const span of expected) {
      expect(links.get(span.span_id), span.name).toEqual(span.links.map(({ span_id }) => span_id).sort());
    }
  });
});
