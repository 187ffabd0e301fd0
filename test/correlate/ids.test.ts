import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { deriveSpanId, deriveTraceId, parseTraceparent } from '../../src/correlate/ids.js';
import { spanId } from '../oracle.js';

// The expected ids were computed by another program, from the formula alone.
test('ids follow the published formula', () => {
  expect(deriveTraceId('agent:main:support', 'run-1')).toBe('0e93a917a1b0df43a6157ad8bc2b215a');
  expect(deriveSpanId('run', 'agent:main:support', 'run-1', '')).toBe('a81e12fb0c37ac8c');
  expect(deriveSpanId('tool', 'agent:main:support', 'run-1', 'call-1')).toBe('c7f69eb992bee762');
  expect(deriveSpanId('chat', 'agent:main:support', 'run-1', 'resp-1')).toBe('0817f14b3310bf81');
});

test('lengths count UTF-8 bytes', () => {
  expect(deriveSpanId('run', 'sé𝛼', 'r', '')).toBe('72da6bdbf9f56fe3');
});

test('parts are length-prefixed: moving a character from one to the next gives another id', () => {
  expect(deriveSpanId('tool', 's', '12', '3')).not.toBe(deriveSpanId('tool', 's', '1', '23'));
});

const part = fc.oneof(
  fc.constantFrom('', 's', 'agent:main:a', 'x'.repeat(127), 'x'.repeat(128), 'é'.repeat(64), '\ud800'),
  fc.string({ unit: 'grapheme', maxLength: 200 }),
);

property.prop([
  fc.array(fc.tuple(fc.constantFrom('run', 'tool', 'chat'), part, part, part), { maxLength: 50 }),
  fc.infiniteStream(fc.nat()),
])('an id does not depend on the ids that were derived before', (ids, order) => {
  const places = ids.flatMap((_, at) => [at, order.next().value % ids.length, at]);
  for (const [kind, session_key, run_id, own_id] of places.flatMap((at) => (ids[at] ? [ids[at]] : [])))
    expect(deriveSpanId(kind, session_key, run_id, own_id)).toBe(spanId(kind, session_key, run_id, own_id));
});

test('a valid traceparent is parsed, anything else is ignored', () => {
  const trace_id = '0af7651916cd43dd8448eb211c80319c';
  expect(parseTraceparent(`00-${trace_id}-b7ad6b7169203331-01`)).toEqual({
    trace_id,
    span_id: 'b7ad6b7169203331',
  });
  expect(parseTraceparent(`00-${'0'.repeat(32)}-b7ad6b7169203331-01`)).toBeUndefined();
  expect(parseTraceparent(`00-${trace_id}-${'0'.repeat(16)}-01`)).toBeUndefined();
  expect(parseTraceparent(`00-${trace_id.toUpperCase()}-b7ad6b7169203331-01`)).toBeUndefined();
  const later = { trace_id, span_id: 'b7ad6b7169203331' };
  expect(parseTraceparent(`01-${trace_id}-b7ad6b7169203331-01`)).toEqual(later);
  expect(parseTraceparent(`cc-${trace_id}-b7ad6b7169203331-01-what-comes`)).toEqual(later);
  expect(parseTraceparent(`cc-${trace_id}-b7ad6b7169203331-01.what-comes`)).toBeUndefined();
  expect(parseTraceparent(`ff-${trace_id}-b7ad6b7169203331-01`)).toBeUndefined();
  expect(parseTraceparent(`00-${trace_id}-b7ad6b7169203331-01-more`)).toBeUndefined();
  expect(parseTraceparent('nonsense')).toBeUndefined();
  expect(parseTraceparent(undefined)).toBeUndefined();
});
