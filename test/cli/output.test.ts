/**
 * Output for people and for pipes: trees, the demonstration, and a stdout that is slow, closed or full.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, openSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test as serial, vi } from 'vitest';
import { type TailOptions, tail } from '../../src/commands/tail.js';
import { resolveSettings, type SettingOptions } from '../../src/start/settings.js';
import { fakeLogger } from '../export/fakes.js';
import { atEndOfFile, test, testIf } from './concurrent.js';
import {
  catalog_example,
  type Ended,
  pathOf,
  runForSummary,
  runToEnd,
  start,
  temporaryDirectory,
  temporaryFile,
} from './program.js';
import { startSink } from './sink.js';
import { STORY_LINES } from './story.js';

interface Node {
  name: string;
  kind: string;
  start_ms: number;
  end_ms: number;
  status: string;
  attributes: Record<string, unknown>;
  children: Node[];
}

const outline = ({ name, children }: Node): object => ({ [name]: children.map(outline) });

test('tree --json: an array of root spans with their descendants', async () => {
  const { status, stdout, stderr } = await runToEnd([
    'tree',
    '--json',
    temporaryFile('story.ndjson', STORY_LINES),
  ]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const roots: Node[] = JSON.parse(stdout);
  expect(roots.map(outline)).toEqual([
    {
      'invoke_agent main': [
        { 'chat model-a': [] },
        { 'execute_tool exec': [] },
        {
          'execute_tool sessions_spawn': [
            { 'invoke_agent Helper': [{ 'execute_tool read': [] }, { 'chat model-b': [] }] },
          ],
        },
      ],
    },
  ]);
  const start_ms = Date.parse('2026-11-22T12:00:00Z');
  expect(roots[0]).toMatchObject({
    kind: 'INTERNAL',
    start_ms,
    end_ms: start_ms + 300,
    status: 'UNSET',
    attributes: { 'gen_ai.operation.name': 'invoke_agent', 'openclaw.run.id': 'run-1' },
  });
  expect(roots[0]?.children[0]).toMatchObject({
    kind: 'CLIENT',
    attributes: { 'gen_ai.usage.input_tokens': 100 },
  });
});

test('tree --json: a failed span has its error', async () => {
  const { stdout } = await runToEnd(['tree', '--json', temporaryFile('story.ndjson', STORY_LINES)]);
  const exec = (JSON.parse(stdout) as Node[])[0]?.children[1];
  expect(exec).toMatchObject({ name: 'execute_tool exec', status: 'ERROR' });
  expect(exec?.attributes['error.type']).toBe('exit_code');
});

test('tree: durations, tools, tokens, reasoning tokens and errors, without colours or cursor moves', async () => {
  const { status, stdout } = await runToEnd(['tree', catalog_example], { env: { LANG: 'C.UTF-8' } });
  expect(status).toBe(0);
  const [head, root, ...lines] = stdout.trimEnd().split('\n');
  expect(head).toMatch(/time +tokens in → out +reasoning +cached +cost$/);
  expect(root).toMatch(/^✓ main .*2 errors +3 tools +6\.0 s +6\.2k → 610 +296 /);
  expect(lines.some((line) => /─ ✗ exec +exit 1 +3\.5 s/.test(line))).toBe(true);
  expect(lines.some((line) => /│ {2}└─ ✓ Reader +1 error +1 tool/.test(line))).toBe(true);
  expect(stdout).not.toContain('\u001b');
});

test('tree of several recordings, and of an empty one', async () => {
  const files = [catalog_example, temporaryFile('story.ndjson', STORY_LINES)];
  expect(JSON.parse((await runToEnd(['tree', '--json', ...files])).stdout)).toHaveLength(2);
  expect((await runToEnd(['tree', temporaryFile('empty.ndjson')])).stdout).toBe('no runs\n');
});

test('without arguments it plays a recording to its end, and says that it was one', async () => {
  const env = { LANG: 'C.UTF-8', OPENCLAW_GATEWAY_URL: 'ws://127.0.0.1:1' };
  const { status, stdout, stderr } = await runToEnd([], { env });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toMatch(/playing a recording of a real one instead/);
  expect(stdout).toMatch(/^✓ main .* 10 tools/m);
  expect(stdout).toContain('Grandchild');
  expect(stdout).toMatch(/^metrics {2}16\.4k input tokens .* 28 of them reasoning/m);
  expect(stdout).toMatch(/^logs {5}\d+ records: /m);
  expect(stdout).toContain('This was a recording, not your agents.');
});

const MAIN = pathOf('dist/main.js');
/** As npm installs it. */
const BY_NAME = join(temporaryDirectory(), 'openclaw-otel-bridge');
symlinkSync(MAIN, BY_NAME);

