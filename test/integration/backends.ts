/**
 * Starts a real backend as a process with a data directory of its own, waits until it answers, and stops it together with
 * everything that it started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAnswered } from './http.js';
import { type BackendName, EXECUTABLES, missing } from './installed.js';

export interface Backend {
  /** The base URL for OTLP; `/v1/<signal>` is appended. */
  otlp_url: string;
  /** Ends it gracefully, and deletes its data. */
  stop(): Promise<void>;
}

export interface Launch {
  args: string[];
  env: Record<string, string>;
  /** The working directory and home. */
  directory: string;
  /** The backend is up once this URL answers, whatever the status. */
  health_url: string;
}

const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 15_000;
const POLL_INTERVAL_MS = 50;

export const temporaryDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'openclaw-otel-bridge-'));

export const removeDirectory = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 5 });

/** Unused ports of the loopback interface. All of them are held open while they are chosen, so that no two are the same. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Creates a directory for a backend; throws if the backend is not installed. */
export async function homeFor(name: BackendName): Promise<string> {
  const problem = missing(name);
  if (problem !== undefined) throw new Error(problem);
  return temporaryDirectory();
}

/** A backend that answers. */
export interface Launched {
  /** Ends it and all processes that it started. */
  end(): Promise<void>;
  /** Stops it as a user would: its background processes keep running. */
  stop(): Promise<void>;
  /** The lines that it has printed so far. */
  log(): Promise<string[]>;
}

/** Starts a backend and resolves when it answers. */
export async function launch(name: BackendName, options: Launch): Promise<Launched> {
  const { args, env, directory, health_url } = options;
  // It leads a process group, so that its children can be ended with it.
  const child = spawn(EXECUTABLES[name], args, {
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: directory, ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const log_path = join(directory, `${name}.log`);
  const log = createWriteStream(log_path);
  for (const output of [child.stdout, child.stderr]) output.pipe(log, { end: false });
  const end = async (): Promise<void> => {
    await endGroup(child);
    await killAtHome(directory);
  };
  const readLog = () => readFile(log_path, 'utf8');
  if (await startsToAnswer(health_url, child)) {
    return { end, stop: () => endGroup(child), log: async () => (await readLog()).split('\n') };
  }
  await end();
  const tail = (await readLog()).slice(-2_000);
  await removeDirectory(directory);
  throw new Error(`${name} did not start to answer at ${health_url}; it said:\n${tail}`);
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode !== null || signalCode !== null;

async function startsToAnswer(url: string, child: ChildProcess): Promise<boolean> {
  const deadline_ms = Date.now() + START_TIMEOUT_MS;
  while (!hasEnded(child) && Date.now() < deadline_ms) {
    if (await isAnswered(url)) return true;
    await sleep(POLL_INTERVAL_MS);
  }
  return false;
}

/** Sends a signal to a process or, with a negative pid, to its whole group; ignores one that has ended. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function endGroup(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (pid === undefined || hasEnded(child)) return;
  const exit = once(child, 'exit');
  signal(-pid, 'SIGTERM');
  const force = setTimeout(() => signal(-pid, 'SIGKILL'), STOP_TIMEOUT_MS);
  await exit;
  clearTimeout(force);
}

/** The processes with this home directory; none if there is no `/proc`. */
async function processesAtHome(home: string): Promise<number[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((entry) => /^\d+$/.test(entry));
  const found = pids.map(async (pid) => {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    return environment.split('\0').includes(`HOME=${home}`) ? [Number(pid)] : [];
  });
  return (await Promise.all(found)).flat();
}

/**
 * Kills all processes with this home directory. ClawMetry leaves a daemon in a process group of its own, and an OpenClaw
 * gateway its commands; only their home shows where they belong.
 */
export async function killAtHome(home: string): Promise<void> {
  const deadline_ms = Date.now() + STOP_TIMEOUT_MS;
  for (let pids = await processesAtHome(home); pids.length > 0; pids = await processesAtHome(home)) {
    if (Date.now() > deadline_ms)
      throw new Error(`these processes of ${home} do not end: ${pids.join(', ')}`);
    for (const pid of pids) signal(pid, 'SIGKILL');
    await sleep(POLL_INTERVAL_MS);
  }
}
