import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { prepareContent, redactedHead, redactPatterns } from '../../src/correlate/content.js';
import { createCorrelator } from '../../src/correlate/index.js';
import type { AgentEvent } from '../../src/model/event.js';
import { cutUtf8 } from '../../src/util/utf8.js';
import { correlate, decodeFile, decodeLines, example, merge } from '../helpers.js';

describe('redaction', () => {
  test.each([
    ['key sk-abcdefghijklmnopqrstuvwx end', 'key [redacted] end'],
    ['{"apiKey": "hunter2hunter2"}', '{"apiKey": "[redacted]"}'],
    ['{\\"password\\":\\"hunter2hunter2\\"}', '{\\"password\\":\\"[redacted]\\"}'],
    ['{"token":"a\\"b\'cdefgh", "to": 1}', '{"token":"[redacted]", "to": 1}'],
    [
      '{"token":"", "password":"short", "to": "anybody"}',
      '{"token":"", "password":"short", "to": "anybody"}',
    ],
    ['DB_PASSWORD=hunter2hunter2 npm start', 'DB_PASSWORD=[redacted] npm start'],
    ['{"passphrase": "correct horse battery"}', '{"passphrase": "[redacted]"}'],
    ['{\\"token\\": \\"one, two\\", \\"to\\": 1}', '{\\"token\\": \\"[redacted]\\", \\"to\\": 1}'],
    ['login --api-key hunter2hunter2 --verbose', 'login --api-key [redacted] --verbose'],
    ['["--token", "hunter2hunter2"]', '["--token", "[redacted]"]'],
    ['psql postgres://me:hunter2@db:5432/x', 'psql postgres://me:[redacted]@db:5432/x'],
    ['Authorization: Bearer abcdefghijklmnopqrstuv', 'Authorization: [redacted]'],
    ['rk_live_abcdefghijklmnopqrst', '[redacted]'],
    ['ghp_abcdefghijklmnopqrstuvwxyz0123456789', '[redacted]'],
    ['AKIAABCDEFGHIJKLMNOP', '[redacted]'],
    ['-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----', '[redacted]'],
    ['-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n-----END PGP PRIVATE KEY BLOCK-----', '[redacted]'],
    ['nothing to hide: 42 tokens used', 'nothing to hide: 42 tokens used'],
  ])('%s', (text, expected) => {
    expect(redactPatterns(text)).toBe(expected);
  });

  test.each([
    '{"input_tokens": 1234567, "max_tokens=100000": "tokenizer: cl100k_base"}',
    'run --max-tokens 100000 --no-password --with-token < token-file',
    'git@github.com:me/it.git http://127.0.0.1:8900/@me mailto:me@example.com',
  ])('leaves text without secrets unchanged: %s', (text) => {
    expect(redactPatterns(text)).toBe(text);
  });
});

describe('a private key', () => {
  const [begin, end] = ['-----BEGIN PRIVATE KEY-----', '-----END PRIVATE KEY-----'];
  const body = 'MIIEvQ+/\n'.repeat(1_000);

  test.each([
    ['of 9,000 characters', `${begin}\n${body}${end}`, 'before [redacted] after'],
    [
      'with dashes and headers in it',
      `${begin}\nProc-Type: 4,ENCRYPTED\n-----\n${body}${end}`,
      'before [redacted] after',
    ],
    ['without its end', `${begin}\n${body}`, 'before [redacted]'],
  ])('%s is redacted', (_, key, expected) => {
    expect(redactPatterns(`before ${key} after`)).toBe(expected);
    expect(prepareContent(`before ${key} after`, 1_000)?.text).toBe(expected);
  });

  test('that is longer than the examined text is redacted up to the end of that text', () => {
    expect(redactedHead(`before ${begin}${body.repeat(10)}${end} after`, 1_000)).toBe('before [redacted]');
  });
});

describe('the error of a span', () => {
  const of = { ts: 1, session_key: 's', run_id: 'r' } as const;
  const error = { type: 'broken', message: 'it said sk-abcdefghijklmnopqrstuvwx' };
  const cases: [string, AgentEvent[]][] = [
    [
      'a tool',
      [
        { ...of, type: 'tool.call', call_id: '1', tool: 'exec' },
        { ...of, type: 'tool.error', call_id: '1', error },
        { ...of, type: 'agent.finished', status: 'ok' },
      ],
    ],
    [
      'a model call',
      [
        { ...of, type: 'llm.tokens', model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1, error },
        { ...of, type: 'agent.finished', status: 'ok' },
      ],
    ],
    ['a run', [{ ...of, type: 'agent.finished', status: 'error', error }]],
  ];

  test.each(cases)('contains no secret: %s', (_, events) => {
    const { spans } = correlate([{ ...of, type: 'agent.started' }, ...events]);
    expect(spans.flatMap((span) => span.error ?? [])).toEqual([
      { type: 'broken', message: 'it said [redacted]' },
    ]);
  });
});

