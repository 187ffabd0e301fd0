/**
 * Every kind of bad input: it affects nothing but itself, is counted under a reason and reported with its place, and never
 * crashes a command.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { test, testIf } from './concurrent.js';
import { runForSummary, runToEnd, start, temporaryDirectory, temporaryFile } from './program.js';
import { type Sink, startSink } from './sink.js';

const BASE = { ts: 1_795_348_800_000, session_key: 'agent:main:bad', run_id: 'run-1' };
const event = (fields: object): string => JSON.stringify({ ...BASE, ...fields });
const call = (fields: object): string => event({ type: 'tool.call', call_id: 'bad', tool: 'bad', ...fields });
const tokens = (fields: object): string =>
  event({ type: 'llm.tokens', model: 'm', provider: 'p', input_tokens: 1, output_tokens: 1, ...fields });
const good = (number: number): string =>
  event({ type: 'tool.call', call_id: `good-${number}`, tool: 'good' });

const DEEP = 100_000;
const nested = (open: string, close: string): string => `${open.repeat(DEEP)}1${close.repeat(DEEP)}`;

interface Bad {
  name: string;
  line: string | Buffer;
  reason: string;
  path: string;
}

const rejectedFor =
  (reason: string, path = '') =>
  ([name, line]: [string, string | Buffer]): Bad => ({ name, line, reason, path });

const invalid = (path: string, ...lines: [string, string][]): Bad[] =>
  lines.map(rejectedFor('invalid_event', path));

const BAD: Bad[] = [
  ...(
    [
      ['broken JSON', '{"type":"tool.call",'],
      ['two values', '{} {}'],
      ['a NUL', '\u0000'],
      ['a BOM that is not at the start', `\ufeff${good(0)}`],
      ['arrays without an end', '['.repeat(DEEP)],
      ['NaN', call({}).replace(String(BASE.ts), 'NaN')],
      ['a control character in a string', call({}).replace('agent:', 'agent\u001b[31m:')],
    ] satisfies [string, string][]
  ).map(rejectedFor('invalid_json')),
  ...(
    [
      ['an array', '[1,2]'],
      ['an event in an array', `[${good(0)}]`],
      ['a string', '"tool.call"'],
      ['a number', '42'],
      ['null', 'null'],
      ['true', 'true'],
      ['arrays in arrays', nested('[', ']')],
    ] satisfies [string, string][]
  ).map(rejectedFor('not_an_object')),
  ...(
    [
      ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
      ['a line in Latin-1', Buffer.from(call({ tool: 'é' }), 'latin1')],
      ['UTF-16', Buffer.from(`\ufeff${good(0)}`, 'utf16le').subarray(0, 21)],
    ] satisfies [string, Buffer][]
  ).map(rejectedFor('invalid_utf8')),
  rejectedFor('line_too_long')(['a line of 5 MB', call({ input: 'x'.repeat(5_000_000) })]),
  ...invalid(
    'type',
    ['no fields', '{}'],
    ['a type that is not a string', '{"type":42}'],
    ['no type', JSON.stringify(BASE)],
    ['objects in objects', nested('{"a":', '}')],
    ['a prototype for a type', '{"__proto__":{"type":"tool.call"}}'],
  ),
  ...invalid(
    'ts',
    [
      'no time',
      JSON.stringify({ type: 'tool.call', call_id: 'bad', tool: 'bad', session_key: 's', run_id: 'r' }),
    ],
    ['a time in words', call({ ts: 'yesterday' })],
    ['a time without a zone', call({ ts: '2026-11-22T12:00:00' })],
    ['a time before 1970', call({ ts: -1 })],
    ['a date before 1970', call({ ts: '0001-01-01T00:00:00Z' })],
    ['a time in microseconds', call({ ts: 1_700_000_000_000_000 })],
    ['a date after 2554', call({ ts: '9999-12-31T23:59:59Z' })],
    ['a time that is an array', call({ ts: [1] })],
  ),
  ...invalid(
    'session_key',
    ['an empty name', call({ session_key: '' })],
    ['a name that is a number', call({ session_key: 1 })],
  ),
  ...invalid(
    'call_id',
    ['a missing name', event({ type: 'tool.call', tool: 'bad' })],
    ['null for a name', call({ call_id: null })],
  ),
  ...invalid(
    'seq',
    ['a count below 0', call({ seq: -1 })],
    ['a count with a fraction', call({ seq: 1.5 })],
    ['a count as a string', call({ seq: '1' })],
  ),
  ...invalid(
    'input_tokens',
    ['tokens as a string', tokens({ input_tokens: '12' })],
    ['tokens beyond exact integers', tokens({ input_tokens: 1e300 })],
  ),
  ...invalid('cost_usd', ['a cost below 0', tokens({ cost_usd: -1 })]),
  ...invalid('ended_at', ['an end in words', tokens({ ended_at: 'soon' })]),
  ...invalid('status', ['an unknown status', event({ type: 'agent.finished', status: 'done' })]),
  ...invalid('error', [
    'an error that is a string',
    event({ type: 'tool.error', call_id: 'bad', error: 'no' }),
  ]),
  ...invalid('error.message', [
    'an error without a message',
    event({ type: 'tool.error', call_id: 'bad', error: { type: 'x' } }),
  ]),
  ...invalid('partial', [
    'a boolean as a string',
    event({ type: 'tool.output', call_id: 'bad', partial: 'yes' }),
  ]),
  ...invalid('exit_code', [
    'an exit code with a fraction',
    event({ type: 'tool.output', call_id: 'bad', exit_code: 0.5 }),
  ]),
];

/** Ignored lines: not wrong, only of unknown types. */
const IGNORED = [event({ type: 'tool.dance' }), '{"type":"__proto__"}', '{"type":"constructor"}'];

