/**
 * The bridge as a process: it is started, killed at any moment, and waited for with a time limit.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const MAIN = resolve('dist/main.js');

const MAX_LOG_CHARS = 100_000;

export interface Ended {
  /** Null if a signal ended it. */
  status: number | null;
  log: string;
}

export interface Program {
  signal(name: NodeJS.Signals): void;
  ended: Promise<Ended>;
  /** Ends its standard input. */
  endInput(): void;
  writeInput(text: string): void;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export function startProgram(args: string[], env: Record<string, string>): Program {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', ...env },
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  running.add(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    log = (log + text).slice(-MAX_LOG_CHARS);
  });
  // It may end before it has read its input.
  child.stdin.on('error', () => undefined);
  const ended = once(child, 'close').then(([status]): Ended => {
    running.delete(child);
    return { status, log };
  });
  return {
    signal: (name) => void child.kill(name),
    ended,
    endInput: () => void child.stdin.end(),
    writeInput: (text) => void child.stdin.write(text),
  };
}

/** Whether the promise resolves within the limit. */
export async function inTime(wanted: Promise<unknown>, limit_ms: number): Promise<boolean> {
  const stop = new AbortController();
  const timer = sleep(limit_ms, false, { signal: stop.signal }).catch(() => false);
  const isInTime = await Promise.race([wanted.then(() => true), timer]);
  stop.abort();
  return isInTime;
}

interface Counts {
  produced: number;
  delivered: number;
  pending: number;
  rejected: Record<string, number>;
  dropped: Record<string, number>;
}

export interface Summary {
  destinations: Record<string, Record<string, Counts>>;
}

export const readSummary = (path: string): Summary | undefined =>
  existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;

const total = (counts: Record<string, number>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0);

/**
 * Checks `produced = delivered + pending + Σ rejected + Σ dropped`: the number of checks, and the counts that violate it.
 */
export function checkLedger({ destinations }: Summary): { checked: number; problems: string[] } {
  const all = Object.entries(destinations).flatMap(([name, signals]) =>
    Object.entries(signals).map(([signal, counts]) => ({ what: `${name} ${signal}`, counts })),
  );
  const wrong = all.filter(({ counts: { produced, delivered, pending, rejected, dropped } }) => {
    return produced !== delivered + pending + total(rejected) + total(dropped);
  });
  return {
    checked: all.length,
    problems: wrong.map(
      ({ what, counts }) => `the ledger of ${what} does not add up: ${JSON.stringify(counts)}`,
    ),
  };
}

/** The counts in a summary with data that was not delivered. */
export const undelivered = ({ destinations }: Summary): string[] =>
  Object.entries(destinations).flatMap(([name, signals]) =>
    Object.entries(signals)
      .filter(([, { produced, delivered }]) => produced !== delivered)
      .map(([signal, counts]) => `${name} ${signal} is not delivered: ${JSON.stringify(counts)}`),
  );
