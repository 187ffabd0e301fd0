/** From the bytes of a request to its records: the same in both encodings, and never a crash. */
import { gzipSync } from 'node:zlib';
import { fc, test as property } from '@fast-check/vitest';
import { PbfWriter } from 'pbf';
import { describe, expect, test } from 'vitest';
import type { Encoding } from '../../../src/source/otlp/answers.js';
import { MAX_DEPTH } from '../../../src/source/otlp/record.js';
import { decode, MAX_RECORDS, unpack } from '../../../src/source/otlp/request.js';
import { bodies, ENCODINGS, encode, type Sent } from './requests.js';

const records = (bytes: Buffer, encoding: Encoding) => {
  const decoded = decode(bytes, encoding);
  if (!Array.isArray(decoded)) throw new Error(decoded.message);
  return decoded;
};

/** A protobuf message with these fields: bytes, strings or nested messages. */
const message = (...fields: [number, Buffer | string][]): Buffer => {
  const pbf = new PbfWriter();
  for (const [field, content] of fields) pbf.writeBytesField(field, Buffer.from(content));
  return Buffer.from(pbf.finish());
};

const problem = (bytes: Buffer | string, encoding: Encoding): string => {
  const decoded = decode(Buffer.from(bytes), encoding);
  if (Array.isArray(decoded)) throw new Error('the request was accepted');
  return `${decoded.status} ${decoded.message}`;
};

const text = fc.string({ unit: 'binary' });
const bytes = fc.uint8Array({ maxLength: 40 });
/** A random body of a record. */
const value = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    text,
    fc.boolean(),
    fc.constant(null),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double(),
    bytes,
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(text, tie('any'), { maxKeys: 4 }),
  ),
})).any;

const attributes = fc.dictionary(
  fc.constantFrom('host.name', 'service.instance.id', 'log.file.name', 'log.file.path', 'other'),
  fc.oneof(text, fc.integer()),
);
const sent: fc.Arbitrary<Sent[]> = fc.array(
  fc.record({
    resource: attributes,
    records: fc.array(
      fc.record({ body: fc.oneof(value, fc.constant(undefined)), attributes }, { requiredKeys: [] }),
      { maxLength: 5 },
    ),
  }),
  { maxLength: 4 },
);

/** A body as its line represents it in JSON. */
const asJson = (body: unknown): unknown =>
  JSON.parse(
    JSON.stringify(body, function replace(key, each) {
      const original = this[key];
      return original instanceof Uint8Array ? Buffer.from(original).toString('base64') : each;
    }),
  );

describe("a request written by OpenTelemetry's serializers", () => {
  property.prop([sent])('is read as the same records in both encodings', (all) => {
    const [json, protobuf] = ENCODINGS.map((encoding) => records(encode(all, encoding), encoding));
    expect(json).toEqual(protobuf);
    const filled = all.filter((each) => each.records.length > 0);
    expect(json?.map(({ place }) => place)).toEqual(
      filled.flatMap((each, resource) => each.records.map((_, record) => ({ resource, scope: 0, record }))),
    );
  });

  property.prop([value])('has the bodies that were written', (body) => {
    for (const encoding of ENCODINGS) {
      const [record] = records(encode(bodies(body), encoding), encoding);
      const read = record?.body ?? Buffer.alloc(0);
      if (body instanceof Uint8Array) expect(read).toEqual(Buffer.from(body));
      else if (typeof body === 'string') expect(read.toString()).toBe(body);
      else expect(JSON.parse(read.toString() || 'null')).toEqual(asJson(body));
    }
  });

  property.prop([fc.constantFrom(...ENCODINGS), sent, fc.nat(), fc.nat({ max: 255 })])(
    'is decoded or rejected if it is damaged anywhere',
    (encoding, all, place, byte) => {
      const whole = encode(all, encoding);
      if (whole.length === 0) return;
      decode(whole.subarray(0, place % whole.length), encoding);
      whole[place % whole.length] = byte;
      decode(whole, encoding);
    },
  );

  property.prop([fc.constantFrom(...ENCODINGS), fc.uint8Array({ maxLength: 300 })])(
    'is decoded or rejected if it is replaced by any bytes',
    (encoding, noise) => void decode(Buffer.from(noise), encoding),
  );

  property.prop([fc.json()])(
    'is decoded or rejected if it is replaced by any JSON',
    (json) => void decode(Buffer.from(json), 'json'),
  );

  property.prop([fc.json()])('is decoded or rejected if its records are replaced by any JSON', (json) => {
    for (const wrap of [
      `{"resourceLogs":${json}}`,
      `{"resourceLogs":[{"scopeLogs":${json},"resource":${json}}]}`,
      `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":${json},"attributes":${json}}]}]}]}`,
      `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":${json}}}}]}]}]}`,
    ])
      decode(Buffer.from(wrap), 'json');
  });
});

