import { fc, test as property } from '@fast-check/vitest';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { describe, expect, test } from 'vitest';
import { toReadableSpan } from '../../src/export/otlp/readable.js';
import { createEncoder, readPartialSuccess } from '../../src/export/otlp.js';
import { SCOPE } from '../../src/export/scope.js';
import { cleanText, MAX_TEXT_BYTES } from '../../src/export/text.js';
import type { LogRecord, SpanRecord } from '../../src/model/telemetry.js';
import { log, openSpan, span, spanId, TRACE_ID } from './fakes.js';

const RESOURCE = resourceFromAttributes({ 'service.name': 'openclaw' });
const { encodeSpans, encodeLogs } = createEncoder(RESOURCE);

/** One OTLP span or log record as JSON. */
type Json = Record<string, unknown> & { attributes: { key: string; value: Record<string, unknown> }[] };

function spansAsJson(...spans: SpanRecord[]): Json[] {
  const body = encodeSpans(spans, 'json');
  const request = JSON.parse(Buffer.from(body).toString());
  return request.resourceSpans[0].scopeSpans[0].spans;
}

function logAsJson(record: LogRecord): Json {
  const body = encodeLogs([record], 'json');
  return JSON.parse(Buffer.from(body).toString()).resourceLogs[0].scopeLogs[0].logRecords[0];
}

const values = ({ attributes }: Json) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

describe('spans', () => {
  test('a complete span as OTLP JSON', () => {
    const [sent] = spansAsJson(
      span({
        kind: 'chat',
        name: 'chat opus',
        parent_span_id: spanId(2),
        end_ms: 1_764_000_001_500.25,
        error: { type: 'timeout', message: 'too slow' },
        attributes: { text: 'a', number: 7, ratio: 0.5, flag: true, list: ['x', 'y'] },
        links: [{ trace_id: TRACE_ID, span_id: spanId(3) }],
        events: [{ name: 'output', ts_ms: 1_764_000_000_100, attributes: { size: 3 } }],
      }),
    );
    expect(sent).toMatchObject({
      traceId: TRACE_ID,
      spanId: spanId(1),
      parentSpanId: spanId(2),
      name: 'chat opus',
      kind: 3,
      startTimeUnixNano: '1764000000000000000',
      endTimeUnixNano: '1764000001500250000',
      status: { code: 2, message: 'too slow' },
      flags: 0x101,
      links: [{ traceId: TRACE_ID, spanId: spanId(3) }],
      events: [{ name: 'output', timeUnixNano: '1764000000100000000' }],
    });
    expect(sent!.attributes).toEqual([
      { key: 'text', value: { stringValue: 'a' } },
      { key: 'number', value: { intValue: 7 } },
      { key: 'ratio', value: { doubleValue: 0.5 } },
      { key: 'flag', value: { boolValue: true } },
      { key: 'list', value: { arrayValue: { values: [{ stringValue: 'x' }, { stringValue: 'y' }] } } },
      { key: 'error.type', value: { stringValue: 'timeout' } },
    ]);
  });

  test('an integer that exceeds 64 bits is a double', () => {
    const [sent] = spansAsJson(
      span({ attributes: { huge: 1e300, over: 2 ** 63, under: -(2 ** 63) - 2_048, last: -(2 ** 63) } }),
    );
    expect(sent!.attributes.map(({ value }: { value: object }) => Object.keys(value)[0])).toEqual([
      'doubleValue',
      'doubleValue',
      'doubleValue',
      'intValue',
    ]);
  });

  test('an error without a message has none; a span without an error has no status', () => {
    const [failed, fine] = spansAsJson(span({ error: { type: 'exit_code' } }), span());
    expect(failed!.status).toEqual({ code: 2 });
    expect(values(failed!)['error.type']).toBe('exit_code');
    expect(fine!.status).toEqual({ code: 0 });
  });

  test('a span that ends before it starts ends at its start, with the difference as an attribute', () => {
    const [sent] = spansAsJson(span({ start_ms: 2_000.5, end_ms: 1_500 }));
    expect(sent).toMatchObject({ startTimeUnixNano: '2000500000', endTimeUnixNano: '2000500000' });
    expect(values(sent!)['openclaw.clock_skew_ms']).toBe(-500.5);
  });

  test('the request contains the scope and the resource', () => {
    const body = encodeSpans([span()], 'json');
    expect(JSON.parse(Buffer.from(body).toString())).toMatchObject({
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'openclaw' } }] },
          scopeSpans: [{ scope: { name: 'openclaw-otel-bridge', version: SCOPE.version } }],
        },
      ],
    });
  });

  test('an open span in JSON has no end, also beside ended spans and with texts that look like the end field', () => {
    const lookalike = '"endTimeUnixNano":"0",';
    const [open, ended, at_epoch] = spansAsJson(
      openSpan({ name: lookalike, attributes: { [lookalike]: lookalike } }),
      span(),
      span({ start_ms: 0, end_ms: 0 }),
    );
    expect(open).not.toHaveProperty('endTimeUnixNano');
    expect(open).toMatchObject({ name: lookalike, startTimeUnixNano: '1764000000000000000' });
    expect(values(open!)).toEqual({ [lookalike]: lookalike });
    expect(ended!.endTimeUnixNano).toBe('1764000001500000000');
    expect(at_epoch!.endTimeUnixNano).toBe('1');
  });

  test('protobuf has the same strings, and an end of zero for an open span', () => {
    const body = Buffer.from(encodeSpans([openSpan({ name: 'agent.spawn' })], 'protobuf'));
    expect(body.includes('agent.spawn')).toBe(true);
    expect(body.includes(Buffer.from(TRACE_ID, 'hex'))).toBe(true);
    // Field 8, end_time_unix_nano, fixed64.
    expect(body.includes(Buffer.from([0x41, 0, 0, 0, 0, 0, 0, 0, 0]))).toBe(true);
  });
});

