/**
 * Usage errors say what is wrong, where, and what to do: exit status 2, before anything is opened. And the help texts.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { test } from './concurrent.js';
import { catalog_example, pathOf, runToEnd, temporaryDirectory, temporaryFile } from './program.js';

const REPLAY = ['replay', catalog_example];

test.each<[string, string[], string]>([
  [
    'an unknown command',
    ['repaly'],
    "unknown command 'repaly'; use one of run, replay, tail, tree, validate",
  ],
  ['help on an unknown command', ['help', 'nope'], "unknown command 'nope'; use one of run, replay"],
  [
    'help on an unknown subcommand',
    ['help', 'dead-letters', 'nope'],
    "unknown command 'nope'; use one of list, show, resend, purge",
  ],
  [
    'an unknown subcommand',
    ['dead-letters', 'lst'],
    "unknown command 'lst'; use one of list, show, resend, purge",
  ],
  ['an unknown option', [...REPLAY, '--sped', '2'], "unknown option '--sped'\n(Did you mean --speed?)"],
  [
    'a source without its option',
    ['run', 'stdin'],
    "too many arguments for 'run'. Expected 0 arguments but got 1.",
  ],
  ['no file', ['replay'], "missing required argument 'file'"],
  [
    'an unknown dialect',
    [...REPLAY, '--dialect', 'xml'],
    'Allowed choices are auto, catalog, gateway, transcript',
  ],
  [
    'a speed that is not a number',
    [...REPLAY, '--speed', 'fast'],
    "option '--speed <n>' argument 'fast' is invalid. Give a number.",
  ],
  ['a speed of 0', [...REPLAY, '--speed', '0'], '--speed: Too small: expected number to be >0'],
  [
    'an unknown preset',
    [...REPLAY, '--to', 'clawmetri'],
    '--to: "clawmetri" is not a preset: write PRESET, PRESET=URL or NAME:PRESET=URL, where PRESET is one of clawmetry,',
  ],
  [
    'an invalid URL',
    [...REPLAY, '--to', 'otlp=localhost:4318'],
    '--to: otlp: the URL is not an http:// or https:// URL',
  ],
  [
    'an unknown source',
    ['run', '--to', 'console', '--from', 'kafka:x'],
    '--from: unknown source "kafka": use stdin, file:PATH,',
  ],
  [
    'a source that is given twice',
    ['run', '--to', 'console', '--from', 'stdin', '--from', 'stdin'],
    '--from: stdin is given twice; remove one',
  ],
  [
    'an address without a port',
    ['run', '--to', 'console', '--from', 'tcp:localhost'],
    'invalid address in "tcp:localhost": write tcp:HOST:PORT',
  ],
])('a usage error: %s', async (_, args, message) => {
  const { status, stdout, stderr } = await runToEnd(args);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toContain(message);
});

test.each<[string, Record<string, string>, string]>([
  [
    'protocol',
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    'OTEL_EXPORTER_OTLP_PROTOCOL: this protocol is not supported; set it to http/protobuf or http/json',
  ],
  [
    'endpoint',
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
    'OTEL_EXPORTER_OTLP_ENDPOINT is not an http:// or https:// URL',
  ],
])('an unusable %s in the environment is a usage error', async (_, env, message) => {
  const { status, stderr } = await runToEnd([...REPLAY, '--to', 'otlp'], { env });
  expect(status).toBe(2);
  expect(stderr).toContain(message);
});

test.each<[string, string, string]>([
  [
    'an unknown key',
    'to: [console]\nspede: 5\n',
    'top level: unknown key "spede" (known: from, to, from_start, dialect,',
  ],
  ['a string instead of a list', 'to: console', 'to: must be a list, such as [clawmetry]'],
  ['an invalid URL', 'to: [{preset: otlp, url: localhost}]', 'to.0.url: is not an http:// or https:// URL'],
  ['an unknown preset', 'to: [{preset: claw}]', 'to.0.preset: must be a preset, one of clawmetry, jaeger,'],
  [
    'an unknown key of a destination',
    'to: [{preset: otlp, timeout: 5}]',
    'to.0: unknown key "timeout" (known: name, preset, url, signals,',
  ],
  ['a word instead of true or false', 'content: yes', 'content: must be true or false'],
  ['bad YAML', 'to: [console\nspeed: 5', 'not valid YAML: '],
  ['a list', '- to: console', 'must be a YAML mapping of settings, such as "to: [clawmetry]"'],
])('a configuration file with %s is a usage error', async (_, content, message) => {
  const path = temporaryFile('bridge.yaml', content);
  const { status, stderr } = await runToEnd([...REPLAY, '--config', path]);
  expect(status).toBe(2);
  expect(stderr).toContain(`openclaw-otel-bridge: ${path}: ${message}`);
  expect(stderr.trimEnd()).not.toContain('\n');
});

test.each([
  ['run', ['run', '--from', 'stdin']],
  ['replay', REPLAY],
])('%s --no-store --data-dir says that nothing is kept there', async (_, command) => {
  const directory = join(temporaryDirectory(), 'data');
  const args = [...command, '--to', 'console', '--data-dir', directory];
  expect((await runToEnd([...args, '--no-store'])).stderr).toContain(
    `--no-store is set: nothing is stored in ${directory}`,
  );
  expect(existsSync(directory)).toBe(false);
  const config = temporaryFile('bridge.yaml', 'no_store: true');
  expect((await runToEnd([...args, '--config', config])).stderr).not.toContain('no-store');
  expect(existsSync(directory)).toBe(true);
});

test('a configuration file with data_dir and no_store: the log says that nothing is kept there', async () => {
  const directory = join(temporaryDirectory(), 'data');
  const args = [...REPLAY, '--to', 'console', '--config'];
  const both = temporaryFile('bridge.yaml', `{ data_dir: ${directory}, no_store: true }`);
  const warning = `no_store is set: nothing is stored in ${directory}`;
  expect((await runToEnd([...args, both])).stderr).toContain(warning);
  expect((await runToEnd(['validate', catalog_example, '--config', both])).stderr).not.toContain(warning);
  const one = temporaryFile('bridge.yaml', `data_dir: ${directory}`);
  expect((await runToEnd([...args, one, '--no-store'])).stderr).not.toContain('nothing is stored');
  expect(existsSync(directory)).toBe(false);
});

test('a missing configuration file is a usage error', async () => {
  const { status, stderr } = await runToEnd([...REPLAY, '--config', '/nonexistent.yaml']);
  expect(status).toBe(2);
  expect(stderr).toBe(
    "openclaw-otel-bridge: can't read the configuration file /nonexistent.yaml: it does not exist; check the path, and that this user can read it\n",
  );
});

test.each([
  [
    'run',
    [
      '--from',
      '--from-start',
      '--to',
      '--dialect',
      '--content',
      '--drain',
      '--no-store',
      '--strict',
      '--summary',
      '--config',
    ],
  ],
  [
    'replay',
    ['--to', '--dialect', '--speed', '--rebase-time', '--content', '--deadline', '--strict', '--summary'],
  ],
  ['tree', ['--json', '--dialect', '--content', '--config']],
  ['validate', ['--json', '--dialect', '--config']],
  ['doctor', ['--from', '--to', '--json', '--data-dir', '--config']],
])('%s --help lists its options', async (command, options) => {
  const { status, stdout, stderr } = await runToEnd([command, '--help']);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toContain(`Usage: openclaw-otel-bridge ${command} `);
  for (const option of [...options, '--log-level', '--log-format'])
    expect(stdout).toContain(`\n  ${option} `);
});

test.each<[string, string]>([
  ['[nope]', 'from: unknown source "nope": use stdin, file:PATH,'],
  ['[stdin, stdin]', 'from: stdin is given twice; remove one'],
])("invalid sources in a configuration file are reported as the file's: %s", async (from, problem) => {
  const config = temporaryFile('bridge.yaml', `from: ${from}`);
  for (const command of [['run', '--to', 'console'], ['tail']]) {
    const { status, stderr } = await runToEnd([...command, '--no-store', '--config', config]);
    expect(status).toBe(2);
    expect(stderr).toContain(`the configuration file: ${problem}`);
  }
});

test('--help lists the commands, examples, sources, destinations and exit statuses', async () => {
  const { status, stdout } = await runToEnd(['--help']);
  expect(status).toBe(0);
  for (const word of ['run', 'replay', 'tree', 'validate', 'doctor'])
    expect(stdout).toMatch(new RegExp(`^ {2}${word} `, 'm'));
  for (const word of ['Examples:', 'Sources', 'Destinations', 'Exit status']) expect(stdout).toContain(word);
  for (const source of ['ws:', 'wss:', 'transcripts:', 'stdin', 'file:', 'unix:', 'tcp:', 'listen:', 'otlp:'])
    expect(stdout).toMatch(new RegExp(` ${source}`));
});

test('--help says for --content where secrets are redacted and where they are not', async () => {
  const run = await runToEnd(['run', '--help']);
  const tail = await runToEnd(['tail', '--help']);
  expect(run.stdout).toMatch(/--content +record .*secrets\s+redacted/);
  expect(tail.stdout).toMatch(/--content +print .*without\s+redacting/);
});

test.each([
  [
    'run',
    /--data-dir .* for the next start in this directory\s+\(default: ~\/\.local\/state\/openclaw-otel-bridge\)/,
  ],
  ['replay', /--data-dir .* for the next start in this directory\s+\(default: nothing is stored\)/],
  ['tail', /--data-dir .* bridge's data directory at this path \(default:\s+~\/\.local\/state\//],
  [
    'status',
    /--data-dir .* bridge's data directory at this path \(default:\s+~\/\.local\/state\/openclaw-otel-bridge\)/,
  ],
  ['tree', /--content +with --json: /],
])('%s --help describes an option as it works there', async (command, said) => {
  const { stdout } = await runToEnd([command, '--help'], { env: { XDG_STATE_HOME: '' } });
  expect(stdout).toMatch(said);
});

test('--help names the default data directory of this environment', async () => {
  const { stdout } = await runToEnd(['run', '--help'], { env: { XDG_STATE_HOME: '/var/lib' } });
  expect(stdout).toMatch(/--data-dir [^)]*\(default: \/var\/lib\/openclaw-otel-bridge\)/);
});

test.each([
  [['help'], 'Usage: openclaw-otel-bridge [options] [command]'],
  [['help', 'run'], 'Usage: openclaw-otel-bridge run [options]'],
  [['help', 'dead-letters', 'resend'], 'Usage: openclaw-otel-bridge dead-letters resend [options] [id...]'],
  [['dead-letters', 'help', 'resend'], 'Usage: openclaw-otel-bridge dead-letters resend [options] [id...]'],
])('%j prints the usage', async (args, usage) => {
  const { status, stdout } = await runToEnd(args);
  expect(status).toBe(0);
  expect(stdout).toContain(usage);
});

test('--version prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(pathOf('package.json'), 'utf8'));
  expect(await runToEnd(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
});