const inJson = (body: object, more: object = {}): Buffer =>
  Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body, ...more }] }] }] }));

const lineOf = (body: object): string | undefined => records(inJson(body), 'json')[0]?.body.toString();

describe("OTLP's JSON", () => {
  test.each([
    ['a 64-bit integer as a string', { intValue: '1795366454593' }, '1795366454593'],
    ['a 64-bit integer as a number', { intValue: 1795366454593 }, '1795366454593'],
    ['a double as a string', { doubleValue: '1.5' }, '1.5'],
    ['a number that JSON can not represent', { doubleValue: 'NaN' }, ''],
    ['bytes', { bytesValue: Buffer.from('{"a":"é"}').toString('base64') }, '{"a":"é"}'],
    [
      'bytes in the alphabet of URLs',
      { bytesValue: Buffer.from('{"a":"?>"}').toString('base64url') },
      '{"a":"?>"}',
    ],
    ['a value that is absent', {}, ''],
    ['unknown keys', { stringValue: '{}', futureValue: 7 }, '{}'],
    ['null for an absent value', { stringValue: null, boolValue: true }, 'true'],
    [
      'an object with equal keys, of which the last one counts',
      {
        kvlistValue: {
          values: [
            { key: 'a', value: { stringValue: 'x' } },
            { key: '__proto__', value: { intValue: '7' } },
            { key: 'a', value: { arrayValue: { values: [{ boolValue: false }, {}] } } },
          ],
        },
      },
      '{"a":[false,null],"__proto__":7}',
    ],
  ])('may have %s', (_, body, line) => expect(lineOf(body)).toBe(line));

  test('may be an empty request, or have unknown keys beside known ones', () => {
    expect(records(Buffer.from('{}'), 'json')).toEqual([]);
    expect(records(Buffer.from('{"resourceLogs":[],"new":{"a":1}}'), 'json')).toEqual([]);
    expect(records(Buffer.from('{"resourceLogs":[{"scopeLogs":null,"resource":null}]}'), 'json')).toEqual([]);
  });

  const NO_REQUEST = '400 the body is not an OTLP ExportLogsServiceRequest in json: ';

  test.each([
    ['', 'not JSON'],
    ['[]', 'not a JSON object'],
    ['{"resourceSpans":[]}', 'resourceLogs is missing'],
    ['{"resourceLogs":{}}', 'resourceLogs: must be an array'],
    ['{"resourceLogs":[7]}', 'resourceLogs[0]: must be an object'],
    [
      '{"resourceLogs":[{"scopeLogs":[{},{"logRecords":7}]}]}',
      'resourceLogs[0].scopeLogs[1].logRecords: must be an array',
    ],
    [Buffer.from('{"resourceLogs":"\xff"}', 'latin1'), 'not valid UTF-8'],
    [
      inJson({ stringValue: 7 }),
      'resourceLogs[0].scopeLogs[0].logRecords[0].body.stringValue: must be a string',
    ],
    [
      inJson({ intValue: 'seven' }),
      'resourceLogs[0].scopeLogs[0].logRecords[0].body.intValue: must be a number',
    ],
    [
      inJson({}, { attributes: [{ key: 'a', value: 'b' }] }),
      'resourceLogs[0].scopeLogs[0].logRecords[0].$: must be an object, such as {"stringValue": "…"}',
    ],
  ])('is rejected: %s', (body, what) => expect(problem(body, 'json')).toBe(NO_REQUEST + what));

  test('is never quoted in an error message', () => {
    for (const body of ['{"resourceLogs": hidden}', '{"hidden":1}', '{"resourceLogs":["hidden"]}'])
      expect(problem(body, 'json')).not.toContain('hidden');
  });
});