describe('log records', () => {
  test('a complete record as OTLP JSON', () => {
    const sent = logAsJson(log({ severity: 'ERROR' }));
    expect(sent).toMatchObject({
      timeUnixNano: '1764000000250000000',
      observedTimeUnixNano: '1764000000300000000',
      severityNumber: 17,
      severityText: 'ERROR',
      eventName: 'openclaw.tool_call',
      traceId: TRACE_ID,
      spanId: spanId(1),
    });
    expect(values(sent)).toEqual({ 'openclaw.session.key': 'agent:main:main', 'gen_ai.tool.name': 'exec' });
    expect(logAsJson(log()).severityNumber).toBe(9);
  });
});

describe('text', () => {
  const LONE = 'a\ud800b';
  const WHOLE = 'a\ufffdb';

  test('no lone surrogate is sent, in whatever field it is', () => {
    const sent = spansAsJson(
      span({
        name: LONE,
        error: { type: LONE, message: LONE },
        attributes: { [LONE]: LONE, list: [LONE] },
        events: [{ name: LONE, ts_ms: 1, attributes: { [LONE]: LONE } }],
      }),
    );
    const text = JSON.stringify(sent);
    expect(text.isWellFormed()).toBe(true);
    expect(text).not.toContain('\\ud800');
    expect(text.split(WHOLE)).toHaveLength(10);
    const sent_log = JSON.stringify(logAsJson(log({ event_name: LONE, attributes: { [LONE]: LONE } })));
    expect(sent_log).not.toContain('\\ud800');
    expect(sent_log.split(WHOLE)).toHaveLength(4);
  });

  test.each(['a', 'é', '漢', '😀', 'a😀é'])('a long text of %s is cut between two characters', (unit) => {
    const cut = cleanText(unit.repeat(MAX_TEXT_BYTES));
    const bytes = Buffer.byteLength(cut);
    expect(bytes).toBeLessThanOrEqual(MAX_TEXT_BYTES);
    expect(bytes).toBeGreaterThan(MAX_TEXT_BYTES - 4);
    expect(unit.repeat(MAX_TEXT_BYTES).startsWith(cut)).toBe(true);
  });

  property.prop([
    fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  ])('text within the limit is only made well-formed', (text) => {
    expect(cleanText(text)).toBe(text.toWellFormed());
  });
});