test.each([
  ['by npm, in a checkout', 'start', 'dist/main.js', pathOf('.'), 'npm start --', ''],
  ['by Node.js, in a checkout', '', 'dist/main.js', pathOf('.'), 'node dist/main.js', ''],
  ['by Node.js, elsewhere', '', MAIN, temporaryDirectory(), `node ${MAIN}`, pathOf('.')],
  ['by npx', 'npx', BY_NAME, temporaryDirectory(), 'npx openclaw-otel-bridge', pathOf('.')],
  ['by its name', '', BY_NAME, temporaryDirectory(), 'openclaw-otel-bridge', pathOf('.')],
])(
  'the next step that it suggests works where it was started %s',
  async (_, npm_lifecycle_event, script, cwd, program, directory) => {
    const env = { OPENCLAW_GATEWAY_URL: 'ws://127.0.0.1:1', npm_lifecycle_event };
    const { stdout } = await promisify(execFile)(process.execPath, [script], { cwd, env });
    const recording = `${directory}examples/sub-agents.ndjson`;
    expect(stdout).toContain(`\n  ${program} replay --rebase-time --to clawmetry ${recording}\n`);
  },
);

test('the console gets the spans, data points and log records that a backend gets, and sums them up', async () => {
  const sink = await startSink();
  const { status, stdout, summary } = await runForSummary(
    ['replay', catalog_example, '--to', 'console', '--to', `otlp=${sink.url}`],
    { env: { LANG: 'C.UTF-8' } },
  );
  expect(status).toBe(0);
  expect(summary.destinations.console).toEqual(summary.destinations.otlp);
  const { metrics, logs } = summary.destinations.console ?? {};
  expect(metrics?.produced).toBeGreaterThan(0);
  expect(logs?.produced).toBeGreaterThan(0);
  expect(stdout).toContain('\n\nmetrics  6.2k input tokens (');
  expect(stdout).toContain('610 output, 296 of them reasoning');
  expect(stdout).toContain(`\nlogs     ${logs?.produced} records: `);
});

/** Far more than a pipe's buffer, as a tree and as a list of problems. */
const MANY = 2_000;

