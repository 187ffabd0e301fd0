/**
 * The bridge writes spans and log records itself. OpenTelemetry's own serializers say what the result must be, byte for
 * byte.
 */
import { fc, test } from '@fast-check/vitest';
import {
  JsonLogsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import { describe, expect } from 'vitest';
import { toReadableLogRecord, toReadableSpan } from '../../src/export/otlp/readable.js';
import { createEncoder } from '../../src/export/otlp.js';
import type { Attributes, LogRecord, SpanRecord } from '../../src/model/telemetry.js';
import { correlate, decodeFile, example } from '../helpers.js';

/**
 * Applies the intended differences to the serializer's JSON. It can mark a span as open only with an end of 0, which is
 * left out here; and it writes integers that exceed 64 bits, which no backend could read. Quotes within texts are escaped,
 * so they don't match.
 */
const asRead = (body: Uint8Array | undefined): Buffer =>
  Buffer.from(
    Buffer.from(body ?? [])
      .toString()
      .replaceAll('"endTimeUnixNano":"0",', '')
      .replaceAll(/"intValue":([^}]+)/g, (whole, digits) =>
        Math.abs(Number(digits)) < 2 ** 63 || Number(digits) === -(2 ** 63)
          ? whole
          : `"doubleValue":${digits}`,
      ),
  );

/** Shows a difference only where there is one: comparing the shown forms is much slower than comparing bytes. */
function expectSame(body: Uint8Array, expected: Uint8Array | undefined, shown: 'utf8' | 'hex'): void {
  const [ours, theirs] = [Buffer.from(body), Buffer.from(expected ?? [])];
  if (!ours.equals(theirs)) expect(ours.toString(shown)).toBe(theirs.toString(shown));
  expect(ours.length).toBeGreaterThan(0);
}

function expectSameSpans(spans: SpanRecord[], resource: Resource): void {
  const { encodeSpans } = createEncoder(resource);
  const readable = spans.map((span) => toReadableSpan(span, resource));
  expectSame(encodeSpans(spans, 'json'), asRead(JsonTraceSerializer.serializeRequest(readable)), 'utf8');
  expectSame(encodeSpans(spans, 'protobuf'), ProtobufTraceSerializer.serializeRequest(readable), 'hex');
}

function expectSameLogs(logs: LogRecord[], resource: Resource): void {
  const { encodeLogs } = createEncoder(resource);
  const readable = logs.map((log) => toReadableLogRecord(log, resource));
  expectSame(encodeLogs(logs, 'json'), asRead(JsonLogsSerializer.serializeRequest(readable)), 'utf8');
  expectSame(encodeLogs(logs, 'protobuf'), ProtobufLogsSerializer.serializeRequest(readable), 'hex');
}

const hexId = (digits: number) =>
  fc
    .array(fc.constantFrom(...'0123456789abcdef'), { minLength: digits, maxLength: digits })
    .map((all) => all.join(''));

/**
 * Any code units, also lone surrogates; characters of all UTF-8 lengths; lengths around those at which the length field
 * grows by a byte.
 */
const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 12 })
    .map((units) => String.fromCharCode(...units)),
  fc
    .tuple(
      fc.constantFrom('a', 'é', '漢', '😀', '𠀀', '"', '\n', 'a😀'),
      fc.constantFrom(31, 42, 63, 64, 127, 128, 5_461, 16_383, 16_384, 70_000),
    )
    .map(([unit, times]) => unit.repeat(times)),
);

const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double(),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }).map(Number),
  fc.constantFrom(
    0,
    -0,
    127,
    128,
    2 ** 28,
    2 ** 32,
    -(2 ** 32),
    2 ** 53,
    2 ** 63,
    -(2 ** 63),
    1e21,
    NaN,
    Infinity,
    -Infinity,
  ),
);

/** Names, including some that are equal once they are well-formed. OpenTelemetry's types don't allow `__proto__`. */
const key = fc
  .oneof(
    fc.constantFrom(
      'gen_ai.operation.name',
      'error.type',
      'openclaw.clock_skew_ms',
      '7',
      '\ud800',
      '\udfff',
      '\ufffd',
    ),
    text,
  )
  .filter((name) => name !== '__proto__');

const value = fc.oneof(text, number, fc.boolean(), fc.array(text, { maxLength: 4 }));
/** A missing value, and one that was lost when it was stored: `NaN` is read back as `null`. */
const no_value = fc.constantFrom(undefined, null) as fc.Arbitrary<never>;
const attributes: fc.Arbitrary<Attributes> = fc.dictionary(
  key,
  fc.oneof({ weight: 9, arbitrary: value }, no_value),
  { maxKeys: 8, noNullPrototype: true },
);

const instant = fc.oneof(
  fc.double({ min: 1.7e12, max: 1.9e12, noNaN: true }),
  fc.integer({ min: 0, max: 4_000_000_000_000 }),
  fc.double({ min: -1e6, max: 8.64e15, noNaN: true }),
  fc.constantFrom(0, 0.000001, 0.4e-6, 1, 999.9999999, 2 ** 32 - 1, 2 ** 32, 18_446_744_073_709),
);

const reference = { trace_id: hexId(32), span_id: hexId(16) };

const span: fc.Arbitrary<SpanRecord> = fc.record(
  {
    ...reference,
    kind: fc.constantFrom('run', 'tool', 'chat'),
    parent_span_id: hexId(16),
    name: text,
    start_ms: instant,
    end_ms: instant,
    error: fc.record({ type: text, message: text }, { requiredKeys: ['type'] }),
    attributes,
    links: fc.array(fc.record(reference), { maxLength: 3 }),
    events: fc.array(fc.record({ name: text, ts_ms: instant, attributes }), { maxLength: 3 }),
  },
  { requiredKeys: ['trace_id', 'span_id', 'kind', 'name', 'start_ms', 'attributes', 'links', 'events'] },
);

const log: fc.Arbitrary<LogRecord> = fc.record({
  ...reference,
  event_name: text,
  ts_ms: instant,
  observed_ms: instant,
  severity: fc.constantFrom('INFO', 'ERROR'),
  attributes,
});

/** A resource comes from the environment, where text is well-formed. */
const resource = fc
  .record({
    attributes: fc.dictionary(
      key.map((name) => name.slice(0, 40).toWellFormed()),
      fc.oneof(fc.string({ unit: 'grapheme' }), number, fc.boolean()),
      {
        maxKeys: 5,
        noNullPrototype: true,
      },
    ),
    options: fc.record({ schemaUrl: fc.webUrl() }, { requiredKeys: [] }),
  })
  .map(({ attributes, options }) => resourceFromAttributes(attributes, options));

describe('the output equals that of OpenTelemetry, byte for byte', () => {
  test.prop([fc.array(span, { minLength: 1, maxLength: 4 }), resource])('for spans', expectSameSpans);

  test.prop([fc.array(log, { minLength: 1, maxLength: 4 }), resource])('for log records', expectSameLogs);

  test('for a recording', () => {
    const { spans, previews, logs } = correlate(decodeFile(example('sub-agents.ndjson')));
    expect(previews.length).toBeGreaterThan(0);
    expectSameSpans([...previews, ...spans], resourceFromAttributes({ 'service.name': 'openclaw' }));
    expectSameLogs(logs, resourceFromAttributes({ 'service.name': 'openclaw' }));
  });
});
