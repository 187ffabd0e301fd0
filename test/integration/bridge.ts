/**
 * The program as a user runs it: the built command line in a process of its own, its output, its exit status and its
 * summary. Also `tree --json`, from which the tests know what a backend has to show.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { Status } from '../../src/commands/status.js';
import type { SignalCounts } from '../../src/model/delivery.js';
import type { Summary } from '../../src/summary.js';
import type { Parents } from '../oracle.js';
import { removeDirectory, temporaryDirectory } from './backends.js';
import { REPOSITORY } from './installed.js';

export const EXAMPLE = join(REPOSITORY, 'examples/sub-agents.ndjson');

/** Shorter than a test's own limit, so that no test leaves a bridge running. */
const TIMEOUT_MS = 100_000;

export interface EndedBridge {
  /** The exit status; `null` if a signal ended it. */
  status: number | null;
  summary: Summary;
}

export interface Bridge {
  /** Resolves once the text is on stderr; rejects if the bridge ends without it. */
  said(text: string): Promise<void>;
  /** Resolves when it has ended by itself. */
  ended: Promise<EndedBridge>;
  /** Sends SIGTERM and resolves when it has ended; has no effect if it has already. */
  stop(): Promise<EndedBridge>;
  /** Kills it, like a crash. */
  kill(): Promise<void>;
}

/** Passes only PATH and the given variables, nothing else of this machine's environment. */
function spawnBridge(
  args: string[],
  home: string,
  env: Record<string, string>,
): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(process.execPath, [join(REPOSITORY, 'dist/main.js'), ...args], {
    env: { PATH: process.env.PATH, HOME: home, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
}

/** Starts `run` or `replay`. */
export async function startBridge(args: string[], env: Record<string, string> = {}): Promise<Bridge> {
  const home = await temporaryDirectory();
  const summary_path = join(home, 'summary.json');
  const child = spawnBridge([...args, '--summary', summary_path], home, env);
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  async function end(): Promise<EndedBridge> {
    const [status] = (await once(child, 'close')) as [number | null];
    const summary = await readFile(summary_path, 'utf8').catch(() => undefined);
    await removeDirectory(home);
    if (summary === undefined)
      throw new Error(`the bridge ended with status ${status} and no summary:\n${stderr}`);
    return { status, summary: JSON.parse(summary) };
  }
  const ended = end();
  // A test that fails before it waits for the end must fail with its own error.
  ended.catch(() => undefined);
  return {
    ended,
    async said(wanted) {
      while (!stderr.includes(wanted)) {
        const [chunk] = await Promise.race([once(child.stderr, 'data'), ended.then(() => [])]);
        if (chunk === undefined) throw new Error(`the bridge ended and did not say "${wanted}":\n${stderr}`);
      }
    },
    stop() {
      child.kill('SIGTERM');
      return ended;
    },
    async kill() {
      child.kill('SIGKILL');
      // A killed bridge leaves no summary.
      await ended.catch(() => undefined);
    },
  };
}

/** Replays a recording and waits for the end. */
export async function replay(
  to: string,
  recording: string,
  { args = [], env = {} }: { args?: string[]; env?: Record<string, string> } = {},
): Promise<EndedBridge> {
  return (await startBridge(['replay', '--rebase-time', '--to', to, ...args, recording], env)).ended;
}

/** The `status` of a bridge that runs on this directory. */
export async function statusOf(data_dir: string): Promise<Status> {
  const child = spawnBridge(['status', '--json', '--data-dir', data_dir], REPOSITORY, {});
  const [json] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return JSON.parse(json) as Status;
}

export interface TreeSpan {
  trace_id: string;
  span_id: string;
  parent_span_id?: string;
  name: string;
  start_ms: number;
  end_ms: number;
  status: 'UNSET' | 'ERROR';
  attributes: Record<string, unknown>;
  links: { trace_id: string; span_id: string }[];
  children: TreeSpan[];
}

const flatten = (spans: TreeSpan[]): TreeSpan[] => spans.flatMap((span) => [span, ...flatten(span.children)]);

/** The spans of a recording, each before its children. */
export async function treeOf(recording: string): Promise<TreeSpan[]> {
  const child = spawnBridge(['tree', '--json', recording], REPOSITORY, {});
  const [json] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return flatten(JSON.parse(json) as TreeSpan[]);
}

export const isTool = ({ name }: TreeSpan): boolean => name.startsWith('execute_tool ');
export const isChat = ({ name }: TreeSpan): boolean => name.startsWith('chat ');
export const isRun = ({ name }: TreeSpan): boolean => name.startsWith('invoke_agent ');

export const sumOf = (spans: Pick<TreeSpan, 'attributes'>[], attribute: string): number =>
  spans.reduce((total, { attributes }) => total + Number(attributes[attribute] ?? 0), 0);

export const parentsOf = (spans: TreeSpan[]): Parents =>
  Object.fromEntries(spans.map((span) => [span.span_id, span.parent_span_id]));

const sum = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

/** The counts of the summary that violate `produced = delivered + pending + Σ rejected + Σ dropped`. */
export function lawBreakers({ destinations }: Summary): string[] {
  const isBroken = ({ produced, delivered, pending, rejected, dropped }: SignalCounts): boolean =>
    produced !== delivered + pending + sum(rejected) + sum(dropped);
  return Object.entries(destinations).flatMap(([name, signals]) =>
    Object.entries(signals)
      .filter(([, counts]) => isBroken(counts))
      .map(([signal, counts]) => `${name} ${signal} ${JSON.stringify(counts)}`),
  );
}
