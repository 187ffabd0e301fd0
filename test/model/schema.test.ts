import { describe, expect, test } from 'vitest';
import { agentEventSchema, EVENT_TYPES, eventJsonSchema, normaliseInstants } from '../../src/model/event.js';
import { example, readLines } from '../helpers.js';

test('the JSON Schema in the repository is the one of the catalog', async () => {
  const text = `${JSON.stringify(eventJsonSchema(), undefined, 2)}\n`;
  await expect(text).toMatchFileSnapshot('../../schema/event.schema.json');
  expect(eventJsonSchema().oneOf).toHaveLength(EVENT_TYPES.length);
});

describe('the catalog', () => {
  const lines = readLines(example('catalog.ndjson')).map((line) => JSON.parse(line));

  test('has eleven types, and the example shows each', () => {
    expect(EVENT_TYPES).toHaveLength(11);
    expect(new Set(lines.map((line) => line.type))).toEqual(new Set(EVENT_TYPES));
    for (const line of lines) expect(agentEventSchema.safeParse(line).success).toBe(true);
  });

  test('takes times as epoch milliseconds, or as RFC 3339 with an offset', () => {
    const [first] = lines;
    const at = (ts: unknown): unknown => agentEventSchema.safeParse({ ...first, ts }).success;
    expect(at(1_700_000_000_000)).toBe(true);
    expect(at('1970-01-01T00:00:00Z')).toBe(true);
    expect(at('2026-11-22T12:00:00Z')).toBe(true);
    expect(at(18_446_744_073_709)).toBe(true);
    expect(at('2026-11-22T13:00:00.5+01:00')).toBe(true);
    for (const bad of [
      '2026-11-22',
      '2026-02-29T12:00:00Z',
      '2026-11-22 12:00:00Z',
      'yesterday',
      '2026-11-22T12:00:61Z',
      '2026-11-22T12:60:00Z',
      '1969-12-31T23:59:59.999Z',
      '0001-01-01T00:00:00Z',
      '9999-12-31T23:59:59Z',
      -1,
      18_446_744_073_710,
      Number.NaN,
      null,
    ])
      expect(at(bad)).toBe(false);
  });

  test.each([
    '2026-11-22T13:00:00.500+01:00',
    '2026-11-22T12:00:00.5Z',
    '2026-11-22t12:00:00.5z',
    '2026-11-22t13:00:00.500000+01:00',
    '2026-11-22T11:59:60.5Z',
    '2026-11-22T12:59:60.500+01:00',
  ])('reads the time %s', (ts) => {
    const event = agentEventSchema.parse({ ...lines[0], ts });
    expect(normaliseInstants(event).ts).toBe(Date.UTC(2026, 10, 22, 12, 0, 0, 500));
  });
});