/** A good line precedes each bad one and follows the last. */
const GOOD = BAD.length + 1;

const lineOf = (index: number): number => 2 * (index + 1);

const BAD_FILE = Buffer.concat([
  ...BAD.flatMap(({ line }, index) => [
    Buffer.from(`${good(index)}\n`),
    Buffer.from(line),
    Buffer.from('\n'),
  ]),
  Buffer.from(`${good(BAD.length)}\n${IGNORED.join('\n')}\n`),
]);

const EXPECTED_COUNTS: Record<string, number> = {};
for (const { reason } of BAD) EXPECTED_COUNTS[reason] = (EXPECTED_COUNTS[reason] ?? 0) + 1;

/** Expects the calls of all good lines, once each, and none of a bad line. */
function expectGoodCalls(sink: Sink, count = GOOD): void {
  const ids = sink
    .spans()
    .flatMap(({ attributes }) => attributes['gen_ai.tool.call.id'] ?? [])
    .sort();
  expect(ids).toEqual(Array.from({ length: count }, (_, index) => `good-${index}`).sort());
}

describe('good lines between bad ones', () => {
  test('replay: all good ones arrive, each bad one is counted under its reason, and the exit status is 0', async () => {
    const sink = await startSink();
    const path = temporaryFile('bad.ndjson', BAD_FILE);
    const { status, stderr, summary } = await runForSummary(['replay', path, '--to', `otlp=${sink.url}`]);
    expect(status).toBe(0);
    expect(summary.source).toEqual({
      lines: GOOD + BAD.length + IGNORED.length,
      events: GOOD,
      ignored: { unknown_type: IGNORED.length },
      rejected: EXPECTED_COUNTS,
    });
    expectGoodCalls(sink);
    // The first ones are reported one by one, with their place.
    expect(stderr).toContain(`WARN: ${path}:2: $: not JSON`);
    expect(stderr.match(/WARN/g)?.length).toBeLessThan(30);
  });

  test('run: all good ones arrive through a pipe, in chunks, and each bad one is counted', async () => {
    const sink = await startSink();
    const program = start([
      'run',
      '--no-store',
      '--from',
      'stdin',
      '--to',
      `otlp=${sink.url}`,
      '--summary',
      '-',
    ]);
    const middle = BAD_FILE.length / 2;
    program.child.stdin.write(BAD_FILE.subarray(0, middle));
    program.child.stdin.end(BAD_FILE.subarray(middle));
    const { status, stdout, stderr } = await program.ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout).source.rejected).toEqual(EXPECTED_COUNTS);
    expect(stderr).toContain('WARN: stdin:2: $: not JSON');
    expectGoodCalls(sink);
  });

  test('tree: the tree has all good ones', async () => {
    const path = temporaryFile('bad.ndjson', BAD_FILE);
    const { status, stdout, stderr } = await runToEnd(['tree', '--json', path]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)[0].children).toHaveLength(GOOD);
    expect(stderr.match(/WARN/g)?.length).toBeLessThan(30);
  });

  test('validate: one line per problem (FILE:LINE: path: what is wrong), and exit status 1', async () => {
    const path = temporaryFile('bad.ndjson', BAD_FILE);
    const { status, stdout } = await runToEnd(['validate', path]);
    expect(status).toBe(1);
    const lines = stdout.trimEnd().split('\n');
    BAD.forEach(({ name, path: field }, index) => {
      const place = `${path}:${lineOf(index)}: ${field === '' ? '$' : field}: `;
      expect(lines[index]?.slice(0, place.length), name).toBe(place);
      expect(lines[index]?.length, name).toBeGreaterThan(place.length + 5);
    });
    expect(lines).toHaveLength(BAD.length);
  });

  test('validate: a line with several wrong fields has a problem for each', async () => {
    const path = temporaryFile('bad.ndjson', '{"type":"tool.call","ts":"x","session_key":"","run_id":5}\n');
    const { stdout, stderr } = await runToEnd(['validate', path]);
    const fields = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.slice(path.length).split(': ', 2));
    expect(fields).toEqual(['ts', 'session_key', 'run_id', 'call_id', 'tool'].map((field) => [':1', field]));
    expect(stderr).toContain('1 line; 1 bad: 1 invalid_event');
    const as_json = await runToEnd(['validate', '--json', path]);
    expect(JSON.parse(as_json.stdout)).toHaveLength(5);
  });

  test('validate --json prints the problems as data', async () => {
    const path = temporaryFile('bad.ndjson', BAD_FILE);
    const { status, stdout } = await runToEnd(['validate', '--json', path]);
    expect(status).toBe(1);
    const problems = BAD.map(({ reason, path: field }, index) => ({
      file: path,
      line: lineOf(index),
      path: field,
      reason,
    }));
    expect(JSON.parse(stdout)).toEqual(
      problems.map((problem) => ({ ...problem, message: expect.stringMatching(/\w/) })),
    );
  });
});

