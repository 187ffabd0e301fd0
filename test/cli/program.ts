/**
 * Starts the program as a user does, `node dist/main.js`, with no environment variables except PATH and what a test sets.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { Summary } from '../../src/summary.js';
import { createChanges } from './changes.js';
import { atEndOfFile } from './concurrent.js';

const pathOf = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const MAIN = pathOf('dist/main.js');
if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: run "npm run build" first`);

export const catalog_example = pathOf('examples/catalog.ndjson');
export { pathOf };

/** A URL where nothing listens. */
export const DEAD_URL = 'http://127.0.0.1:1';

export interface ProgramOptions {
  env?: Record<string, string>;
  /** What is piped into it; by default its standard input stays open. */
  input?: string | Buffer;
  cwd?: string;
}

export interface Ended {
  /** Null if a signal ended it. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface Program {
  child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** Its output so far. */
  said(): Ended;
  /** Resolves when its stderr matches. */
  untilLogged(pattern: RegExp): Promise<void>;
  signal(name: NodeJS.Signals): void;
  ended: Promise<Ended>;
}

/** Starts the program; it is killed at the end of the test file if it still runs. */
export const start = (args: string[], options?: ProgramOptions): Program =>
  startCommand(process.execPath, [MAIN, ...args], options);

function startCommand(
  command: string,
  args: string[],
  { env = {}, input, cwd }: ProgramOptions = {},
): Program {
  const child = spawn(command, args, {
    cwd,
    env: {
      PATH: process.env.PATH,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      // Each program has a data directory of its own.
      XDG_STATE_HOME: temporaryDirectory(),
      ...env,
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  atEndOfFile(() => {
    child.kill('SIGKILL');
  });
  const changes = createChanges();
  const said: Ended = { status: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said.stderr += text;
    changes.tell();
  });
  // It may end before it has read its standard input.
  child.stdin.on('error', () => undefined);
  if (input !== undefined) child.stdin.end(input);
  const ended = once(child, 'close').then(([status]) => ({ ...said, status }));
  return {
    child,
    said: () => said,
    untilLogged: (pattern) => changes.until(() => pattern.test(said.stderr)),
    signal: (name) => child.kill(name),
    ended,
  };
}

/** Runs the program to its end with an empty standard input, and checks that it prints no stack trace. */
export async function runToEnd(args: string[], options: ProgramOptions = {}): Promise<Ended> {
  const ended = await start(args, { input: '', ...options }).ended;
  expectNoStack(ended);
  return ended;
}

/** Runs the program to its end on a terminal of 100 columns without colours, and returns what the terminal received. */
export async function runOnTerminal(args: string[], env: Record<string, string> = {}): Promise<string> {
  const words = [process.execPath, MAIN, ...args].map((word) => `'${word}'`);
  const { ended } = startCommand(
    'script',
    ['--quiet', '--command', `stty cols 100 rows 24; exec ${words.join(' ')}`, '/dev/null'],
    { env: { TERM: 'xterm', NO_COLOR: '1', ...env } },
  );
  return (await ended).stdout;
}

export function expectNoStack({ stdout, stderr }: Ended): void {
  expect(`${stdout}\n${stderr}`).not.toMatch(/^ {4}at /m);
}

/** A directory that is removed at the end of the test file. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'cli-'));
  atEndOfFile(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A file in a directory of its own. */
export function temporaryFile(name: string, content: string | Buffer = ''): string {
  const path = join(temporaryDirectory(), name);
  writeFileSync(path, content);
  return path;
}

/** Runs the program to its end, and also returns its summary. */
export async function runForSummary(
  args: string[],
  options: ProgramOptions = {},
): Promise<Ended & { summary: Summary }> {
  const path = join(temporaryDirectory(), 'summary.json');
  const ended = await runToEnd([...args, '--summary', path], options);
  const summary: Summary = JSON.parse(readFileSync(path, 'utf8'));
  expectLaw(summary);
  return { ...ended, summary };
}

const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((total, each) => total + each, 0);

/** `produced = delivered + pending + Σ rejected + Σ dropped`, for every signal of every destination. */
export function expectLaw({ destinations }: Summary): void {
  for (const [name, signals] of Object.entries(destinations)) {
    for (const [signal, { produced, delivered, pending, rejected, dropped }] of Object.entries(signals)) {
      expect(delivered + pending + sum(rejected) + sum(dropped), `${name} ${signal}`).toBe(produced);
    }
  }
}