describe('timestamps', () => {
  /** A timestamp in OpenTelemetry's types, and as it is sent. */
  function told(ts_ms: number) {
    const record = span({ start_ms: ts_ms });
    const [sent] = spansAsJson(record);
    return { hr_time: toReadableSpan(record, RESOURCE).startTime, sent: sent!.startTimeUnixNano };
  }

  property.prop([fc.double({ min: 0, max: 8.64e15, noNaN: true })])(
    'are rounded to the nearest nanosecond',
    (ms) => {
      const { hr_time, sent } = told(ms);
      const [seconds, nanoseconds] = hr_time;
      const clamped_ms = Math.min(ms, 18_446_744_073_709);
      const whole_ms = Math.floor(clamped_ms);
      const expected = BigInt(whole_ms) * 1_000_000n + BigInt(Math.round((clamped_ms - whole_ms) * 1e6));
      expect(BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)).toBe(expected);
      expect(nanoseconds).toBeLessThan(1e9);
      expect(sent).toBe(String(expected));
    },
  );

  test('are clamped to the range of OTLP', () => {
    expect(told(-5)).toEqual({ hr_time: [0, 0], sent: '0' });
    expect(told(8.64e15)).toEqual({ hr_time: [18_446_744_073, 709_000_000], sent: '18446744073709000000' });
    expect(told(999.9999999)).toEqual({ hr_time: [1, 0], sent: '1000000000' });
  });
});

describe('partial success', () => {
  test('is read from protobuf', () => {
    const message = Buffer.from('no name');
    const partial = Buffer.concat([Buffer.from([0x08, 3, 0x12, message.length]), message]);
    const body = Buffer.concat([Buffer.from([0x0a, partial.length]), partial]);
    for (const signal of ['traces', 'metrics', 'logs'] as const) {
      expect(readPartialSuccess(signal, body)).toEqual({ rejected: 3, message: 'no name' });
    }
  });

  test.each([
    ['traces', 'rejectedSpans'],
    ['metrics', 'rejectedDataPoints'],
    ['logs', 'rejectedLogRecords'],
  ] as const)('of %s is read from JSON under %s', (signal, key) => {
    const body = Buffer.from(JSON.stringify({ partialSuccess: { [key]: '4' } }));
    expect(readPartialSuccess(signal, body)).toEqual({ rejected: 4, message: '' });
  });

  test.each(['\n', '\r\n  ', '\uFEFF', '\uFEFF\n\t'])('is read from JSON after %j', (before) => {
    const body = Buffer.from(`${before}{\n"partialSuccess":{"rejectedSpans":"4"}}\n`);
    expect(readPartialSuccess('traces', body)).toEqual({ rejected: 4, message: '' });
  });

  test('with a negative number rejects nothing, in protobuf as in JSON', () => {
    const minus_one = [0x08, ...Array(9).fill(0xff), 0x01];
    expect(readPartialSuccess('traces', Buffer.from([0x0a, minus_one.length, ...minus_one]))).toBeUndefined();
    const body = Buffer.from('{"partialSuccess":{"rejectedSpans":"-1"}}');
    expect(readPartialSuccess('traces', body)).toBeUndefined();
  });

  test('is read from protobuf that begins like a line break and a brace', () => {
    const message = Buffer.alloc('{'.charCodeAt(0) - 4, 'x');
    const partial = Buffer.concat([Buffer.from([0x08, 3, 0x12, message.length]), message]);
    const body = Buffer.concat([Buffer.from([0x0a, partial.length]), partial]);
    expect(body.toString()).toMatch(/^\n\{/);
    expect(readPartialSuccess('traces', body)).toEqual({ rejected: 3, message: String(message) });
  });
});