function manyRuns(): string {
  const run = (number: number): object[] => {
    const common = {
      ts: 1_795_348_800_000 + number,
      session_key: 'agent:main:many',
      run_id: `run-${number}`,
    };
    return [
      { type: 'agent.started', ...common },
      { type: 'agent.finished', ...common, status: 'ok' },
    ];
  };
  const events = Array.from({ length: MANY }, (_, number) => run(number)).flat();
  return temporaryFile('many.ndjson', events.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

const manyProblems = (): string => temporaryFile('problems.ndjson', '{}\n'.repeat(MANY));

test('a pipe gets all of the output, however long it is', async () => {
  const { status, stdout } = await runToEnd(['tree', '--json', manyRuns()]);
  expect(status).toBe(0);
  expect(JSON.parse(stdout)).toHaveLength(MANY);
});

/** Runs a command whose reader closes the pipe after the first output. */
async function readFirst(args: string[]): Promise<Ended> {
  const { child, ended } = start([...args, '--log-level', 'error']);
  child.stdout.once('data', () => child.stdout.destroy());
  return ended;
}

test.each<[string, string[], number]>([
  ['tree', ['tree', '--json', manyRuns()], 0],
  ['validate of what is good', ['validate', manyRuns()], 0],
  ['validate of what is bad', ['validate', manyProblems(), '/nonexistent.ndjson'], 1],
  ['validate --json of what is bad', ['validate', '--json', manyProblems()], 1],
  ['replay', ['replay', '--to', 'console', manyRuns()], 0],
  ['replay --strict', ['replay', '--strict', '--to', 'console', manyProblems(), manyRuns()], 3],
  ['tail', ['tail', '--no-store', '--from', `file:${manyRuns()}`], 0],
])(
  '%s | head -1 ends with the exit status so far, and does not mention the closed pipe',
  async (name, args, status) => {
    const ended = await readFirst(args);
    expect(ended.status).toBe(status);
    const said = name === 'validate of what is good' ? `${2 * MANY} lines; no problems\n` : '';
    expect(ended.stderr).toBe(said);
  },
);

test.each<[string, string[]]>([
  ['doctor', ['doctor', '--from', 'ws://127.0.0.1:1', '--to', 'console']],
  ['validate', ['validate', manyProblems()]],
])('%s with a closed stdout still reports problems in its exit status', async (_, args) => {
  const { child, ended } = start(args);
  child.stdout.destroy();
  expect(await ended).toMatchObject({ status: 1, stderr: '' });
});

test('replay | head -1: other destinations still get everything', async () => {
  const sink = await startSink();
  const { child, ended } = start(['replay', manyRuns(), '--to', 'console', '--to', `otlp=${sink.url}`]);
  child.stdout.once('data', () => child.stdout.destroy());
  const { stderr } = await ended;
  expect(stderr).toMatch(/otlp: delivered traces (\d+)\/\1 · metrics (\d+)\/\2 · logs (\d+)\/\3\n/);
  expect(sink.spans().length).toBeGreaterThan(0);
});

test('tail --raw prints the input byte for byte', async () => {
  const input = Buffer.from([0x7b, 0xff, 0xfe, 0x22, 0x80, 0x7d, 0x0a, 0x7b, 0x7d, 0x0a]);
  const path = temporaryFile('raw.ndjson');
  const args = ['tail', '--raw', '--no-store', '--log-level', 'error', '--from', 'stdin'];
  const child = spawn(process.execPath, [pathOf('dist/main.js'), ...args], {
    stdio: ['pipe', openSync(path, 'w'), 'ignore'],
  });
  child.stdin?.end(input);
  const [status] = await once(child, 'close');
  expect(status).toBe(0);
  expect(readFileSync(path)).toEqual(input);
});

const transcript = pathOf('test/fixtures/transcripts/01e9fca5-ef39-4f46-8578-475529e4dfc4.jsonl');

test('tail of transcripts from their start; --raw warns of what is in no line', async () => {
  const directory = temporaryDirectory();
  const sessions = join(directory, 'agents/main/sessions');
  mkdirSync(sessions, { recursive: true });
  copyFileSync(transcript, join(sessions, basename(transcript)));
  const tailed = async (...more: string[]): Promise<Ended> => {
    const program = start(['tail', '--no-store', '--from', `transcripts:${directory}`, ...more]);
    await once(program.child.stdout, 'data');
    program.signal('SIGTERM');
    return program.ended;
  };
  expect((await tailed('--from-start')).stdout).toContain(`"type":"agent.started"`);
  const raw = await tailed('--from-start', '--raw');
  expect(raw.stderr).toContain(
    'WARN: --raw with transcripts: the output lacks the session data of sessions.json',
  );
});

test('tail that is stopped in the middle of a line does not report it as bad input', async () => {
  const program = start(['tail', '--no-store', '--from', 'stdin']);
  program.child.stdin.write(`${STORY_LINES}{"type":`);
  await once(program.child.stdout, 'data');
  program.signal('SIGINT');
  const { status, stderr } = await program.ended;
  expect(status).toBe(0);
  expect(stderr).not.toContain('WARN');
});

const TAILED = [
  { type: 'agent.started', input: 'hidden 1' },
  { type: 'tool.call', call_id: 'c', tool: 'exec', input: { command: 'hidden 2' } },
  { type: 'tool.output', call_id: 'c', output: 'hidden 3' },
  { type: 'llm.reasoning', text: 'hidden 4', reasoning_tokens: 1 },
  { type: 'agent.started', session_key: 'agent:main:other' },
  { type: 'agent.finished', status: 'ok' },
].map((event) => JSON.stringify({ ts: 1, session_key: 'agent:main:s', run_id: 'r', ...event }));

test('tree --json has inputs and outputs only with --content, redacted and up to the limit', async () => {
  const secret = JSON.stringify({
    ...JSON.parse(TAILED[0] ?? ''),
    run_id: 'other',
    input: 'key sk-abcdefghijklmnopqrstuvwx',
  });
  const path = temporaryFile('events.ndjson', `${[...TAILED, secret].join('\n')}\n`);
  const config = temporaryFile('bridge.yaml', 'limits: { content_bytes: 16 }');
  const shown = async (...more: string[]): Promise<string[]> => {
    const { stdout } = await runToEnd(['tree', '--json', path, ...more]);
    return [...new Set(stdout.match(/hidden \d|sk-a|\[redacted\]/g))].sort();
  };
  expect(await shown()).toEqual([]);
  expect(await shown('--content')).toEqual(['[redacted]', 'hidden 1', 'hidden 2', 'hidden 3']);
  // The JSON of the call's input is longer.
  expect(await shown('--content', '--config', config)).not.toContain('hidden 2');
});

/** Runs `tail` in this process until its output has the last of these texts, in order. */
async function tailHere(given: SettingOptions, options: Partial<TailOptions>, ...texts: string[]) {
  const settings = resolveSettings({ no_store: true, ...given });
  if ('error' in settings) throw new Error(settings.error);
  const logger = fakeLogger();
  let stdout = '';
  let stop = (): void => undefined;
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text, ...rest) => {
    stdout += text;
    if (stdout.includes(texts.at(-1) ?? '')) stop();
    for (const done of rest) if (typeof done === 'function') done();
    return true;
  });
  try {
    const all: TailOptions = { raw: false, types: [], sessions: [], origin: '--from', ...options };
    const outcome = await tail(all, settings, logger, (each) => {
      stop = each;
    });
    return { ...outcome, lines: stdout.trimEnd().split('\n'), log: logger.lines };
  } finally {
    write.mockRestore();
  }
}