describe('cutting content', () => {
  test('shows no part of a secret that the examined text ends in', () => {
    const secrets = 'password="correct horse battery staple"\n'.repeat(10_000);
    for (let max_bytes = 1_000; max_bytes < 1_040; max_bytes++)
      expect(redactedHead(`token=${'x'.repeat(10_500)} ${secrets}`, max_bytes)).not.toMatch(/horse|staple/);
  });

  property.prop([fc.string({ unit: 'grapheme' }), fc.nat(64)])(
    'stays within the byte limit, and splits no character',
    (text, max) => {
      const part = cutUtf8(text, max);
      expect(Buffer.byteLength(part)).toBeLessThanOrEqual(max);
      expect(text.startsWith(part)).toBe(true);
      expect(part.isWellFormed()).toBe(true);
    },
  );

  test('redacts a secret that is split across two pieces of reasoning', () => {
    const common = { ts: 1, session_key: 's', run_id: 'r' } as const;
    const think = (text: string) => ({ ...common, type: 'llm.reasoning', response_id: 'x', text }) as const;
    const correlator = createCorrelator({ content: true });
    const told = [
      { ...common, type: 'agent.started' } as const,
      think('the key is sk-proj-AbCdEf'),
      think('Gh1234567890XyZ, I think'),
      {
        ...common,
        type: 'llm.tokens',
        model: 'm',
        provider: 'p',
        input_tokens: 1,
        output_tokens: 1,
      } as const,
    ];
    const emitted = merge(
      told.map((event) =>
        correlator.apply(
          event.type === 'llm.tokens' ? { ...event, response_id: 'x', reasoning_tokens: 1 } : event,
          1,
        ),
      ),
    );
    expect(emitted.spans[0]?.attributes['gen_ai.output.messages']).toContain(
      'the key is [redacted], I think',
    );
  });

  test('happens after redaction, so that no half of a secret remains', () => {
    expect(prepareContent('key sk-abcdefghijklmnopqrstuvwx', 12)?.text).toBe('key [redacte');
    const content = prepareContent('token=abcdefghijklmnop', 12);
    expect(content?.text).toBe('token=[redac');
    expect(content?.size_bytes).toBe(22);
  });
});

describe('messages of errors', () => {
  const common = { ts: 1, session_key: 's', run_id: 'r' } as const;

  function failTool(message: string) {
    const correlator = createCorrelator();
    const call = { ...common, call_id: 'c' } as const;
    const emitted = merge([
      correlator.apply({ ...common, type: 'agent.started' }, 1),
      correlator.apply({ ...call, type: 'tool.call', tool: 'exec' }, 1),
      correlator.apply({ ...call, type: 'tool.error', error: { type: 'error', message } }, 1),
    ]);
    return {
      span: emitted.spans[0]?.error?.message ?? '',
      log: emitted.logs.at(-1)?.attributes.error,
    };
  }

  test('are redacted and cut, in the same way on the span and in its log record', () => {
    const { span, log } = failTool(`token=abcdefghijklmnop ${'x'.repeat(2_000)}`);
    expect(span).toMatch(/^token=\[redacted\] x+$/);
    expect(span).toHaveLength(1_024);
    expect(log).toBe(span);
  });

  test('are cut before redaction, however long they are', () => {
    const replace = vi.spyOn(String.prototype, 'replace');
    onTestFinished(() => replace.mockRestore());
    failTool('-----BEGIN PRIVATE KEY-----\n'.repeat(37_449));
    const lengths = replace.mock.contexts.map((text) => String(text).length);
    expect(lengths.length).toBeGreaterThan(0);
    expect(Math.max(...lengths)).toBeLessThan(20_000);
  });

  test('that consist of a MiB of unterminated private keys become one short marker', () => {
    expect(failTool('-----BEGIN PRIVATE KEY-----\n'.repeat(37_449))).toEqual({
      span: '[redacted]',
      log: '[redacted]',
    });
  });
});

test('the size of content is its number of UTF-8 bytes', () => {
  expect(prepareContent('grüße', 100)).toEqual({ text: 'grüße', size_bytes: 7 });
});

describe('content of spans', () => {
  const texts = [
    'npm test',
    'The test file was renamed.',
    'A second pair of eyes',
    'Why is the build red?',
    '213 passed',
  ];
  const events = decodeFile(example('catalog.ndjson'));

  test('is off by default', () => {
    const all = JSON.stringify(correlate(events));
    for (const text of texts) expect(all).not.toContain(text);
  });

  test('is included when it is enabled', () => {
    const all = JSON.stringify(correlate(events, { content: true }).spans);
    for (const text of texts) expect(all).toContain(text);
  });

  test('is cut to its limit, with the size of the whole', () => {
    const { spans } = correlate(events, { content: true, content_max_bytes: 8 });
    const call = spans.find(
      (span) => span.attributes['gen_ai.tool.call.id'] === 'call-1' && span.name.endsWith('exec'),
    );
    expect(call?.attributes['gen_ai.tool.call.result']).toBe('1 failed');
    expect(call?.attributes['openclaw.output.size_bytes']).toBe(20);
  });

  test('of a run is prepared once, however often its end is repeated', () => {
    const toJSON = vi.fn(() => 'an answer');
    const run = { session_key: 's', run_id: 'r' };
    const end: AgentEvent = { type: 'agent.finished', ts: 2, ...run, status: 'ok', output: { toJSON } };
    const correlator = createCorrelator({ content: true });
    correlator.apply({ type: 'agent.started', ts: 1, ...run }, 1);
    for (const now_ms of [2, 3, 4]) correlator.apply(end, now_ms);
    expect(toJSON).toHaveBeenCalledTimes(1);
  });

  test('includes the total size of all pieces of a reasoning text', () => {
    const story = { session_key: 's', run_id: 'r', response_id: 'x' };
    const told = [
      { type: 'llm.reasoning', ts: 1, ...story, text: 'The lög ' },
      { type: 'llm.reasoning', ts: 2, ...story, text: 'will tell.' },
      { type: 'llm.tokens', ts: 3, ...story, model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1 },
    ];
    const lines = told.map((event) => JSON.stringify(event));
    const { spans } = correlate(decodeLines(lines), { content: true, content_max_bytes: 8 });
    const [chat] = spans.filter(({ kind }) => kind === 'chat');
    expect(chat?.attributes['openclaw.reasoning.size_bytes']).toBe(19);
    expect(chat?.attributes['gen_ai.output.messages']).toContain('"The lög"');
    expect(JSON.stringify(correlate(decodeLines(lines)))).not.toContain('size_bytes');
  });
});
