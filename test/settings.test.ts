/**
 * The precedence of options, configuration file and defaults. The message about a file that is not valid YAML says what is
 * wrong and where, and repeats nothing of the file, which may hold a token.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc, test as property } from '@fast-check/vitest';
import { afterAll, describe, expect, test } from 'vitest';
import { type Diagnosis, diagnoseSettings, resolveSettings } from '../src/start/settings.js';

const directory = mkdtempSync(join(tmpdir(), 'settings-'));
afterAll(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'bridge.yaml');

function read(content: string) {
  writeFileSync(path, content);
  return resolveSettings({}, path);
}

const problemOf = (content: string): string | undefined => {
  const settings = read(content);
  return 'error' in settings ? settings.error : undefined;
};

test("~ at the start of a path in the file is the user's home directory", () => {
  const tls = '{ca: ~/ca.pem, cert: ./~/cert.pem}';
  expect(
    read(`data_dir: ~/kept\nsummary: ~/s.json\nto: [{preset: otlp, bearer: {file: ~/token}, tls: ${tls}}]`),
  ).toMatchObject({
    data_dir: join(homedir(), 'kept'),
    summary: join(homedir(), 's.json'),
    records: [
      {
        bearer: { file: join(homedir(), 'token') },
        tls: { ca: join(homedir(), 'ca.pem'), cert: './~/cert.pem' },
      },
    ],
  });
});

test('a file in an encoding other than UTF-8 is reported', () => {
  writeFileSync(path, Buffer.from('\ufefflog_level: warn\n', 'utf16le'));
  expect(resolveSettings({}, path)).toEqual({ error: `${path}: not valid UTF-8; save it as UTF-8` });
});

describe('a file that is not valid YAML', () => {
  test.each([
    [
      'an alias without an anchor',
      'gateway: {token: *hunter2}',
      /Alias .*"\*" in quotes \(line 1, column 18\)$/,
    ],
    ['an alias before its anchor', 'from: *a\nto: &a []', /Alias .* \(line 1, column 7\)$/],
    ['an unknown tag', 'gateway:\n  token: !e!hunter2', /tag; .*"!" in quotes \(line 2, column 10\)$/],
    [
      'an unknown tag before more text',
      'gateway: {token: !abc123 hunter2}',
      /tag; .*"!" in quotes \(line 1, column 18\)$/,
    ],
    ['a tag without a name', 'gateway: {token: ! hunter2}', /tag; .*"!" in quotes/],
    [
      'an unknown tag in a header',
      'to: [{preset: otlp, headers: {authorization: !Bearer hunter2}}]',
      /tag; .*quotes/,
    ],
    [
      'a block scalar with its text on the first line',
      'gateway:\n  token: |hunter2',
      /quotes \(line 2, column 11\)$/,
    ],
    [
      'an invalid escape sequence',
      'gateway: {token: "\\hunter2"}',
      /Invalid escape sequence .*\(line 1, column 19\)$/,
    ],
    ['an invalid directive', '%YAML hunter2\n---\nto: []', /Invalid directive; .*\(line 1, column 7\)$/],
    ['two documents', 'to: []\n---\nhunter2', /A second document; .* \(line 2, column 1\)$/],
    ['a list that does not end', 'to: [hunter2', /end with a \] \(line 1, column 13\)$/],
    ['a nesting that is too deep', `to: ${'['.repeat(50_000)}`, /Nested too deeply \(line 1, column \d+\)$/],
    [
      'aliases of aliases of aliases',
      [
        'a: &a [1]',
        ...'bcdefg'.split('').map((name, at) => `${name}: &${name} [${`*${'abcdef'[at]},`.repeat(9)}]`),
      ].join('\n'),
      /Too many aliases, or nested too deeply$/,
    ],
  ])('is reported without its content: %s', (_, content, expected) => {
    const problem = problemOf(content);
    expect(problem).toMatch(expected);
    expect(problem?.startsWith(`${path}: not valid YAML: `)).toBe(true);
    expect(problem).not.toContain('hunter2');
  });

  const signs = fc.string({ unit: fc.constantFrom(...'*&!|>@%`"\'\\[]{},?-#: \n\t'), maxLength: 4 });
  property.prop([signs, signs, signs], { numRuns: 500 })(
    'is reported without its token, whatever is around that',
    (before, at, after) => {
      const problem = problemOf(`${before}gateway: {url: "ws://h", token: ${at}hunter2${after}}`);
      if (problem?.includes('not valid YAML')) expect(problem).not.toContain('hunter2');
    },
  );
});

describe('a key that is unknown or contains its value', () => {
  test.each([
    ['gateway: {token hunter2}', 'gateway: "token …" has no colon after the name; write NAME: VALUE'],
    [
      'gateway: {url: "ws://h", token hunter2}',
      'gateway: "token …" has no colon after the name; write NAME: VALUE',
    ],
    [
      'gateway: {token:hunter2}',
      'gateway: "token…" is not a valid name; write NAME: VALUE, with a space after the colon',
    ],
    [
      'to: [{preset: otlp, headers: {authorization Bearer hunter2}}]',
      'to.0.headers: "authorization …" has no colon after the name; write NAME: VALUE',
    ],
    ['{token hunter2}', 'top level: "token …" has no colon after the name; write NAME: VALUE'],
    ['gateway: {tokken: hunter2}', 'gateway: unknown key "tokken" (known: url, token, password)'],
  ])('is reported without the value: %s', (content, expected) => {
    expect(problemOf(content)).toBe(`${path}: ${expected}`);
    writeFileSync(path, content);
    expect(diagnoseSettings({}, path)).toMatchObject({ problems: [`${path}: ${expected}`] });
  });
});

test('an alias has the value of its anchor', () => {
  expect(read('from: &a [console]\nsummary: "*a"\nto: *a')).toMatchObject({
    from: ['console'],
    summary: '*a',
  });
  expect(read('')).toMatchObject({ from: [] });
});

describe('a setting that is given in several places', () => {
  const [some, other] = [join(directory, 'some'), join(directory, 'other')];

  test.each<[key: string, option: unknown, in_file: unknown, default_value: unknown]>([
    ['from', ['stdin'], ['file:log', 'unix:socket'], []],
    ['from_start', true, false, false],
    ['dialect', 'catalog', 'gateway', 'auto'],
    ['speed', 2, 0.5, undefined],
    ['rebase_time', true, false, false],
    ['content', false, true, false],
    ['deadline', 0, 1, 60],
    ['drain', 0, 1, 10],
    ['strict', false, true, false],
    ['summary', '-', 'summary.json', undefined],
    ['log_level', 'warn', 'debug', 'info'],
    ['log_format', 'pretty', 'json', 'pretty'],
    ['data_dir', some, other, undefined],
    ['no_store', true, false, false],
  ])('%s: an option overrides the file, the file the default', (key, option, in_file, default_value) => {
    writeFileSync(path, JSON.stringify({ [key]: in_file }));
    for (const settle of [resolveSettings, settingsOf]) {
      expect(settle({ [key]: option }, path)).toHaveProperty(key, option);
      expect(settle({}, path)).toHaveProperty(key, in_file);
      const settings = settle({}) as Record<string, unknown>;
      expect(settings[key]).toEqual(default_value);
      expect(settle({ [key]: option })).toHaveProperty(key, option);
    }
  });

  test('a data directory on the command line overrides no_store of the file, but not --no-store', () => {
    writeFileSync(path, 'no_store: true');
    for (const settle of [resolveSettings, settingsOf]) {
      expect(settle({ data_dir: some }, path)).toMatchObject({ data_dir: some, no_store: false });
      expect(settle({ data_dir: some, no_store: true }, path)).toHaveProperty('no_store', true);
    }
    writeFileSync(path, JSON.stringify({ data_dir: some }));
    expect(resolveSettings({ no_store: true }, path)).toHaveProperty('no_store', true);
  });

  test('destinations of the file are known even if options name others', () => {
    writeFileSync(path, 'to: [mine:otlp=http://backend:4318, console]');
    const in_file = [{ name: 'mine', preset: 'otlp', url: 'http://backend:4318' }, { preset: 'console' }];
    expect(resolveSettings({ to: ['jaeger'] }, path)).toMatchObject({ to: ['jaeger'], records: in_file });
    expect(resolveSettings({}, path)).toMatchObject({ to: [], records: in_file });
  });

  test('is reported if it is wrong, with its place, even if another place takes precedence', () => {
    writeFileSync(path, 'log_level: loud');
    expect(resolveSettings({ log_level: 'warn' }, path)).toEqual({
      error: expect.stringContaining(`${path}: log_level: `),
    });
    expect(resolveSettings({ log_level: 'loud' })).toEqual({
      error: expect.stringMatching(/^--log-level: /),
    });
    expect(problemOf('to: [nope]')).toContain(`${path}: to: "nope" is not a preset`);
    expect(problemOf('[stdin]')).toContain('must be a YAML mapping of settings');
    expect(problemOf('stdin')).toContain('must be a YAML mapping of settings');
  });
});

function settingsOf(...given: Parameters<typeof diagnoseSettings>): unknown {
  const diagnosed = diagnoseSettings(...given);
  return 'settings' in diagnosed ? diagnosed.settings : diagnosed;
}

describe('a diagnosis', () => {
  test('reports everything that is wrong in the file, and continues with the rest of it and with the options', () => {
    const lines = [
      'drain: -1',
      'speed: 2',
      'spede: 5',
      'too: [x]',
      'gateway: {url: host, token: t}',
      'to: [nope]',
    ];
    writeFileSync(path, lines.join('\n'));
    const { settings, problems } = diagnoseSettings({ strict: true }, path) as Diagnosis;
    expect(problems.map((problem) => problem.slice(`${path}: `.length).split(': ')[0])).toEqual([
      'drain',
      'gateway.url',
      'top level',
      'to',
    ]);
    expect(problems[2]).toMatch(/unknown keys "spede" and "too" \(known: from, to,/);
    expect(settings).toMatchObject({ drain: 10, speed: 2, gateway: {}, records: [], strict: true });
    expect(settings.gateway).not.toHaveProperty('token');
  });

  test('continues without a file that can not be read', () => {
    const missing = join(directory, 'missing.yaml');
    expect(diagnoseSettings({ drain: 3 }, missing)).toMatchObject({
      settings: { drain: 3, records: [] },
      problems: [expect.stringContaining(`can't read the configuration file ${missing}: it does not exist`)],
    });
  });

  test('ends at a wrong option', () => {
    expect(diagnoseSettings({ drain: -1 })).toEqual({ error: expect.stringMatching(/^--drain: /) });
  });
});
