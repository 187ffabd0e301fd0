/**
 * The processes of a round, one after the other: each is started on the state that the last one left, fed, and ended as
 * planned.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend, Behaviour } from './backend.js';
import type { Feeder, Line } from './feeder.js';
import { hasArrived } from './judge.js';
import type { Ending, Life } from './plan.js';
import {
  checkLedger,
  type Ended,
  inTime,
  type Program,
  readSummary,
  startProgram,
  undelivered,
} from './program.js';
import type { Random } from './random.js';
import type { Received } from './received.js';

const START_LIMIT_MS = 20_000;
const DELIVERY_LIMIT_MS = 20_000;
const END_LIMIT_MS = 30_000;
/** The delay after which a backend that is down at first comes up. */
const RECOVERY_MS = 500;
const POLL_MS = 5;
const DRAIN_S = 1;
const LAST_DRAIN_S = 20;
const LAST_LINES = 60;
export const SUMMARY = 'summary.json';
export const EXIT_OK = 0;
const EXIT_INCOMPLETE = 3;

export interface Round {
  directory: string;
  random: Random;
  /** The arguments of each process. */
  args: string[];
  env: Record<string, string>;
  feeders: Feeder[];
  /** The first one behaves as planned; the second, if there is one, is always up. */
  backends: Backend[];
  written: Line[];
  /** When each process was killed, or told to end. */
  ended_ms: number[];
  problems: string[];
  ledgers: number;
}

/** Resolves once `isSo` returns true, or `stop` aborts. */
async function until(isSo: () => boolean, stop: AbortSignal): Promise<void> {
  while (!isSo() && !stop.aborted) await sleep(POLL_MS);
}

/** A running process, and the signal that tells its feeders that it is over. */
interface Running {
  index: number;
  program: Program;
  stop: AbortController;
}

function startLife({ args, env, ended_ms }: Round, drain_s: number): Running {
  const stop = new AbortController();
  const program = startProgram([...args, '--drain', String(drain_s)], env);
  void program.ended.then(() => stop.abort());
  return { index: ended_ms.length, program, stop };
}

async function feed({ feeders, problems }: Round, { index, stop }: Running, lines: number): Promise<void> {
  const connected = Promise.all(feeders.map((feeder) => feeder.connect(stop.signal)));
  if (!(await inTime(connected, START_LIMIT_MS))) problems.push(`process ${index} takes no connection`);
  await Promise.all(
    feeders.map((feeder) => feeder.feed(index, Math.ceil(lines / feeders.length), stop.signal)),
  );
}

/** Resolves when the process is to be ended. `fed` resolves with the last line. */
async function untilEnding(
  round: Round,
  running: Running,
  ending: Ending,
  fed: Promise<void>,
): Promise<void> {
  const { signal } = running.stop;
  const seen = (): number => round.backends.reduce((sum, backend) => sum + backend.requests(), 0);
  if (ending.how === 'time') return sleep(ending.after_ms);
  if (ending.how === 'requests') {
    const enough = seen() + ending.requests;
    return Promise.race([fed, until(() => seen() >= enough, signal)]);
  }
  await fed;
  if (ending.how === 'quiet' || ending.how === 'stopped') await sleep(ending.after_ms);
}

/** Ends the writing; lines that were just written may be lost. */
async function endFeeding(round: Round, { index, stop }: Running, fed: Promise<void>): Promise<void> {
  const at_ms = Date.now();
  round.ended_ms.push(at_ms);
  stop.abort();
  await fed;
  for (const feeder of round.feeders) feeder.ended(index, at_ms);
}

const STACK_TRACE = /^ {4}at /m;

function checkEnd(
  round: Round,
  { index }: Running,
  { status, log }: Ended,
  expected: (number | null)[],
): void {
  const name = `process-${index}.log`;
  writeFileSync(join(round.directory, name), log);
  if (!expected.includes(status))
    round.problems.push(`process ${index} ended with status ${status}: see ${name}`);
  if (STACK_TRACE.test(log)) round.problems.push(`process ${index} showed a stack trace`);
}

/** Waits for the end of a process that was told to stop, and checks its exit and its summary. */
async function untilStopped(round: Round, running: Running, is_last: boolean): Promise<void> {
  const { index, program } = running;
  if (!(await inTime(program.ended, END_LIMIT_MS))) round.problems.push(`process ${index} does not end`);
  program.signal('SIGKILL');
  checkEnd(round, running, await program.ended, is_last ? [EXIT_OK] : [EXIT_OK, EXIT_INCOMPLETE]);
  const summary = readSummary(join(round.directory, SUMMARY));
  if (summary === undefined) {
    round.problems.push(`process ${index} left no summary`);
    return;
  }
  rmSync(join(round.directory, SUMMARY));
  const { checked, problems } = checkLedger(summary);
  round.ledgers += checked;
  round.problems.push(...problems, ...(is_last ? undelivered(summary) : []));
}

/** One process before the last one. */
export async function live(round: Round, { behaviour, ending }: Life): Promise<void> {
  await round.backends[0]?.behave(behaviour);
  const running = startLife(round, DRAIN_S);
  const { program } = running;
  const fed = feed(round, running, ending.lines);
  await untilEnding(round, running, ending, fed);
  const is_told = ending.how === 'stopped' || ending.how === 'stopping';
  program.signal(is_told ? 'SIGTERM' : 'SIGKILL');
  await endFeeding(round, running, fed);
  if (ending.how === 'stopped') return untilStopped(round, running, false);
  if (is_told) await sleep(ending.after_ms);
  program.signal('SIGKILL');
  checkEnd(round, running, await program.ended, is_told ? [null, EXIT_OK, EXIT_INCOMPLETE] : [null]);
}

/** Resolves when every backend has the log records of these lines, or at a time limit. */
export function untilDelivered(lines: Line[], backends: Received[], signal: AbortSignal): Promise<boolean> {
  const marked = lines.filter(({ is_marked }) => is_marked);
  const isDelivered = (): boolean =>
    backends.every((received) => marked.every((line) => hasArrived(received, line)));
  return inTime(until(isDelivered, signal), DELIVERY_LIMIT_MS);
}

/** The last process: all stories are written to their end, and everything is delivered. */
export async function liveToTheEnd(round: Round, behaviour: Behaviour): Promise<void> {
  const [first] = round.backends;
  // A backend that asks for an hour's wait would get it.
  const is_down_first = behaviour !== 'Retry-After 3600' && round.random.chance(0.5);
  await first?.behave(is_down_first ? behaviour : 'up');
  const running = startLife(round, LAST_DRAIN_S);
  const { index, stop: over } = running;
  await feed(round, running, LAST_LINES);
  await Promise.all(round.feeders.map((feeder) => feeder.finish(index, over.signal)));
  if (is_down_first) await sleep(RECOVERY_MS);
  await first?.behave('up');
  const own = round.written.filter(({ life }) => life === index);
  const backends = round.backends.map(({ received }) => received);
  await untilDelivered(own, backends, over.signal);
  running.program.signal('SIGTERM');
  await endFeeding(round, running, Promise.resolve());
  await untilStopped(round, running, true);
}