/** All control characters except the line break. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is them that are looked for
const CONTROLS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

describe('the messages of validate', () => {
  const messageFor = async (line: string): Promise<string> => {
    const { stdout } = await runToEnd(['validate', '--json', temporaryFile('line.ndjson', line)]);
    return JSON.parse(stdout)[0].message;
  };

  test('a missing field is called missing, also if it may have several forms', async () => {
    const line = { type: 'tool.call', call_id: 'c', tool: 't', session_key: 's', run_id: 'r' };
    expect(await messageFor(JSON.stringify(line))).toMatch(/missing|required|undefined/);
  });

  test('an unreadable time is reported with the accepted forms', async () => {
    expect(await messageFor(call({ ts: 'yesterday' }))).toMatch(/RFC 3339|epoch/);
  });

  test('no control sequence in a line reaches the terminal', async () => {
    const path = temporaryFile('line.ndjson', '\u001b]0;title\u0007\n\u009b31m\n');
    const { stdout, stderr } = await runToEnd(['validate', path]);
    expect(stdout).toMatch(/:1: .*\n.*:2: /);
    expect(stdout + stderr).not.toMatch(CONTROLS);
  });

  test("no control sequence in a frame's event name reaches the terminal, also not from the status", async () => {
    const frame = { type: 'event', event: '\u001b[2J\u0007evil\nline', payload: {} };
    const path = temporaryFile('frame.ndjson', `${JSON.stringify({ rx: BASE.ts, frame })}\n`);
    const store = ['--data-dir', temporaryDirectory()];
    const shown = [
      await runToEnd(['validate', path]),
      await runToEnd(['replay', path, '--to', 'console', ...store]),
      await runToEnd(['status', ...store]),
    ].map(({ stdout, stderr }) => stdout + stderr);
    for (const text of shown) {
      expect(text).toContain('1 ignored: 1 frame.\ufffd[2J\ufffdevil\ufffdline');
      expect(text).not.toMatch(CONTROLS);
    }
  });

  test('a line break in a file name does not break a line of output', async () => {
    const path = temporaryFile('a\nb.ndjson', '{}\n');
    const shown = path.replace('\n', '\ufffd');
    expect((await runToEnd(['validate', path])).stdout).toContain(`${shown}:1: type: `);
    expect((await runToEnd(['tree', path, '--log-format', 'json'])).stderr).toContain(`"${shown}:1: type: `);
    const store = ['--data-dir', temporaryDirectory()];
    const replayed = await runToEnd(['replay', path, '--to', 'console', ...store]);
    expect(replayed.stderr).toContain(`WARN: ${shown}:1: type: `);
    expect((await runToEnd(['status', ...store])).stdout).toContain(`${shown}  1 line`);
    expect((await runToEnd(['validate', `${path}x`])).stderr).toContain(`can't read ${shown}x: it does not`);
  });

  test('a good file has no problems and exit status 0; a misspelt type shows among the ignored lines', async () => {
    const path = temporaryFile('good.ndjson', `${good(0)}\n${IGNORED[0]}\n`);
    const { status, stdout, stderr } = await runToEnd(['validate', path]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    expect(stderr).toBe('2 lines; no problems; 1 ignored: 1 unknown_type\n');
    expect((await runToEnd(['validate', '--json', path])).stdout).toBe('[]\n');
  });

  test('problems of several files are listed under the names of the files', async () => {
    const [first, second] = [
      temporaryFile('a.ndjson', '{}\n'),
      temporaryFile('b.ndjson', `${good(0)}\n[]\n`),
    ];
    const { status, stdout } = await runToEnd(['validate', first, second]);
    expect(status).toBe(1);
    expect(stdout).toMatch(new RegExp(`^${first}:1: type: .*\\n${second}:2: \\$: .*\\n$`));
  });
});

describe('unusual but good input', () => {
  test('a BOM at the start, CRLF, blank lines, no final line break and unknown fields are accepted', async () => {
    const sink = await startSink();
    const lines = `\ufeff${good(0)}\r\n\r\n\n${good(1)}\r\n${good(2).replace('}', ',"new":{"a":[1]}}')}`;
    const { status, summary } = await runForSummary([
      ...['replay', temporaryFile('odd.ndjson', lines), '--to', `otlp=${sink.url}`],
    ]);
    expect(status).toBe(0);
    expect(summary.source).toMatchObject({ events: 3, rejected: {} });
    expectGoodCalls(sink, 3);
  });

  test('lone surrogates, deep inputs and names from Object are sent well-formed', async () => {
    const sink = await startSink();
    const lines = [
      call({ call_id: 'X', tool: 'Y' })
        .replace('"X"', '"\\ud800"')
        .replace('"Y"', '"\\udc00 \\ud83d\\ude00"'),
      call({ call_id: 'deep', input: 'X' }).replace('"X"', nested('[', ']')),
      call({ call_id: '__proto__', tool: 'constructor', session_key: '__proto__', run_id: 'toString' }),
      call({ call_id: 'nul\u0000', tool: '\u202e\u0007' }),
    ];
    const path = temporaryFile('odd.ndjson', lines.join('\n'));
    const { status, summary } = await runForSummary([
      'replay',
      path,
      '--content',
      '--to',
      `otlp=${sink.url}`,
    ]);
    expect(status).toBe(0);
    expect(summary.source).toMatchObject({ events: lines.length, rejected: {} });
    const ids = sink.spans().flatMap(({ attributes }) => attributes['gen_ai.tool.call.id'] ?? []);
    expect(ids.sort()).toEqual(['__proto__', 'deep', 'nul\u0000', '\ufffd']);
    const replaced = sink.spans().find(({ attributes }) => attributes['gen_ai.tool.call.id'] === '\ufffd');
    expect(replaced?.name).toBe('execute_tool \ufffd 😀');
  });

  test('tail --content cuts an input that is nested too deeply to print, and nothing else', async () => {
    const deep = call({ call_id: 'deep', input: 'X' }).replace('"X"', nested('[', ']'));
    const { status, stdout } = await runToEnd(['tail', '--content', '--no-store', '--from', 'stdin'], {
      input: `${deep}\n${call({ input: 'shown' })}\n`,
    });
    expect(status).toBe(0);
    const printed = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const [cut, next] = printed;
    expect({ ...cut, input: 'X' }).toEqual(JSON.parse(call({ call_id: 'deep', input: 'X' })));
    expect(next).toEqual(JSON.parse(call({ input: 'shown' })));
    expect(JSON.stringify(cut.input)).toContain('[nested too deep]');
  });

  test('a chain of 5,000 sub-agents, reported from the last to the first, is one trace', async () => {
    const sink = await startSink();
    const depth = 5_000;
    const lines = Array.from({ length: depth }, (_, index) => {
      const [own, parent] = [depth - index, depth - index - 1];
      const run = { ts: BASE.ts + own, session_key: `session-${own}`, run_id: `run-${own}` };
      const below =
        own === 1 ? {} : { parent_session_key: `session-${parent}`, parent_run_id: `run-${parent}` };
      return JSON.stringify({ type: 'agent.started', ...run, ...below });
    });
    const path = temporaryFile('deep.ndjson', lines.join('\n'));
    const { status, summary } = await runForSummary(['replay', path, '--to', `otlp=${sink.url}`]);
    expect(status).toBe(0);
    expect(summary.runs).toEqual({ opened: depth, ended: depth, open: 0 });
    expect(new Set(sink.spans().map(({ trace_id }) => trace_id)).size).toBe(1);
  });

  test('an empty file: no events, no failure', async () => {
    const sink = await startSink();
    const path = temporaryFile('empty.ndjson');
    const { status, summary } = await runForSummary([
      'replay',
      path,
      '--rebase-time',
      '--to',
      `otlp=${sink.url}`,
    ]);
    expect(status).toBe(0);
    expect(summary.source).toEqual({ lines: 0, events: 0, ignored: {}, rejected: {} });
    expect((await runToEnd(['tree', '--json', path])).stdout).toBe('[]\n');
    expect((await runToEnd(['validate', path])).status).toBe(0);
  });

  test('a binary file: bad lines, and no failure', async () => {
    const sink = await startSink();
    const bytes = Buffer.from(
      Array.from({ length: 100_000 }, (_, index) => (index * index * 31 + (index >> 3)) & 0xff),
    );
    const { status, summary } = await runForSummary([
      ...['replay', temporaryFile('binary', bytes), '--to', `otlp=${sink.url}`],
    ]);
    expect(status).toBe(0);
    const { events, rejected, lines } = summary.source;
    expect(events).toBe(0);
    expect(lines).toBe(Object.values(rejected).reduce((total, count) => total + count, 0));
  });
});

/** A directory that exists. */
const HERE = import.meta.dirname;

test.each([
  ['replay', 'a missing file', join(HERE, 'none.ndjson'), 'it does not exist; check the path'],
  ['replay', 'a directory', HERE, 'it is a directory; give the path of an NDJSON file'],
  ['tree', 'a device', '/dev/null', 'it is not a regular file; give the path of an NDJSON file'],
  ['validate', 'a missing file', join(HERE, 'none.ndjson'), 'it does not exist; check the path'],
])('%s of %s: exit status 1, and what to do', async (command, _, path, what) => {
  const to = command === 'replay' ? ['--to', 'console'] : [];
  const { status, stdout, stderr } = await runToEnd([command, path, ...to]);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toBe(`openclaw-otel-bridge: can't read ${path}: ${what}\n`);
});

testIf(process.getuid?.() !== 0)('an unreadable file is reported with what to do', async () => {
  const path = temporaryFile('secret.ndjson', good(0));
  chmodSync(path, 0);
  const { status, stderr } = await runToEnd(['validate', path]);
  expect(status).toBe(1);
  expect(stderr).toContain(`can't read ${path}: permission denied; check that this user can read it`);
});