describe("OTLP's protobuf", () => {
  const keyValue = (key: string, value: string) => message([1, key], [2, message([1, value])]);
  const request = (body: Buffer) => message([1, message([2, message([2, message([5, body])])])]);

  test('may be an empty request', () => expect(records(Buffer.alloc(0), 'protobuf')).toEqual([]));

  test('may have a resource after its records', () => {
    const record = message([5, message([1, '{}'])], [6, keyValue('log.file.name', 'a')]);
    const resource = message([1, keyValue('host.name', 'b')]);
    const scope = message([2, record]);
    expect(records(message([1, message([2, scope], [1, resource])]), 'protobuf')).toMatchObject([
      { origin: 'host.name=b,log.file.name=a', body: Buffer.from('{}') },
    ]);
  });

  test('may have unknown fields, which are ignored', () => {
    const pbf = new PbfWriter();
    pbf.writeFixed64Field(90, 1);
    pbf.writeFixed32Field(91, 1);
    pbf.writeVarintField(92, 2 ** 60);
    pbf.writeStringField(93, 'new');
    // A known field number with another wire type.
    pbf.writeVarintField(5, 7);
    const unknown = Buffer.from(pbf.finish());
    const scope = message([2, Buffer.concat([unknown, message([5, message([1, '{}'])])])]);
    const bytes = Buffer.concat([unknown, message([1, Buffer.concat([message([2, scope]), unknown])])]);
    expect(records(bytes, 'protobuf').map(({ body }) => body.toString())).toEqual(['{}']);
  });

  test('may have a string that is not UTF-8: its line is rejected later, not the request', () => {
    const line = Buffer.from([0x7b, 0xff, 0x7d]);
    expect(records(request(message([1, line])), 'protobuf')).toMatchObject([{ body: line }]);
  });

  test('may have several values for a body, of which the last one counts', () => {
    const body = Buffer.concat([message([1, 'first']), message([6, message([1, keyValue('a', 'b')])])]);
    expect(records(request(body), 'protobuf')).toMatchObject([{ body: Buffer.from('{"a":"b"}') }]);
  });

  test('is rejected if a message is cut off or extends past its end', () => {
    const whole = request(message([1, 'a line of some length']));
    for (let length = 1; length < whole.length; length += 1)
      expect(problem(whole.subarray(0, length), 'protobuf')).toMatch(
        /^400 the body is not an OTLP ExportLogsServiceRequest/,
      );
    const longer = Buffer.from(whole);
    longer[1] = (longer[1] ?? 0) + 1;
    expect(problem(longer, 'protobuf')).toMatch(/^400 /);
  });
});

test.each(ENCODINGS)('a value that is nested too deep is rejected, in %s', (encoding) => {
  const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
  expect(records(encode(bodies(nested(MAX_DEPTH)), encoding), encoding)).toHaveLength(1);
  expect(problem(encode(bodies(nested(MAX_DEPTH + 1)), encoding), encoding)).toContain(
    'nested more than 100 levels deep',
  );
  const endless = Buffer.from(`{"resourceLogs":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`);
  expect(problem(endless, 'json')).toContain('resourceLogs[0]: must be an object');
});

test.each<[Encoding, (count: number) => Buffer]>([
  [
    'json',
    (count) => Buffer.from(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[${Array(count).fill('{}')}]}]}]}`),
  ],
  ['protobuf', (count) => message([1, message([2, Buffer.from('1200'.repeat(count), 'hex')])])],
])('the number of records in a request is limited, in %s', (encoding, empty) => {
  expect(records(empty(MAX_RECORDS), encoding)).toHaveLength(MAX_RECORDS);
  expect(problem(empty(MAX_RECORDS + 1), encoding)).toBe(
    '413 the request has more than 100000 log records; send fewer per request',
  );
});

describe('the origin of a record', () => {
  const originOf = (resource: Sent['resource'] = {}, own: Record<string, string | number> = {}) =>
    records(encode([{ resource, records: [{ body: '{}', attributes: own }] }], 'protobuf'), 'protobuf')[0]
      ?.origin;

  test('consists of the attributes that identify the sender, in a fixed order', () => {
    expect(originOf()).toBe('');
    const mixed = { 'log.file.name': 'a.log', 'net.peer.port': 7, 'log.file.record_number': 9 };
    expect(originOf({ other: 'x', 'host.name': 'h' }, mixed)).toBe(
      'host.name=h,log.file.name=a.log,net.peer.port=7',
    );
  });

  test('uses the attribute of the record rather than that of its resource', () => {
    expect(originOf({ 'log.file.name': 'a' }, { 'log.file.name': 'b' })).toBe('log.file.name=b');
  });

  test('has a limited length, and no control characters', () => {
    const [a, b] = ['a', 'b'].map((end) => originOf({ 'host.name': 'x'.repeat(1_000) + end }) ?? '');
    expect(a).toMatch(/^host\.name=[0-9a-f]{64}$/);
    expect(a).not.toBe(b);
    expect(originOf({ 'host.name': '\u001b[2Jx\n' })).toBe('host.name=\ufffd[2Jx\ufffd');
  });
});

describe('unpacking', () => {
  const LIMIT = 1_000_000;

  test('gives the original bytes, also from several gzip members', async () => {
    const packed = Buffer.concat([gzipSync('one '), gzipSync('two')]);
    expect(String(await unpack(packed, LIMIT))).toBe('one two');
    expect(await unpack(gzipSync(Buffer.alloc(LIMIT)), LIMIT)).toHaveLength(LIMIT);
  });

  test('stops at the limit', async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    expect(bomb.length).toBeLessThan(LIMIT);
    const before = process.memoryUsage().arrayBuffers;
    expect(await unpack(bomb, LIMIT)).toMatchObject({ status: 413 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 * LIMIT);
  });

  test('rejects bytes that are not gzip, or are cut off', async () => {
    for (const body of [Buffer.from('{}'), Buffer.alloc(0), gzipSync('hello').subarray(0, 12)])
      expect(await unpack(body, LIMIT)).toMatchObject({ status: 400 });
  });
});
