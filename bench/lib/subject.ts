/**
 * The measured programs, each as a process that listens on a Unix socket: the bridge as it is installed, and the two
 * programs that it is compared with.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createCaller, type Remote } from './calls.js';
import type { ProbeCalls } from './probe.js';

export const PROBE = new URL('./probe.js', import.meta.url).href;
export const MAIN = resolve('dist/main.js');
const FLOOR = new URL('../subjects/floor.js', import.meta.url).pathname;
const NAIVE = new URL('../subjects/naive.js', import.meta.url).pathname;

/** On a real disk, like the checkout, and not on a file system in memory. */
const DIRECTORY = resolve('.cache');
const EXIT_LIMIT_MS = 20_000;

export interface SubjectPlan {
  program: 'floor' | 'naive' | 'bridge';
  /** The arguments of this variant. */
  args: string[];
  /** Whether metrics and log records are sent as well as traces. */
  is_full: boolean;
  is_durable?: boolean;
}

export function temporaryDirectory(): string {
  return mkdtempSync(join(DIRECTORY, 'bench-data-'));
}

function command(
  plan: SubjectPlan,
  socket: string,
  url: string,
  directory: string,
  main: string,
): [string, string[]] {
  if (plan.program === 'floor') return [FLOOR, [socket]];
  if (plan.program === 'naive') return [NAIVE, [socket, url, ...plan.args]];
  const destination = plan.is_full ? `otlp=${url}` : `jaeger=${url}`;
  const store = plan.is_durable ? ['--data-dir', join(directory, 'data')] : ['--no-store'];
  const run = ['run', '--from', `listen:unix:${socket}`, '--to', destination, '--log-level', 'warn'];
  return [main, [...run, ...store, ...plan.args]];
}

async function untilListening(path: string, child: ChildProcess): Promise<void> {
  while (!existsSync(path)) {
    if (child.exitCode !== null)
      throw new Error(`it ended before it listened, with status ${child.exitCode}`);
    await new Promise((wake) => void setTimeout(wake, 5));
  }
}

/** The bridge's exit status when something was not delivered: the comparison of what arrived shows how much. */
const LOST_SOMETHING = 3;

export interface StartOptions {
  /** For example for the profiler. */
  node_args?: string[];
  /** The main file of another build of the bridge. */
  main?: string;
}

export interface Program {
  call: Remote<ProbeCalls>['call'];
  /** The process; the floor sends a message when it has read everything. */
  child: ChildProcess;
  /** Stops it normally, and removes its directory. Throws if it fails. */
  stop(): Promise<void>;
}

export interface Subject extends Program {
  socket_path: string;
}

interface ProgramPlan {
  name: string;
  module: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  /** Removed when the program is stopped. */
  directory: string;
  node_args?: string[];
}

/** Starts a measured program, which ends with this process at the latest. */
export function startProgram({ name, module, args, env, directory, node_args = [] }: ProgramPlan): Program {
  const child = fork(module, args, {
    execArgv: ['--import', PROBE, ...node_args],
    env: { PATH: process.env.PATH, ...env },
  });
  const closed = once(child, 'exit');
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  return {
    call: createCaller<ProbeCalls>(child),
    child,
    async stop() {
      const limit = setTimeout(kill, EXIT_LIMIT_MS);
      child.kill('SIGTERM');
      const [status, signal] = await closed;
      clearTimeout(limit);
      process.off('exit', kill);
      rmSync(directory, { recursive: true });
      if (status !== 0 && status !== LOST_SOMETHING)
        throw new Error(`${name} ended with ${signal ?? `status ${status}`}`);
    },
  };
}

/** Starts a program and waits until it listens. */
export async function startSubject(
  plan: SubjectPlan,
  url: string,
  { node_args = [], main = MAIN }: StartOptions = {},
): Promise<Subject> {
  const directory = temporaryDirectory();
  const socket_path = join(directory, 's');
  const [module, args] = command(plan, socket_path, url, directory, main);
  const program = startProgram({
    name: plan.program,
    module,
    args,
    // Protobuf for spans and log records, and JSON for metrics, from which the sink can read sums.
    env: { OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/json' },
    directory,
    node_args,
  });
  await untilListening(socket_path, program.child);
  return { socket_path, ...program };
}