serial('tail prints inputs, outputs and reasoning text only with --content', async () => {
  const from = [`file:${temporaryFile('events.ndjson', `${TAILED.join('\n')}\n`)}`];
  const plain = await tailHere({ from }, {}, 'agent.finished');
  expect(plain.lines).toHaveLength(TAILED.length);
  expect(plain.lines.join()).not.toContain('hidden');
  const full = await tailHere({ from, content: true }, {}, 'agent.finished');
  expect(full.lines.map((line) => JSON.parse(line))).toEqual(TAILED.map((line) => JSON.parse(line)));
});

serial(
  'JSON is printed without the control characters that it allows, which a terminal would obey',
  async () => {
    const tool = 'a\u009b31mb\u007f';
    const call = { type: 'tool.call', ts: 1, session_key: 'agent:main:s', run_id: 'r', call_id: 'c', tool };
    const path = temporaryFile('call.ndjson', `${JSON.stringify(call)}\n`);
    const [tailed = ''] = (await tailHere({ from: [`file:${path}`] }, {}, 'tool.call')).lines;
    expect(JSON.parse(tailed)).toEqual(call);
    const { stdout } = await runToEnd(['tree', '--json', path]);
    expect(JSON.parse(stdout)[0].children[0].name).toBe(`execute_tool ${tool}`);
    expect(tailed + stdout).not.toMatch(/[\u007f-\u009f]/);
  },
);

serial.each<[string, Partial<TailOptions>, number[]]>([
  ['a type', { types: ['tool.call', 'agent.finished'] }, [1, 5]],
  ['a session', { sessions: ['agent:main:other'] }, [4]],
  ['both', { sessions: ['agent:main:s'], types: ['agent.started'] }, [0]],
  ['neither', {}, [0, 1, 2, 3, 4, 5]],
])('tail --raw prints the lines of %s as they came in', async (_, options, wanted) => {
  const from = [`file:${temporaryFile('events.ndjson', `${TAILED.join('\n')}\n`)}`];
  const lines = wanted.map((index) => TAILED[index] ?? '');
  const shown = await tailHere({ from }, { raw: true, ...options }, ...lines);
  expect(shown.lines).toEqual(lines);
});

serial(
  'tail warns of what replay can not read of several sources, and closes all if one can not be opened',
  async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'agent.sock');
    const from = [`listen:unix:${path}`, `listen:unix:${join(directory, 'none', 'other.sock')}`];
    const plain = await tailHere({ from }, {});
    expect(plain).toMatchObject({ status: 1, error: expect.stringContaining('other.sock') });
    expect(existsSync(path)).toBe(false);
    const raw = await tailHere({ from }, { raw: true });
    const caveat =
      'warn --raw with several sources: replay can read the output only if all of them use the same dialect';
    expect(raw.log).toContain(caveat);
    expect(plain.log).not.toContain(caveat);
  },
);

/** Runs a command with a full stdout, and returns its exit status and stderr. */
async function runWithFullStdout(args: string[]): Promise<{ status: number; stderr: string }> {
  const child = spawn(process.execPath, [pathOf('dist/main.js'), ...args], {
    stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
  });
  atEndOfFile(() => {
    child.kill();
  });
  let stderr = '';
  child.stderr?.on('data', (text) => {
    stderr += text;
  });
  const [status] = await once(child, 'close');
  return { status, stderr };
}

testIf(existsSync('/dev/full')).each([
  ['tree', ['tree', catalog_example]],
  ['tail', ['tail', '--no-store', '--log-level', 'error', '--from', `file:${catalog_example}`]],
])('%s to a full stdout: exit status 1, and the reason', async (_, args) => {
  const { status, stderr } = await runWithFullStdout(args);
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^openclaw-otel-bridge: can't write to stdout: .*; check where stdout is redirected to\n$/,
  );
});

testIf(existsSync('/dev/full'))("a summary that can't be written does not stop the work", async () => {
  const sink = await startSink();
  const args = ['replay', '--to', `otlp=${sink.url}`, '--summary', '-', catalog_example];
  const { status, stderr } = await runWithFullStdout(args);
  expect(status).toBe(1);
  expect(stderr).toContain("can't write to stdout");
  expect(stderr).not.toContain('stopping');
});

testIf(existsSync('/dev/full')).each(['pretty', 'json'])(
  'a full disk for the log in format %s ends nothing',
  async (format) => {
    const child = spawn(
      process.execPath,
      [pathOf('dist/main.js'), '--log-format', format, 'replay', '--to', 'console', catalog_example],
      { stdio: ['ignore', 'ignore', openSync('/dev/full', 'w')] },
    );
    const [status] = await once(child, 'close');
    expect(status).toBe(0);
  },
);
